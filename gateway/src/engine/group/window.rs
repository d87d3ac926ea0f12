//! What a group knows of each position it has begun with and not finished.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use meshwire_proto::Moment;

use super::GroupState;
use crate::engine::{Now, SubscriptionKey};
use crate::store::{DEAD, Failure, Outcome, Position};

/// Most positions between the lowest unsettled one and the next new one: bounds
/// the memory that one stuck lease costs (about 3 MiB). A guess.
pub(super) const MAX_WINDOW: usize = 65_536;

/// Most bytes of texts why events failed, of one group; beyond it they are not kept.
const MAX_TEXTS: usize = 256 * 1024;

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

/// Why an event failed: what its consumer said, and what happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Why<'a> {
    pub(super) said: &'a str,
    /// For people, where nobody ever said anything.
    pub(super) what: &'static str,
}

/// What happens to leases, for people.
pub(super) const NACKED: &str = "the consumer nacked it, without a reason";
pub(super) const LEASE_ENDED: &str = "the ack wait ended";
pub(super) const MEMBER_LOST: &str = "its consumer was lost";

/// A position that has failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    /// Failures before the last start: deliveries of then are not in the slot.
    before: u32,
    /// Until when a restored one waits.
    due: Option<Moment>,
    /// What was said last.
    text: String,
    /// What happened at the last one, if it was since the start.
    what: &'static str,
}

impl Trouble {
    /// What was said last; where nothing ever was, what happened last. Neither outlives the process, the number of lost
    /// members does.
    pub(super) fn why(&self) -> &str {
        match (&*self.text, self.what) {
            ("", "") if self.failure.lost == self.failure.count => MEMBER_LOST,
            ("", what) => what,
            (said, _) => said,
        }
    }
}

/// Formula: `slots[n]` is position `floor + n`; `next = floor + slots.len()`.
pub(in crate::engine) struct Window {
    floor: Position,
    slots: VecDeque<Slot>,
    /// How many of the slots are settled.
    done: usize,
    /// Dead letters that were given back to the group, by position with [`DEAD`].
    dead: BTreeMap<Position, Slot>,
    /// Settled before the last start, above the floor.
    settled: VecDeque<(Position, Position)>,
    troubles: BTreeMap<Position, Trouble>,
    /// Bytes of their texts.
    texts: usize,
}

/// What is left of a delay that began before this start: never more than the delay itself, wherever the clock went.
fn due(now: Now, failure: &Failure) -> Option<Moment> {
    let end = failure.last.0.saturating_add(failure.delay_ms.into());
    let left = end.saturating_sub(now.wall.0).clamp(0, failure.delay_ms.into());
    (left > 0).then(|| now.mono + Duration::from_millis(left.unsigned_abs()))
}

impl Window {
    pub(super) fn new(now: Now, state: GroupState) -> Self {
        let failures = state.failures;
        #[cfg(feature = "testing")]
        let failures = if crate::engine::planted::is(crate::engine::planted::Defect::FailuresForgotten) {
            BTreeMap::new()
        } else {
            failures
        };
        let trouble = |failure: Failure| Trouble {
            before: failure.count,
            due: due(now, &failure),
            failure,
            ..Trouble::default()
        };
        Self {
            floor: state.floor,
            slots: VecDeque::new(),
            done: 0,
            dead: BTreeMap::new(),
            settled: state.settled.into(),
            troubles: failures.into_iter().map(|(position, failure)| (position, trouble(failure))).collect(),
            texts: 0,
        }
    }

    /// Goes on at `to`, as if nothing had happened to what follows.
    pub(super) fn seek(&mut self, to: Position) {
        self.floor = to;
        self.slots.clear();
        self.done = 0;
        self.settled.clear();
        let events: Vec<Position> = self.troubles.range(..DEAD).map(|(p, _)| *p).collect();
        events.into_iter().for_each(|position| self.recover(position));
    }

    /// Everything below is settled.
    pub(in crate::engine) const fn floor(&self) -> Position {
        self.floor
    }

    /// The next position that was never delivered since the start.
    pub(in crate::engine) fn next(&self) -> Position {
        self.floor + self.slots.len() as u64
    }

    /// How many positions below `end` are not settled. Of those that were never delivered only from `first` on: the others
    /// cannot be read any more.
    pub(in crate::engine) fn unsettled(&self, (first, end): (Position, Position)) -> u64 {
        self.slots.len().saturating_sub(self.done) as u64 + self.ahead((first, end))
    }

    /// How many positions in `first..end` were never delivered since the start, and are not settled.
    pub(in crate::engine) fn ahead(&self, (first, end): (Position, Position)) -> u64 {
        let next = self.next().max(first);
        let settled = self.settled.iter().map(|(first, last)| (*last).min(end).saturating_sub((*first).max(next)));
        end.saturating_sub(next).saturating_sub(settled.sum())
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= MAX_WINDOW
    }

    pub(super) fn slot(&mut self, position: Position) -> Option<&mut Slot> {
        if position & DEAD != 0 {
            return self.dead.get_mut(&position);
        }
        self.slots.get_mut(usize::try_from(position.checked_sub(self.floor)?).ok()?)
    }

