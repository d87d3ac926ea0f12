//! Playing rows: a client publishes and the judge receives, or the other way round.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use meshwire::{Mesh, Start};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::plain::Plain;
use crate::plan::{Client, Plan};
use crate::program::{Program, Taken};
use crate::seen::{Difference, Seen};
use crate::table::{Cell, Row};

/// What all rows share.
pub(crate) struct World<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) set: &'a [Plain],
    pub(crate) runtime: &'a Runtime,
    pub(crate) judge: Mesh,
    pub(crate) patience: Duration,
}

/// Where a client goes.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    /// `direct`, or a route's name.
    pub(crate) name: &'a str,
    /// `host:port`.
    pub(crate) address: &'a str,
    /// Inside TLS: whom to trust.
    pub(crate) authority: Option<&'a Path>,
}

impl Way<'_> {
    /// A task, with where it goes: `address`, as `host:port`; `gateway`, the same as a URL; `ca`, a file, inside TLS.
    fn task(self, what: &str, mode: &str, topic: &str, (key, value): (&str, Value)) -> Value {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let gateway = format!("{scheme}://{}", self.address);
        let (address, ca) = (self.address, self.authority);
        json!({ "do": what, "mode": mode, "topic": topic, "address": address, "gateway": gateway, "ca": ca, (key): value })
    }
}

