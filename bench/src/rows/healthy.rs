//! A healthy consumer beside one that is stuck, one that is slow and one that crashes again and again, all of one topic.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshwire::{Mesh, Subscription};
use tokio::task::JoinSet;

use crate::options::Options;
use crate::ours::{self, Gateway, Receipts, TOPIC};
use crate::pairs::Ratios;
use crate::payload::{Payloads, Verifier};
use crate::raw;
use crate::report::Report;

const RATE: &str = "healthy one, of the offered";
const RATE_BAR: f64 = 0.9;
/// For one short pair on a busy machine, which says nothing of latency.
const GUARD_RATE_BAR: f64 = 0.5;
const LATENCY: &str = "its p99, of that alone";
const LATENCY_BAR: f64 = 2.0;
/// Between two looks at what is due.
const STEP: Duration = Duration::from_millis(2);
/// How long the slow one takes for an event.
const SLOW: Duration = Duration::from_millis(100);
/// How long one that crashes lives.
const LIFE: Duration = Duration::from_millis(200);
/// Publishes in flight while capacity is measured.
const PENDING: usize = 16_384;

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note(
        "Healthy  `synced` topic, 256 bytes, each consumer a group of its own: one healthy, one that never reads its",
    );
    report.note("    socket, one that takes 100 ms for each event, one that crashes every 200 ms without a word");
    match measure(options, report).await {
        Ok((rates, latencies)) => {
            let bar = if options.guard { GUARD_RATE_BAR } else { RATE_BAR };
            report.bar(RATE, &rates.to_string(), &format!(">= {bar}"), rates.median >= bar);
            if options.guard {
                return;
            }
            report.bar(LATENCY, &latencies.to_string(), &format!("<= {LATENCY_BAR}"), latencies.median <= LATENCY_BAR);
        }
        Err(problem) => report.missed(RATE, &format!("{problem:#}")),
    }
}

/// What one slice gave.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Of the events that were to be offered, those that had arrived when the last one was due.
    part: f64,
    p99: Duration,
}

async fn measure(options: &Options, report: &Report) -> anyhow::Result<(Ratios, Ratios)> {
    let folder = options.folder()?;
    let capacity = capacity(options, folder.path()).await?;
    let offered = capacity / 3;
    report.note(&format!("    alone and as fast as it goes {capacity}/s; offered {offered}/s"));
    let (mut parts, mut latencies) = (Vec::new(), Vec::new());
    for _ in 0..options.pairs {
        let alone = slice(options, folder.path(), offered, false).await?;
        let together = slice(options, folder.path(), offered, true).await?;
        report.note(&format!(
            "    alone {:.2} of it, p99 {:.2} ms; together {:.2} of it, p99 {:.2} ms",
            alone.part,
            alone.p99.as_secs_f64() * 1e3,
            together.part,
            together.p99.as_secs_f64() * 1e3
        ));
        parts.push(together.part);
        latencies.push(together.p99.as_secs_f64() / alone.p99.as_secs_f64());
    }
    let ratios = Ratios::of(&parts).zip(Ratios::of(&latencies));
    ratios.context("there were no pairs")
}

/// What publisher and consumer of a slice share.
#[derive(Debug, Default)]
struct Shared {
    received: AtomicU64,
    stopped: AtomicBool,
}

/// Events a second of the healthy one when nothing limits the publisher.
async fn capacity(options: &Options, folder: &Path) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir_in(folder)?;
    let gateway = Gateway::on_disk(folder.path())?;
    let shared = Arc::new(Shared::default());
    let mesh = gateway.connect().await?;
    let events = healthy(&mesh).await?;
    let consuming = tokio::spawn(consume(events, Arc::clone(&shared), Arc::default()));
    let publishing = tokio::spawn(publish(gateway.connect().await?, Arc::clone(&shared)));
    tokio::time::sleep(options.warm_up()).await;
    let (before, began) = (shared.received.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(options.counted()).await;
    let events = shared.received.load(Ordering::Relaxed) - before;
    let rate = events as f64 / began.elapsed().as_secs_f64();
    shared.stopped.store(true, Ordering::Relaxed);
    publishing.await.context("the publisher panicked")??;
    ensure!(!consuming.is_finished(), "the consumer ended");
    consuming.abort();
    Ok(rate as u64)
}

async fn publish(mesh: Mesh, shared: Arc<Shared>) -> anyhow::Result<()> {
    let (mut payloads, mut receipts) = (Payloads::new(0), Receipts::default());
    while !shared.stopped.load(Ordering::Relaxed) {
        let receipt = mesh.publish_start(TOPIC, ours::event(&mut payloads)).await?;
        receipts.push(receipt, PENDING).await?;
    }
    receipts.wait_for_all().await?;
    Ok(())
}

async fn healthy(mesh: &Mesh) -> meshwire::Result<Subscription> {
    mesh.subscribe(TOPIC).group("healthy").prefetch(8192, 8 << 20).await
}

