//! Ack, nack, reject, extend, ended leases and lost members.

use std::ops::Range;
use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind;

use super::retry::Again;
use super::window::State;
use super::{Group, Lease};
use crate::engine::deliveries::{Part, Settled};
#[cfg(feature = "testing")]
use crate::engine::planted::{Defect, is};
use crate::engine::{Leaving, Now, SettleAs, SubscriptionKey};
use crate::store::{DEAD, Outcome, Position};

/// Longest that a lease can be made by extending it, from the first time on: what a
/// consumer that hangs, and extends for ever, holds up.
const LONGEST_LEASE: Duration = Duration::from_secs(12 * 3600);

/// Bytes of a reason that are kept.
const REASON_BYTES: usize = 1024;

/// A reason, unless a planted defect loses it.
fn why(reason: &str) -> &str {
    #[cfg(feature = "testing")]
    if is(Defect::ReasonForgotten) {
        return "";
    }
    reason
}

/// As much of a text as is kept.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(REASON_BYTES)).unwrap_or_default()
}

impl Group {
    /// Settles deliveries; `answer` gets `true` for each unless its lease is lost.
    pub(in crate::engine) fn settle(
        &mut self,
        now: Now,
        member: SubscriptionKey,
        numbers: Range<u64>,
        how: SettleAs<'_>,
        answer: &mut dyn FnMut(Range<u64>, bool),
    ) {
        if let Some(member) = self.members.get_mut(&member) {
            member.arrived(numbers.end.saturating_sub(1));
        }
        if how.kind == SettleKind::Extend {
            return self.extend(now.mono, member, numbers, answer);
        }
        let parts = self.members.get(&member).map(|m| m.deliveries.parts(numbers, how.kind)).unwrap_or_default();
        for part in parts {
            match part {
                #[cfg(feature = "testing")]
                Part::All(numbers, _) if is(Defect::LateSettleTaken) => answer(numbers, true),
                Part::All(numbers, settled) => answer(numbers, settled),
                Part::Each(numbers) => {
                    for number in numbers {
                        let settled = self.settle_one(now, member, number, how);
                        answer(number..number + 1, settled);
                    }
                }
            }
        }
        self.forget_settled_leases();
    }

    fn settle_one(&mut self, now: Now, member: SubscriptionKey, number: u64, how: SettleAs<'_>) -> bool {
        let Some(subscriber) = self.members.get_mut(&member) else {
            return false;
        };
        let position = match subscriber.deliveries.settle(number, how.kind) {
            Settled::Now(position) => position,
            Settled::Late(position) => {
                // It waits, and its failure is counted: a nack has nothing to add.
                if how.kind != SettleKind::Nack && self.waiting.remove(&position) {
                    self.settle_as(now, position, how);
                }
                return true;
            }
            Settled::Before => return true,
            Settled::Lost => return false,
        };
        self.settle_as(now, position, how);
        true
    }

    fn settle_as(&mut self, now: Now, position: Position, how: SettleAs<'_>) {
        match how.kind {
            #[cfg(feature = "testing")]
            SettleKind::Ack if is(Defect::AckForgotten) => self.take_back(position),
            SettleKind::Ack => self.finish(position),
            SettleKind::Reject => self.fail(now, position, Outcome::Rejected { at: now.wall }, cut(why(how.reason))),
            _ => {
                let again = how.delay.map_or(Again::Backoff, Again::After);
                self.nacked(now, position, again, cut(how.reason));
            }
        }
    }

    /// Leases begin anew; never longer than [`LONGEST_LEASE`] in all.
    fn extend(
        &mut self,
        now: Moment,
        member: SubscriptionKey,
        numbers: Range<u64>,
        answer: &mut dyn FnMut(Range<u64>, bool),
    ) {
        let held =
            |group: &Self, number| group.members.get(&member).is_some_and(|m| m.deliveries.position(number).is_some());
        let open = self.members.get(&member).map_or(0..0, |m| m.deliveries.open());
        let (from, to) = (numbers.start.max(open.start).min(numbers.end), numbers.end.min(open.end).max(numbers.start));
        if from >= to {
            return answer(numbers, false);
        }
        answer(numbers.start..from, false);
        for number in from..to {
            let latest = self.extended.get(&(member, number)).map_or(now + LONGEST_LEASE, |(_, latest)| *latest);
            let ends = (now + self.settings.ack_wait).min(latest);
            let extended = held(self, number) && ends > now;
            #[cfg(feature = "testing")]
            if is(Defect::ExtendIgnored) {
                answer(number..number + 1, extended);
                continue;
            }
            if extended {
                let ends = self.begin_lease(ends, member, number);
                self.extended.insert((member, number), (ends, latest));
            }
            answer(number..number + 1, extended);
        }
        answer(to..numbers.end, false);
    }