impl World<'_> {
    /// The columns that a row has cells for.
    pub(crate) fn columns(&self) -> Vec<String> {
        let payloads = self.set.iter().map(|event| event.id().to_owned());
        payloads.chain(self.plan.error.iter().map(|e| format!("{} for {}", e.code, e.name))).collect()
    }

    /// The client's rows in these modes, in the order that it has them.
    pub(crate) fn rows(
        &self,
        client: &Client,
        program: &mut Program,
        modes: Option<&[String]>,
        way: Way<'_>,
    ) -> Vec<Row> {
        let chosen = |mode: &&String| modes.is_none_or(|modes| modes.contains(mode));
        let published = client.publish.iter().filter(chosen).map(|mode| (false, mode));
        let received = client.receive.iter().filter(chosen).map(|mode| (true, mode));
        let row = |(receives, mode): (bool, &String)| {
            if receives { self.receive(client, program, mode, way) } else { self.publish(client, program, mode, way) }
        };
        published.chain(received).map(row).collect()
    }

    /// The client publishes the set and what is refused; the judge receives.
    fn publish(&self, client: &Client, program: &mut Program, mode: &str, way: Way<'_>) -> Row {
        let topic = format!("{}.{mode}.{}", client.name, way.name);
        let mut cells = self
            .publish_set(client, program, mode, (&topic, way))
            .unwrap_or_else(|error| vec![Cell::Failed(format!("{error:#}")); self.set.len()]);
        for provoked in &self.plan.error {
            if client.difference(mode, &provoked.name) == Some(Difference::Cannot) {
                cells.push(Cell::Cannot);
                continue;
            }
            let refused = self.refused(program, mode, (provoked.topic.as_ref().unwrap_or(&topic), way), provoked);
            cells.push(match refused {
                Ok(None) => Cell::Same,
                Ok(Some(why)) => Cell::Failed(why),
                Err(error) => Cell::Failed(format!("{error:#}")),
            });
        }
        Row { name: name(client, "publish", mode, way), cells }
    }

    fn publish_set(
        &self,
        client: &Client,
        program: &mut Program,
        mode: &str,
        (topic, way): (&str, Way<'_>),
    ) -> anyhow::Result<Vec<Cell>> {
        let can = |event: &&Plain| client.difference(mode, event.id()) != Some(Difference::Cannot);
        let events: Vec<&Plain> = self.set.iter().filter(can).collect();
        let task = way.task("publish", mode, topic, ("events", json!(events)));
        let answer = program.ask(&task, self.patience)?;
        let results = events.iter().zip(&answer.results).map(|(event, taken)| (event.id(), taken));
        let results: BTreeMap<&str, &Taken> = results.collect();
        let taken = results.values().filter(|taken| taken.ok).count();
        let came = self.runtime.block_on(self.received(topic, taken))?;
        let cell = |event: &Plain| match results.get(event.id()) {
            None => Ok(Cell::Failed("no result was given for it".to_owned())),
            Some(Taken { ok: false, code, detail }) => {
                Ok(Cell::Failed(format!("it was refused: {code:?}, {}", detail.as_deref().unwrap_or_default())))
            }
            Some(_) => self.compared(client, mode, event, came.get(event.id())),
        };
        self.each(client, mode, cell)
    }

    /// The judge publishes the set; the client receives.
    fn receive(&self, client: &Client, program: &mut Program, mode: &str, way: Way<'_>) -> Row {
        let topic = format!("to-{}.{mode}.{}", client.name, way.name);
        let cells = self
            .receive_set(client, program, mode, (&topic, way))
            .unwrap_or_else(|error| vec![Cell::Failed(format!("{error:#}")); self.set.len()]);
        Row { name: name(client, "receive", mode, way), cells }
    }

    fn receive_set(
        &self,
        client: &Client,
        program: &mut Program,
        mode: &str,
        (topic, way): (&str, Way<'_>),
    ) -> anyhow::Result<Vec<Cell>> {
        let can = |event: &&Plain| client.difference(mode, event.id()) != Some(Difference::Cannot);
        let events: Vec<meshwire::Event> =
            self.set.iter().filter(can).map(Plain::event).collect::<anyhow::Result<_>>()?;
        let count = events.len();
        for receipt in self.runtime.block_on(self.judge.publish_batch(topic, events)) {
            receipt.context("the judge could not publish")?;
        }
        let task = way.task("receive", mode, topic, ("count", count.into()));
        let answer = program.ask(&task, self.patience)?;
        let mut came = BTreeMap::new();
        for event in &answer.events {
            came.insert(event.id().to_owned(), Seen::of_plain(event)?);
        }
        self.each(client, mode, |event| self.compared(client, mode, event, came.get(event.id())))
    }

    /// A cell for each payload.
    fn each(
        &self,
        client: &Client,
        mode: &str,
        cell: impl Fn(&Plain) -> anyhow::Result<Cell>,
    ) -> anyhow::Result<Vec<Cell>> {
        let cell = |event: &Plain| match client.difference(mode, event.id()) {
            Some(Difference::Cannot) => Ok(Cell::Cannot),
            _ => cell(event),
        };
        self.set.iter().map(cell).collect()
    }

    fn compared(&self, client: &Client, mode: &str, sent: &Plain, came: Option<&Seen>) -> anyhow::Result<Cell> {
        let keeps = *self.plan.mode.get(mode).context("an unknown mode")?;
        let allowed = client.difference(mode, sent.id());
        let sent = Seen::of_plain(sent)?;
        let Some(came) = came else { return Ok(Cell::Failed("it did not come".to_owned())) };
        Ok(match came.differs(&sent, keeps, allowed) {
            Some(why) => Cell::Failed(why),
            None if came.differs(&sent, keeps, None).is_some() => Cell::Nearly,
            None if allowed.is_some() => Cell::Failed("it came the same, and clients.toml says otherwise".to_owned()),
            None => Cell::Same,
        })
    }

    /// What a refusal lacks; nothing when it is as it should be.
    fn refused(
        &self,
        program: &mut Program,
        mode: &str,
        (topic, way): (&str, Way<'_>),
        provoked: &crate::plan::Provoked,
    ) -> anyhow::Result<Option<String>> {
        let task = way.task("publish", mode, topic, ("events", json!([provoked.event()?])));
        let answer = program.ask(&task, self.patience)?;
        let code = answer.results.first().and_then(|taken| taken.code.as_deref());
        Ok((code != Some(&provoked.code)).then(|| format!("it was answered {:?}", answer.results)))
    }

    /// The first events of a topic, by id.
    async fn received(&self, topic: &str, count: usize) -> anyhow::Result<BTreeMap<String, Seen>> {
        let mut came = BTreeMap::new();
        if count == 0 {
            return Ok(came);
        }
        let mut subscription = self.judge.subscribe(topic).start(Start::Earliest).await?;
        for _ in 0..count {
            let next = timeout(self.patience, subscription.try_next()).await;
            let Some(delivery) = next.context("an event that was taken did not come")?? else { break };
            let seen = Seen::of_view(&delivery.event());
            came.insert(delivery.event().id().to_owned(), seen);
            delivery.ack();
        }
        Ok(came)
    }
}

fn name(client: &Client, direction: &str, mode: &str, way: Way<'_>) -> String {
    let through = if way.name == "direct" { String::new() } else { format!(" through {}", way.name) };
    format!("{} {direction} {mode}{through}", client.name)
}
