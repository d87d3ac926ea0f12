//! Which event is next.
//!
//! Positions are looked at in log order, first those that wait to come again,
//! then new ones; [`choose`](super::choose) says who gets one.

use std::time::Duration;

use meshwire_proto::{Moment, UnixMillis};

use super::extended::Extension;
use super::settle::LONGEST_LEASE;
use super::slot::State;
use super::{Dying, Group, Lease};
use crate::engine::no_room::NO_ROOM;
use crate::engine::readers::Waits;
use crate::engine::subscriber::Subscriber;
use crate::engine::{Now, Output, Room, Source, SubscriptionKey};
use crate::store::{Block, Expiries, Lookup, Outcome, Position, StoreError, TopicId};

/// What one pass has found out.
pub(in crate::engine) struct Pass<'a> {
    topic: TopicId,
    /// Where its dead letters are.
    letters: TopicId,
    pub(super) head: Position,
    pub(super) now: Now,
    /// Until when events are delivered, and the time of the topic.
    pub(super) expiries: (&'a Expiries, UnixMillis),
    block: Option<Block>,
    /// A block was not there yet.
    later: bool,
    /// What the group may still be given at once, and how much its members hold: known when the first is to get something.
    pub(super) left: Option<Room>,
    pub(super) in_flight: Option<u64>,
    /// Members that were asked for their room, and whether some of them share a connection.
    pub(super) asked: Vec<SubscriptionKey>,
    pub(super) shared: bool,
    pub(super) source: &'a mut dyn Source,
    out: &'a mut Vec<Output>,
    /// Letters for the topic.
    pub(super) dying: &'a mut Vec<Dying>,
}

/// An event that is to go to somebody.
#[derive(Clone, Copy)]
struct Next {
    position: Position,
    /// Where it is in its block.
    at: Position,
    /// Hash of its key, 0 for none.
    key: u64,
    /// Deliveries since the gateway started.
    deliveries: u32,
}

pub(super) enum Found {
    Block(Block),
    Gone(Position),
    /// Not before others are there, up to this position.
    Later(Position),
}

