//! Our side: the `meshwire` program as a server, crate `meshwire` as its client.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::FutureExt;
use meshwire::{Event, Mesh, PendingReceipt, Start, Subscription};

use crate::flow::{Admission, Arrivals};
use crate::payload::{Payloads, Verifier};
use crate::server::{Says, Server};

/// The topic of every row.
pub(crate) const TOPIC: &str = "bench";

/// Most events of one publisher without a receipt.
pub(crate) const MOST_PENDING: usize = 16_384;

/// Publishes between two looks for receipts.
const HARVEST_EVERY: u64 = 256;

/// Bytes sent ahead to a subscriber; the client's default.
const PREFETCH_BYTES: u64 = 8 << 20;

/// Longest silence while events are read back.
const SILENCE: Duration = Duration::from_secs(10);

/// The gateway's program: MESHWIRE_BIN, else beside this program, else on PATH.
pub(crate) fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("MESHWIRE_BIN") {
        return named.into();
    }
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("meshwire")));
    beside.filter(|p| p.is_file()).unwrap_or_else(|| "meshwire".into())
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    server: Server,
    url: String,
    ready_after: Duration,
}

impl Gateway {
    /// With a data directory in `folder`, new or one of before.
    ///
    /// # Errors
    /// As [`Server::start_and_wait`].
    pub(crate) fn on_disk(folder: &Path) -> anyhow::Result<Self> {
        Self::start(folder, &["--data-dir".as_ref(), folder.join("data").as_os_str()])
    }

    /// With nothing on disk but its log lines.
    ///
    /// # Errors
    /// As [`Server::start_and_wait`].
    pub(crate) fn in_memory(folder: &Path) -> anyhow::Result<Self> {
        Self::start(folder, &["--memory".as_ref()])
    }

    /// In memory, with TLS for those who want it.
    ///
    /// # Errors
    /// As [`Server::start_and_wait`].
    pub(crate) fn with_tls(folder: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        // Few ids: what they take would grow as long as events come, and hide what a flood leaves.
        let tls = ["--memory", "--dedup-ids", "50000", "--tls", "both"].map(AsRef::as_ref);
        let files = ["--tls-certificate".as_ref(), certificate.as_os_str(), "--tls-key".as_ref(), key.as_os_str()];
        Self::start(folder, &[&tls[..], &files].concat())
    }

    /// On disk, with no more than so many files open.
    ///
    /// # Errors
    /// As [`Server::start_and_wait`].
    pub(crate) fn with_files(folder: &Path, files: u32) -> anyhow::Result<Self> {
        // The hard limit too: the gateway raises its own as far as it may.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(program());
        Self::launch(command, folder, &["--data-dir".as_ref(), folder.join("data").as_os_str()])
    }

    fn start(folder: &Path, kept: &[&std::ffi::OsStr]) -> anyhow::Result<Self> {
        Self::launch(Command::new(program()), folder, kept)
    }

    fn launch(mut command: Command, folder: &Path, kept: &[&std::ffi::OsStr]) -> anyhow::Result<Self> {
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(kept);
        let ready = Server::start_and_wait(command, Says::Stdout, &folder.join("meshwire.log"), |line| {
            line.strip_prefix("listening ").map(|address| format!("tcp://{address}"))
        })?;
        Ok(Self { server: ready.server, url: ready.said, ready_after: ready.after })
    }

    /// From before the process was made until it said `listening`.
    pub(crate) const fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        self.server.kill()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Never with what the gateway prints.
    pub(crate) fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        Ok(self.url.trim_start_matches("tcp://").parse()?)
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// As [`meshwire::connect`].
    pub(crate) async fn connect(&self) -> meshwire::Result<Mesh> {
        meshwire::connect(&self.url).await
    }

    /// A connection of its own inside HTTP requests.
    ///
    /// # Errors
    /// As [`meshwire::connect`].
    pub(crate) async fn connect_by_http(&self) -> meshwire::Result<Mesh> {
        meshwire::connect(&self.url.replacen("tcp://", "http://", 1)).await
    }

    /// A connection of its own inside a gRPC stream.
    ///
    /// # Errors
    /// As [`meshwire::connect`].
    pub(crate) async fn connect_by_grpc(&self) -> meshwire::Result<Mesh> {
        meshwire::connect(&self.url.replacen("tcp://", "grpc://", 1)).await
    }

