//! Ack, nack, ended leases and lost members.

use std::ops::Range;

use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind;

use super::window::State;
use super::{Group, Lease};
use crate::engine::deliveries::{Part, Settled};
use crate::engine::{Leaving, SubscriptionKey};
use crate::store::{Outcome, Position};

impl Group {
    /// Settles deliveries; `answer` gets `true` for each unless its lease is lost.
    pub(in crate::engine) fn settle(
        &mut self,
        member: SubscriptionKey,
        numbers: Range<u64>,
        kind: SettleKind,
        answer: &mut dyn FnMut(Range<u64>, bool),
    ) {
        let parts = self.members.get(&member).map(|m| m.deliveries.parts(numbers, kind)).unwrap_or_default();
        for part in parts {
            match part {
                Part::All(numbers, settled) => answer(numbers, settled),
                Part::Each(numbers) => {
                    for number in numbers {
                        let settled = self.settle_one(member, number, kind);
                        answer(number..number + 1, settled);
                    }
                }
            }
        }
        self.forget_settled_leases();
    }

    fn settle_one(&mut self, member: SubscriptionKey, number: u64, kind: SettleKind) -> bool {
        let Some(subscriber) = self.members.get_mut(&member) else {
            return false;
        };
        let position = match subscriber.deliveries.settle(number, kind) {
            Settled::Now(position) => position,
            Settled::Late(position) => {
                // It waits, and its failure is counted: a nack has nothing to add.
                if kind == SettleKind::Ack && self.waiting.remove(&position) {
                    self.finish(position);
                }
                return true;
            }
            Settled::Before => return true,
            Settled::Lost => return false,
        };
        match kind {
            SettleKind::Ack => self.finish(position),
            _ => self.fail(position),
        }
        true
    }

    /// An acked event is done.
    fn finish(&mut self, position: Position) {
        let Some(slot) = self.window.slot(position) else {
            return;
        };
        slot.state = State::Settled;
        let key = slot.key;
        if key != 0 {
            self.keys.remove(key, position);
        }
        self.log(position, 1, Outcome::Acked);
        self.window.advance();
    }

    /// One more failure; the event and every later one of its key come again.
    fn fail(&mut self, position: Position) {
        self.log(position, 1, Outcome::Failed);
        self.take_back(position);
    }

    /// Takes an event and every later one of its key away from its member.
    fn take_back(&mut self, position: Position) {
        let Some(key) = self.window.slot(position).map(|s| s.key) else {
            return;
        };
        let taken = if key == 0 { vec![position] } else { self.keys.take_from(key, position) };
        #[cfg(feature = "testing")]
        let taken = if crate::engine::planted::is(crate::engine::planted::Defect::TakeBackForgotten) {
            vec![position]
        } else {
            taken
        };
        for position in taken {
            let Some(slot) = self.window.slot(position) else {
                continue;
            };
            if let State::Leased(member, number) = std::mem::replace(&mut slot.state, State::Waiting)
                && let Some(subscriber) = self.members.get_mut(&member)
            {
                subscriber.deliveries.take_back(number);
            }
            self.waiting.insert(position);
        }
    }

    /// Ends every lease that is due; `true` if one was.
    pub(in crate::engine) fn expire(&mut self, now: Moment) -> bool {
        let mut any = false;
        while self.leases.front().is_some_and(|l| l.ends <= now) {
            let Some(lease) = self.leases.pop_front() else {
                break;
            };
            for number in lease.first_delivery..lease.first_delivery + u64::from(lease.count) {
                if let Some(position) = self.leased_as(&lease, number) {
                    self.end_lease(lease.member, number, position);
                    any = true;
                }
            }
        }
        self.forget_settled_leases();
        any
    }

    /// A lease ended: a failure. Without a key it may be settled until somebody
    /// else has the event; with one all later ones of the key wait too, and what is
    /// still sent for them is lost.
    fn end_lease(&mut self, member: SubscriptionKey, number: u64, position: Position) {
        self.fail(position);
        if let Some(slot) = self.window.slot(position).filter(|s| s.key == 0)
            && let Some(subscriber) = self.members.get_mut(&member)
        {
            slot.state = State::Ended(member, number);
            subscriber.deliveries.end(number, position);
        }
    }

    /// Nobody may settle a position any more under the lease that has ended.
    pub(super) fn end_for_good(&mut self, position: Position) {
        if let Some(State::Ended(member, number)) = self.window.slot(position).map(|s| s.state)
            && let Some(subscriber) = self.members.get_mut(&member)
        {
            subscriber.deliveries.end_for_good(number, position);
        }
    }

    /// The position that is still leased under this number of this lease. A
    /// number that a rewind used again has a later lease of its own.
    fn leased_as(&mut self, lease: &Lease, number: u64) -> Option<Position> {
        self.members.get(&lease.member)?.deliveries.position(number)
    }

    /// Drops from the front what is no longer held, so that the first deadline is a real one.
    fn forget_settled_leases(&mut self) {
        while let Some(front) = self.leases.front_mut() {
            let member = self.members.get(&front.member);
            while front.count > 0 && member.is_none_or(|m| m.deliveries.position(front.first_delivery).is_none()) {
                front.first_delivery += 1;
                front.count -= 1;
            }
            if front.count > 0 {
                break;
            }
            self.leases.pop_front();
        }
    }

    /// A member goes; what it held comes again. Of each key only the first event
    /// of a lost member gains a failure.
    pub(in crate::engine) fn leave(&mut self, member: SubscriptionKey, how: Leaving) {
        let Some(subscriber) = self.members.get(&member) else {
            return;
        };
        for (number, position) in subscriber.deliveries.all_held() {
            let still = self.members.get(&member).is_some_and(|m| m.deliveries.position(number).is_some());
            match how {
                Leaving::Lost if still => self.fail(position),
                Leaving::Clean if still => self.take_back(position),
                _ => {}
            }
        }
        self.members.remove(&member);
        if self.turn.is_some_and(|turn| turn.member == member) {
            self.turn = None;
        }
        self.forget_settled_leases();
    }

    /// Deliveries from `next_delivery` on never arrived: they come again under
    /// the same numbers and do not count as delivered.
    pub(in crate::engine) fn rewind(&mut self, member: SubscriptionKey, next_delivery: u64) -> bool {
        let Some(subscriber) = self.members.get_mut(&member) else {
            return false;
        };
        let Some(undone) = subscriber.deliveries.rewind(next_delivery) else {
            return false;
        };
        for (_, position) in undone {
            let Some(slot) = self.window.slot(position) else {
                continue;
            };
            slot.state = State::Waiting;
            slot.deliveries = slot.deliveries.saturating_sub(1);
            let key = slot.key;
            if key != 0 {
                self.keys.remove(key, position);
            }
            self.waiting.insert(position);
        }
        // Their numbers are used again: an old lease must not end the new delivery.
        for lease in &mut self.leases {
            if lease.member == member {
                let unseen = (lease.first_delivery + u64::from(lease.count)).saturating_sub(next_delivery);
                lease.count = lease.count.saturating_sub(u32::try_from(unseen).unwrap_or(u32::MAX));
            }
        }
        self.leases.retain(|l| l.count > 0);
        self.forget_settled_leases();
        true
    }
}
