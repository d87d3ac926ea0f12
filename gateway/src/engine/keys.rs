//! Which member has the events of a key in flight, and when a key should go to
//! another one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::SubscriptionKey;
use crate::store::Position;

/// Deliveries of a key after which it is looked whether its member has too many keys. A guess.
const LOOK: u32 = 16;

/// Keys of one group with events in flight. Looked up only, never iterated: no
/// hash order reaches an output.
#[derive(Default)]
pub(super) struct Keys {
    in_flight: HashMap<u64, InFlight>,
    /// Keys of each member, without those that are leaving it.
    held: BTreeMap<SubscriptionKey, usize>,
    leaving: usize,
}

struct InFlight {
    member: SubscriptionKey,
    /// Rising.
    positions: VecDeque<Position>,
    /// Deliveries since it was last looked whether it should leave.
    since_look: u32,
    /// Its member gets no more of it: the next one goes elsewhere once this one has
    /// settled what it has.
    leaving: bool,
}

/// Where the next event of a key goes.
pub(super) enum Bound {
    /// To any member.
    Nowhere,
    To(SubscriptionKey),
    /// To the same; and it is time to look whether it should.
    Look(SubscriptionKey),
    /// To nobody until its member has settled what it has of the key.
    Leaving,
}

impl Keys {
    pub(super) fn bound(&self, key: u64) -> Bound {
        match self.in_flight.get(&key) {
            None => Bound::Nowhere,
            Some(found) if found.leaving => Bound::Leaving,
            Some(found) if found.since_look >= LOOK => Bound::Look(found.member),
            Some(found) => Bound::To(found.member),
        }
    }

    /// How many keys a member has.
    pub(super) fn of(&self, member: SubscriptionKey) -> usize {
        self.held.get(&member).copied().unwrap_or(0)
    }

    /// By how many keys members may differ: with many keys long runs to one member
    /// are worth more than the last bit of balance.
    pub(super) fn slack(&self) -> usize {
        1 + self.in_flight.len() / 8
    }

    /// Lets a key leave its member if that has many more than another one.
    pub(super) fn look(&mut self, key: u64, least: usize) {
        // Those that leave already are taken to go to the other one.
        let enough = least.saturating_add(self.leaving + self.slack());
        let Some(found) = self.in_flight.get_mut(&key) else {
            return;
        };
        found.since_look = 0;
        let member = found.member;
        if self.held.get(&member).is_some_and(|held| *held > enough) {
            found.leaving = true;
            self.leaving += 1;
            self.forget(member);
        }
    }

    pub(super) fn add(&mut self, key: u64, member: SubscriptionKey, position: Position) {
        let entry = self.in_flight.entry(key).or_insert_with(|| {
            *self.held.entry(member).or_default() += 1;
            InFlight { member, positions: VecDeque::new(), since_look: 0, leaving: false }
        });
        // A dead letter that was given back stands behind every event.
        let at = if entry.positions.back().is_none_or(|last| *last < position) {
            entry.positions.len()
        } else {
            entry.positions.partition_point(|p| *p < position)
        };
        entry.positions.insert(at, position);
        entry.since_look += 1;
    }

    pub(super) fn remove(&mut self, key: u64, position: Position) {
        let Some(entry) = self.in_flight.get_mut(&key) else {
            return;
        };
        if let Ok(at) = entry.positions.binary_search(&position) {
            entry.positions.remove(at);
        }
        self.end_if_empty(key);
    }

    /// Takes a position and every later one of its key out of flight.
    pub(super) fn take_from(&mut self, key: u64, position: Position) -> Vec<Position> {
        let Some(entry) = self.in_flight.get_mut(&key) else {
            return Vec::new();
        };
        let at = entry.positions.partition_point(|p| *p < position);
        let taken = entry.positions.split_off(at).into();
        self.end_if_empty(key);
        taken
    }

    fn end_if_empty(&mut self, key: u64) {
        if self.in_flight.get(&key).is_some_and(|f| f.positions.is_empty())
            && let Some(ended) = self.in_flight.remove(&key)
        {
            if ended.leaving {
                self.leaving -= 1;
            } else {
                self.forget(ended.member);
            }
        }
    }

    /// A member has one key less.
    fn forget(&mut self, member: SubscriptionKey) {
        if let Some(held) = self.held.get_mut(&member) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&member);
            }
        }
    }
}