    fn peek(&self, position: Position) -> Option<&Slot> {
        if position & DEAD != 0 {
            return self.dead.get(&position);
        }
        self.slots.get(usize::try_from(position.checked_sub(self.floor)?).ok()?)
    }

    /// Takes up `next` in this state.
    pub(super) fn push(&mut self, state: State, key: u64) {
        let deliveries = u32::from(matches!(state, State::Leased(..)));
        self.slots.push_back(Slot { state, key, deliveries });
        self.done += usize::from(state == State::Settled);
    }

    /// A position is settled; gives the hash of its key.
    pub(super) fn settle(&mut self, position: Position) -> Option<u64> {
        let slot = self.slot(position)?;
        let (key, new) = (slot.key, slot.state != State::Settled);
        slot.state = State::Settled;
        self.done += usize::from(new && position & DEAD == 0);
        Some(key)
    }

    /// Dead letters that were given back and are not settled, and the first of them.
    pub(super) fn given_back(&self) -> (u64, Option<Position>) {
        (self.dead.len() as u64, self.dead.keys().next().map(|position| position & !DEAD))
    }

    /// Takes up a dead letter that is given back.
    pub(super) fn push_dead(&mut self, position: Position, key: u64) {
        self.dead.insert(position, Slot { state: State::Waiting, key, deliveries: 0 });
    }

    /// A dead letter is settled.
    pub(super) fn drop_dead(&mut self, position: Position) {
        self.dead.remove(&position);
        self.recover(position);
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
        self.troubles.get(&position).map_or(0, |t| t.before) + deliveries + 1
    }

    /// How often a position was delivered so far.
    pub(super) fn attempts(&self, position: Position) -> u32 {
        let deliveries = self.peek(position).map_or(0, |slot| slot.deliveries);
        self.attempt(position, deliveries) - 1
    }

    /// The hash of a position's key.
    pub(super) fn key(&self, position: Position) -> Option<u64> {
        self.peek(position).map(|slot| slot.key)
    }

    /// What went wrong with a position, if anything did.
    pub(super) fn trouble(&self, position: Position) -> Option<&Trouble> {
        self.troubles.get(&position)
    }

    /// Until when a position waits that failed before the last start.
    pub(super) fn restored_due(&mut self, position: Position) -> Option<Moment> {
        self.troubles.get_mut(&position)?.due.take()
    }

    /// How many positions have failed and are not settled.
    pub(in crate::engine) fn failing(&self) -> u64 {
        let open = |position: &Position| self.peek(*position).is_none_or(|slot| slot.state != State::Settled);
        self.troubles.keys().filter(|position| open(position)).count() as u64
    }

    /// Counts a failure of a position.
    pub(super) fn fail(&mut self, position: Position, outcome: Outcome, why: Why<'_>) {
        let trouble = self.troubles.entry(position).or_default();
        trouble.failure.add(outcome);
        let Why { said, what } = why;
        trouble.what = what;
        if !said.is_empty() && self.texts + said.len() <= MAX_TEXTS {
            self.texts = self.texts + said.len() - trouble.text.len();
            said.clone_into(&mut trouble.text);
        }
    }

    /// Nothing is wrong with a position any more.
    fn recover(&mut self, position: Position) {
        if let Some(trouble) = self.troubles.remove(&position) {
            self.texts -= trouble.text.len();
        }
    }

    /// Whether a jump costs no more than the window may.
    pub(super) fn can_skip_to(&self, first: Position) -> bool {
        self.slots.is_empty() || first - self.floor <= 2 * MAX_WINDOW as u64
    }

    /// How far towards `end` it may jump over unsettled positions: up to what was settled before the last start. `None`
    /// while something below is open.
    pub(super) fn may_jump_to(&self, end: Position) -> Option<Position> {
        self.slots.is_empty().then(|| self.settled.front().map_or(end, |(first, _)| end.min(*first)))
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
            self.done = self.done.saturating_sub(1);
            self.floor += 1;
        }
        while let Some(done) = self.troubles.first_key_value().map(|(p, _)| *p).filter(|p| *p < self.floor) {
            self.recover(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_settled_is_known_without_a_look_at_each() {
        let settled = vec![(8, 10)];
        let mut window = Window::new(Now::default(), GroupState { floor: 1, settled, ..GroupState::default() });
        for n in 0..5 {
            window.push(State::Waiting, n);
        }
        window.push(State::Settled, 0);
        window.push_dead(DEAD | 1, 0);
        // Of 1 to 10: 6, 8 and 9 are settled.
        assert_eq!((window.next(), window.unsettled((0, 11))), (7, 7));
        for (position, key, left) in [(3, Some(2), 6), (3, Some(2), 6), (DEAD | 1, Some(0), 6), (99, None, 6)] {
            assert_eq!((window.settle(position), window.unsettled((0, 11))), (key, left), "{position}");
        }
        window.settle(1);
        window.advance();
        assert_eq!((window.floor(), window.unsettled((0, 11))), (2, 5));
        window.skip_to(5);
        assert_eq!(window.unsettled((0, 11)), 5, "what is skipped to is settled one by one");
        for position in [2, 4, 5] {
            window.settle(position);
        }
        window.advance();
        assert_eq!((window.floor(), window.next(), window.unsettled((0, 11))), (7, 7, 2));
        window.seek(1);
        assert_eq!(window.unsettled((0, 11)), 10);
    }
}
