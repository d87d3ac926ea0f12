//! Delivery numbers of one subscriber: what it holds, what it may still get,
//! and what became of what it held.

mod ranges;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use meshwire_proto::frame::SettleKind;

use ranges::Ranges;

use super::span::{Span, Step};
use crate::store::{DEAD, Position};

/// How many past settlements are remembered, as ranges, to answer a repeated
/// settle with `ok`. A guess: a resume repeats a handful of frames.
const HISTORY: usize = 64;

/// The same of where what was on its way ended when deliveries were taken back: about 6 KiB. A guess: who is asked about
/// one that is forgotten says what is on its way by then, which is never too little.
const TAKEN: usize = 256;

/// Places for deliveries: at least three quarters of them, more than the most credit there is, can be unsettled. What
/// is settled between them takes none: one delivery that is never settled holds up nothing. A place is 16 to 24 bytes,
/// so this bounds a subscription to about 2 MiB.
const MAX_PLACES: usize = 98_304;

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

impl Step for Entry {
    fn is_done(&self) -> bool {
        self.state != State::Held
    }
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
#[derive(Debug)]
pub(super) struct Deliveries {
    entries: Span<Entry>,
    /// What left the table.
    history: Ranges<State>,
    /// Of deliveries that were nacked or taken back: the number that the next one had then.
    taken: Ranges<u64>,
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
            entries: Span::new(1, MAX_PLACES),
            history: Ranges::new(HISTORY),
            taken: Ranges::new(TAKEN),
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

    /// Whether it may hold any.
    pub(super) const fn has_credit(&self) -> bool {
        self.credit.events > 0 && self.credit.bytes > 0
    }

    /// Whether one more event may be delivered.
    pub(super) fn has_room(&self) -> bool {
        self.held_events < self.credit.events && self.held_bytes < self.credit.bytes && !self.entries.is_full()
    }

    pub(super) const fn held(&self) -> u32 {
        self.held_events
    }

    pub(super) const fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Number of the next delivery.
    pub(super) fn next(&self) -> u64 {
        self.entries.next()
    }

    /// Numbers within a range that are held.
    pub(super) fn held_within(&self, numbers: Range<u64>) -> Vec<u64> {
        let near = numbers.start.max(self.entries.near())..numbers.end.min(self.next());
        let all = self.entries.left_behind(numbers).chain(near);
        all.filter(|number| self.position(*number).is_some()).collect()
    }

    /// Records a delivery and gives its number.
    pub(super) fn hold(&mut self, position: Position, size: u32) -> u64 {
        let number = self.next();
        self.entries.push(Entry { position, size, state: State::Held });
        self.held_events += 1;
        self.held_bytes += u64::from(size);
        number
    }

    /// The position that is held under this number.
    pub(super) fn position(&self, number: u64) -> Option<Position> {
        let entry = self.entries.get(number)?;
        (entry.state == State::Held).then_some(entry.position)
    }

