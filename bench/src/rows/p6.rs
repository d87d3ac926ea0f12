//! P6: a gRPC stream against a bare one of the same crates; and batches of events against unary calls.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context;
use tokio::task::JoinSet;

use super::p1::stream;
use super::p5::{BATCH, Load, SHARED, STREAMS, publish_one_by_one, verdict};
use crate::flow::{Admission, Arrivals, Flow, MOST_ON_THE_WAY};
use crate::grpc::{self, Unary};
use crate::options::Options;
use crate::ours::{self, Gateway, MOST_PENDING};
use crate::pairs::Run;
use crate::peers::bare::Bare;
use crate::report::Report;
use crate::slice::Slice;

const STREAM_BAR: f64 = 0.5;
const BATCH_BAR: f64 = 5.0;

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note("P6  not durable, 256 bytes over gRPC, 1 subscriber");
    report.note(&format!(
        "    stream, ours: crate meshwire both ends, `grpc://`, topic `memory`, at most {MOST_PENDING} publishes pending, acks in ranges;"
    ));
    report.note("    bare: tonic, a message a payload, handed to a stream of messages, both answered in ranges");
    report.note(&format!("    both: 1 publisher, at most {MOST_ON_THE_WAY} events between it and the subscriber"));
    let measured = async {
        let folder = options.folder()?;
        let path = folder.path();
        let ours = async || stream_of_ours(options, path).await;
        let peer = async || stream_of_bare(options, path).await;
        Run { options, folder: path, report, peer: "bare", on_disk: false }.pairs(ours, peer).await
    };
    let ratios = measured.await.map(|pairs| pairs.ratios);
    verdict(report, "P6 stream, against bare", ratios, STREAM_BAR);
    report.note(&format!("    calls of `meshwire.v1.Mesh`: {SHARED} connections with {STREAMS} in flight each"));
    let measured = async {
        let folder = options.folder()?;
        let path = folder.path();
        let batch = async || calls(options, path, Load::Batch).await;
        let unary = async || calls(options, path, Load::Single).await;
        Run { options, folder: path, report, peer: "unary", on_disk: false }.pairs(batch, unary).await
    };
    let ratios = measured.await.map(|pairs| pairs.ratios);
    verdict(report, &format!("P6 batch of {BATCH}"), ratios, BATCH_BAR);
}

async fn stream_of_ours(options: &Options, folder: &Path) -> anyhow::Result<Slice> {
    let gateway = Gateway::in_memory(folder)?;
    let flow = Arc::new(Flow::default());
    let (publisher, subscriber) = (gateway.connect_by_grpc().await?, gateway.connect_by_grpc().await?);
    let events = ours::subscribe(&subscriber, options.prefetch).await?;
    let receiving = ours::receive(events, Arrivals::new(Arc::clone(&flow)));
    let publishing = ours::publish(publisher, Admission::new(Arc::clone(&flow)));
    stream(options, gateway.pid(), flow, publishing, receiving).await
}

async fn stream_of_bare(options: &Options, folder: &Path) -> anyhow::Result<Slice> {
    let server = Bare::start(folder)?;
    let flow = Arc::new(Flow::default());
    let payloads = grpc::subscribe_bare(server.address()).await?;
    let receiving = grpc::receive_bare(payloads, Arrivals::new(Arc::clone(&flow)));
    let publishing = grpc::publish_bare(server.address(), Admission::new(Arc::clone(&flow)));
    stream(options, server.pid(), flow, publishing, receiving).await
}

async fn calls(options: &Options, folder: &Path, load: Load) -> anyhow::Result<Slice> {
    let gateway = Gateway::in_memory(folder)?;
    let flow = Arc::new(Flow::default());
    let events = ours::subscribe(&gateway.connect().await?, options.prefetch).await?;
    let receiving = ours::receive(events, Arrivals::of(Arc::clone(&flow), (SHARED * STREAMS) as usize));
    let (address, shared) = (gateway.address()?, Arc::clone(&flow));
    let publishing = async move {
        let (admitted, mut publishing) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for connection in 0..SHARED {
            for (call, publisher) in Unary::open(address, STREAMS).await?.into_iter().zip(connection * STREAMS..) {
                let shared = (Arc::clone(&shared), Arc::clone(&admitted));
                publishing.spawn(publish_one_by_one(call, publisher, load, shared));
            }
        }
        let mut sent = 0;
        while let Some(end) = publishing.join_next().await {
            sent += end.context("a publisher panicked")??;
        }
        Ok(sent)
    };
    stream(options, gateway.pid(), flow, publishing, receiving).await
}