/// Verifies and acks; with what was sent when, also how long each took.
async fn consume(mut events: Subscription, shared: Arc<Shared>, sent: Arc<Sent>) -> anyhow::Result<()> {
    let mut verifier = Verifier::new(1);
    while let Some(delivery) = events.try_next().await? {
        verifier.check(delivery.event().data().bytes())?;
        sent.arrived(verifier.count() - 1);
        delivery.ack();
        shared.received.store(verifier.count(), Ordering::Relaxed);
    }
    Ok(())
}

/// When each event was due, and how long after it came, in microseconds from the begin: one that could not be published in
/// time has waited too.
#[derive(Debug, Default)]
struct Sent {
    began: Option<Instant>,
    times: Vec<AtomicU64>,
}

impl Sent {
    fn new(events: u64) -> Self {
        Self { began: Some(Instant::now()), times: (0..events).map(|_| AtomicU64::new(u64::MAX)).collect() }
    }

    fn now(&self) -> u64 {
        self.began.map_or(0, |began| u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn slot(&self, event: u64) -> Option<&AtomicU64> {
        self.times.get(usize::try_from(event).ok()?)
    }

    /// An event was due at this time, which has come.
    fn leaves(&self, event: u64, due: u64) {
        if let Some(slot) = self.slot(event) {
            slot.store(due, Ordering::Relaxed);
        }
    }

    fn arrived(&self, event: u64) {
        if let Some(slot) = self.slot(event) {
            slot.store(self.now().saturating_sub(slot.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }

    /// The 99th of a hundred, of the events of this range, all of which arrived.
    fn p99(&self, events: std::ops::Range<u64>) -> Option<Duration> {
        let range = usize::try_from(events.start).ok()?..usize::try_from(events.end).ok()?;
        let mut times: Vec<u64> = self.times.get(range)?.iter().map(|t| t.load(Ordering::Relaxed)).collect();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).map(|micros| Duration::from_micros(*micros))
    }
}

async fn slice(options: &Options, folder: &Path, rate: u64, together: bool) -> anyhow::Result<Seen> {
    let folder = tempfile::tempdir_in(folder)?;
    let gateway = Gateway::on_disk(folder.path())?;
    let (warm, counted) = (options.warm_up().as_secs_f64(), options.counted().as_secs_f64());
    let events = (rate as f64 * (warm + counted)) as u64;
    let first = (rate as f64 * warm) as u64;
    let sent = Arc::new(Sent::new(events));
    let shared = Arc::new(Shared::default());
    let mesh = gateway.connect().await?;
    let consuming = tokio::spawn(consume(healthy(&mesh).await?, Arc::clone(&shared), Arc::clone(&sent)));
    let mut others = JoinSet::new();
    let mut stuck = None;
    if together {
        stuck = Some(raw::Stuck::subscribe(gateway.address()?, "stuck").await?);
        others.spawn(slow(gateway.connect().await?));
        others.spawn(crash(gateway.address()?));
    }
    let publisher = gateway.connect().await?;
    let planned = Duration::from_secs_f64(events as f64 / rate as f64);
    let in_time = async {
        tokio::time::sleep(planned).await;
        shared.received.load(Ordering::Relaxed)
    };
    let (offered, arrived) = tokio::join!(offer(&publisher, rate, events, &sent), in_time);
    offered?;
    publisher.flush().await?;
    while shared.received.load(Ordering::Relaxed) < events && !consuming.is_finished() {
        tokio::time::sleep(STEP).await;
    }
    ensure!(!consuming.is_finished(), "the healthy consumer ended");
    consuming.abort();
    if let Some(ended) = others.try_join_next() {
        ended.context("a consumer panicked")?.context("a consumer beside the healthy one ended")?;
    }
    drop(stuck);
    let part = arrived.saturating_sub(first) as f64 / (events - first) as f64;
    Ok(Seen { part, p99: sent.p99(first..events).context("nothing was counted")? })
}

/// Publishes at a constant rate, as far as the gateway lets it.
async fn offer(mesh: &Mesh, rate: u64, events: u64, sent: &Sent) -> anyhow::Result<()> {
    let mut payloads = Payloads::new(0);
    let (began, from) = (Instant::now(), sent.now());
    while payloads.made() < events {
        let due = ((began.elapsed().as_secs_f64() * rate as f64) as u64).min(events);
        while payloads.made() < due {
            let made = payloads.made();
            sent.leaves(made, from + made * 1_000_000 / rate);
            // Its receipt is waited for by the flush at the end.
            drop(mesh.publish_start(TOPIC, ours::event(&mut payloads)).await?);
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}

async fn slow(mesh: Mesh) -> anyhow::Result<()> {
    let mut events = mesh.subscribe(TOPIC).group("slow").await?;
    while let Some(delivery) = events.try_next().await? {
        tokio::time::sleep(SLOW).await;
        delivery.ack();
    }
    Ok(())
}

async fn crash(address: std::net::SocketAddr) -> anyhow::Result<()> {
    loop {
        let life = raw::Stuck::subscribe(address, "crashing").await?;
        tokio::time::sleep(LIFE).await;
        // Its socket is closed, without a goodbye.
        drop(life);
    }
}
