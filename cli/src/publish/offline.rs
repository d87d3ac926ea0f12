//! `meshwire pub --offline-file`: events wait in a file for a gateway.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use meshwire::{Connect, Offline};
use tokio::time::timeout;

use super::Publisher;
use crate::server::GRACE;

/// Longest that a gateway which is there may take for what is in the file: what it does not take by then stays.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Args)]
pub(super) struct OfflineFile {
    /// Keep events in this file until the gateway has them; it is made if it is not there.
    #[arg(long = "offline-file", value_name = "FILE")]
    path: Option<PathBuf>,
}

impl OfflineFile {
    pub(super) const fn is_used(&self) -> bool {
        self.path.is_some()
    }

    pub(super) fn name(&self) -> Option<String> {
        self.path.as_deref().map(|path| path.display().to_string())
    }

    pub(super) fn apply(&self, connect: Connect) -> Connect {
        match &self.path {
            Some(path) => connect.offline(Offline::new().file(path)),
            None => connect,
        }
    }
}

impl Publisher<'_> {
    /// Waits for all receipts as long as there is a gateway, and so long for one; then the rest stays in the file.
    pub(super) async fn finish_offline(&mut self, interrupted: bool, wait: Duration) {
        if !wait.is_zero() {
            // Either way the rest is the same.
            let _ = timeout(wait, self.mesh.connected()).await;
        }
        let mesh = self.mesh;
        // How many are left is told by their receipts.
        let drain = async { drop(mesh.drain(if interrupted { GRACE } else { LONGEST }).await) };
        tokio::join!(drain, self.finish());
    }
}