    /// Cuts a settle of a range into parts: the work is bounded by what is there,
    /// however many numbers it names.
    pub(super) fn parts(&self, numbers: Range<u64>, kind: SettleKind) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut at = numbers.start;
        let old = numbers.end.min(self.entries.near());
        if at < old {
            for number in self.singles(at..old) {
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

    /// Numbers below those that stand side by side which must be looked at one by one.
    fn singles(&self, numbers: Range<u64>) -> Vec<u64> {
        let apart = self.ended.range(numbers.clone()).map(|(number, _)| *number);
        let apart = apart.chain(self.late.range(numbers.clone()).map(|(number, _)| *number));
        let mut singles: Vec<u64> = apart.chain(self.entries.left_behind(numbers)).collect();
        singles.sort_unstable();
        singles.dedup();
        singles
    }

    /// The parts of numbers that left the table.
    fn old_parts(&self, numbers: Range<u64>, kind: SettleKind, parts: &mut Vec<Part>) {
        let mut at = numbers.start;
        for (known, state) in self.history.within(numbers.clone()) {
            parts.extend((at < known.start).then_some(Part::All(at..known.start, false)));
            at = known.end;
            parts.push(Part::All(known, state == State::Settled(kind)));
        }
        parts.extend((at < numbers.end).then_some(Part::All(at..numbers.end, false)));
    }

    /// Settles as many of a range as are the first ones held, which is what most subscribers do; gives the first of the others.
    pub(super) fn settle_first(&mut self, numbers: Range<u64>, kind: SettleKind) -> u64 {
        let mut next = numbers.start;
        if kind == SettleKind::Nack || !self.ended.is_empty() || self.entries.near() != next {
            return next;
        }
        let Self { entries, history, held_events, held_bytes, .. } = self;
        entries.take_first(|number, entry| {
            let is_one = number < numbers.end && entry.state == State::Held;
            if is_one {
                next = number + 1;
                *held_events -= 1;
                *held_bytes -= u64::from(entry.size);
                history.remember(number, State::Settled(kind));
            }
            is_one
        });
        next
    }

    pub(super) fn settle(&mut self, number: u64, kind: SettleKind) -> Settled {
        if let Some(position) = self.ended.remove(&number) {
            if self.entries.update(number, |entry| entry.state = State::Settled(kind)).is_none() {
                self.late.insert(number, kind);
                if self.late.len() > HISTORY {
                    self.late.pop_first();
                }
            }
            return Settled::Late(position);
        }
        let Some(entry) = self.entries.get(number).copied() else {
            return self.settled_before(number, kind);
        };
        match entry.state {
            State::Held => {
                if kind == SettleKind::Nack {
                    self.remember_taken(number, entry.position);
                }
                self.resolve(number, State::Settled(kind));
                Settled::Now(entry.position)
            }
            State::Settled(before) if before == kind => Settled::Before,
            _ => Settled::Lost,
        }
    }

    fn settled_before(&self, number: u64, kind: SettleKind) -> Settled {
        if let Some(before) = self.late.get(&number) {
            return if *before == kind { Settled::Before } else { Settled::Lost };
        }
        if self.history.get(number) == Some(State::Settled(kind)) { Settled::Before } else { Settled::Lost }
    }

    /// Takes a held delivery away from the subscriber.
    pub(super) fn take_back(&mut self, number: u64) {
        if let Some(position) = self.position(number) {
            self.remember_taken(number, position);
            self.resolve(number, State::Lost);
        }
    }

    /// What came behind a delivery until now was taken back with it, if it is of its key. Not with a dead letter that was
    /// given back: its place is behind every event of its key.
    fn remember_taken(&mut self, number: u64, position: Position) {
        let boundary = if position & DEAD == 0 { self.entries.next() } else { number.saturating_add(1) };
        self.taken.remember(number, boundary);
    }

    /// Cuts numbers by where what was on its way ended when they were taken back; of the others, where it ends now.
    /// Deliveries from there on were made behind that and may be held.
    pub(super) fn boundaries(&self, numbers: Range<u64>, mut each: impl FnMut(Range<u64>, u64)) {
        let mut at = numbers.start;
        for (known, boundary) in self.taken.within(numbers.clone()) {
            if at < known.start {
                each(at..known.start, self.next());
            }
            at = known.end;
            each(known, boundary);
        }
        if at < numbers.end {
            each(at..numbers.end, self.next());
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
        let resolved = self.entries.update(number, |entry| {
            entry.state = state;
            u64::from(entry.size)
        });
        if let Some(size) = resolved {
            self.held_events -= 1;
            self.held_bytes -= size;
        }
        let history = &mut self.history;
        self.entries.trim(|number, entry| history.remember(number, entry.state));
    }

    /// Everything held, as `(number, position)`, in number order.
    pub(super) fn all_held(&self) -> Vec<(u64, Position)> {
        let held = self.entries.iter().filter(|(_, entry)| entry.state == State::Held);
        held.map(|(number, entry)| (number, entry.position)).collect()
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
        // What left the table is resolved: nothing of it may have been unseen, except what was taken back meanwhile.
        let mut undone = Vec::new();
        self.entries.cut(next, |number, entry| {
            if entry.state == State::Held {
                self.held_events -= 1;
                self.held_bytes -= u64::from(entry.size);
                undone.push((number, entry.position));
            }
        });
        self.history.cut(next);
        self.taken.cut(next);
        // What was on its way ended there, and what goes under these numbers now was made behind.
        self.taken.change(|boundary| boundary.min(next));
        undone.reverse();
        Some(undone)
    }
}
