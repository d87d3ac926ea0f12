//! Delivery numbers of one subscriber: what it holds, what it may still get,
//! and what became of what it held.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use meshwire_proto::frame::SettleKind;

use crate::store::{DEAD, Position};

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
    /// Its lease had ended and nobody has it since; it is settled now.
    Late(Position),
    /// It had been settled in the same way.
    Before,
    /// It was never held, was taken back, or was settled in another way.
    Lost,
}

/// What a settle of a range of numbers comes down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Look at each.
    Each(Range<u64>),
    /// Answered the same, without a look at each.
    All(Range<u64>, bool),
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
    /// Rising, without overlap.
    history: VecDeque<(u64, u64, State)>,
    /// Leases that ended, of positions that nobody else has yet: they may still be
    /// settled. As many as wait in their group, at most.
    ended: BTreeMap<u64, Position>,
    /// Those of them that were, and left the table before: the last [`HISTORY`].
    late: BTreeMap<u64, SettleKind>,
    held_events: u32,
    held_bytes: u64,
    credit: Credit,
}

impl Deliveries {
    pub(super) const fn new(credit: Credit) -> Self {
        Self {
            base: 1,
            entries: VecDeque::new(),
            history: VecDeque::new(),
            ended: BTreeMap::new(),
            late: BTreeMap::new(),
            held_events: 0,
            held_bytes: 0,
            credit,
        }
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

    /// Numbers of which some may be held.
    pub(super) fn open(&self) -> Range<u64> {
        self.base..self.next()
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

    /// Cuts a settle of a range into parts: the work is bounded by what is there,
    /// however many numbers it names.
    pub(super) fn parts(&self, numbers: Range<u64>, kind: SettleKind) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut at = numbers.start;
        let single = |from: u64, to: u64| {
            let (mut ended, mut late) = (self.ended.range(from..to).peekable(), self.late.range(from..to).peekable());
            std::iter::from_fn(move || match (ended.peek().map(|e| *e.0), late.peek().map(|l| *l.0)) {
                (Some(e), l) if l.is_none_or(|l| e < l) => ended.next().map(|e| *e.0),
                _ => late.next().map(|l| *l.0),
            })
        };
        let old = numbers.end.min(self.base);
        if at < old {
            for number in single(at, old) {
                self.old_parts(at..number, kind, &mut parts);
                parts.push(Part::Each(number..number + 1));
                at = number + 1;
            }
            self.old_parts(at..old, kind, &mut parts);
            at = old;
        }
        let open = numbers.end.min(self.next());
        if at < open {
            parts.push(Part::Each(at..open));
            at = open;
        }
        if at < numbers.end {
            parts.push(Part::All(at..numbers.end, false));
        }
        parts
    }

    /// The parts of numbers that left the table.
    fn old_parts(&self, numbers: Range<u64>, kind: SettleKind, parts: &mut Vec<Part>) {
        let mut at = numbers.start;
        for (first, next, state) in &self.history {
            let (from, to) = ((*first).max(at), (*next).min(numbers.end));
            if from < to {
                parts.extend((at < from).then_some(Part::All(at..from, false)));
                parts.push(Part::All(from..to, *state == State::Settled(kind)));
                at = to;
            }
        }
        parts.extend((at < numbers.end).then_some(Part::All(at..numbers.end, false)));
    }

    pub(super) fn settle(&mut self, number: u64, kind: SettleKind) -> Settled {
        if let Some(position) = self.ended.remove(&number) {
            match self.entry(number) {
                Some(entry) => entry.state = State::Settled(kind),
                None => {
                    self.late.insert(number, kind);
                    if self.late.len() > HISTORY {
                        self.late.pop_first();
                    }
                }
            }
            return Settled::Late(position);
        }
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
        if let Some(before) = self.late.get(&number) {
            return if *before == kind { Settled::Before } else { Settled::Lost };
        }
        let found = self.history.iter().rev().find(|(first, next, _)| (*first..*next).contains(&number));
        if found.is_some_and(|(_, _, state)| *state == State::Settled(kind)) { Settled::Before } else { Settled::Lost }
    }

    /// Takes a held delivery away from the subscriber.
    pub(super) fn take_back(&mut self, number: u64) {
        if self.entry(number).is_some_and(|e| e.state == State::Held) {
            self.resolve(number, State::Lost);
        }
    }

    /// The lease of a delivery that was taken back has ended; until somebody else gets the
    /// position it may still be settled.
    pub(super) fn end(&mut self, number: u64, position: Position) {
        self.ended.insert(number, position);
    }

    /// Nothing that ended may be settled late any more, but dead letters.
    pub(super) fn forget_ended(&mut self) {
        self.ended.retain(|_, position| *position & DEAD != 0);
    }

    /// Somebody else has the position now, or nobody will.
    pub(super) fn end_for_good(&mut self, number: u64, position: Position) {
        if self.ended.get(&number) == Some(&position) {
            self.ended.remove(&number);
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
        // These numbers go to others.
        self.ended.split_off(&next);
        self.late.split_off(&next);
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
