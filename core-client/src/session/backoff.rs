//! How long to wait before the next connection.

use std::time::Duration;

/// Doubling waits with full jitter: each is uniform between zero and a ceiling.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max: max.max(min), attempt: 0, random: seed }
    }

    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.min.saturating_mul(1 << self.attempt.min(20)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        Duration::from_micros(self.random() % micros)
    }

    /// A wait of at least this length and up to half as long again: who was sent away together does not come back so.
    pub(super) fn beyond(&mut self, wait: Duration) -> Duration {
        let half = u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX - 1);
        wait.saturating_add(Duration::from_micros(self.random() % half.saturating_add(1)))
    }

    /// SplitMix64: enough for jitter, and the same on every machine.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn waits_stay_under_a_ceiling_that_doubles_up_to_the_maximum() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            for attempt in 0..40 {
                let ceiling = MIN.saturating_mul(1 << attempt.min(10)).min(MAX);
                assert!(backoff.next() <= ceiling);
            }
        }
    }

    #[test]
    fn jitter_is_full_and_comes_from_the_seed() {
        let waits = |seed| {
            let mut backoff = Backoff::new(MAX, MAX, seed);
            std::iter::repeat_with(move || backoff.next()).take(1000).collect::<Vec<_>>()
        };
        let first = waits(1);
        assert_eq!(first, waits(1));
        assert_ne!(first, waits(2));
        assert!(first.iter().any(|w| *w < MAX / 20) && first.iter().any(|w| *w > MAX * 19 / 20));
        let mean = first.iter().sum::<Duration>() / 1000;
        assert!(mean > MAX * 9 / 20 && mean < MAX * 11 / 20, "mean {mean:?}");
    }

    #[test]
    fn a_reset_begins_at_the_smallest_ceiling_again() {
        let mut backoff = Backoff::new(MIN, MAX, 7);
        for _ in 0..10 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next() <= MIN);
    }
}
