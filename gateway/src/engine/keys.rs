//! Which member has the events of a key in flight.

use std::collections::{HashMap, VecDeque};

use super::SubscriptionKey;
use crate::store::Position;

/// Keys of one group with events in flight. Looked up only, never iterated: no
/// hash order reaches an output.
#[derive(Default)]
pub(super) struct Keys {
    in_flight: HashMap<u64, InFlight>,
}

struct InFlight {
    member: SubscriptionKey,
    /// Rising.
    positions: VecDeque<Position>,
}

impl Keys {
    /// The member that must get the next event of this key, if any must.
    pub(super) fn member(&self, key: u64) -> Option<SubscriptionKey> {
        self.in_flight.get(&key).map(|f| f.member)
    }

    pub(super) fn add(&mut self, key: u64, member: SubscriptionKey, position: Position) {
        let entry = self.in_flight.entry(key).or_insert_with(|| InFlight { member, positions: VecDeque::new() });
        entry.positions.push_back(position);
    }

    pub(super) fn remove(&mut self, key: u64, position: Position) {
        let Some(entry) = self.in_flight.get_mut(&key) else {
            return;
        };
        if let Ok(at) = entry.positions.binary_search(&position) {
            entry.positions.remove(at);
        }
        if entry.positions.is_empty() {
            self.in_flight.remove(&key);
        }
    }

    /// Takes a position and every later one of its key out of flight.
    pub(super) fn take_from(&mut self, key: u64, position: Position) -> Vec<Position> {
        let Some(entry) = self.in_flight.get_mut(&key) else {
            return Vec::new();
        };
        let at = entry.positions.partition_point(|p| *p < position);
        let taken = entry.positions.split_off(at).into();
        if entry.positions.is_empty() {
            self.in_flight.remove(&key);
        }
        taken
    }
}
