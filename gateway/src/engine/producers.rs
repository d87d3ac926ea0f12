//! Producers of our own clients: which sequences are here already.
//!
//! A replay is told apart exactly: a sequence is a duplicate if and only if it
//! stands in the producer's ranges. Ranges, not a highest number, because an
//! event that was refused leaves a hole that a replay may fill.

use std::collections::{BTreeMap, VecDeque};

use meshwire_proto::UnixMillis;

use crate::store::{ProducerMark, Ticket};

/// Producers remembered by one shard.
const MAX_PRODUCERS: usize = 100_000;

/// A producer idle for so long is forgotten.
const IDLE_MS: i64 = 24 * 3600 * 1000;

/// What one shard knows of a producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producer {
    /// Epoch of the ranges.
    pub epoch: u32,
    /// Sequences that are here, as `[first, next)`, rising, not touching.
    pub ranges: VecDeque<(u64, u64)>,
    /// When it published last.
    pub seen: UnixMillis,
    /// When all of it is kept; nothing is open right after a restart.
    pub ticket: Option<Ticket>,
}

impl Producer {
    fn contains(&self, sequence: u64) -> bool {
        let at = self.ranges.partition_point(|(_, next)| *next <= sequence);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= sequence)
    }

    /// Adds `[first, next)`; sequences mostly come in order.
    pub(crate) fn add(&mut self, first: u64, next: u64) {
        let at = self.ranges.partition_point(|(_, end)| *end < first);
        let (mut from, mut to) = (first, next);
        while let Some((f, n)) = self.ranges.get(at).copied().filter(|(f, _)| *f <= to) {
            from = from.min(f);
            to = to.max(n);
            self.ranges.remove(at);
        }
        self.ranges.insert(at, (from, to));
    }

    /// Forgets everything up to `through`.
    pub(crate) fn forget(&mut self, through: u64) {
        while let Some((first, next)) = self.ranges.front_mut() {
            if *next > through + 1 {
                *first = (*first).max(through + 1);
                break;
            }
            self.ranges.pop_front();
        }
    }
}

/// The producers of one shard.
#[derive(Debug, Default)]
pub(super) struct Producers {
    known: BTreeMap<[u8; 16], Producer>,
}

impl Producers {
    pub(super) fn restore(&mut self, id: [u8; 16], producer: Producer) {
        self.known.insert(id, producer);
    }

    pub(super) fn get(&self, id: &[u8; 16]) -> Option<&Producer> {
        self.known.get(id)
    }

    /// Whether this sequence is here already.
    pub(super) fn has(&self, mark: &ProducerMark, sequence: u64) -> bool {
        self.known.get(&mark.producer).is_some_and(|p| p.epoch == mark.epoch && p.contains(sequence))
    }

    /// Whether any sequence from the mark's first one on may be here: `false` for
    /// all that is published for the first time.
    pub(super) fn may_have(&self, mark: &ProducerMark) -> bool {
        let known = self.known.get(&mark.producer).filter(|p| p.epoch == mark.epoch);
        known.and_then(|p| p.ranges.back()).is_some_and(|(_, next)| *next > mark.first_sequence)
    }

    /// Records `[first, next)` as taken.
    pub(super) fn add(&mut self, mark: &ProducerMark, first: u64, next: u64, now: UnixMillis) {
        if !self.known.contains_key(&mark.producer) && self.known.len() >= MAX_PRODUCERS {
            self.forget_idle(now);
        }
        let producer = self.known.entry(mark.producer).or_default();
        if producer.epoch > mark.epoch {
            return;
        }
        if producer.epoch < mark.epoch {
            *producer = Producer { epoch: mark.epoch, ..Producer::default() };
        }
        producer.forget(mark.answered_through);
        producer.add(first, next);
        producer.seen = now;
    }

    /// Says when what the producer published so far is kept.
    pub(super) fn committed(&mut self, id: &[u8; 16], ticket: Ticket) {
        if let Some(producer) = self.known.get_mut(id) {
            producer.ticket = Some(producer.ticket.map_or(ticket, |t| t.later(ticket)));
        }
    }

    /// Forgets those idle for a day; when none is, the one idle longest.
    pub(super) fn forget_idle(&mut self, now: UnixMillis) {
        self.known.retain(|_, p| now.0 - p.seen.0 < IDLE_MS);
        while self.known.len() >= MAX_PRODUCERS {
            let Some(oldest) = self.known.iter().min_by_key(|(_, p)| p.seen).map(|(id, _)| *id) else {
                return;
            };
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: ProducerMark = ProducerMark { producer: [1; 16], epoch: 1, first_sequence: 0, answered_through: 0 };
    const NOW: UnixMillis = UnixMillis(0);

    #[test]
    fn a_refused_sequence_leaves_a_hole_that_a_replay_fills() {
        let mut producers = Producers::default();
        producers.add(&MARK, 1, 5, NOW);
        producers.add(&MARK, 6, 8, NOW);
        assert!(producers.has(&MARK, 4) && !producers.has(&MARK, 5) && producers.has(&MARK, 7));
        producers.add(&MARK, 5, 6, NOW);
        assert_eq!(producers.get(&[1; 16]).map(|p| p.ranges.clone()), Some(VecDeque::from([(1, 8)])));
    }

    #[test]
    fn what_was_answered_is_forgotten() {
        let mut producers = Producers::default();
        producers.add(&MARK, 1, 10, NOW);
        producers.add(&ProducerMark { answered_through: 7, ..MARK }, 10, 11, NOW);
        assert_eq!(producers.get(&[1; 16]).map(|p| p.ranges.clone()), Some(VecDeque::from([(8, 11)])));
    }

    #[test]
    fn a_new_epoch_begins_anew() {
        let mut producers = Producers::default();
        producers.add(&MARK, 1, 10, NOW);
        let next = ProducerMark { epoch: 2, ..MARK };
        assert!(!producers.has(&next, 3));
        producers.add(&next, 1, 2, NOW);
        assert!(producers.has(&next, 1) && !producers.has(&next, 3));
        producers.add(&MARK, 5, 6, NOW);
        assert!(producers.has(&next, 1), "an old epoch changes nothing");
    }

    #[test]
    fn idle_producers_are_forgotten_after_a_day() {
        let mut producers = Producers::default();
        producers.add(&MARK, 1, 10, NOW);
        producers.forget_idle(UnixMillis(IDLE_MS - 1));
        assert!(producers.get(&[1; 16]).is_some());
        producers.forget_idle(UnixMillis(IDLE_MS));
        assert!(producers.get(&[1; 16]).is_none());
    }
}
