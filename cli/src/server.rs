//! The gateway a command talks to.

use std::future::IntoFuture as _;
use std::time::Duration;

use clap::Args;
use meshwire::{Connect, Mesh};
use meshwire_proto::options;

use crate::access::Access;
use crate::config::parse_duration_within as within;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::stop::Stop;

/// How long what is in flight may take when a command ends. A guess: long
/// enough for a slow disk, short enough for a person who waits.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Most bytes of publishes without a receipt: enough to keep a disk busy, and
/// far from what a gateway has room for (option `publish_budget_bytes`), so that
/// a large file is slowed down and not refused. A larger event passes alone.
const WINDOW_BYTES: u64 = 8 << 20;

#[derive(Args)]
pub(crate) struct Server {
    /// Where the gateway is, else MESHWIRE_URL, else mesh://127.0.0.1:7400.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Keep trying for so long while no gateway can be reached, such as 10s; at most 1h.
    /// Default: 0, not at all.
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    wait: Option<Duration>,
    #[command(flatten)]
    access: Access,
}

fn wait(text: &str) -> Result<Duration, String> {
    within(&options::CONNECT_WAIT, text)
}

/// How long publishes that are answered `BUSY` are tried again, unless --wait says so: as other calls are by the client.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    /// How long to wait for a gateway that cannot be reached.
    pub(crate) fn wait(&self) -> Duration {
        self.wait.unwrap_or_default()
    }

    /// How long to go on with a gateway that is reached and too busy.
    pub(crate) fn patience(&self) -> Duration {
        self.wait.unwrap_or(PATIENCE)
    }

    /// Connects; `None` when a signal came first.
    pub(crate) async fn connect(&self, stop: &mut Stop) -> Result<Option<Mesh>, Failure> {
        self.connect_with(stop, |connect| connect).await
    }

    /// The same, with more options.
    pub(crate) async fn connect_with(
        &self,
        stop: &mut Stop,
        more: impl FnOnce(Connect) -> Connect,
    ) -> Result<Option<Mesh>, Failure> {
        let url = self.server.as_deref().unwrap_or_default();
        let connect = Connect::new(url).publish_window(options::PUBLISH_WINDOW_EVENTS.default, WINDOW_BYTES);
        let connect = self.access.apply(connect.wait(self.wait.unwrap_or_default()));
        tokio::select! {
            connected = more(connect).into_future() => Ok(Some(connected?)),
            () = stop.requested() => Ok(None),
        }
    }

    /// Connects, asks one thing and leaves; `None` when a signal came before there was a connection. A signal while it
    /// asks is a failure with these words: what it asked for may be done or not.
    pub(crate) async fn ask<T>(
        &self,
        stop: &mut Stop,
        interrupted: &'static str,
        ask: impl AsyncFnOnce(&Mesh) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let Some(mesh) = self.connect(stop).await? else {
            return Ok(None);
        };
        let answer = tokio::select! {
            answer = ask(&mesh) => answer,
            () = stop.requested() => Err(Failure::new(Exit::Failed, interrupted)),
        };
        leave(&mesh, stop).await;
        answer.map(Some)
    }

    /// The same, and prints the answer.
    pub(crate) async fn print(
        &self,
        stop: &mut Stop,
        interrupted: &'static str,
        ask: impl AsyncFnOnce(&Mesh) -> Result<String, Failure>,
    ) -> Result<Exit, Failure> {
        let text = self.ask(stop, interrupted, ask).await?;
        Ok(text.and_then(|text| output::write(&text).ok()).map_or(Exit::Failed, |()| Exit::Done))
    }
}

/// Ends a client: what was said is sent, what is unsettled is given back. Waits
/// about [`GRACE`] at most, or until another signal comes.
pub(crate) async fn leave(mesh: &Mesh, stop: &mut Stop) {
    tokio::select! {
        // What is left at the deadline was counted before.
        _ = mesh.drain(GRACE) => {}
        () = stop.requested() => {}
    }
}
