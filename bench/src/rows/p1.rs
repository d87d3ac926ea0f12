//! P1: not durable, one publisher to one subscriber, 256 bytes, against NATS core.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::flow::{Admission, Arrivals, Flow, MOST_ON_THE_WAY};
use crate::options::Options;
use crate::ours::{self, Gateway, MOST_PENDING};
use crate::pairs::{Pairs, Run};
use crate::peers::nats::{self, Nats};
use crate::peers::version;
use crate::report::Report;
use crate::slice::{self, Slice};

const BAR: f64 = 0.5;
const WHAT: &str = "P1 against NATS core";
/// How long the last events of a slice may take to arrive.
const LAST_ARRIVALS: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a surplus of events is waited for.
const SURPLUS: Duration = Duration::from_millis(50);

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note("P1  not durable, 256 bytes, 1 publisher, 1 subscriber");
    match measure(options, report).await {
        Ok(pairs) => {
            let met = pairs.ratios.median >= BAR;
            report.bar(WHAT, &pairs.ratios.to_string(), &format!(">= {BAR}"), met);
        }
        Err(problem) => report.missed(WHAT, &format!("{problem:#}")),
    }
}

async fn measure(options: &Options, report: &Report) -> anyhow::Result<Pairs> {
    let program = nats::find()?;
    report.note(&format!(
        "    ours: topic `memory`, de-duplication on, at most {MOST_PENDING} publishes pending, every receipt counted,"
    ));
    report.note(&format!(
        "    no group, acks in ranges, prefetch {} events; peer: {}, no receipts, no acks",
        options.prefetch,
        version(&program)
    ));
    report.note(&format!(
        "    both: at most {MOST_ON_THE_WAY} events between publisher and subscriber, a fresh server a slice, every"
    ));
    report.note("    event verified; nothing is on disk, so the processor probe alone is the guard");
    let folder = options.folder()?;
    let path = folder.path();
    let ours = async || slice_of_ours(options, path).await;
    let peer = async || slice_of_nats(options, &program, path).await;
    let run = Run { options, folder: path, report, peer: "NATS", on_disk: false };
    run.pairs(ours, peer).await
}

async fn slice_of_ours(options: &Options, folder: &Path) -> anyhow::Result<Slice> {
    let gateway = Gateway::in_memory(folder)?;
    let flow = Arc::new(Flow::default());
    let (publisher, subscriber) = (gateway.connect().await?, gateway.connect().await?);
    let events = ours::subscribe(&subscriber, options.prefetch).await?;
    let receiving = ours::receive(events, Arrivals::new(Arc::clone(&flow)));
    let publishing = ours::publish(publisher, Admission::new(Arc::clone(&flow)));
    stream(options, gateway.pid(), flow, publishing, receiving).await
}

async fn slice_of_nats(options: &Options, program: &Path, folder: &Path) -> anyhow::Result<Slice> {
    let server = Nats::start(program, folder)?;
    let flow = Arc::new(Flow::default());
    let (publisher, subscriber) = (server.connect().await?, server.connect().await?);
    let events = nats::subscribe(&subscriber).await?;
    let receiving = nats::receive(events, Arrivals::new(Arc::clone(&flow)));
    let publishing = nats::publish(publisher, Admission::new(Arc::clone(&flow)));
    stream(options, server.pid(), flow, publishing, receiving).await
}

/// Runs both ends for a slice and verifies that what was sent arrived.
pub(super) async fn stream(
    options: &Options,
    server: u32,
    flow: Arc<Flow>,
    publishing: impl Future<Output = anyhow::Result<u64>> + Send + 'static,
    receiving: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<Slice> {
    let receiver = tokio::spawn(failing(Arc::clone(&flow), receiving));
    let publisher = tokio::spawn(failing(Arc::clone(&flow), publishing));
    let counted = slice::count(options, server, || flow.arrived()).await?;
    flow.stop();
    let sent = tokio::time::timeout(LAST_ARRIVALS, publisher).await;
    let verified = match sent {
        Ok(sent) => all_arrived(&flow, sent.context("the publisher panicked")?).await,
        Err(_) => Err(anyhow!("the publisher does not end: some of its events are not answered")),
    };
    receiver.abort();
    Ok(counted.verdict(verified))
}

async fn failing<T>(flow: Arc<Flow>, end: impl Future<Output = anyhow::Result<T>>) -> Option<T> {
    end.await.inspect_err(|problem| flow.fail(problem)).ok()
}

async fn all_arrived(flow: &Flow, sent: Option<u64>) -> anyhow::Result<()> {
    let arrived = async {
        while flow.fault().is_none() && sent.is_some_and(|sent| flow.arrived() < sent) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let in_time = tokio::time::timeout(LAST_ARRIVALS, arrived).await.is_ok();
    tokio::time::sleep(SURPLUS).await;
    if let Some(fault) = flow.fault() {
        bail!("{fault}");
    }
    let (sent, arrived) = (sent.unwrap_or_default(), flow.arrived());
    if !in_time || arrived != sent {
        bail!("{sent} events were sent, {arrived} arrived");
    }
    Ok(())
}
