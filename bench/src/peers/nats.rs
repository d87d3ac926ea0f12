//! NATS core: `nats-server` as it comes, crate `async-nats` as its client.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use super::{cache, fetch, on_path};
use crate::flow::{Admission, Arrivals};
use crate::payload::Payloads;
use crate::server::{Says, Server};

const MODULE: &str = "github.com/nats-io/nats-server/v2@v2.12.1";
const SUBJECT: &str = "bench";
const ROUND: &str = "bench.round";
/// Where its log says the address.
const LISTENING: &str = "Listening for client connections on ";

/// Finds `nats-server` in our cache or on PATH, else has Go build it.
///
/// # Errors
/// It is absent and cannot be built.
pub(crate) fn find() -> anyhow::Result<PathBuf> {
    let folder = cache()?;
    let cached = folder.join("nats-server");
    if cached.is_file() {
        return Ok(cached);
    }
    if let Some(found) = on_path("nats-server") {
        return Ok(found);
    }
    fetch(Command::new("go").args(["install", MODULE]).env("GOBIN", &folder))
        .with_context(|| format!("nats-server is absent, and `go install {MODULE}` does not bring it"))?;
    Ok(cached)
}

/// A running `nats-server`.
#[derive(Debug)]
pub(crate) struct Nats {
    server: Server,
    address: String,
}

impl Nats {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// As [`Server::start_and_wait`].
    pub(crate) fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", "-1"]);
        let ready = Server::start_and_wait(command, Says::Stderr, &folder.join("nats.log"), |line| {
            line.split_once(LISTENING).map(|(_, address)| address.trim().to_owned())
        })?;
        Ok(Self { server: ready.server, address: ready.said })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// A connection of its own, with the client's defaults.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        async_nats::connect(&self.address).await.context("NATS cannot be reached")
    }
}

/// Publishes until the flow is stopped. Nothing is answered: the client writes by
/// itself, and one flush at the end sends the rest, as its users do.
///
/// # Errors
/// The connection is lost.
pub(crate) async fn publish(client: Client, mut admission: Admission) -> anyhow::Result<u64> {
    let mut payloads = Payloads::new(0);
    while admission.admit().await {
        client.publish(SUBJECT, payloads.next()).await?;
    }
    client.flush().await?;
    Ok(admission.sent())
}

/// Subscribes, and returns once the server knows. A flush of this client only
/// writes; a message that came round says that what went before it was done.
///
/// # Errors
/// The connection is lost.
pub(crate) async fn subscribe(client: &Client) -> anyhow::Result<Subscriber> {
    let events = client.subscribe(SUBJECT).await?;
    let mut round = client.subscribe(ROUND).await?;
    client.publish(ROUND, Bytes::new()).await?;
    round.next().await.context("NATS ended the subscription")?;
    Ok(events)
}

/// Verifies each event, until it is aborted.
///
/// # Errors
/// The first event that is not right.
pub(crate) async fn receive(mut events: Subscriber, mut arrivals: Arrivals) -> anyhow::Result<()> {
    while let Some(message) = events.next().await {
        arrivals.take(&message.payload)?;
    }
    Ok(())
}
