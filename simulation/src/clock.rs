//! Virtual time and seeded chance for the gateway's parts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use meshwire_gateway::clock::Clock;
use meshwire_gateway::engine::Now;
use meshwire_gateway::random::Random;
use meshwire_proto::{Moment, UnixMillis};

/// Wall-clock time at the start of every simulation.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// Time that stands still until it is set.
#[derive(Debug, Default)]
pub(crate) struct VirtualClock(AtomicU64);

impl VirtualClock {
    pub(crate) fn set(&self, now: Moment) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        let micros = self.0.load(Ordering::Relaxed);
        Now { mono: Moment(micros), wall: UnixMillis(EPOCH_MS + (micros / 1000) as i64) }
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
