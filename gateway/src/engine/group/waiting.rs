//! Positions that are to be delivered and are with nobody.
//!
//! Those of one key stand in line. Only the first of a line is looked at, and only when it may have become free to go:
//! what is behind it, and a line that has to wait, costs nothing in a pass.

use std::collections::{BTreeMap, BTreeSet};

use super::Group;
use super::dispatch::Pass;
use crate::engine::SubscriptionKey;
use crate::engine::bounds::bounds;
use crate::engine::keys::Bound;
use crate::store::{DEAD, Position};

/// So many events are looked at for each pass. A guess.
const SWEEP: usize = 16;

#[derive(Default)]
pub(super) struct Waiting {
    /// All, by the hash of their key. Those without a key, 0, stand beside each other.
    lines: BTreeSet<(u64, Position)>,
    /// To be looked at in the next pass: those without a key, and the first of lines that may go on.
    ready: BTreeSet<Position>,
    /// The same of those that are delivered alone: one of them is looked at, however many there are.
    alone: BTreeSet<Position>,
    /// The first of lines whose key is with a member that has no room: as many as keys are in flight, at most.
    stuck: BTreeSet<(SubscriptionKey, Position, u64)>,
    /// The same by key.
    stuck_of: BTreeMap<u64, (SubscriptionKey, Position)>,
    /// Passes and looks since all were looked at.
    since_sweep: usize,
    /// How many were looked at.
    #[cfg(test)]
    pub(super) looks: u64,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether new ones may be taken up.
    pub(super) fn has_room(&self) -> bool {
        let bounds = bounds();
        self.ready.len() < bounds.ready && self.lines.len() < bounds.waiting
    }

    pub(super) fn contains(&self, position: Position, key: u64) -> bool {
        self.lines.contains(&(key, position))
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.lines.iter().map(|(_, position)| *position)
    }

    /// How many are below a position.
    pub(super) fn below(&self, end: Position) -> usize {
        self.positions().filter(|position| *position < end).count()
    }

    /// Whether an event of this key waits, so that a later one has to wait behind it.
    pub(super) fn has_line(&self, key: u64) -> bool {
        key != 0 && !self.is_empty() && self.lines.range((key, 0)..(key, DEAD)).next().is_some()
    }

    /// The first of a line; of one that is held by a dead letter, the first dead letter.
    fn first(&self, key: u64, held: bool) -> Option<Position> {
        let from = if held { DEAD } else { 0 };
        self.lines.range((key, from)..=(key, Position::MAX)).next().map(|(_, position)| *position)
    }

    fn remove(&mut self, position: Position, key: u64) -> bool {
        self.leave_out(position);
        self.lines.remove(&(key, position))
    }

    /// A position is looked at in the next pass, or when it is its turn to be delivered alone.
    fn look_at(&mut self, position: Position, alone: bool) {
        let ready = if alone { &mut self.alone } else { &mut self.ready };
        ready.insert(position);
    }

    fn leave_out(&mut self, position: Position) {
        if !self.ready.remove(&position) {
            self.alone.remove(&position);
        }
    }

    /// The first line that waits for room of a member is looked at in the next pass.
    pub(super) fn unstick(&mut self, member: SubscriptionKey) {
        if self.stuck.is_empty() {
            return;
        }
        let first = self.stuck.range((member, 0, 0)..=(member, Position::MAX, u64::MAX)).next().copied();
        if let Some((_, position, key)) = first {
            self.stuck.remove(&(member, position, key));
            self.stuck_of.remove(&key);
            if self.contains(position, key) {
                self.ready.insert(position);
            }
        }
    }

    /// A line waits until its member has room.
    fn stick(&mut self, position: Position, key: u64, member: SubscriptionKey) {
        self.ready.remove(&position);
        self.stuck.insert((member, position, key));
        self.stuck_of.insert(key, (member, position));
    }

    /// The next one to look at from a position on: of those that are ready if somebody is free, and of those that are
    /// delivered alone this one, or any.
    fn next(&mut self, from: Position, free: bool, alone: Option<Position>) -> Option<Position> {
        let ready = self.ready.range(from..).next().copied().filter(|_| free);
        let alone = match alone {
            Some(one) => Some(one).filter(|one| *one >= from && self.alone.contains(one)),
            None => self.alone.range(from..).next().copied().filter(|_| free),
        };
        let next = ready.into_iter().chain(alone).min();
        self.since_sweep += usize::from(next.is_some());
        #[cfg(test)]
        {
            self.looks += u64::from(next.is_some());
        }
        next
    }

