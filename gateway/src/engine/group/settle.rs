//! Ack, nack, reject, extend, ended leases and lost members.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind;

use super::extended::Extension;
use super::retry::Again;
use super::slot::{Slot, State};
use super::window::{LEASE_ENDED, MEMBER_LOST, Why};
use super::{Group, Lease};
use crate::engine::deliveries::{Part, Settled};
#[cfg(feature = "testing")]
use crate::engine::planted::{Defect, is};
use crate::engine::subscriber::Subscriber;
use crate::engine::{Leaving, Now, SettleAs, SubscriptionKey};
use crate::store::{DEAD, Outcome, Position};

/// Longest that a lease can be made by extending it, from the first time on: what a
/// consumer that hangs, and extends for ever, holds up.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(12 * 3600);

/// Leases that may come before it is looked which are no longer held. A guess.
const FORGET_AFTER: usize = 64;

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

/// Drops the first deliveries that are no longer held; `false` if none is left.
fn trim(members: &BTreeMap<SubscriptionKey, Subscriber>, lease: &mut Lease) -> bool {
    let member = members.get(&lease.member);
    while lease.count > 0 && member.is_none_or(|m| m.deliveries.position(lease.first_delivery).is_none()) {
        lease.first_delivery += 1;
        lease.count -= 1;
    }
    lease.count > 0
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
            member.deaf = false;
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
            Settled::Now(position) => {
                self.extended.remove(member, number);
                position
            }
            Settled::Late(position) => {
                let key = self.window.key(position).unwrap_or(0);
                if !self.waiting.contains(position, key) {
                    return false;
                }
                // Its failure is counted: a nack has nothing to add.
                if !matches!(how.kind, SettleKind::Nack | SettleKind::Release) && self.unwait(position) {
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
            // It was not begun with: no failure, and what follows in its key was not either.
            SettleKind::Release => self.take_back(position),
            SettleKind::Reject => {
                let why = Why { said: cut(why(how.reason)), what: "" };
                self.fail(now, position, Outcome::Rejected { at: now.wall }, why);
            }
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
        let held = self.members.get(&member).map(|m| m.deliveries.held_within(numbers.clone())).unwrap_or_default();
        let wait = self.members.get(&member).map_or(Duration::ZERO, |m| m.lease_time(self.settings.ack_wait));
        let mut at = numbers.start;
        for number in held {
            let before = self.extended.get(member, number);
            let latest = before.map_or(now + LONGEST_LEASE, |e| e.latest);
            let ends = (now + wait).min(latest);
            let extended = ends > now;
            answer(at..number, false);
            answer(number..number + 1, extended);
            at = number + 1;
            #[cfg(feature = "testing")]
            if is(Defect::ExtendIgnored) {
                continue;
            }
            if extended {
                // After a change to a shorter wait it ends no earlier than it did before: no lease of a member ends behind
                // its last one.
                let least = before.map(|e| e.ends).or_else(|| self.members.get(&member).map(|m| m.lease_ends));
                let ends = ends.max(least.unwrap_or(ends));
                self.extended.set((member, number), Extension { ends, latest });
            }
        }
        answer(at..numbers.end, false);
    }

    /// Takes an event and every later one of its key away from its member.
    pub(super) fn take_back(&mut self, position: Position) {
        let Some(key) = self.window.slot(position).map(|s| s.key) else {
            return;
        };
        let taken = if key == 0 { vec![position] } else { self.keys.take_from(key, position) };
        #[cfg(feature = "testing")]
        let taken = if is(Defect::TakeBackForgotten) { vec![position] } else { taken };
        taken.into_iter().for_each(|position| self.take(position, key));
    }

    /// Takes a rejected event away. It does not come again, so its key goes on: what follows stays with who has it,
    /// unless the key is to wait for the dead letter.
    pub(super) fn take_rejected(&mut self, position: Position) {
        #[cfg(feature = "testing")]
        if is(Defect::RejectTakesBack) {
            return self.take_back(position);
        }
        if self.settings.hold_key {
            return self.take_back(position);
        }
        let key = self.window.key(position).unwrap_or(0);
        if key != 0 {
            self.keys.remove(key, position);
        }
        self.take(position, key);
    }

    fn take(&mut self, position: Position, key: u64) {
        let Some(before) = self.window.update(position, |slot| {
            let before = slot.state();
            slot.set(State::Waiting);
            before
        }) else {
            return;
        };
        if let State::Leased(member, number) = before {
            self.lose(member, number);
        }
        self.set_free(position);
        self.wait(position, key);
        // The settings may have changed while it was out.
        if self.is_exhausted(position) {
            self.give_up(position);
        }
    }

    /// Ends every lease that is due; `true` if one was.
    pub(in crate::engine) fn expire(&mut self, now: Now) -> bool {
        let mut any = self.bury_at.take_if(|at| *at <= now.mono).is_some();
        any |= self.rate.wakes(now.mono);
        any |= self.wake_scheduled(now.mono);
        while let Some(next) = self.next_end().filter(|(ends, _)| *ends <= now.mono) {
            any |= match next.1 {
                Some((member, number)) => {
                    self.extended.remove(member, number);
                    self.end_if_held(now, member, number)
                }
                None => self.end_first(now),
            };
        }
        self.forget_settled_leases();
        any
    }

    /// When the next lease ends; and which, if it is an extended one.
    pub(super) fn next_end(&self) -> Option<(Moment, Option<(SubscriptionKey, u64)>)> {
        let first = self.leases.front().map(|l| l.ends);
        match self.extended.first() {
            Some((ends, member, number)) if first.is_none_or(|first| ends <= first) => {
                Some((ends, Some((member, number))))
            }
            _ => first.map(|ends| (ends, None)),
        }
    }

    /// Ends the first leases that begin together, but those that were extended.
    fn end_first(&mut self, now: Now) -> bool {
        let Some(lease) = self.leases.pop_front() else {
            return false;
        };
        let mut any = false;
        for number in lease.first_delivery..lease.first_delivery + u64::from(lease.count) {
            if self.extended.get(lease.member, number).is_none() {
                any |= self.end_if_held(now, lease.member, number);
            }
        }
        any
    }

    /// A number that a rewind used again has a later lease of its own.
    fn end_if_held(&mut self, now: Now, member: SubscriptionKey, number: u64) -> bool {
        let Some(position) = self.members.get(&member).and_then(|m| m.deliveries.position(number)) else {
            return false;
        };
        self.end_lease(now, member, number, position);
        true
    }

    /// A lease ended: a failure. Without a key it may be settled until somebody
    /// else has the event; with one all later ones of the key wait too, and what is
    /// still sent for them is lost. Of a plain member nothing else is ever seen when it falls between two calls: it
    /// counts as lost, and may hang.
    fn end_lease(&mut self, now: Now, member: SubscriptionKey, number: u64, position: Position) {
        let mut outcome = Outcome::Failed { at: now.wall, delay_ms: 0 };
        if let Some(subscriber) = self.members.get_mut(&member).filter(|m| m.plain) {
            subscriber.deaf = true;
            self.turn.take_if(|turn| turn.member == member);
            outcome = Outcome::Lost { at: now.wall };
        }
        self.fail(now, position, outcome, Why { said: "", what: LEASE_ENDED });
        let key = self.window.key(position).unwrap_or(0);
        if key != 0 || !self.waiting.contains(position, key) {
            return;
        }
        if let Some(subscriber) = self.members.get_mut(&member) {
            self.window.update(position, |slot| slot.set(State::Ended(member, number)));
            subscriber.deliveries.end(number, position);
        }
    }

    /// Nobody may settle a position any more under the lease that has ended.
    pub(super) fn end_for_good(&mut self, position: Position) {
        if let Some(State::Ended(member, number)) = self.window.slot(position).map(Slot::state)
            && let Some(subscriber) = self.members.get_mut(&member)
        {
            subscriber.deliveries.end_for_good(number, position);
        }
    }

    /// Drops from the front what is no longer held, so that the first deadline is a real one; and all of it when there
    /// may be much behind one that is held for long.
    fn forget_settled_leases(&mut self) {
        while let Some(front) = self.leases.front_mut() {
            if trim(&self.members, front) {
                break;
            }
            self.leases.pop_front();
        }
        if self.leases.len() > 2 * self.leases_left + FORGET_AFTER {
            self.leases.retain_mut(|lease| trim(&self.members, lease));
            self.leases_left = self.leases.len();
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
        #[cfg(feature = "testing")]
        let how = if is(Defect::LeavingFails) { Leaving::Lost } else { how };
        for (number, position) in held {
            let still = self.members.get(&member).is_some_and(|m| m.deliveries.position(number).is_some());
            match how {
                Leaving::Lost if still => {
                    let why = Why { said: "", what: MEMBER_LOST };
                    self.fail(now, position, Outcome::Lost { at: now.wall }, why);
                }
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
        self.extended.remove_from(member, 0);
        self.forget_settled_leases();
    }

    /// Goes on at `to`: nothing is settled, held or failed from there on. Dead letters
    /// that were given back stay with who has them.
    pub(in crate::engine) fn seek(&mut self, to: Position) {
        for subscriber in self.members.values_mut() {
            let held = subscriber.deliveries.all_held();
            #[cfg(feature = "testing")]
            let held = if is(Defect::SeekLeavesLeases) { Vec::new() } else { held };
            for (number, position) in held {
                if position & DEAD == 0 {
                    subscriber.deliveries.take_back(number);
                    self.extended.remove(subscriber.key, number);
                    self.keys.remove(self.window.key(position).unwrap_or(0), position);
                }
            }
        }
        self.spare_events();
        self.scheduled.forget_events();
        self.unlogged.retain(|(position, ..)| position & DEAD != 0);
        if self.isolated.is_some_and(|(_, alone)| alone & DEAD == 0) {
            self.isolated = None;
        }
        for subscriber in self.members.values_mut() {
            subscriber.deliveries.forget_ended();
        }
        self.window.seek(to);
        self.forget_waiting();
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
            let Some(key) = self.window.update(position, |slot| {
                slot.set(State::Waiting);
                slot.count(slot.deliveries().saturating_sub(1));
                slot.key
            }) else {
                continue;
            };
            self.set_free(position);
            if key != 0 {
                self.keys.remove(key, position);
            }
            self.wait(position, key);
        }
        // Their numbers are used again: an old lease must not end the new delivery.
        self.extended.remove_from(member, next_delivery);
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
