//! One port, every transport: publishers and consumers of each at the same time, and who got what of whom.

use std::collections::HashMap;
use std::fmt;

use anyhow::Context;
use bytes::Bytes;
use meshwire::{Event, Start};
use tokio::task::JoinSet;

use crate::gateway::Gateway;
use crate::webhooks::Sent;

/// What is spoken on the one port.
const TRANSPORTS: [&str; 4] = ["tcp", "grpc", "http", "ws"];
/// Where they meet.
const TOPIC: &str = "doors";
/// Events of each publisher.
const EVENTS: usize = 40;
/// The attribute that says by which transport an event came.
const VIA: &str = "via";

/// Events that came back as they were published, by publisher and consumer.
#[derive(Debug, Default)]
pub(crate) struct Table {
    cells: HashMap<(&'static str, &'static str), usize>,
    changed: usize,
}

/// Publishes over each transport and consumes over each, all at once.
pub(crate) async fn cross(gateway: &Gateway, events: &[Sent]) -> anyhow::Result<Table> {
    let events = events.get(..EVENTS).context("too few payloads for the table")?;
    let (mut encoded, mut publishers, mut consumers) = (HashMap::new(), JoinSet::new(), JoinSet::new());
    for via in TRANSPORTS {
        let mut marked = Vec::with_capacity(EVENTS);
        for sent in events {
            let id = format!("{}-{via}", sent.id);
            let event = sent.event.clone().id(&*id).attribute(VIA, via);
            encoded.insert(id, event.encode()?);
            marked.push(event);
        }
        publishers.spawn(publish(gateway.url_over(via), marked));
        consumers.spawn(consume(gateway.url_over(via), via, EVENTS * TRANSPORTS.len()));
    }
    while let Some(published) = publishers.join_next().await {
        published??;
    }
    let mut table = Table::default();
    while let Some(consumed) = consumers.join_next().await {
        let (over, came) = consumed??;
        for (id, bytes) in came {
            let via = TRANSPORTS.into_iter().find(|via| id.ends_with(via)).unwrap_or_default();
            if encoded.get(&id) == Some(&bytes) {
                *table.cells.entry((via, over)).or_default() += 1;
            } else {
                table.changed += 1;
            }
        }
    }
    Ok(table)
}

async fn publish(url: String, events: Vec<Event>) -> anyhow::Result<()> {
    let mesh = meshwire::connect(&url).await?;
    for receipt in mesh.publish_batch(TOPIC, events).await {
        receipt?;
    }
    mesh.close().await?;
    Ok(())
}

async fn consume(
    url: String,
    over: &'static str,
    count: usize,
) -> anyhow::Result<(&'static str, Vec<(String, Bytes)>)> {
    let mesh = meshwire::connect(&url).await?;
    let mut events = mesh.subscribe(TOPIC).group(format!("over-{over}")).start(Start::Earliest).await?;
    let mut came = Vec::with_capacity(count);
    while came.len() < count {
        let delivery = events.try_next().await?.context("a subscription ended")?;
        came.push((delivery.id().to_owned(), Bytes::copy_from_slice(delivery.raw())));
        delivery.ack_confirmed().await?;
    }
    mesh.close().await?;
    Ok((over, came))
}

impl Table {
    /// What is not as promised; empty when all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for publisher in TRANSPORTS {
            for consumer in TRANSPORTS {
                let came = self.cells.get(&(publisher, consumer)).copied().unwrap_or_default();
                if came != EVENTS {
                    faults.push(format!("{came} of {EVENTS} events came equal from {publisher} to {consumer}"));
                }
            }
        }
        if self.changed > 0 {
            faults.push(format!("{} events were changed on the way", self.changed));
        }
        faults
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  events that came equal, of {EVENTS} published over each transport, all on one port at once:")?;
        write!(f, "  {:<22}", "published \\ consumed")?;
        for consumer in TRANSPORTS {
            write!(f, "{consumer:>8}")?;
        }
        writeln!(f)?;
        for publisher in TRANSPORTS {
            write!(f, "  {publisher:<22}")?;
            for consumer in TRANSPORTS {
                write!(f, "{:>8}", self.cells.get(&(publisher, consumer)).copied().unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
