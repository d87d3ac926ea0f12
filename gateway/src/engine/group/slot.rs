//! What is known of one position, in as few bytes as it takes: a group may have a hundred thousand.

use crate::engine::SubscriptionKey;
use crate::engine::span::Step;

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

const WAITING: u32 = 0;
const ENDED: u32 = 1;
const LEASED: u32 = 2;
const SETTLED: u32 = 3;

/// Above it is which of the four it is; more deliveries count as that many.
const MOST_DELIVERIES: u32 = (1 << 30) - 1;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Hash of its key, 0 for none.
    pub(super) key: u64,
    /// Deliveries since the gateway started, with the kind of its state above them.
    counted: u32,
    /// Of the member that has it, or had it under the lease that ended.
    subscription: u32,
    session: u64,
    number: u64,
}

impl Slot {
    pub(super) fn new(state: State, key: u64) -> Self {
        let mut slot = Self { key, counted: 0, subscription: 0, session: 0, number: 0 };
        slot.set(state);
        slot.count(u32::from(matches!(state, State::Leased(..))));
        slot
    }

    pub(super) const fn state(&self) -> State {
        let member = SubscriptionKey { session: self.session, subscription: self.subscription };
        match self.counted >> 30 {
            WAITING => State::Waiting,
            ENDED => State::Ended(member, self.number),
            LEASED => State::Leased(member, self.number),
            _ => State::Settled,
        }
    }

    pub(super) const fn set(&mut self, state: State) {
        let (kind, lease) = match state {
            State::Waiting => (WAITING, None),
            State::Ended(member, number) => (ENDED, Some((member, number))),
            State::Leased(member, number) => (LEASED, Some((member, number))),
            State::Settled => (SETTLED, None),
        };
        self.counted = kind << 30 | self.deliveries();
        if let Some((member, number)) = lease {
            (self.session, self.subscription, self.number) = (member.session, member.subscription, number);
        }
    }

    /// Deliveries since the gateway started.
    pub(super) const fn deliveries(&self) -> u32 {
        self.counted & MOST_DELIVERIES
    }

    /// It was delivered so often.
    pub(super) fn count(&mut self, deliveries: u32) {
        self.counted = (self.counted & !MOST_DELIVERIES) | deliveries.min(MOST_DELIVERIES);
    }
}

impl Step for Slot {
    fn is_done(&self) -> bool {
        self.counted >> 30 == SETTLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_says_what_it_was_told_and_is_small() {
        let member = SubscriptionKey { session: u64::MAX, subscription: 7 };
        for state in [State::Waiting, State::Ended(member, 9), State::Leased(member, 1 << 40), State::Settled] {
            let mut slot = Slot::new(state, 5);
            slot.count(u32::MAX);
            assert_eq!((slot.state(), slot.deliveries()), (state, MOST_DELIVERIES));
            slot.count(3);
            assert_eq!((slot.state(), slot.deliveries(), slot.key), (state, 3, 5));
        }
        assert_eq!(size_of::<Slot>(), 32);
    }
}
