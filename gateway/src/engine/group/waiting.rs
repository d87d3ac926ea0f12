//! Positions that are to be delivered and are with nobody.
//!
//! Those of one key stand in line. Only the first of a line is looked at, and only when it may have become free to go:
//! what is behind it, and a line that has to wait, costs nothing in a pass.

use std::collections::{BTreeMap, BTreeSet};

use super::Group;
use crate::engine::SubscriptionKey;
use crate::engine::bounds::bounds;
use crate::engine::keys::Bound;
use crate::store::{DEAD, Position};

#[derive(Default)]
pub(super) struct Waiting {
    /// All, by the hash of their key. Those without a key, 0, stand beside each other.
    lines: BTreeSet<(u64, Position)>,
    /// To be looked at in the next pass: those without a key, and the first of lines that may go on.
    ready: BTreeSet<Position>,
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

    fn insert(&mut self, position: Position, key: u64) {
        self.lines.insert((key, position));
        if key == 0 {
            self.ready.insert(position);
        }
    }

    fn remove(&mut self, position: Position, key: u64) -> bool {
        self.ready.remove(&position);
        self.lines.remove(&(key, position))
    }

    /// The first of a line is looked at in the next pass.
    fn wake(&mut self, key: u64, held: bool) {
        if let Some((member, position)) = self.stuck_of.remove(&key) {
            self.stuck.remove(&(member, position, key));
        }
        if let Some(first) = self.first(key, held) {
            self.ready.insert(first);
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

    /// The next one to look at.
    pub(super) fn next_ready(&mut self, from: Position) -> Option<Position> {
        let next = self.ready.range(from..).next().copied();
        self.since_sweep += usize::from(next.is_some());
        #[cfg(test)]
        {
            self.looks += u64::from(next.is_some());
        }
        next
    }

    /// Events that are looked at because their time may be over: those that are ready, and all once in a while, so that
    /// it costs as much as a few looks. Rising.
    pub(super) fn events(&mut self) -> Vec<Position> {
        self.since_sweep += 1;
        if self.lines.len() > bounds().ready + self.since_sweep {
            return self.ready.range(..DEAD).copied().collect();
        }
        self.since_sweep = 0;
        let mut events: Vec<Position> = self.positions().filter(|position| position & DEAD == 0).collect();
        events.sort_unstable();
        events
    }
}

impl Group {
    /// A position is to be delivered.
    pub(super) fn wait(&mut self, position: Position, key: u64) {
        self.waiting.insert(position, key);
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
        if key != 0 && !self.waiting.is_empty() {
            self.waiting.wake(key, self.is_held(key));
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
        self.waiting.ready.remove(&position);
    }

    /// Nobody can have a position now. It stays to be looked at if that may be otherwise in the next pass.
    pub(super) fn set_aside(&mut self, position: Position, key: u64) {
        if key == 0 || self.is_poison(position) {
            return;
        }
        if self.must_wait(key, position) {
            return self.leave_out(position);
        }
        match self.keys.bound(key) {
            Bound::Nowhere => {}
            Bound::Leaving => self.leave_out(position),
            Bound::To(member) | Bound::Look(member) => self.waiting.stick(position, key, member),
        }
    }

    /// Goes on elsewhere: only dead letters that were given back still wait.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.lines.retain(|(_, position)| position & DEAD != 0);
        self.waiting.ready.retain(|position| position & DEAD != 0);
        self.waiting.stuck.clear();
        self.waiting.stuck_of.clear();
        self.wake_all();
    }

    #[cfg(test)]
    pub(in crate::engine) fn looks(&self) -> u64 {
        self.waiting.looks
    }
}