    /// Takes an event and every later one of its key away from its member.
    pub(super) fn take_back(&mut self, position: Position) {
        let Some(key) = self.window.slot(position).map(|s| s.key) else {
            return;
        };
        let taken = if key == 0 { vec![position] } else { self.keys.take_from(key, position) };
        #[cfg(feature = "testing")]
        let taken = if is(Defect::TakeBackForgotten) { vec![position] } else { taken };
        for position in taken {
            let Some(slot) = self.window.slot(position) else {
                continue;
            };
            if let State::Leased(member, number) = std::mem::replace(&mut slot.state, State::Waiting)
                && let Some(subscriber) = self.members.get_mut(&member)
            {
                subscriber.deliveries.take_back(number);
            }
            self.set_free(position);
            self.waiting.insert(position);
        }
    }

    /// Ends every lease that is due; `true` if one was.
    pub(in crate::engine) fn expire(&mut self, now: Now) -> bool {
        let mut any = self.bury_at.take_if(|at| *at <= now.mono).is_some();
        any |= self.rate.wakes(now.mono);
        any |= self.wake_scheduled(now.mono);
        while self.leases.front().is_some_and(|l| l.ends <= now.mono) {
            let Some(lease) = self.leases.pop_front() else {
                break;
            };
            for number in lease.first_delivery..lease.first_delivery + u64::from(lease.count) {
                if let Some(position) = self.leased_as(&lease, number)
                    && !self.goes_on(&lease, number)
                {
                    self.end_lease(now, lease.member, number, position);
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
    fn end_lease(&mut self, now: Now, member: SubscriptionKey, number: u64, position: Position) {
        self.fail(now, position, Outcome::Failed { at: now.wall, delay_ms: 0 }, "");
        if !self.waiting.contains(&position) {
            return;
        }
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

    /// Whether the lease was extended beyond this one.
    fn goes_on(&mut self, lease: &Lease, number: u64) -> bool {
        if self.extended.is_empty() {
            return false;
        }
        let of = (lease.member, number);
        let later = self.extended.get(&of).is_some_and(|(ends, _)| *ends > lease.ends);
        if !later {
            self.extended.remove(&of);
        }
        later
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
    pub(in crate::engine) fn leave(&mut self, now: Now, member: SubscriptionKey, how: Leaving) {
        let Some(subscriber) = self.members.get(&member) else {
            return;
        };
        let held = subscriber.deliveries.all_held();
        #[cfg(feature = "testing")]
        let held = if is(Defect::LeavingKeeps) { Vec::new() } else { held };
        for (number, position) in held {
            let still = self.members.get(&member).is_some_and(|m| m.deliveries.position(number).is_some());
            match how {
                Leaving::Lost if still => self.fail(now, position, Outcome::Lost { at: now.wall }, ""),
                Leaving::Clean if still => self.take_back(position),
                _ => {}
            }
        }
        self.members.remove(&member);
        if self.turn.is_some_and(|turn| turn.member == member) {
            self.turn = None;
        }
        if self.is_set_apart(member) {
            self.isolated = None;
        }
        self.extended.retain(|(of, _), _| *of != member);
        self.forget_settled_leases();
    }

    /// Goes on at `to`: nothing is settled, held or failed from there on. Dead letters
    /// that were given back stay with who has them.
    pub(in crate::engine) fn seek(&mut self, to: Position) {
        for subscriber in self.members.values_mut() {
            for (number, position) in subscriber.deliveries.all_held() {
                if position & DEAD == 0 {
                    subscriber.deliveries.take_back(number);
                    self.keys.remove(self.window.key(position).unwrap_or(0), position);
                }
            }
        }
        self.waiting.retain(|position| position & DEAD != 0);
        self.dying.retain(|position| position & DEAD != 0);
        self.scheduled.forget_events();
        self.unlogged.retain(|(position, ..)| position & DEAD != 0);
        if self.isolated.is_some_and(|(_, alone)| alone & DEAD == 0) {
            self.isolated = None;
        }
        for subscriber in self.members.values_mut() {
            subscriber.deliveries.forget_ended();
        }
        self.window.seek(to);
        self.forget_settled_leases();
    }

    /// Deliveries from `next_delivery` on never arrived: they come again under
    /// the same numbers and do not count as delivered.
    pub(in crate::engine) fn rewind(&mut self, member: SubscriptionKey, next_delivery: u64) -> bool {
        let Some(subscriber) = self.members.get_mut(&member) else {
            return false;
        };
        let Some(undone) = subscriber.rewind(next_delivery) else {
            return false;
        };
        for (_, position) in undone {
            let Some(slot) = self.window.slot(position) else {
                continue;
            };
            slot.state = State::Waiting;
            slot.deliveries = slot.deliveries.saturating_sub(1);
            self.set_free(position);
            let key = self.window.key(position).unwrap_or(0);
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
