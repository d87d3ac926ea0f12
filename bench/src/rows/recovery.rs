//! Time to ready on 512 MiB of events after `kill -9` under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use meshwire::Mesh;
use tokio::task::JoinSet;

use super::footprint::millis;
use crate::options::Options;
use crate::ours::{self, Gateway, Receipts, TOPIC};
use crate::payload::{self, Payloads};
use crate::report::Report;

const BAR: Duration = Duration::from_millis(500);
const WHAT: &str = "ready after kill -9";
const DATA_BYTES: u64 = 512 << 20;
const EVENTS: u64 = DATA_BYTES / payload::BYTES as u64;
const PUBLISHERS: u32 = 8;
const PENDING: usize = 4096;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const FILL_LIMIT: Duration = Duration::from_secs(300);

/// Acknowledged events, by publisher.
type Acknowledged = Arc<Vec<AtomicU64>>;

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note("Recovery  512 MiB in 2,097,152 events of 256 bytes on one `synced` topic, `kill -9` under load, warm page cache");
    match measure(options, report).await {
        Ok(ready) => {
            let value = format!("{:.0} ms", millis(ready));
            report.bar(WHAT, &value, &format!("<= {} ms", BAR.as_millis()), ready <= BAR);
        }
        Err(problem) => report.missed(WHAT, &format!("{problem:#}")),
    }
}

async fn measure(options: &Options, report: &Report) -> anyhow::Result<Duration> {
    let folder = options.folder()?;
    let mut gateway = Gateway::on_disk(folder.path())?;
    let acknowledged: Acknowledged = Arc::new((0..PUBLISHERS).map(|_| AtomicU64::new(0)).collect());
    let mut publishing = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishing.spawn(publish(gateway.connect().await?, publisher, Arc::clone(&acknowledged)));
    }
    tokio::select! {
        filled = tokio::time::timeout(FILL_LIMIT, filled(&acknowledged)) => filled.context("512 MiB are not acknowledged after 5 minutes")?,
        end = publishing.join_next() => {
            end.context("there is no publisher")?.context("a publisher panicked")??;
            bail!("a publisher ended");
        }
    }
    gateway.kill()?;
    publishing.shutdown().await;
    let sent: Vec<u64> = acknowledged.iter().map(|a| a.load(Ordering::Relaxed)).collect();
    let again = Gateway::on_disk(folder.path())?;
    again.read_back(&sent).await?;
    report.note(&format!("    {} events were acknowledged before the kill; all came back", sent.iter().sum::<u64>()));
    Ok(again.ready_after())
}

async fn filled(acknowledged: &Acknowledged) {
    while acknowledged.iter().map(|a| a.load(Ordering::Relaxed)).sum::<u64>() < EVENTS {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn publish(mesh: Mesh, publisher: u32, acknowledged: Acknowledged) -> anyhow::Result<()> {
    let mine = acknowledged.get(publisher as usize).context("there is no such publisher")?;
    let mut payloads = Payloads::small(publisher);
    let mut receipts = Receipts::default();
    loop {
        let receipt = mesh.publish_start(TOPIC, ours::event(&mut payloads)).await?;
        receipts.push(receipt, PENDING).await?;
        mine.store(receipts.counted(), Ordering::Relaxed);
    }
}