impl<'a> Pass<'a> {
    pub(in crate::engine) fn new(
        (now, expiries): (Now, (&'a Expiries, UnixMillis)),
        (topic, letters): (TopicId, TopicId),
        head: Position,
        (source, out): (&'a mut dyn Source, &'a mut Vec<Output>),
        dying: &'a mut Vec<Dying>,
    ) -> Self {
        Self {
            topic,
            letters,
            head,
            now,
            expiries,
            block: None,
            later: false,
            left: None,
            in_flight: None,
            asked: Vec::new(),
            shared: false,
            source,
            out,
            dying,
        }
    }

    /// Claims room for so many bytes of dead letters.
    ///
    /// # Errors
    /// Why the store does not take them.
    pub(super) fn claim(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.source.claim(self.letters, bytes as u64)
    }

    pub(super) fn block(&mut self, position: Position) -> Found {
        if let Some(block) = self.block.as_ref().filter(|b| (b.first..b.next()).contains(&position)) {
            return Found::Block(block.clone());
        }
        let found = self.look(self.topic, position);
        if let Found::Block(block) = &found {
            self.block = Some(block.clone());
        }
        found
    }

    fn later(&mut self, position: Position, until: Position) -> Found {
        self.later = true;
        Found::Later(until.max(position + 1))
    }

    /// A block of dead letters.
    pub(super) fn letters(&mut self, position: Position) -> Found {
        self.look(self.letters, position)
    }

    fn look(&mut self, topic: TopicId, position: Position) -> Found {
        match self.source.block(topic, position) {
            Lookup::Ready(block) if (block.first..block.next()).contains(&position) => Found::Block(block),
            Lookup::Gone(first) if first > position => Found::Gone(first),
            Lookup::Pending(until) => self.later(position, until),
            _ => self.later(position, position),
        }
    }
}

/// So much is fetched at a time for events of a group that come again, or end: others want to read too. A guess.
pub(super) const FETCHES: u32 = 16;

/// Leases whose ends are no further apart end together with the later one: passes may be a little out of the order of
/// their clocks.
const SAME_END: Duration = Duration::from_millis(50);

impl Group {
    pub(in crate::engine) fn dispatch(&mut self, mut pass: Pass<'_>) -> Waits {
        if self.owes_letters() {
            self.bury(&mut pass);
        }
        let dying = self.dying.len();
        self.expire_waiting(&mut pass);
        let available = self.members.values().any(Subscriber::is_available);
        if available && self.is_clogged() {
            self.bury_at.get_or_insert(pass.now.mono + NO_ROOM);
        } else if available {
            if self.dispatch_waiting(&mut pass) {
                self.dispatch_new(&mut pass);
            }
            // What was found to be too old.
            if self.dying.len() > dying {
                self.bury(&mut pass);
            }
        }
        let for_events = self.free().next().is_some();
        // There may be more for those who have not got what they may, when others have had their turn.
        let again = for_events && pass.left.is_some_and(Room::is_none);
        for key in std::mem::take(&mut pass.asked) {
            if let Some(member) = self.members.get_mut(&key) {
                member.end_pass(pass.topic, pass.source, pass.out);
            }
        }
        Waits { for_events, for_block: pass.later, again }
    }

    /// `false` if new ones must wait: a durable member sees log order, also when what was sent to it before its
    /// connection was lost must be read again.
    fn dispatch_waiting(&mut self, pass: &mut Pass<'_>) -> bool {
        let apart = self.isolated.map(|(member, _)| member);
        for (key, _) in self.members.iter().filter(|(key, m)| m.is_available() && apart != Some(**key)) {
            self.waiting.unstick(*key);
        }
        let (mut from, mut fetches) = (0, 0);
        while fetches < FETCHES
            && self.may_deliver(pass)
            && let Some(position) = self.next_ready(from, pass)
        {
            from = position + 1;
            let Some(slot) = self.window.slot(position).copied().filter(|slot| self.is_first(position, slot.key))
            else {
                self.leave_out(position);
                continue;
            };
            if pass.has_expired(position) {
                self.end_expired(position);
                continue;
            }
            let Some(member) = self.choose(slot.key, position, pass) else {
                self.set_aside(position, slot.key);
                continue;
            };
            match pass.event(position) {
                (Found::Block(block), _) if self.is_too_old(pass.now, position, block.stored) => self.give_up(position),
                (Found::Block(block), at) => {
                    self.unwait(position);
                    self.waiting.unstick(member);
                    let next = Next { position, at, key: slot.key, deliveries: slot.deliveries() };
                    self.lease(member, &block, next, pass);
                }
                // Retention took it while it waited: it is settled, and told as a gap.
                (Found::Gone(_), _) => {
                    self.unwait(position);
                    self.end_for_good(position);
                    self.finish(position);
                    self.tell_gap(member, 1, pass);
                }
                (Found::Later(_), _) if self.name.member.is_some() => return false,
                (Found::Later(until), _) => (from, fetches) = (until, fetches + 1),
            }
        }
        true
    }

    fn tell_gap(&mut self, member: SubscriptionKey, events: u64, pass: &mut Pass<'_>) {
        self.overtaken += events;
        if let Some(member) = self.members.get_mut(&member) {
            member.flush(pass.out);
            member.gap += events;
        }
    }

    fn dispatch_new(&mut self, pass: &mut Pass<'_>) {
        while self.wants_new(pass.head) {
            if self.window.skip_settled() || self.skip_expired(pass) {
                continue;
            }
            let Some(free) = self.free_member(pass) else {
                return;
            };
            if !self.may_deliver(pass) {
                return;
            }
            match pass.block(self.window.next()) {
                Found::Block(block) => self.dispatch_block(&block, pass),
                Found::Gone(first) => self.skip_gap(first, free, pass),
                Found::Later(_) => return,
            }
        }
    }

    fn wants_new(&self, head: Position) -> bool {
        self.window.next() < head && !self.window.is_full() && self.waiting.has_room()
    }

    /// Takes up positions of one block until it ends or nobody has room.
    fn dispatch_block(&mut self, block: &Block, pass: &mut Pass<'_>) {
        while self.wants_new(pass.head.min(block.next())) && self.free_member(pass).is_some() && self.may_deliver(pass)
        {
            if self.window.skip_settled() || self.skip_expired(pass) {
                continue;
            }
            let position = self.window.next();
            let key = block.entry(position).map_or(0, |e| e.key);
            self.window.push(State::Waiting, key);
            if self.waits_from_before(position, block, pass) {
                continue;
            }
            if self.waiting.has_line(key) {
                self.line_up(position, key);
                continue;
            }
            match self.choose(key, position, pass) {
                Some(member) => {
                    self.lease(member, block, Next { position, at: position, key, deliveries: 0 }, pass);
                }
                None => {
                    self.wait(position, key);
                    self.set_aside(position, key);
                }
            }
        }
    }

    /// An event that failed before the last start may have to wait, or is given up.
    fn waits_from_before(&mut self, position: Position, block: &Block, pass: &Pass<'_>) -> bool {
        if self.window.trouble(position).is_none() {
            return false;
        }
        if self.is_exhausted(position) || self.is_too_old(pass.now, position, block.stored) {
            self.give_up(position);
            return true;
        }
        match self.window.restored_due(position).filter(|due| *due > pass.now.mono) {
            Some(due) => {
                self.schedule(due, position);
                true
            }
            None => false,
        }
    }

    /// Retention took `next` up to before `first`.
    fn skip_gap(&mut self, first: Position, member: SubscriptionKey, pass: &mut Pass<'_>) {
        let position = self.window.next();
        #[cfg(feature = "testing")]
        let first = if crate::engine::planted::is(crate::engine::planted::Defect::GapTooWide) {
            pass.head.min(first + 1)
        } else {
            first
        };
        // Not what is settled already, as a dead letter or before the last start.
        self.tell_gap(member, self.window.ahead((position, first)), pass);
        self.log(position, u32::try_from(first - position).unwrap_or(u32::MAX), Outcome::Acked);
        self.window.skip_to(first);
    }

    fn lease(&mut self, member: SubscriptionKey, block: &Block, event: Next, pass: &mut Pass<'_>) {
        let Next { position, at, key, deliveries } = event;
        let attempt = self.window.attempt(position, deliveries);
        self.end_for_good(position);
        let Some(subscriber) = self.members.get_mut(&member) else {
            return;
        };
        #[cfg(feature = "testing")]
        let attempt =
            if crate::engine::planted::is(crate::engine::planted::Defect::AttemptUncounted) { 1 } else { attempt };
        let how = (attempt, pass.expiry(position));
        let (number, bytes) = subscriber.deliver(block, (at, position), how, pass.out);
        let lasts = subscriber.lease_time(self.settings.ack_wait);
        self.window.update(position, |slot| {
            slot.set(State::Leased(member, number));
            slot.count(deliveries + 1);
        });
        #[cfg(feature = "testing")]
        if crate::engine::planted::is(crate::engine::planted::Defect::LeaseGivenTwice) && key == 0 && position % 10 == 0
        {
            self.wait(position, 0);
        }
        if key != 0 {
            self.keys.add(key, member, position);
        }
        self.delivered_to(member, bytes, pass);
        self.begin_lease((pass.now.mono, lasts), member, number);
    }

    /// A lease that ends later than all others; or, beside members that were told a longer wait, one that is
    /// remembered by itself.
    fn begin_lease(&mut self, (now, lasts): (Moment, Duration), member: SubscriptionKey, number: u64) {
        let ends = now + lasts;
        if self.leases.back().is_some_and(|last| last.ends > ends + SAME_END) {
            return self.extended.set((member, number), Extension { ends, latest: now + LONGEST_LEASE });
        }
        let ends = self.leases.back().map_or(ends, |last| last.ends.max(ends));
        if let Some(member) = self.members.get_mut(&member) {
            member.lease_ends = ends;
        }
        match self.leases.back_mut() {
            Some(l) if l.ends == ends && l.member == member && l.first_delivery + u64::from(l.count) == number => {
                l.count += 1;
            }
            _ => self.leases.push_back(Lease { ends, member, first_delivery: number, count: 1 }),
        }
    }
}
