//! P5: CloudEvents over HTTP, one in a POST, against a bare handler of the same crates; and batches against single events.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;

use super::p1::stream;
use crate::flow::{Arrivals, Flow, MOST_ON_THE_WAY};
use crate::http::{Connection, OneByOne, Shared, Version};
use crate::options::Options;
use crate::ours::{self, Gateway};
use crate::pairs::Run;
use crate::payload::Payloads;
use crate::peers::bare::{self, Bare};
use crate::report::Report;
use crate::slice::Slice;

const SINGLE_BAR: f64 = 0.7;
const BATCH_BAR: f64 = 10.0;
/// Events of a batch.
pub(super) const BATCH: u64 = 100;
/// Connections of HTTP/1.1, each with one request in flight.
const CONNECTIONS: u32 = 32;
/// Connections of HTTP/2, and the requests in flight of each.
pub(super) const SHARED: u32 = 8;
pub(super) const STREAMS: u32 = 32;
/// The same of batches: as many in all as over HTTP/1.1.
const BATCH_STREAMS: u32 = CONNECTIONS / SHARED;
/// How long a publisher waits for the subscriber.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Single,
    Batch,
}

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note("P5  not durable, CloudEvents of 256 bytes over HTTP, kept-alive connections, 1 subscriber");
    report.note("    ours: topic `memory`, de-duplication on, no group, acks in ranges by crate meshwire over HTTP");
    report.note(
        "    bare: axum on hyper, takes the body, hands it to a stream over the same HTTP version, answers in ranges",
    );
    for (version, name) in [(Version::Http1, "HTTP/1.1"), (Version::Http2, "HTTP/2")] {
        let flight = match version {
            Version::Http1 => format!("{CONNECTIONS} connections with one request in flight each"),
            Version::Http2 => {
                format!("{SHARED} connections with {STREAMS} requests in flight each, or {BATCH_STREAMS} batches")
            }
        };
        report.note(&format!("    {name}: {flight}"));
        single(options, report, version, name).await;
        batch(options, report, version, name).await;
    }
}

async fn single(options: &Options, report: &mut Report, version: Version, name: &str) {
    let measured = async {
        let folder = options.folder()?;
        let path = folder.path();
        let ours = async || slice_of_ours(options, path, version, Load::Single).await;
        let peer = async || slice_of_bare(options, path, version).await;
        Run { options, folder: path, report, peer: "bare", on_disk: false }.pairs(ours, peer).await
    };
    verdict(report, &format!("P5 {name}, against bare"), measured.await.map(|p| p.ratios), SINGLE_BAR);
}

async fn batch(options: &Options, report: &mut Report, version: Version, name: &str) {
    let measured = async {
        let folder = options.folder()?;
        let path = folder.path();
        let batch = async || slice_of_ours(options, path, version, Load::Batch).await;
        let single = async || slice_of_ours(options, path, version, Load::Single).await;
        Run { options, folder: path, report, peer: "single", on_disk: false }.pairs(batch, single).await
    };
    verdict(report, &format!("P5 {name}, batch of {BATCH}"), measured.await.map(|p| p.ratios), BATCH_BAR);
}

pub(super) fn verdict(report: &mut Report, what: &str, ratios: anyhow::Result<crate::pairs::Ratios>, bar: f64) {
    match ratios {
        Ok(ratios) => report.bar(what, &ratios.to_string(), &format!(">= {bar}"), ratios.median >= bar),
        Err(problem) => report.missed(what, &format!("{problem:#}")),
    }
}

async fn slice_of_ours(options: &Options, folder: &Path, version: Version, load: Load) -> anyhow::Result<Slice> {
    let gateway = Gateway::in_memory(folder)?;
    let flow = Arc::new(Flow::default());
    let events = ours::subscribe(&gateway.connect_by_http().await?, options.prefetch).await?;
    let receiving = ours::receive(events, Arrivals::of(Arc::clone(&flow), publishers(version) as usize));
    let publishing = publish(gateway.address()?, version, load, Arc::clone(&flow));
    stream(options, gateway.pid(), flow, publishing, receiving).await
}

async fn slice_of_bare(options: &Options, folder: &Path, version: Version) -> anyhow::Result<Slice> {
    let server = Bare::start(folder)?;
    let flow = Arc::new(Flow::default());
    let payloads = bare::subscribe(server.address(), version).await?;
    let receiving = bare::receive(payloads, Arrivals::of(Arc::clone(&flow), publishers(version) as usize));
    let publishing = publish(server.address(), version, Load::Single, Arc::clone(&flow));
    stream(options, server.pid(), flow, publishing, receiving).await
}

const fn publishers(version: Version) -> u32 {
    match version {
        Version::Http1 => CONNECTIONS,
        Version::Http2 => SHARED * STREAMS,
    }
}

/// Publishes from all connections until the flow is stopped; gives how many events were answered.
async fn publish(address: SocketAddr, version: Version, load: Load, flow: Arc<Flow>) -> anyhow::Result<u64> {
    let (admitted, mut publishing) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    match version {
        Version::Http1 => {
            for publisher in 0..CONNECTIONS {
                let connection = Connection::open(address).await?;
                let shared = (Arc::clone(&flow), Arc::clone(&admitted));
                publishing.spawn(publish_one_by_one(connection, publisher, load, shared));
            }
        }
        Version::Http2 => {
            let streams = if load == Load::Batch { BATCH_STREAMS } else { STREAMS };
            for shared in 0..SHARED {
                for (stream, publisher) in Shared::open(address, streams).await?.into_iter().zip(shared * streams..) {
                    let shared = (Arc::clone(&flow), Arc::clone(&admitted));
                    publishing.spawn(publish_one_by_one(stream, publisher, load, shared));
                }
            }
        }
    }
    let mut sent = 0;
    while let Some(end) = publishing.join_next().await {
        sent += end.context("a publisher panicked")??;
    }
    Ok(sent)
}

/// Publishes from one connection until the flow is stopped; `admitted` counts what all of them began.
pub(super) async fn publish_one_by_one(
    mut connection: impl OneByOne,
    publisher: u32,
    load: Load,
    (flow, admitted): (Arc<Flow>, Arc<AtomicU64>),
) -> anyhow::Result<u64> {
    let mut payloads = Payloads::small(publisher);
    let count = if load == Load::Batch { BATCH } else { 1 };
    while !flow.is_stopped() {
        if admitted.load(Ordering::Relaxed).saturating_sub(flow.arrived()) >= MOST_ON_THE_WAY {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        admitted.fetch_add(count, Ordering::Relaxed);
        match load {
            Load::Single => connection.publish(publisher, &mut payloads).await?,
            Load::Batch => connection.publish_batch(publisher, &mut payloads, BATCH).await?,
        }
    }
    Ok(payloads.made())
}
