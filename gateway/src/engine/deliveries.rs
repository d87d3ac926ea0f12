//! Delivery numbers of one subscriber: what it holds, what it may still get,
//! and what became of what it held.

use std::collections::VecDeque;

use meshwire_proto::frame::SettleKind;

use crate::store::Position;

/// How many past settlements are remembered, as ranges, to answer a repeated
/// settle with `ok`. A guess: a resume repeats a handful of frames.
const HISTORY: usize = 64;

/// Most deliveries from the first unsettled one on: bounds what one delivery that
/// is never settled costs (about 1.5 MiB).
const MAX_SPAN: usize = 65_536;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Held,
    Settled(SettleKind),
    /// Taken back: leased again or waiting to be.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    position: Position,
    size: u32,
    state: State,
}

/// Answer to a settle of one delivery number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was held; it is settled now.
    Now(Position),
    /// It had been settled in the same way.
    Before,
    /// It was never held, was taken back, or was settled in another way.
    Lost,
}

/// The most a subscriber may hold unsettled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Events.
    pub events: u32,
    /// Bytes; one event may pass over it.
    pub bytes: u64,
}

/// Delivery numbers rise without gaps from 1.
/// Formula: entry `n` has number `base + n`; `next = base + entries.len()`.
#[derive(Debug)]
pub(super) struct Deliveries {
    base: u64,
    entries: VecDeque<Entry>,
    history: VecDeque<(u64, u64, State)>,
    held_events: u32,
    held_bytes: u64,
    credit: Credit,
}

impl Deliveries {
    pub(super) const fn new(credit: Credit) -> Self {
        Self { base: 1, entries: VecDeque::new(), history: VecDeque::new(), held_events: 0, held_bytes: 0, credit }
    }

    pub(super) const fn set_credit(&mut self, credit: Credit) {
        self.credit = credit;
    }

    /// Whether one more event may be delivered.
    pub(super) fn has_room(&self) -> bool {
        self.held_events < self.credit.events && self.held_bytes < self.credit.bytes && self.entries.len() < MAX_SPAN
    }

    pub(super) const fn held(&self) -> u32 {
        self.held_events
    }

