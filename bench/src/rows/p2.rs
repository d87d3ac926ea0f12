//! P2: synced, 50 publishers with one event in flight each, against Redis.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context;
use meshwire::Mesh;
use tokio::task::JoinSet;

use crate::options::Options;
use crate::ours::{self, Gateway, TOPIC};
use crate::pairs::{Pairs, Run};
use crate::payload::Payloads;
use crate::peers::redis::{self, Connection, Redis};
use crate::peers::version;
use crate::raw;
use crate::report::Report;
use crate::slice::{self, Counted, Slice};

const BAR: f64 = 1.0;
const WHAT: &str = "P2 against Redis";
const PUBLISHERS: u32 = 50;

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note("P2  synced, 256 bytes, 50 publishers with one event in flight each");
    match measure(options, report).await {
        Ok(pairs) => {
            let ceiling = f64::from(PUBLISHERS) / pairs.sync.as_secs_f64();
            report.note(&format!(
                "    raw sync probe {:.2} ms: a ceiling of {ceiling:.0}/s with one sync for all; ours {:.0} %, peer {:.0} %",
                pairs.sync.as_secs_f64() * 1e3,
                pairs.ours / ceiling * 100.0,
                pairs.ours / pairs.ratios.median / ceiling * 100.0,
            ));
            let met = pairs.ratios.median >= BAR;
            report.bar(WHAT, &pairs.ratios.to_string(), &format!(">= {BAR:.1}"), met);
        }
        Err(problem) => report.missed(WHAT, &format!("{problem:#}")),
    }
}

async fn measure(options: &Options, report: &Report) -> anyhow::Result<Pairs> {
    let program = redis::find()?;
    report.note("    ours: topic `synced`, de-duplication on; peer: XADD, appendonly yes, appendfsync always, no de-duplication,");
    report.note(&format!("    {}", version(&program)));
    let ours = if options.with_crate { "crate meshwire" } else { "bare frames" };
    report.note(&format!("    client of ours: {ours}; of the peer: bare RESP"));
    report.note("    both: a fresh data directory a slice; every acknowledged event is read back and verified");
    let folder = options.folder()?;
    let path = folder.path();
    let ours = async || slice_of_ours(options, path).await;
    let peer = async || slice_of_redis(options, &program, path).await;
    let run = Run { options, folder: path, report, peer: "Redis", on_disk: true };
    run.pairs(ours, peer).await
}

/// What the publishers of a slice share.
#[derive(Debug, Default)]
struct Shared {
    acknowledged: AtomicU64,
    stopped: AtomicBool,
}

/// A publisher's events that were acknowledged.
type Publishing = JoinSet<anyhow::Result<(u32, u64)>>;

/// A connection that publishes one event and waits for the answer.
trait OneByOne: Send + 'static {
    fn publish(&mut self, payloads: &mut Payloads) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl OneByOne for Mesh {
    async fn publish(&mut self, payloads: &mut Payloads) -> anyhow::Result<()> {
        Self::publish(self, TOPIC, ours::event(payloads)).await?;
        Ok(())
    }
}

impl OneByOne for raw::Connection {
    async fn publish(&mut self, payloads: &mut Payloads) -> anyhow::Result<()> {
        Self::publish(self, payloads.next()).await
    }
}

impl OneByOne for Connection {
    async fn publish(&mut self, payloads: &mut Payloads) -> anyhow::Result<()> {
        self.append(&payloads.next()).await
    }
}

/// Publishes one by one until stopped; gives how many were acknowledged.
async fn publish(mut connection: impl OneByOne, publisher: u32, shared: Arc<Shared>) -> anyhow::Result<(u32, u64)> {
    let mut payloads = Payloads::small(publisher);
    while !shared.stopped.load(Ordering::Relaxed) {
        connection.publish(&mut payloads).await?;
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok((publisher, payloads.made()))
}

/// How many each publisher had acknowledged, in the order of their numbers.
async fn ends(mut publishing: Publishing) -> anyhow::Result<Vec<u64>> {
    let mut sent = Vec::new();
    while let Some(end) = publishing.join_next().await {
        sent.push(end.context("a publisher panicked")??);
    }
    sent.sort_unstable();
    Ok(sent.into_iter().map(|(_, count)| count).collect())
}

async fn slice_of_ours(options: &Options, folder: &Path) -> anyhow::Result<Slice> {
    let folder = tempfile::tempdir_in(folder)?;
    let gateway = Gateway::on_disk(folder.path())?;
    let (shared, mut publishing) = (Arc::new(Shared::default()), Publishing::new());
    for publisher in 0..PUBLISHERS {
        let shared = Arc::clone(&shared);
        if options.with_crate {
            publishing.spawn(publish(gateway.connect().await?, publisher, shared));
        } else {
            let connection = raw::Connection::open(gateway.address()?, publisher).await?;
            publishing.spawn(publish(connection, publisher, shared));
        }
    }
    let (counted, sent) = load(options, gateway.pid(), &shared, publishing).await?;
    let verified = async { gateway.read_back(&sent?).await };
    Ok(counted.verdict(verified.await))
}

async fn slice_of_redis(options: &Options, program: &Path, folder: &Path) -> anyhow::Result<Slice> {
    let folder = tempfile::tempdir_in(folder)?;
    let server = Redis::start(program, folder.path()).await?;
    let (shared, mut publishing) = (Arc::new(Shared::default()), Publishing::new());
    for publisher in 0..PUBLISHERS {
        publishing.spawn(publish(server.connect().await?, publisher, Arc::clone(&shared)));
    }
    let (counted, sent) = load(options, server.pid(), &shared, publishing).await?;
    let verified = async { server.read_back(&sent?).await };
    Ok(counted.verdict(verified.await))
}

/// Counts for a slice, then ends the publishers; with how many events each had acknowledged.
async fn load(
    options: &Options,
    server: u32,
    shared: &Shared,
    publishing: Publishing,
) -> anyhow::Result<(Counted, anyhow::Result<Vec<u64>>)> {
    let counted = slice::count(options, server, || shared.acknowledged.load(Ordering::Relaxed)).await?;
    shared.stopped.store(true, Ordering::Relaxed);
    Ok((counted, ends(publishing).await))
}
