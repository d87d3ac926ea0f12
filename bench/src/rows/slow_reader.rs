//! A subscriber that does not read its socket, beside three that do: what it costs them, and what it costs in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use meshwire::{Event, Mesh};
use tokio::task::JoinSet;

use super::footprint::megabytes;
use crate::options::Options;
use crate::ours::{self, Gateway, Receipts, TOPIC};
use crate::pairs::{Pairs, Run};
use crate::payload::{self, Payloads, Verifier};
use crate::process::resident_bytes;
use crate::raw;
use crate::report::Report;
use crate::slice::{self, Slice};

const READERS: u32 = 3;
const RATE_BAR: f64 = 0.9;
/// For one short pair on a busy machine.
const GUARD_RATE_BAR: f64 = 0.5;
const RATE: &str = "three beside one that is stuck";
/// Bytes of data of an event.
const SIZES: [usize; 3] = [payload::BYTES, 4096, 65_536];
/// Bytes of data that are offered while memory is watched.
const OFFERED: u64 = 256 << 20;
/// The same of a guard: more than what may be resident.
const GUARD_OFFERED: u64 = 128 << 20;
/// The default of option `memory_budget`, and what may be resident of it beyond an idle gateway.
const BUDGET: u64 = 64 << 20;
const OF_BUDGET: f64 = 1.2;
/// How often it is looked at the gateway's memory.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Until what a start leaves to do is done.
const SETTLE: Duration = Duration::from_secs(2);
/// Publishes in flight: as many as the client allows by default.
const PENDING: usize = 16_384;
const LAST_ARRIVALS: Duration = Duration::from_secs(120);

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note("Slow reader  `synced` topic, 256 bytes, one publisher, three unnamed subscribers, and one more that never reads");
    report.note("    its socket and stays connected; it asked for all the credit there is (65,536 events, 64 MiB)");
    let (offered, rate_bar) = if options.guard { (GUARD_OFFERED, GUARD_RATE_BAR) } else { (OFFERED, RATE_BAR) };
    // Small events take the time; the others show a bound as well.
    for bytes in SIZES.into_iter().filter(|bytes| !options.guard || *bytes > payload::BYTES) {
        let what = format!("{} MiB in {bytes} bytes", offered >> 20);
        match memory(options, bytes, offered).await {
            Ok((idle, most)) => {
                report.note(&format!("    idle {:.1} MB, at most {:.1} MB", idle as f64 / 1e6, most as f64 / 1e6));
                let bar = (idle as f64 + BUDGET as f64 * OF_BUDGET) / 1e6;
                megabytes(report, &what, most, bar);
            }
            Err(problem) => report.missed(&what, &format!("{problem:#}")),
        }
    }
    match rates(options, report).await {
        Ok(pairs) => {
            let met = pairs.ratios.median >= rate_bar;
            report.bar(RATE, &pairs.ratios.to_string(), &format!(">= {rate_bar}"), met);
        }
        Err(problem) => report.missed(RATE, &format!("{problem:#}")),
    }
}

async fn rates(options: &Options, report: &Report) -> anyhow::Result<Pairs> {
    report.note(
        "    ours: the three with the fourth; peer: the same three without it; a rate is that of one of the three",
    );
    let folder = options.folder()?;
    let path = folder.path();
    let with = async || slice(options, path, true).await;
    let without = async || slice(options, path, false).await;
    let run = Run { options, folder: path, report, peer: "alone", on_disk: true };
    run.pairs(with, without).await
}

/// What publisher and readers of a slice share.
#[derive(Debug, Default)]
struct Shared {
    received: AtomicU64,
    stopped: AtomicBool,
}

