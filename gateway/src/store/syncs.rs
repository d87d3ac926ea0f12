//! How long syncs took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const BOUNDS: usize = 12;

/// Upper bounds of the classes, in microseconds; what took longer is only in the sum and the number of all.
const MICROS: [u64; BOUNDS] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// Counts syncs by how long they took.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    classes: [AtomicU64; BOUNDS],
    count: AtomicU64,
    micros: AtomicU64,
}

/// How many syncs there were, and how long they took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncTimes {
    /// `(most microseconds, how many took no longer)`, rising.
    pub within: Vec<(u64, u64)>,
    /// All of them.
    pub count: u64,
    /// How long all of them took together, in microseconds.
    pub micros: u64,
}

impl Syncs {
    pub(super) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = MICROS.partition_point(|bound| *bound < micros);
        if let Some(class) = self.classes.get(class) {
            class.fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub(super) fn times(&self) -> SyncTimes {
        let mut sum = 0;
        let within = MICROS.iter().zip(&self.classes).map(|(bound, class)| {
            sum += class.load(Relaxed);
            (*bound, sum)
        });
        let within = within.collect();
        // Not below what the classes say, whatever came in between.
        SyncTimes { within, count: self.count.load(Relaxed).max(sum), micros: self.micros.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_within_every_bound_that_it_did_not_pass() {
        let syncs = Syncs::default();
        for micros in [100, 101, 1_000_000, 1_000_001] {
            syncs.add(Duration::from_micros(micros));
        }
        let times = syncs.times();
        let numbers: Vec<u64> = times.within.iter().map(|(_, count)| *count).collect();
        assert_eq!(numbers, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
        assert_eq!((times.count, times.micros), (4, 2_000_202));
    }
}
