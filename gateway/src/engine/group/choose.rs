//! Which member an event goes to.
//!
//! An event with a key goes to the member that has the key in flight; if that one
//! has no room, the key waits and others go on. A key that is not in flight goes
//! to the member with the fewest keys; and a member with many more keys than
//! another, as when that one has just joined, gives some up: such a key waits
//! until what is in flight of it is settled.

use std::ops::RangeInclusive;
use std::time::Duration;

use meshwire_proto::Moment;

use super::Group;
use super::dispatch::Pass;
use crate::engine::SubscriptionKey;
use crate::engine::keys::Bound;
#[cfg(feature = "testing")]
use crate::engine::planted::{Defect, is};
use crate::engine::subscriber::Subscriber;
use crate::store::{DEAD, Position};

/// Events in a row to one member before the least loaded is chosen anew: long
/// runs are cheap, short ones are fair. A guess.
const TURN: u32 = 16;

/// How much of its rate a group may have at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// Who got the last event.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) member: SubscriptionKey,
    /// How many in a row.
    count: u32,
    /// Keys up to which it gets those that nobody has.
    keys: usize,
}

/// Deliveries a second, evenly: each takes its share of time, and time is never more than [`BURST`] behind.
#[derive(Default)]
pub(super) struct Rate {
    /// When everything delivered so far has had its share, in nanoseconds.
    spent: u64,
    /// Deliveries wait until then.
    waits: Option<Moment>,
}

impl Rate {
    pub(super) const fn waits_until(&self) -> Option<Moment> {
        self.waits
    }

    /// Whether a wait is over.
    pub(super) fn wakes(&mut self, now: Moment) -> bool {
        self.waits.take_if(|until| *until <= now).is_some()
    }

    /// Whether one more may be delivered now.
    fn allows(&mut self, now: Moment, per_second: u32) -> bool {
        self.waits = None;
        if per_second == 0 {
            return true;
        }
        let nanos = now.0.saturating_mul(1000);
        if self.spent <= nanos {
            return true;
        }
        self.waits = Some(Moment(self.spent.div_ceil(1000)));
        false
    }

    fn take(&mut self, now: Moment, per_second: u32) {
        if per_second > 0 {
            let nanos = now.0.saturating_mul(1000);
            let behind = nanos.saturating_sub(u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX));
            self.spent = self.spent.max(behind) + 1_000_000_000 / u64::from(per_second);
        }
    }
}

impl Group {
    /// Whether the group may have one more delivery, whoever gets it.
    pub(super) fn may_deliver(&mut self, pass: &mut Pass<'_>) -> bool {
        if pass.left.get_or_insert_with(|| pass.source.at_once()).is_none() {
            return false;
        }
        let (most, rate) = (self.settings.max_in_flight, self.settings.max_rate);
        #[cfg(feature = "testing")]
        let most = if is(Defect::InFlightIgnored) { 0 } else { most };
        #[cfg(feature = "testing")]
        let rate = if is(Defect::RateIgnored) { 0 } else { rate };
        (most == 0 || *pass.in_flight.get_or_insert_with(|| self.in_flight()) < most.into())
            && self.rate.allows(pass.now.mono, rate)
    }

    /// One more event of so many bytes went to a member.
    pub(super) fn delivered_to(&mut self, member: SubscriptionKey, bytes: u64, pass: &mut Pass<'_>) {
        self.rate.take(pass.now.mono, self.settings.max_rate);
        if let Some(turn) = self.turn.as_mut().filter(|t| t.member == member) {
            turn.count += 1;
        }
        if let Some(left) = &mut pass.left {
            left.take(bytes);
        }
        if let Some(in_flight) = &mut pass.in_flight {
            *in_flight += 1;
        }
        if pass.shared
            && let Some(room) = self.members.get(&member).and_then(Subscriber::room)
        {
            for (_, other) in self.members.range_mut(session_of(member)).filter(|(_, other)| other.room().is_some()) {
                other.set_room(room);
            }
        }
    }

    /// Whether a member has room, which is asked when it is its turn, and once a pass. Members of one connection have
    /// it together.
    fn has_room(&mut self, key: SubscriptionKey, pass: &mut Pass<'_>) -> bool {
        let Some(room) = self.members.get(&key).map(Subscriber::room) else {
            return false;
        };
        if let Some(room) = room {
            return !room.is_none();
        }
        let beside = self.members.range(session_of(key)).find_map(|(_, other)| other.room());
        let room = beside.unwrap_or_else(|| pass.source.room(key));
        pass.shared |= beside.is_some();
        pass.asked.push(key);
        if let Some(member) = self.members.get_mut(&key) {
            member.set_room(room);
        }
        !room.is_none()
    }

    /// The first of the free members, in the order of what `weigh` says, that has room.
    fn first_free<W: Ord>(
        &mut self,
        pass: &mut Pass<'_>,
        weigh: impl Fn(&Self, &Subscriber) -> W,
    ) -> Option<SubscriptionKey> {
        loop {
            let key = self.free().min_by_key(|m| (m.deaf, weigh(self, m))).map(|m| m.key)?;
            if self.has_room(key, pass) {
                return Some(key);
            }
        }
    }

