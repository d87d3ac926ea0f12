//! Producers of our own clients, as the log knows them.

use std::collections::BTreeMap;

use meshwire_proto::UnixMillis;

use super::ops::Mark;
use super::ranges::RangeSet;
use crate::store::{MAX_PRODUCERS, PRODUCER_IDLE_MS as IDLE_MS, PRODUCER_SWEEP_MS as SWEEP_MS};

/// What is kept of a producer: of its highest epoch only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    /// The epoch of the ranges.
    pub epoch: u32,
    /// Nothing up to this sequence is ever replayed.
    pub answered_through: u64,
    /// Sequences above it that are in the log.
    pub kept: RangeSet,
    /// When it stored something last.
    pub seen: UnixMillis,
}

/// All producers. What is forgotten depends on the log alone, never on a clock,
/// so that a replay forgets the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producers {
    pub(super) known: BTreeMap<[u8; 16], ProducerState>,
    pub(super) next_sweep: UnixMillis,
}

impl Default for Producers {
    fn default() -> Self {
        Self { known: BTreeMap::new(), next_sweep: UnixMillis(i64::MIN) }
    }
}

impl Producers {
    /// All that are known, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8; 16], &ProducerState)> {
        self.known.iter()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &[u8; 16]) -> Option<&ProducerState> {
        self.known.get(id)
    }

    pub(super) fn add(&mut self, mark: &Mark, stored: UnixMillis) {
        self.sweep(mark, stored);
        let producer = self.known.entry(mark.producer).or_default();
        if producer.epoch < mark.epoch {
            *producer = ProducerState { epoch: mark.epoch, ..ProducerState::default() };
        } else if producer.epoch > mark.epoch {
            return;
        }
        producer.seen = producer.seen.max(stored);
        producer.kept.insert(mark.first_sequence, mark.first_sequence.saturating_add(u64::from(mark.count)));
        producer.answered_through = producer.answered_through.max(mark.answered_through);
        producer.kept.remove_below(producer.answered_through.saturating_add(1));
    }

    /// Forgets the idle ones, and the longest idle when there are too many.
    fn sweep(&mut self, mark: &Mark, stored: UnixMillis) {
        if stored >= self.next_sweep {
            self.next_sweep = UnixMillis(stored.0.saturating_add(SWEEP_MS));
            self.known.retain(|_, p| stored.0.saturating_sub(p.seen.0) < IDLE_MS);
        }
        if self.known.len() >= MAX_PRODUCERS && !self.known.contains_key(&mark.producer) {
            let mut by_age: Vec<_> = self.known.iter().map(|(id, p)| (p.seen, *id)).collect();
            by_age.sort_unstable();
            for (_, id) in by_age.iter().take(MAX_PRODUCERS / 8) {
                self.known.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn mark(producer: u8, epoch: u32, first_sequence: u64, count: u32, answered_through: u64) -> Mark {
        Mark { producer: [producer; 16], epoch, count, first_sequence, answered_through }
    }

    #[test]
    fn what_was_answered_is_not_kept_any_longer() {
        let mut producers = Producers::default();
        producers.add(&mark(1, 1, 1, 10, 0), UnixMillis(0));
        producers.add(&mark(1, 1, 15, 5, 7), UnixMillis(0));
        let kept: Vec<_> = producers.get(&[1; 16]).unwrap().kept.iter().collect();
        assert_eq!(kept, [(8, 11), (15, 20)]);
    }

    #[test]
    fn a_higher_epoch_begins_anew_and_a_lower_one_changes_nothing() {
        let mut producers = Producers::default();
        producers.add(&mark(1, 2, 1, 10, 0), UnixMillis(0));
        producers.add(&mark(1, 3, 1, 2, 0), UnixMillis(0));
        producers.add(&mark(1, 2, 50, 2, 0), UnixMillis(0));
        let state = producers.get(&[1; 16]).unwrap();
        assert_eq!((state.epoch, state.kept.iter().collect::<Vec<_>>()), (3, vec![(1, 3)]));
    }

    #[test]
    fn the_idle_are_forgotten_after_a_day_of_stored_time() {
        let mut producers = Producers::default();
        producers.add(&mark(1, 1, 1, 1, 0), UnixMillis(0));
        producers.add(&mark(2, 1, 1, 1, 0), UnixMillis(IDLE_MS - 1));
        assert!(producers.get(&[1; 16]).is_some());
        producers.add(&mark(2, 1, 2, 1, 0), UnixMillis(IDLE_MS + SWEEP_MS));
        assert!(producers.get(&[1; 16]).is_none() && producers.get(&[2; 16]).is_some());
    }

    #[test]
    fn there_are_never_too_many_and_the_longest_idle_go_first() {
        let mut producers = Producers::default();
        for n in 0..=MAX_PRODUCERS as u64 {
            let mut one = mark(0, 1, 1, 1, 0);
            one.producer = u128::from(n).to_be_bytes();
            producers.add(&one, UnixMillis(n as i64));
        }
        assert!(producers.known.len() <= MAX_PRODUCERS);
        assert!(producers.get(&u128::from(0u64).to_be_bytes()).is_none());
        assert!(producers.get(&u128::from(MAX_PRODUCERS as u64).to_be_bytes()).is_some());
    }
}
