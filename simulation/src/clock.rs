//! Virtual time and seeded chance for the gateway's parts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use meshwire_gateway::clock::Clock;
use meshwire_gateway::engine::Now;
use meshwire_gateway::random::Random;
use meshwire_proto::{Moment, UnixMillis};

/// Wall-clock time at the start of every simulation.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// Time that stands still until it is set; and by how much, in milliseconds, somebody
/// has set the wall clock wrong.
#[derive(Debug, Default)]
pub(crate) struct VirtualClock(AtomicU64, AtomicI64);

impl VirtualClock {
    pub(crate) fn set(&self, now: Moment) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// Sets the wall clock forward or back.
    #[cfg(test)]
    pub(crate) fn jump(&self, millis: i64) {
        self.1.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        let micros = self.0.load(Ordering::Relaxed);
        let wall = EPOCH_MS + self.1.load(Ordering::Relaxed) + (micros / 1000) as i64;
        Now { mono: Moment(micros), wall: UnixMillis(wall) }
    }
}

/// Random bytes of a seed.
#[derive(Debug)]
pub(crate) struct SeededRandom(pub(crate) Mutex<fastrand::Rng>);

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }
}
