//! The only file of the gateway that reads a clock. Everything else is told.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use meshwire_proto::{Moment, UnixMillis};

use crate::engine::Now;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks, now.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Monotonic time counts from here on.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a default that reads a clock would hide it")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let micros = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Now { mono: Moment(micros), wall: UnixMillis(i64::try_from(wall).unwrap_or(i64::MAX)) }
    }
}
