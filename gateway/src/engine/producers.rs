//! Producers of our own clients: which sequences are here already.
//!
//! A replay is told apart exactly: a sequence is a duplicate if and only if it
//! stands in the producer's ranges. Ranges, not a highest number, because an
//! event that was refused leaves a hole that a replay may fill.

use std::collections::{BTreeMap, VecDeque};

use meshwire_proto::UnixMillis;

use crate::store::{MAX_PRODUCERS, PRODUCER_IDLE_MS, PRODUCER_SWEEP_MS, ProducerMark, Ticket};

/// Most separate ranges of one producer. As many as a session may have publishes
/// without a receipt: that many can be apart only while an early one is unanswered.
const MAX_RANGES: usize = 16_384;

/// Most ranges of a shard beyond those that everybody may have: 16 MiB.
const MAX_EXTRA_RANGES: usize = 1 << 20;

/// Ranges that a producer may have however many others have. A guess: topics of
/// other shards leave holes.
const FEW_RANGES: usize = 16;

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
#[derive(Debug)]
pub(super) struct Producers {
    known: BTreeMap<[u8; 16], Producer>,
    /// Ranges beyond [`FEW_RANGES`] of each.
    extra: usize,
    next_sweep: UnixMillis,
    /// Idle ones were forgotten as of then; other shards are to do so too.
    swept: Option<UnixMillis>,
}

impl Default for Producers {
    fn default() -> Self {
        Self { known: BTreeMap::new(), extra: 0, next_sweep: UnixMillis(i64::MIN), swept: None }
    }
}

fn extra(producer: &Producer) -> usize {
    producer.ranges.len().saturating_sub(FEW_RANGES)
}

impl Producers {
    pub(super) fn restore(&mut self, id: [u8; 16], producer: Producer) {
        self.extra += extra(&producer);
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

    /// How many ranges a producer has, if it may not have more.
    pub(super) fn crowded(&mut self, mark: &ProducerMark) -> Option<usize> {
        let producer = self.known.get_mut(&mark.producer).filter(|p| p.epoch == mark.epoch)?;
        let before = extra(producer);
        producer.forget(mark.answered_through);
        self.extra -= before - extra(producer);
        let ranges = producer.ranges.len();
        let many = ranges >= MAX_RANGES || ranges >= FEW_RANGES && self.extra >= MAX_EXTRA_RANGES;
        many.then_some(ranges)
    }

    /// Records `[first, next)` as taken.
    pub(super) fn add(&mut self, mark: &ProducerMark, first: u64, next: u64, now: UnixMillis) {
        if now >= self.next_sweep {
            self.forget_idle(now);
            self.swept = Some(now);
        }
        self.make_room(mark);
        let producer = self.known.entry(mark.producer).or_default();
        if producer.epoch > mark.epoch {
            return;
        }
        let before = extra(producer);
        if producer.epoch < mark.epoch {
            *producer = Producer { epoch: mark.epoch, ..Producer::default() };
        }
        producer.forget(mark.answered_through);
        producer.add(first, next);
        producer.seen = now;
        self.extra = self.extra + extra(producer) - before;
    }

    /// Says when what the producer published so far is kept.
    pub(super) fn committed(&mut self, id: &[u8; 16], ticket: Ticket) {
        if let Some(producer) = self.known.get_mut(id) {
            producer.ticket = Some(producer.ticket.map_or(ticket, |t| t.later(ticket)));
        }
    }

    /// Forgets those that are idle for a day.
    pub(super) fn forget_idle(&mut self, stored: UnixMillis) {
        self.next_sweep = UnixMillis(stored.0.saturating_add(PRODUCER_SWEEP_MS));
        self.known.retain(|_, p| stored.0.saturating_sub(p.seen.0) < PRODUCER_IDLE_MS);
        self.extra = self.known.values().map(extra).sum();
    }

    pub(super) fn take_swept(&mut self) -> Option<UnixMillis> {
        self.swept.take()
    }

    /// When there are too many, the longest idle go.
    fn make_room(&mut self, mark: &ProducerMark) {
        if self.known.len() >= MAX_PRODUCERS && !self.known.contains_key(&mark.producer) {
            let mut by_age: Vec<_> = self.known.iter().map(|(id, p)| (p.seen, *id)).collect();
            by_age.sort_unstable();
            for (_, id) in by_age.iter().take(MAX_PRODUCERS / 8) {
                self.known.remove(id);
            }
            self.extra = self.known.values().map(extra).sum();
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

    fn one(n: u64) -> ProducerMark {
        ProducerMark { producer: u128::from(n).to_be_bytes(), ..MARK }
    }

    #[test]
    fn idle_producers_are_forgotten_after_a_day_when_others_publish() {
        let mut producers = Producers::default();
        producers.add(&one(1), 1, 10, NOW);
        producers.add(&one(2), 1, 10, UnixMillis(PRODUCER_IDLE_MS - 1));
        assert!(producers.get(&one(1).producer).is_some());
        producers.add(&one(2), 10, 11, UnixMillis(PRODUCER_IDLE_MS + PRODUCER_SWEEP_MS));
        assert!(producers.get(&one(1).producer).is_none());
        assert!(producers.get(&one(2).producer).is_some());
    }

    #[test]
    fn there_are_never_too_many_and_the_longest_idle_go_first() {
        let mut producers = Producers::default();
        for n in 0..=MAX_PRODUCERS as u64 {
            producers.add(&one(n), 1, 2, UnixMillis(n as i64));
        }
        assert!(producers.known.len() <= MAX_PRODUCERS);
        assert!(producers.get(&one(0).producer).is_none());
        assert!(producers.get(&one(MAX_PRODUCERS as u64).producer).is_some());
    }

    #[test]
    fn a_producer_that_leaves_holes_is_crowded_until_what_it_waits_for_is_answered() {
        let mut producers = Producers::default();
        let mut sequence = 1;
        while producers.crowded(&ProducerMark { first_sequence: sequence, ..MARK }).is_none() {
            producers.add(&MARK, sequence, sequence + 1, NOW);
            sequence += 2;
        }
        assert_eq!(producers.get(&MARK.producer).map(|p| p.ranges.len()), Some(MAX_RANGES));
        assert_eq!(producers.crowded(&one(7)), None, "others do not suffer");
        let answered = ProducerMark { first_sequence: sequence, answered_through: sequence - 2, ..MARK };
        assert_eq!(producers.crowded(&answered), None);
        assert_eq!(producers.extra, 0);
    }

    #[test]
    fn all_producers_together_have_a_bounded_number_of_ranges() {
        let mut producers = Producers::default();
        let mut refused = 0;
        for n in 0..100 {
            for sequence in (1..2 * MAX_RANGES as u64).step_by(2) {
                let mark = ProducerMark { first_sequence: sequence, ..one(n) };
                if producers.crowded(&mark).is_some() {
                    refused += 1;
                    break;
                }
                producers.add(&mark, sequence, sequence + 1, NOW);
            }
        }
        assert!(refused > 0);
        let ranges: usize = producers.known.values().map(|p| p.ranges.len()).sum();
        assert!(ranges <= MAX_EXTRA_RANGES + 100 * FEW_RANGES, "{ranges}");
        assert!(producers.known.values().all(|p| p.ranges.len() >= FEW_RANGES), "everybody has a few");
    }
}
