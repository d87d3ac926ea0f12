//! Which event goes to which member.
//!
//! Positions are looked at in log order, first those that wait to come again,
//! then new ones. An event with a key goes to the member that has the key in
//! flight; if that one has no room, the key waits and others go on.

use std::collections::BTreeSet;

use meshwire_proto::Moment;

use super::window::State;
use super::{Group, Lease, Turn};
use crate::engine::keys::Bound;
use crate::engine::subscriber::Subscriber;
use crate::engine::{Output, Source, SubscriptionKey};
use crate::store::{Block, Lookup, Outcome, Position, TopicId};

/// Most positions that wait: new ones are not looked at beyond it.
const MAX_WAITING: usize = 1024;

/// Events in a row to one member before the least loaded is chosen anew: long
/// runs are cheap, short ones are fair. A guess.
const TURN: u32 = 16;

/// What one pass has found out.
struct Pass<'a> {
    topic: TopicId,
    head: Position,
    ends: Moment,
    /// Keys whose first undelivered event could not go: their later ones stay behind it.
    blocked: BTreeSet<u64>,
    block: Option<Block>,
    source: &'a mut dyn Source,
    out: &'a mut Vec<Output>,
}

/// An event that is to go to somebody.
#[derive(Clone, Copy)]
struct Next {
    position: Position,
    /// Hash of its key, 0 for none.
    key: u64,
    /// Deliveries since the gateway started.
    deliveries: u32,
}

enum Found {
    Block(Block),
    Gone(Position),
    Later,
}

impl Pass<'_> {
    fn block(&mut self, position: Position) -> Found {
        if let Some(block) = self.block.as_ref().filter(|b| (b.first..b.next()).contains(&position)) {
            return Found::Block(block.clone());
        }
        match self.source.block(self.topic, position) {
            Lookup::Ready(block) if (block.first..block.next()).contains(&position) => {
                self.block = Some(block.clone());
                Found::Block(block)
            }
            Lookup::Gone(first) if first > position => Found::Gone(first),
            _ => Found::Later,
        }
    }
}

impl Group {
    pub(in crate::engine) fn dispatch(
        &mut self,
        now: Moment,
        topic: TopicId,
        head: Position,
        source: &mut dyn Source,
        out: &mut Vec<Output>,
    ) {
        if !self.members.values().any(|m| m.is_available()) {
            return;
        }
        let ends = now + self.ack_wait;
        let mut pass = Pass { topic, head, ends, blocked: BTreeSet::new(), block: None, source, out };
        self.dispatch_waiting(&mut pass);
        self.dispatch_new(&mut pass);
        for member in self.members.values_mut() {
            member.flush(pass.out);
        }
    }

    fn dispatch_waiting(&mut self, pass: &mut Pass<'_>) {
        let waiting: Vec<Position> = self.waiting.iter().copied().collect();
        for position in waiting {
            if self.free_member().is_none() {
                return;
            }
            let Some(slot) = self.window.slot(position) else { continue };
            let event = Next { position, key: slot.key, deliveries: slot.deliveries };
            let Some(member) = self.choose(event.key, pass) else { continue };
            match pass.block(position) {
                Found::Block(block) => {
                    self.waiting.remove(&position);
                    self.lease(member, &block, event, pass);
                }
                // Retention took it while it waited: it is settled, and told as a gap.
                Found::Gone(_) => {
                    self.waiting.remove(&position);
                    self.settle_gone(position, member, pass);
                }
                Found::Later => {
                    if event.key != 0 {
                        pass.blocked.insert(event.key);
                    }
                }
            }
        }
    }

    fn settle_gone(&mut self, position: Position, member: SubscriptionKey, pass: &mut Pass<'_>) {
        self.end_for_good(position);
        if let Some(slot) = self.window.slot(position) {
            slot.state = State::Settled;
        }
        self.log(position, 1, Outcome::Acked);
        self.window.advance();
        self.tell_gap(member, 1, pass);
    }

    fn tell_gap(&mut self, member: SubscriptionKey, events: u64, pass: &mut Pass<'_>) {
        if let Some(member) = self.members.get_mut(&member) {
            member.flush(pass.out);
            member.gap += events;
        }
    }

    fn dispatch_new(&mut self, pass: &mut Pass<'_>) {
        while self.wants_new(pass.head) {
            if self.window.skip_settled() {
                continue;
            }
            let Some(free) = self.free_member() else {
                return;
            };
            match pass.block(self.window.next()) {
                Found::Block(block) => self.dispatch_block(&block, pass),
                Found::Gone(first) => {
                    if !self.skip_gap(first, free, pass) {
                        return;
                    }
                }
                Found::Later => return,
            }
        }
    }

    fn wants_new(&self, head: Position) -> bool {
        self.window.next() < head && !self.window.is_full() && self.waiting.len() < MAX_WAITING
    }

