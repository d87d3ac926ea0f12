//! The offline buffer: publishes that wait for a gateway.

use std::time::Duration;

use meshwire_proto::{ErrorKind, options};

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
#[derive(Clone, Debug)]
pub struct Offline {
    policy: OfflinePolicy,
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
        Self { policy: OfflinePolicy::default() }
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

    pub(crate) fn policy(&self) -> Result<OfflinePolicy> {
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, "connect", problem);
        options::OFFLINE_MAX_BYTES.check(self.policy.max_bytes).map_err(invalid)?;
        options::OFFLINE_MAX_AGE.check_duration(self.policy.max_age).map_err(invalid)?;
        Ok(self.policy)
    }
}