async fn slice(options: &Options, folder: &Path, stuck: bool) -> anyhow::Result<Slice> {
    let folder = tempfile::tempdir_in(folder)?;
    let gateway = Gateway::on_disk(folder.path())?;
    let shared = Arc::new(Shared::default());
    let (readers, _stuck) = begin(&gateway, &shared, stuck).await?;
    let publisher = gateway.connect().await?;
    let publishing = tokio::spawn(publish(publisher, (u64::MAX, payload::BYTES), Arc::clone(&shared)));
    let received = || shared.received.load(Ordering::Relaxed) / u64::from(READERS);
    let counted = slice::count(options, gateway.pid(), received).await?;
    shared.stopped.store(true, Ordering::Relaxed);
    let verified = async {
        let sent = publishing.await.context("the publisher panicked")??;
        all_arrived(&shared, readers, sent).await
    };
    Ok(counted.verdict(verified.await))
}

/// Resident bytes when idle, and at most.
async fn memory(options: &Options, bytes: usize, offered: u64) -> anyhow::Result<(u64, u64)> {
    let folder = options.folder()?;
    let gateway = Gateway::on_disk(folder.path())?;
    tokio::time::sleep(SETTLE).await;
    let idle = resident_bytes(gateway.pid())?;
    let shared = Arc::new(Shared::default());
    let (readers, _stuck) = begin(&gateway, &shared, true).await?;
    let events = offered / bytes as u64;
    let publisher = gateway.connect().await?;
    let publishing = tokio::spawn(publish(publisher, (events, bytes), Arc::clone(&shared)));
    let mut most = idle;
    let all = async {
        let sent = publishing.await.context("the publisher panicked")??;
        ensure!(sent == events, "{sent} of {events} events were published");
        all_arrived(&shared, readers, sent).await
    };
    tokio::select! {
        looked = look_for_most(gateway.pid(), &mut most) => looked?,
        arrived = all => arrived?,
    }
    Ok((idle, most.max(resident_bytes(gateway.pid())?)))
}

/// The most memory that was seen, until it is dropped.
async fn look_for_most(pid: u32, most: &mut u64) -> anyhow::Result<()> {
    loop {
        *most = (*most).max(resident_bytes(pid)?);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn begin(
    gateway: &Gateway,
    shared: &Arc<Shared>,
    stuck: bool,
) -> anyhow::Result<(JoinSet<anyhow::Result<()>>, Option<raw::Stuck>)> {
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let mesh = gateway.connect().await?;
        let events = ours::subscribe(&mesh, 8192).await?;
        readers.spawn(read(events, Arc::clone(shared)));
    }
    let stuck = if stuck { Some(raw::Stuck::subscribe(gateway.address()?, "").await?) } else { None };
    Ok((readers, stuck))
}

async fn read(mut events: meshwire::Subscription, shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut verifier = Verifier::new(1);
    while let Some(delivery) = events.try_next().await? {
        ensure!(delivery.gap() == 0, "{} events were skipped", delivery.gap());
        let data = delivery.event().data().bytes();
        verifier.check(data.get(..payload::BYTES).unwrap_or(data))?;
        delivery.ack();
        shared.received.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Publishes until so many are sent or it is stopped; gives how many were acknowledged.
async fn publish(mesh: Mesh, (events, bytes): (u64, usize), shared: Arc<Shared>) -> anyhow::Result<u64> {
    let mut payloads = Payloads::new(0);
    let mut receipts = Receipts::default();
    while payloads.made() < events && !shared.stopped.load(Ordering::Relaxed) {
        let mut data = payloads.next().to_vec();
        data.resize(bytes, 0);
        let receipt = mesh.publish_start(TOPIC, Event::bytes("", data)).await?;
        receipts.push(receipt, PENDING).await?;
    }
    Ok(receipts.wait_for_all().await?)
}

async fn all_arrived(shared: &Shared, mut readers: JoinSet<anyhow::Result<()>>, sent: u64) -> anyhow::Result<()> {
    let all = async {
        while shared.received.load(Ordering::Relaxed) < sent * u64::from(READERS) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        ended = readers.join_next() => ended.context("there are no readers")?.context("a reader panicked")?.and_then(|()| anyhow::bail!("a reader ended")),
        arrived = tokio::time::timeout(LAST_ARRIVALS, all) => arrived.context("not everything arrived at the three"),
    }
}