    /// Takes up positions of one block until it ends or nobody has room.
    fn dispatch_block(&mut self, block: &Block, pass: &mut Pass<'_>) {
        self.fresh = false;
        while self.wants_new(pass.head.min(block.next())) && self.free_member().is_some() {
            if self.window.skip_settled() {
                continue;
            }
            let position = self.window.next();
            let key = block.entry(position).map_or(0, |e| e.key);
            self.window.push(State::Waiting, key);
            match self.choose(key, pass) {
                Some(member) => self.lease(member, block, Next { position, key, deliveries: 0 }, pass),
                None => {
                    self.waiting.insert(position);
                }
            }
        }
    }

    /// Retention took `next` up to before `first`. `false` when that must wait
    /// until what is open below is settled.
    fn skip_gap(&mut self, first: Position, member: SubscriptionKey, pass: &mut Pass<'_>) -> bool {
        let position = self.window.next();
        if !self.window.can_skip_to(first) {
            return false;
        }
        if !self.fresh {
            self.tell_gap(member, first - position, pass);
        }
        self.log(position, u32::try_from(first - position).unwrap_or(u32::MAX), Outcome::Acked);
        self.window.skip_to(first);
        true
    }

    /// The member for an event of this key; a key that must wait is noted.
    fn choose(&mut self, key: u64, pass: &mut Pass<'_>) -> Option<SubscriptionKey> {
        if key == 0 {
            return self.free_member();
        }
        #[cfg(feature = "testing")]
        if crate::engine::planted::is(crate::engine::planted::Defect::KeyIgnored) {
            return self.free_member();
        }
        if pass.blocked.contains(&key) {
            return None;
        }
        let bound = match self.keys.bound(key) {
            Bound::Look(_) => {
                let least = self.available().map(|m| self.keys.of(m.key)).min();
                self.keys.look(key, least.unwrap_or(usize::MAX));
                self.keys.bound(key)
            }
            bound => bound,
        };
        let found = match bound {
            Bound::Nowhere => self.member_for_key(),
            Bound::To(bound) | Bound::Look(bound) => {
                Some(bound).filter(|m| self.members.get(m).is_some_and(Subscriber::is_available))
            }
            Bound::Leaving => None,
        };
        if found.is_none() {
            pass.blocked.insert(key);
        }
        found
    }

    fn available(&self) -> impl Iterator<Item = &Subscriber> {
        self.members.values().filter(|m| m.is_available())
    }

    /// The member that had the last event, if it may have more in a row.
    fn in_turn(&self) -> Option<Turn> {
        let turn = self.turn.filter(|t| t.count < TURN)?;
        self.members.get(&turn.member).is_some_and(Subscriber::is_available).then_some(turn)
    }

    /// The member whose turn it is: the last one for a while, then the least loaded.
    fn free_member(&mut self) -> Option<SubscriptionKey> {
        if let Some(turn) = self.in_turn() {
            return Some(turn.member);
        }
        let chosen = self.available().min_by_key(|m| m.deliveries.held()).map(|m| m.key)?;
        self.turn = Some(Turn { member: chosen, count: 0, keys: 0 });
        Some(chosen)
    }

    /// The member for a key that nobody has: the last one for a while, then the one
    /// with the fewest keys.
    fn member_for_key(&mut self) -> Option<SubscriptionKey> {
        if let Some(turn) = self.in_turn().filter(|t| self.keys.of(t.member) < t.keys) {
            return Some(turn.member);
        }
        let chosen = self.available().min_by_key(|m| (self.keys.of(m.key), m.deliveries.held())).map(|m| m.key)?;
        self.turn = Some(Turn { member: chosen, count: 0, keys: self.keys.of(chosen) + self.keys.slack() });
        Some(chosen)
    }

    fn lease(&mut self, member: SubscriptionKey, block: &Block, event: Next, pass: &mut Pass<'_>) {
        let Next { position, key, deliveries } = event;
        let attempt = self.window.attempt(position, deliveries);
        self.end_for_good(position);
        let Some(subscriber) = self.members.get_mut(&member) else {
            return;
        };
        let number = subscriber.deliver(block, position, attempt, pass.out);
        if let Some(slot) = self.window.slot(position) {
            slot.state = State::Leased(member, number);
            slot.deliveries = deliveries + 1;
        }
        #[cfg(feature = "testing")]
        if crate::engine::planted::is(crate::engine::planted::Defect::LeaseGivenTwice) && key == 0 && position % 10 == 0
        {
            self.waiting.insert(position);
        }
        if key != 0 {
            self.keys.add(key, member, position);
        }
        if let Some(turn) = self.turn.as_mut().filter(|t| t.member == member) {
            turn.count += 1;
        }
        match self.leases.back_mut() {
            Some(l) if l.ends == pass.ends && l.member == member && l.first_delivery + u64::from(l.count) == number => {
                l.count += 1;
            }
            _ => self.leases.push_back(Lease { ends: pass.ends, member, first_delivery: number, count: 1 }),
        }
    }
}
