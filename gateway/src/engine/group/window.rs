//! What a group knows of each position it has begun with and not finished.

use std::collections::{BTreeMap, VecDeque};

use super::GroupState;
use crate::engine::SubscriptionKey;
use crate::store::Position;

/// Most positions between the lowest unsettled one and the next new one: bounds
/// the memory that one stuck lease costs (about 3 MiB). A guess.
pub(super) const MAX_WINDOW: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be delivered (again).
    Waiting,
    /// The same; the lease under which it was last delivered has ended.
    Ended(SubscriptionKey, u64),
    /// With a member, under a delivery number.
    Leased(SubscriptionKey, u64),
    /// Done.
    Settled,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    /// Hash of its key, 0 for none.
    pub(super) key: u64,
    /// Deliveries since the gateway started.
    pub(super) deliveries: u32,
}

/// Formula: `slots[n]` is position `floor + n`; `next = floor + slots.len()`.
pub(in crate::engine) struct Window {
    floor: Position,
    slots: VecDeque<Slot>,
    /// Settled before the last start, above the floor.
    settled: VecDeque<(Position, Position)>,
    /// Failures before the last start.
    failures: BTreeMap<Position, u32>,
}

impl Window {
    pub(super) fn new(state: GroupState) -> Self {
        let failures = state.failures;
        #[cfg(feature = "testing")]
        let failures = if crate::engine::planted::is(crate::engine::planted::Defect::FailuresForgotten) {
            BTreeMap::new()
        } else {
            failures
        };
        Self { floor: state.floor, slots: VecDeque::new(), settled: state.settled.into(), failures }
    }

    /// Everything below is settled.
    pub(in crate::engine) const fn floor(&self) -> Position {
        self.floor
    }

    /// The next position that was never delivered since the start.
    pub(in crate::engine) fn next(&self) -> Position {
        self.floor + self.slots.len() as u64
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= MAX_WINDOW
    }

    pub(super) fn slot(&mut self, position: Position) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(position.checked_sub(self.floor)?).ok()?)
    }

    /// Takes up `next` in this state.
    pub(super) fn push(&mut self, state: State, key: u64) {
        let deliveries = u32::from(matches!(state, State::Leased(..)));
        self.slots.push_back(Slot { state, key, deliveries });
    }

    /// Whether `next` was settled before the last start; then it is taken up as such.
    pub(super) fn skip_settled(&mut self) -> bool {
        let next = self.next();
        while self.settled.front().is_some_and(|(_, end)| *end <= next) {
            self.settled.pop_front();
        }
        let known = self.settled.front().is_some_and(|(first, _)| *first <= next);
        if known {
            self.push(State::Settled, 0);
            self.advance();
        }
        known
    }

    /// The attempt number of the next delivery of `position`.
    pub(super) fn attempt(&self, position: Position, deliveries: u32) -> u32 {
        self.failures.get(&position).copied().unwrap_or(0) + deliveries + 1
    }

    /// Whether a jump costs no more than the window may.
    pub(super) fn can_skip_to(&self, first: Position) -> bool {
        self.slots.is_empty() || first - self.floor <= 2 * MAX_WINDOW as u64
    }

    /// Jumps over positions that are gone.
    pub(super) fn skip_to(&mut self, first: Position) {
        while self.next() < first && !self.slots.is_empty() {
            self.push(State::Settled, 0);
        }
        if self.slots.is_empty() {
            self.floor = self.floor.max(first);
        }
        self.advance();
    }

    /// Moves the floor over what is settled.
    pub(super) fn advance(&mut self) {
        while self.slots.front().is_some_and(|s| s.state == State::Settled) {
            self.slots.pop_front();
            self.floor += 1;
        }
        if !self.failures.is_empty() {
            self.failures = self.failures.split_off(&self.floor);
        }
    }
}
