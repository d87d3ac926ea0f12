//! Resident memory after a million synced events, with 200 connections open.

use std::time::Duration;

use anyhow::{Context, ensure};
use meshwire::Mesh;
use tokio::task::JoinSet;

use super::footprint::megabytes;
use crate::options::Options;
use crate::ours::{self, Gateway, Receipts, TOPIC};
use crate::payload::{Payloads, Verifier};
use crate::process::resident_bytes;
use crate::report::Report;

const BAR: f64 = 64.0;
const WHAT: &str = "after 1,000,000 events";
const CONNECTIONS: u32 = 200;
const EVENTS: u64 = 1_000_000;
const EACH: u64 = EVENTS / CONNECTIONS as u64;
/// Publishes in flight of one connection: all together some 12,800.
const PENDING: usize = 64;
const REST: Duration = Duration::from_secs(10);

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note(
        "Memory  1,000,000 events of 256 bytes on one `synced` topic from 200 connections, one group that acked all,",
    );
    report.note("        the connections still open, read 10 s later");
    match measure(options).await {
        Ok(bytes) => megabytes(report, WHAT, bytes, BAR),
        Err(problem) => report.missed(WHAT, &format!("{problem:#}")),
    }
}

async fn measure(options: &Options) -> anyhow::Result<u64> {
    let folder = options.folder()?;
    let gateway = Gateway::on_disk(folder.path())?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(gateway.connect().await?);
    }
    let consumer = connections.first().context("there is no connection")?.clone();
    let consuming = tokio::spawn(consume(consumer));
    let mut publishing = JoinSet::new();
    for (publisher, mesh) in (0..).zip(connections.iter().cloned()) {
        publishing.spawn(publish(mesh, publisher));
    }
    while let Some(end) = publishing.join_next().await {
        end.context("a publisher panicked")??;
    }
    consuming.await.context("the consumer panicked")??;
    tokio::time::sleep(REST).await;
    let resident = resident_bytes(gateway.pid())?;
    drop(connections);
    Ok(resident)
}

async fn publish(mesh: Mesh, publisher: u32) -> anyhow::Result<()> {
    let mut payloads = Payloads::small(publisher);
    let mut receipts = Receipts::default();
    for _ in 0..EACH {
        let receipt = mesh.publish_start(TOPIC, ours::event(&mut payloads)).await?;
        receipts.push(receipt, PENDING).await?;
    }
    let counted = receipts.wait_for_all().await?;
    ensure!(counted == EACH, "{EACH} events were published, {counted} receipts came");
    Ok(())
}

async fn consume(mesh: Mesh) -> anyhow::Result<()> {
    let mut events = mesh.subscribe(TOPIC).group("bench").await?;
    let mut verifier = Verifier::new(CONNECTIONS as usize);
    while verifier.count() < EVENTS {
        let delivery = events.try_next().await?.context("the subscription ended")?;
        verifier.check(delivery.event().data().bytes())?;
        if verifier.count() == EVENTS {
            // Settles go out in order, so this answer covers all of them.
            delivery.ack_confirmed().await?;
        } else {
            delivery.ack();
        }
    }
    Ok(())
}