    /// Number of the next delivery.
    pub(super) fn next(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Records a delivery and gives its number.
    pub(super) fn hold(&mut self, position: Position, size: u32) -> u64 {
        let number = self.next();
        self.entries.push_back(Entry { position, size, state: State::Held });
        self.held_events += 1;
        self.held_bytes += u64::from(size);
        number
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    /// The position that is held under this number.
    pub(super) fn position(&self, number: u64) -> Option<Position> {
        let entry = self.entries.get(usize::try_from(number.checked_sub(self.base)?).ok()?)?;
        (entry.state == State::Held).then_some(entry.position)
    }

    pub(super) fn settle(&mut self, number: u64, kind: SettleKind) -> Settled {
        let Some(entry) = self.entry(number) else {
            return self.settled_before(number, kind);
        };
        match entry.state {
            State::Held => {
                let position = entry.position;
                self.resolve(number, State::Settled(kind));
                Settled::Now(position)
            }
            State::Settled(before) if before == kind => Settled::Before,
            _ => Settled::Lost,
        }
    }

    fn settled_before(&self, number: u64, kind: SettleKind) -> Settled {
        let found = self.history.iter().rev().find(|(first, next, _)| (*first..*next).contains(&number));
        if found.is_some_and(|(_, _, state)| *state == State::Settled(kind)) { Settled::Before } else { Settled::Lost }
    }

    /// Takes a held delivery away from the subscriber.
    pub(super) fn take_back(&mut self, number: u64) {
        if self.entry(number).is_some_and(|e| e.state == State::Held) {
            self.resolve(number, State::Lost);
        }
    }

    fn resolve(&mut self, number: u64, state: State) {
        if let Some(entry) = self.entry(number) {
            entry.state = state;
            let size = u64::from(entry.size);
            self.held_events -= 1;
            self.held_bytes -= size;
        }
        while let Some(front) = self.entries.front().filter(|e| e.state != State::Held) {
            self.remember(front.state);
            self.entries.pop_front();
            self.base += 1;
        }
    }

    /// Moves the number `base` into the history.
    fn remember(&mut self, state: State) {
        let number = self.base;
        match self.history.back_mut() {
            Some((_, next, last)) if *last == state && *next == number => *next += 1,
            _ => {
                if self.history.len() == HISTORY {
                    self.history.pop_front();
                }
                self.history.push_back((number, number + 1, state));
            }
        }
    }

    /// Everything held, as `(number, position)`, in number order.
    pub(super) fn all_held(&self) -> Vec<(u64, Position)> {
        let numbered = self.entries.iter().zip(self.base..);
        numbered.filter(|(e, _)| e.state == State::Held).map(|(e, number)| (number, e.position)).collect()
    }

    /// Undoes deliveries from `next` on, which never arrived: their numbers will
    /// be used again. Gives the positions that were held, or `None` when `next`
    /// is not one that can come after a cut.
    pub(super) fn rewind(&mut self, next: u64) -> Option<Vec<(u64, Position)>> {
        if next > self.next() || next == 0 {
            return None;
        }
        // Below `base` everything is resolved: nothing of it may have been unseen,
        // except what was taken back meanwhile.
        let keep = usize::try_from(next.saturating_sub(self.base)).ok()?;
        let mut undone = Vec::new();
        while self.entries.len() > keep {
            let number = self.next() - 1;
            let Some(entry) = self.entries.pop_back() else {
                break;
            };
            if entry.state == State::Held {
                self.held_events -= 1;
                self.held_bytes -= u64::from(entry.size);
                undone.push((number, entry.position));
            }
        }
        if next < self.base {
            self.base = next;
            self.history.retain(|(first, _, _)| *first < next);
            if let Some((_, end, _)) = self.history.back_mut() {
                *end = (*end).min(next);
            }
        }
        undone.reverse();
        Some(undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Credit = Credit { events: 4, bytes: 100 };

    fn with(count: u64) -> Deliveries {
        let mut d = Deliveries::new(CREDIT);
        for n in 0..count {
            d.hold(10 + n, 30);
        }
        d
    }

    #[test]
    fn the_first_settle_wins_and_the_same_again_is_ok() {
        let mut d = with(2);
        assert_eq!(d.settle(2, SettleKind::Ack), Settled::Now(11));
        assert_eq!(d.settle(2, SettleKind::Ack), Settled::Before);
        assert_eq!(d.settle(2, SettleKind::Nack), Settled::Lost);
        assert_eq!(d.settle(1, SettleKind::Ack), Settled::Now(10));
        assert_eq!(d.settle(2, SettleKind::Ack), Settled::Before, "also after it left the table");
        assert_eq!(d.settle(2, SettleKind::Nack), Settled::Lost);
        assert_eq!(d.settle(3, SettleKind::Ack), Settled::Lost, "never delivered");
    }

    #[test]
    fn a_taken_back_delivery_answers_lost_and_returns_its_credit() {
        let mut d = with(4);
        assert!(!d.has_room());
        d.take_back(3);
        assert!(d.has_room());
        assert_eq!(d.settle(3, SettleKind::Ack), Settled::Lost);
    }

    #[test]
    fn byte_credit_lets_one_event_pass_over_it() {
        let mut d = Deliveries::new(Credit { events: 10, bytes: 50 });
        d.hold(1, 49);
        assert!(d.has_room());
        d.hold(2, 4000);
        assert!(!d.has_room());
    }

    #[test]
    fn one_delivery_that_is_never_settled_costs_a_bounded_amount() {
        let mut d = Deliveries::new(Credit { events: 10, bytes: 1000 });
        d.hold(1, 1);
        while d.has_room() {
            let number = d.hold(d.next(), 1);
            d.settle(number, SettleKind::Ack);
            assert!(d.entries.len() <= MAX_SPAN);
        }
        assert_eq!(d.entries.len(), MAX_SPAN);
        d.settle(1, SettleKind::Ack);
        assert!(d.has_room() && d.entries.is_empty());
    }

    #[test]
    fn a_rewind_uses_unseen_numbers_again() {
        let mut d = with(4);
        d.settle(1, SettleKind::Ack);
        assert_eq!(d.rewind(3), Some(vec![(3, 12), (4, 13)]));
        assert_eq!(d.next(), 3);
        assert_eq!(d.held(), 1);
        assert_eq!(d.rewind(9), None);
        d.take_back(2);
        assert_eq!((d.rewind(2), d.next()), (Some(vec![]), 2), "taken back before it was seen");
    }
}