    /// All events, rising, once in a while, to look whose time is over: a few of them for each pass and look. What is
    /// delivered is looked at anyway.
    pub(super) fn events(&mut self) -> Option<Vec<Position>> {
        self.since_sweep += 1;
        if self.lines.len() > SWEEP * self.since_sweep {
            return None;
        }
        self.since_sweep = 0;
        let mut events: Vec<Position> = self.positions().filter(|position| position & DEAD == 0).collect();
        events.sort_unstable();
        Some(events)
    }
}

impl Group {
    /// A position is to be delivered.
    pub(super) fn wait(&mut self, position: Position, key: u64) {
        self.waiting.lines.insert((key, position));
        if key == 0 {
            self.waiting.look_at(position, self.is_poison(position));
        } else if let Some((_, alone)) = self.isolated
            && position < alone
            && self.window.key(alone) == Some(key)
        {
            // It goes first: nobody is kept free for the later one.
            self.isolated = None;
        }
        self.wake(key);
    }

    /// A position is not to be delivered any more, or not yet. `false` if it was not.
    pub(super) fn unwait(&mut self, position: Position) -> bool {
        let key = self.window.key(position).unwrap_or(0);
        let waited = self.waiting.remove(position, key);
        if waited {
            self.wake(key);
        }
        waited
    }

    /// Something may have changed for a key: its line is looked at.
    pub(super) fn wake(&mut self, key: u64) {
        if key == 0 || self.waiting.is_empty() {
            return;
        }
        let Waiting { stuck, stuck_of, .. } = &mut self.waiting;
        if let Some((member, position)) = stuck_of.remove(&key) {
            stuck.remove(&(member, position, key));
        }
        if let Some(first) = self.waiting.first(key, self.is_held(key)) {
            self.waiting.look_at(first, self.is_poison(first));
        }
    }

    /// The same for all keys.
    pub(super) fn wake_all(&mut self) {
        let keys: BTreeSet<u64> = self.waiting.lines.iter().map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.wake(key));
    }

    /// An event of a key is out no more: its line may go to another member if none is.
    pub(super) fn end_in_flight(&mut self, key: u64, position: Position) {
        self.keys.remove(key, position);
        if !self.waiting.is_empty() && matches!(self.keys.bound(key), Bound::Nowhere) {
            self.wake(key);
        }
    }

    /// Whether it is the turn of a position, and not of another one of its line.
    pub(super) fn is_first(&self, position: Position, key: u64) -> bool {
        key == 0 || self.waiting.first(key, self.is_held(key)) == Some(position)
    }

    /// A new event waits behind another one of its key.
    pub(super) fn line_up(&mut self, position: Position, key: u64) {
        self.waiting.lines.insert((key, position));
    }

    /// A position is not looked at before something has changed for it.
    pub(super) fn leave_out(&mut self, position: Position) {
        self.waiting.leave_out(position);
    }

    /// The next position behind `from` that may go to somebody.
    pub(super) fn next_ready(&mut self, from: Position, pass: &mut Pass<'_>) -> Option<Position> {
        let free = self.free_member(pass).is_some_and(|member| !self.is_passed_over(member));
        self.waiting.next(from, free, self.isolated.map(|(_, alone)| alone))
    }

    /// Nobody can have a position now. It stays to be looked at if that may be otherwise in the next pass.
    pub(super) fn set_aside(&mut self, position: Position, key: u64) {
        if key == 0 {
            return;
        }
        if self.must_wait(key, position) {
            return self.leave_out(position);
        }
        match self.keys.bound(key) {
            Bound::Nowhere => {}
            Bound::Leaving => self.leave_out(position),
            // Its member is kept free for it.
            Bound::To(_) | Bound::Look(_) if self.is_poison(position) => {}
            Bound::To(member) | Bound::Look(member) => self.waiting.stick(position, key, member),
        }
    }

    /// Goes on elsewhere: only dead letters that were given back still wait.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.lines.retain(|(_, position)| position & DEAD != 0);
        self.waiting.ready.retain(|position| position & DEAD != 0);
        self.waiting.alone.retain(|position| position & DEAD != 0);
        self.waiting.stuck.clear();
        self.waiting.stuck_of.clear();
        self.wake_all();
    }

    #[cfg(test)]
    pub(in crate::engine) fn looks(&self) -> u64 {
        self.waiting.looks
    }
}