    /// Reads the topic from its first event until every acknowledged one, given by
    /// publisher, was seen and verified.
    ///
    /// # Errors
    /// A loss, gap, duplicate or damage; no more events for 10 s.
    pub(crate) async fn read_back(&self, acknowledged: &[u64]) -> anyhow::Result<()> {
        let mesh = self.connect().await?;
        let mut events = mesh.subscribe(TOPIC).start(Start::Earliest).prefetch(8192, PREFETCH_BYTES).await?;
        let mut verifier = Verifier::new(acknowledged.len());
        while !verifier.has_all(acknowledged) {
            let next = tokio::time::timeout(SILENCE, events.try_next()).await;
            let next = next.with_context(|| verifier.missing(acknowledged))?;
            let delivery = next?.context("the subscription ended")?;
            ensure!(delivery.gap() == 0, "{} events were skipped", delivery.gap());
            verifier.check(delivery.event().data().bytes())?;
            delivery.ack();
        }
        // Closing would wait for what the subscription was given and nobody will settle.
        drop(events);
        mesh.close().await?;
        Ok(())
    }
}

/// One event: data only; the client fills in the rest, as for any user.
pub(crate) fn event(payloads: &mut Payloads) -> Event {
    Event::bytes("", payloads.next())
}

/// Publishes until the flow is stopped, with at most 16,384 events pending, and
/// counts a receipt for each.
///
/// # Errors
/// A publish that failed.
pub(crate) async fn publish(mesh: Mesh, mut admission: Admission) -> anyhow::Result<u64> {
    let mut payloads = Payloads::new(0);
    let mut receipts = Receipts::default();
    while admission.admit().await {
        if receipts.pending.len() == MOST_PENDING {
            receipts.wait_for_one().await?;
        }
        receipts.pending.push_back(mesh.publish_start(TOPIC, event(&mut payloads)).await?);
        if admission.sent().is_multiple_of(HARVEST_EVERY) {
            receipts.take_ready()?;
        }
    }
    let count = receipts.wait_for_all().await?;
    ensure!(count == admission.sent(), "{} events were published, {count} receipts came", admission.sent());
    Ok(count)
}

/// A subscription without a group, as [`receive`] wants it.
///
/// # Errors
/// As [`meshwire::Subscribe`].
pub(crate) async fn subscribe(mesh: &Mesh, prefetch: u64) -> meshwire::Result<Subscription> {
    mesh.subscribe(TOPIC).prefetch(prefetch, PREFETCH_BYTES).await
}

/// Verifies and acks each event, until it is aborted.
///
/// # Errors
/// The first event that is not right.
pub(crate) async fn receive(mut events: Subscription, mut arrivals: Arrivals) -> anyhow::Result<()> {
    while let Some(delivery) = events.try_next().await? {
        ensure!(delivery.gap() == 0, "{} events were skipped", delivery.gap());
        arrivals.take(delivery.event().data().bytes())?;
        delivery.ack();
    }
    Ok(())
}

/// Receipts of one publisher, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    pending: VecDeque<PendingReceipt>,
    counted: u64,
}

impl Receipts {
    /// Adds one; waits for the oldest when `most` are pending.
    ///
    /// # Errors
    /// The oldest publish failed.
    pub(crate) async fn push(&mut self, receipt: PendingReceipt, most: usize) -> meshwire::Result<()> {
        self.pending.push_back(receipt);
        if self.pending.len() >= most {
            self.wait_for_one().await?;
            self.take_ready()?;
        }
        Ok(())
    }

    /// How many were counted.
    pub(crate) const fn counted(&self) -> u64 {
        self.counted
    }

    async fn wait_for_one(&mut self) -> meshwire::Result<()> {
        if let Some(oldest) = self.pending.pop_front() {
            oldest.await?;
            self.counted += 1;
        }
        Ok(())
    }

    fn take_ready(&mut self) -> meshwire::Result<()> {
        while let Some(answer) = self.pending.front_mut().and_then(FutureExt::now_or_never) {
            answer?;
            self.pending.pop_front();
            self.counted += 1;
        }
        Ok(())
    }

    /// Waits for the rest and gives the count of all.
    ///
    /// # Errors
    /// The first publish that failed.
    pub(crate) async fn wait_for_all(mut self) -> meshwire::Result<u64> {
        while !self.pending.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(self.counted)
    }
}
