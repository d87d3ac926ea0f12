//! What happens, in order.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use meshwire::{Event, Mesh, PendingReceipt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::consumers::{self, GroupReport, Progress};
use crate::doors::{self, Table};
use crate::gateway::Gateway;
use crate::languages::{self, Player};
use crate::report::{AtKill, Report};
use crate::webhooks::Sent;

/// Where everything goes.
pub(crate) const TOPIC: &str = "github";
/// Type of the event that ends the story.
pub(crate) const END: &str = "demo.end";
/// Receipts before the kill.
pub(crate) const BEFORE: usize = 165;
/// Publishes that get a moment to reach the gateway before the kill; the others get none.
const UNDER_WAY: usize = 64;
/// How many turns that moment is. A guess.
const TURNS: u32 = 8;
/// Leases that must be open at the kill.
const OPEN: usize = 10;
/// How long the whole may take. A guess: it takes two seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// Tells the story and prints the table. `true`: it ended as promised.
pub(crate) async fn tell(events: Vec<Sent>, players: &[Player], absent: &[String], keep: bool) -> anyhow::Result<bool> {
    let folder = tempfile::Builder::new().prefix("meshwire-demo-").tempdir()?;
    let told = tokio::time::timeout(LIMIT, acts(folder.path(), &events)).await;
    let (gateway, report, table) = told.with_context(|| format!("not at its end after {} s", LIMIT.as_secs()))??;
    let played = tokio::time::timeout(LIMIT, languages::play(&gateway, players, absent)).await;
    let spoken = played.with_context(|| format!("the players were not done after {} s", LIMIT.as_secs()))??;
    if !players.is_empty() {
        say("languages", "a publisher and consumer in each, at once");
    }
    println!("\n{report}\n{table}\n{spoken}");
    let faults = [report.faults(), table.faults(), spoken.faults()].concat();
    for fault in &faults {
        println!("  FAILED: {fault}");
    }
    if faults.is_empty() {
        println!("Acknowledged means kept: nothing was lost, nothing is there twice.");
    }
    if keep {
        print_commands(&gateway);
        gateway.keep();
        let _path = folder.keep();
    }
    Ok(faults.is_empty())
}

async fn acts(folder: &Path, events: &[Sent]) -> anyhow::Result<(Gateway, Report, Table)> {
    let gateway = Gateway::start(folder).await?;
    say("gateway", &format!("{}, data and log in {}", gateway.address(), folder.display()));
    let (before, after) = events.split_at_checked(BEFORE).context("too few payloads for the story")?;

    let mut stage = Stage::set(&gateway).await?;
    stage.quiet_publishing(before).await?;
    let (at_kill, pending, gateway) = stage.kill(after, gateway).await?;
    let gateway = gateway.restart().await?;
    say("restart", &format!("same port, same directory, ready in {} ms", gateway.ready.as_millis()));
    if let Some(found) = gateway.recovery() {
        say("", &found);
    }
    stage.collect(after, pending).await?;
    let replays = stage.mesh.stats().replays;
    say("resume", &format!("the client replayed {replays}; all {} are acknowledged", stage.acknowledged.len()));

    stage.mesh.publish(TOPIC, Event::new(END)).await?;
    let group = stage.group.await??;
    say("consume", "the group has come to the end");
    let log = consumers::late_reader(&stage.mesh).await?;
    say("late reader", "has read the topic from its first event");
    stage.mesh.close().await?;
    let table = doors::cross(&gateway, events).await?;
    say("one port", "each publisher and each consumer over a transport of its own, at once");
    Ok((gateway, Report::new(at_kill, events, &stage.acknowledged, &group, &log), table))
}

/// Everybody but the gateway.
struct Stage {
    /// The publisher.
    mesh: Mesh,
    group: JoinHandle<anyhow::Result<GroupReport>>,
    progress: watch::Receiver<Progress>,
    killed: watch::Sender<bool>,
    acknowledged: BTreeSet<String>,
}

impl Stage {
    async fn set(gateway: &Gateway) -> anyhow::Result<Self> {
        let (seen, progress) = watch::channel(Progress::default());
        let (killed, is_killed) = watch::channel(false);
        let consumer = meshwire::connect(&gateway.url()).await?;
        Ok(Self {
            mesh: meshwire::connect(&gateway.url()).await?,
            group: tokio::spawn(consumers::group(consumer, seen, is_killed)),
            progress,
            killed,
            acknowledged: BTreeSet::new(),
        })
    }

    /// Publishes and waits for every receipt, and for the group to have had them.
    async fn quiet_publishing(&mut self, events: &[Sent]) -> anyhow::Result<()> {
        let began = Instant::now();
        let pending = start(&self.mesh, events).await?;
        self.collect(events, pending).await?;
        let millis = began.elapsed().as_millis();
        say("publish", &format!("{} events, each answered once it was on disk ({millis} ms)", events.len()));
        let now = self.progress.wait_for(|p| p.received == events.len() && p.open >= OPEN).await?;
        say("consume", &format!("group `audit` has acked {} and holds {} open", now.acked, now.open));
        Ok(())
    }

    /// Publishes without waiting, and kills the gateway in the middle of it.
    async fn kill(
        &mut self,
        events: &[Sent],
        mut gateway: Gateway,
    ) -> anyhow::Result<(AtKill, Vec<PendingReceipt>, Gateway)> {
        let (under_way, queued) = events.split_at_checked(UNDER_WAY).context("too few payloads for the story")?;
        let mut pending = start(&self.mesh, under_way).await?;
        // The client gets some turns to send; how far the gateway comes with them is chance, as in life.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        for sent in queued {
            pending.push(self.mesh.try_publish(TOPIC, sent.event.clone())?);
        }
        // No other task has run since: this is what the client knows when the process dies.
        let unanswered = usize::try_from(self.mesh.stats().pending)?;
        let open = self.progress.borrow().open;
        gateway.kill()?;
        self.killed.send_replace(true);
        say("kill -9", &format!("{unanswered} publishes without an answer, {open} leases open"));
        let answered = self.acknowledged.len() + events.len() - unanswered;
        Ok((AtKill { answered, unanswered, open }, pending, gateway))
    }

    async fn collect(&mut self, events: &[Sent], pending: Vec<PendingReceipt>) -> anyhow::Result<()> {
        for (sent, pending) in events.iter().zip(pending) {
            pending.await.with_context(|| format!("publish of {}", sent.id))?;
            self.acknowledged.insert(sent.id.clone());
        }
        Ok(())
    }
}

async fn start(mesh: &Mesh, events: &[Sent]) -> anyhow::Result<Vec<PendingReceipt>> {
    let mut pending = Vec::with_capacity(events.len());
    for sent in events {
        pending.push(mesh.publish_start(TOPIC, sent.event.clone()).await?);
    }
    Ok(pending)
}

fn say(who: &str, what: &str) {
    println!("  {who:<12} {what}");
}

fn print_commands(gateway: &Gateway) {
    let (program, url) = (gateway.program().display(), gateway.url());
    println!("\nThe gateway is still up. Try:");
    println!("  {program} topics list --server {url}");
    println!("  {program} sub {TOPIC} --server {url} --start earliest --json --until-idle 1s");
    println!("  {program} sub {TOPIC} --server {url} --group mine --count 3 --json");
    println!("  kill {}", gateway.id());
}
