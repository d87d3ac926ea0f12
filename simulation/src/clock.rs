//! Virtual time and seeded chance for the gateway's parts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use meshwire_gateway::clock::Clock;
use meshwire_gateway::engine::Now;
use meshwire_gateway::random::Random;
use meshwire_proto::{Moment, UnixMillis};

/// Wall-clock time at the start of every simulation.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// Time that stands still until it is set.
#[derive(Debug, Default)]
pub(crate) struct VirtualClock {
    mono: AtomicU64,
    /// How far the wall clock was set forward in all, in milliseconds.
    ahead: AtomicI64,
}

impl VirtualClock {
    pub(crate) fn set(&self, now: Moment) {
        self.mono.store(now.0, Ordering::Relaxed);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&self, ms: i64) {
        self.ahead.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        let micros = self.mono.load(Ordering::Relaxed);
        let ahead = self.ahead.load(Ordering::Relaxed);
        Now { mono: Moment(micros), wall: UnixMillis(EPOCH_MS + ahead + (micros / 1000) as i64) }
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