    /// The member for an event of this key that is the first of those that wait.
    pub(super) fn choose(&mut self, key: u64, position: Position, pass: &mut Pass<'_>) -> Option<SubscriptionKey> {
        if self.is_poison(position) {
            return self.choose_alone(key, position, pass);
        }
        if key == 0 {
            return self.free_member(pass);
        }
        #[cfg(feature = "testing")]
        if crate::engine::planted::is(crate::engine::planted::Defect::KeyIgnored) {
            return self.free_member(pass);
        }
        if self.must_wait(key, position) { None } else { self.member_of(key, pass) }
    }

    /// Whether an earlier event of its key must go first. A dead letter that its key waits for goes before it.
    pub(super) fn must_wait(&self, key: u64, position: Position) -> bool {
        (self.is_held(key) && position & DEAD == 0)
            || self.scheduled.holds(key, position)
            || (self.settings.strict_order && !matches!(self.keys.bound(key), Bound::Nowhere))
    }

    fn member_of(&mut self, key: u64, pass: &mut Pass<'_>) -> Option<SubscriptionKey> {
        let bound = match self.keys.bound(key) {
            Bound::Look(_) => {
                let least = self.first_free(pass, |group, m| group.keys.of(m.key)).map(|m| self.keys.of(m));
                self.keys.look(key, least.unwrap_or(usize::MAX));
                self.keys.bound(key)
            }
            bound => bound,
        };
        match bound {
            Bound::Nowhere => self.member_for_key(pass),
            Bound::To(bound) | Bound::Look(bound) => {
                Some(bound).filter(|m| self.is_free(*m) && self.has_room(*m, pass))
            }
            Bound::Leaving => None,
        }
    }

    /// A member that has nothing else. While all have something, one gets no more; whoever is done first has it.
    fn choose_alone(&mut self, key: u64, position: Position, pass: &mut Pass<'_>) -> Option<SubscriptionKey> {
        if self.isolated.is_none_or(|(_, alone)| alone == position) && !self.must_wait(key, position) {
            let bound = match self.keys.bound(key) {
                Bound::Nowhere => None,
                Bound::To(member) | Bound::Look(member) => Some(member),
                Bound::Leaving => return None,
            };
            let is_idle = |group: &Self, member: &SubscriptionKey| {
                group.members.get(member).is_some_and(|m| m.is_available() && m.deliveries.held() == 0)
            };
            let apart = self.isolated.map(|(member, _)| member).filter(|m| bound.is_none_or(|b| b == *m));
            let apart = apart.filter(|m| !self.is_passed_over(*m));
            let mut member = bound.or(apart);
            if bound.is_none() && !apart.is_some_and(|m| is_idle(self, &m)) {
                let free = self.first_free(pass, |_, m| m.deliveries.held()).filter(|m| !self.is_passed_over(*m));
                member = free.filter(|m| apart.is_none() || is_idle(self, m)).or(apart);
            }
            self.isolated = member.map(|member| (member, position));
            let idle = member.filter(|m| is_idle(self, m));
            let found = idle.filter(|m| self.has_room(*m, pass));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether a member may hang while another one does not: it gets new events alone, so that none fails again and again
    /// with it.
    pub(super) fn is_passed_over(&self, member: SubscriptionKey) -> bool {
        self.members.get(&member).is_some_and(|m| m.deaf) && self.members.values().any(Subscriber::listens)
    }

    pub(super) fn is_free(&self, member: SubscriptionKey) -> bool {
        !self.is_set_apart(member) && self.members.get(&member).is_some_and(Subscriber::is_available)
    }

    pub(super) fn free(&self) -> impl Iterator<Item = &Subscriber> {
        self.members.values().filter(|m| m.is_available() && !self.is_set_apart(m.key))
    }

    /// The member that had the last event, if it may have more in a row. Who may hang has none.
    fn in_turn(&mut self, pass: &mut Pass<'_>) -> Option<Turn> {
        let hears = |group: &Self, member| group.members.get(&member).is_some_and(|m| !m.deaf);
        self.turn.filter(|t| {
            t.count < TURN && self.is_free(t.member) && hears(self, t.member) && self.has_room(t.member, pass)
        })
    }

    /// The member whose turn it is: the last one for a while, then the least loaded.
    pub(super) fn free_member(&mut self, pass: &mut Pass<'_>) -> Option<SubscriptionKey> {
        if let Some(turn) = self.in_turn(pass) {
            return Some(turn.member);
        }
        let chosen = self.first_free(pass, |_, m| m.deliveries.held())?;
        self.turn = Some(Turn { member: chosen, count: 0, keys: 0 });
        Some(chosen)
    }

    /// The member for a key that nobody has: the last one for a while, then the one
    /// with the fewest keys.
    fn member_for_key(&mut self, pass: &mut Pass<'_>) -> Option<SubscriptionKey> {
        if let Some(turn) = self.in_turn(pass).filter(|t| self.keys.of(t.member) < t.keys) {
            return Some(turn.member);
        }
        let chosen = self.first_free(pass, |group, m| (group.keys.of(m.key), m.deliveries.held()))?;
        self.turn = Some(Turn { member: chosen, count: 0, keys: self.keys.of(chosen) + self.keys.slack() });
        Some(chosen)
    }
}

/// All subscriptions of the session of one.
const fn session_of(key: SubscriptionKey) -> RangeInclusive<SubscriptionKey> {
    SubscriptionKey { subscription: 0, ..key }..=SubscriptionKey { subscription: u32::MAX, ..key }
}
