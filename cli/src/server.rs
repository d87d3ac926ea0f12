//! The gateway a command talks to.

use std::time::Duration;

use clap::Args;
use meshwire::{Mesh, State};
use tokio::time::timeout;

use crate::exit::Failure;
use crate::stop::Stop;

/// How long what is in flight may take when a command ends. A guess: long
/// enough for a slow disk, short enough for a person who waits.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Server {
    /// Where the gateway is, else MESHWIRE_URL, else mesh://127.0.0.1:7400.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

impl Server {
    /// Connects; `None` when a signal came first.
    pub(crate) async fn connect(&self, stop: &mut Stop) -> Result<Option<Mesh>, Failure> {
        let url = self.server.as_deref().unwrap_or_default();
        tokio::select! {
            connected = meshwire::connect(url) => Ok(Some(connected?)),
            () = stop.requested() => Ok(None),
        }
    }
}

/// Ends a client: what was said is sent, what is unsettled is given back. Waits
/// [`GRACE`] at most, or until another signal comes.
pub(crate) async fn leave(mesh: &Mesh, stop: &mut Stop) {
    let mut state = mesh.state();
    let leaving = async {
        // What is left at the deadline was counted before.
        let _ = mesh.drain(GRACE).await;
        // The drain is answered before the last bytes are out.
        let _ = timeout(GRACE, state.wait_for(|s| *s == State::Closed)).await;
    };
    tokio::select! {
        () = leaving => {}
        () = stop.requested() => {}
    }
}
