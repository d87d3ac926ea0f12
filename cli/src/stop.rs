//! The wish to stop: SIGINT and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// Hears every signal since it was made, also while nobody waits.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let hear = |kind| {
            signal(kind).map_err(|cause| Failure::new(Exit::Failed, format!("signals cannot be received: {cause}")))
        };
        Ok(Self { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// Resolves when the next signal comes.
    ///
    /// # Cancel safety
    /// No signal is lost.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Resolves at the first SIGINT, or at the second signal of any kind.
    pub(crate) async fn at_once(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => self.requested().await,
        }
    }
}
