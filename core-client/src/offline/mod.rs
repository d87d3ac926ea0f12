//! The offline buffer: publishes that wait for a gateway.

mod disk;
mod filer;
#[cfg(any(test, feature = "testing"))]
pub mod forgetful;
mod journal;
mod kept;
#[cfg(test)]
mod lives;
mod record;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use meshwire_proto::{ErrorKind, Retry, options};

pub use disk::{Disk, Replaced};
use filer::File;
pub use journal::{Found, Journal, OpenProblem, Refused};
pub(crate) use kept::Kept;
pub use record::Filed;

use crate::session::OfflinePolicy;
use crate::{Error, Result};

/// What waits while there is no gateway, for [`Connect::offline`](crate::Connect::offline).
///
/// ```no_run
/// # async fn example() -> meshwire::Result<()> {
/// use meshwire::{Connect, Event, Offline};
/// let mesh = Connect::new("").offline(Offline::new()).await?; // whether a gateway runs or not
/// drop(mesh.publish_start("readings", Event::text("reading", "21.5")).await?); // waits for one
/// # Ok(())
/// # }
/// ```
///
/// **With a [file](Self::file)** what was admitted outlives the process: the next client that opens the file publishes it,
/// under the same sequences, so that a gateway which has some of it already knows that. A gateway that has forgotten the
/// client (after 24 h without a publish) knows events by `source` and `id` only, as far back as its option `dedup_window`:
/// what is older than that may be there twice. Do not copy the file: two clients with one identity look like one to the gateway.
#[derive(Clone, Debug)]
pub struct Offline {
    policy: OfflinePolicy,
    file: Option<PathBuf>,
    is_synced: bool,
}

impl Default for Offline {
    fn default() -> Self {
        Self::new()
    }
}

impl Offline {
    /// A buffer in memory, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self { policy: OfflinePolicy::default(), file: None, is_synced: true }
    }

    /// Most bytes of events that wait, or have no receipt; an event counts as 64 bytes at least. It takes the place of
    /// [`Connect::publish_window`](crate::Connect::publish_window), which stays the most that is on its way at once.
    /// Default 64 MiB; from 64 KiB to 1 GiB.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.policy.max_bytes = bytes;
        self
    }

    /// How long an event waits before it is given up and its receipt fails with `TIMEOUT`. Default 24 h, which is how
    /// long a gateway remembers a client that does not publish; from 1 s to 365 days.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.policy.max_age = age;
        self
    }

    /// Keeps the buffer in this file; beside it there is one with `.lock` behind its name. Every publish goes through it,
    /// and [`Mesh::publish_start`](crate::Mesh::publish_start) waits until its event is in it; a disk that is full is
    /// `DISK_FULL` there. Connecting fails with `BUSY` while another client has the file, `STORE_FAILED` when it is damaged, or
    /// for now cannot be opened (then [`retryable`](Error::retryable)), `UNSUPPORTED` when a newer version wrote it, `INVALID`
    /// when its path or its permissions do not let it be opened, or it is something else, `DISK_FULL` when there is no room to
    /// make it; one that is there needs none. Default: none.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Whether an event is on disk when it is admitted, and survives a loss of power (`true`, the default), or is only
    /// handed to the system, and survives the end of the process. Publishes at the same time share a sync.
    #[must_use]
    pub const fn synced(mut self, synced: bool) -> Self {
        self.is_synced = synced;
        self
    }

    /// Opens the file, if there is one. Blocks.
    pub(crate) fn open(&self, producer_id: [u8; 16]) -> Result<Option<(File, Found)>> {
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let disk = disk::OsDisk::open(path)?;
        Journal::open(disk, producer_id, self.is_synced).map(Some).map_err(|problem| refused(path, problem))
    }

    pub(crate) fn policy(&self) -> Result<OfflinePolicy> {
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, "connect", problem);
        options::OFFLINE_MAX_BYTES.check(self.policy.max_bytes).map_err(invalid)?;
        options::OFFLINE_MAX_AGE.check_duration(self.policy.max_age).map_err(invalid)?;
        Ok(self.policy)
    }
}

/// A file that cannot be opened, as an error.
fn refused(path: &Path, problem: OpenProblem) -> Error {
    let file = path.display();
    let (kind, message) = match problem {
        OpenProblem::Foreign => {
            (ErrorKind::Invalid, format!("{file} is no offline file; name another one, or remove it"))
        }
        OpenProblem::Newer(version) => (
            ErrorKind::Unsupported,
            format!(
                "the offline file {file} has format {version}, this client reads up to {}; update it",
                record::VERSION
            ),
        ),
        OpenProblem::Damaged(offset) => (
            ErrorKind::StoreFailed,
            format!(
                "the offline file {file} is damaged at byte {offset}, and events follow that were kept; move it away to go on without them"
            ),
        ),
        OpenProblem::Io(cause) => return disk::unopened(path, cause),
    };
    Error::new(kind, "connect", message).with_retry(Retry::Never, None)
}
