//! What a group knows of each position it has begun with and not finished.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use meshwire_proto::Moment;

use super::GroupState;
use super::slot::{Slot, State};
use crate::engine::Now;
use crate::engine::bounds::bounds;
use crate::engine::span::Span;
use crate::store::{DEAD, Failure, Outcome, Position};

/// Most bytes of texts why events failed, of one group; beyond it they are not kept.
const MAX_TEXTS: usize = 256 * 1024;

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
    /// What happened at the last one, if it was since the start.
    what: &'static str,
}

impl Trouble {
    /// What was said last; where nothing ever was, what happened last. That does not outlive the process, the number of
    /// lost members does; what was said does of what is given up and has to wait.
    pub(super) fn why(&self) -> &str {
        match (&*self.failure.said, self.what) {
            ("", "") if self.failure.lost == self.failure.count => MEMBER_LOST,
            ("", what) => what,
            (said, _) => said,
        }
    }
}

/// The span goes from the floor to the next position that was never delivered since the start.
pub(in crate::engine) struct Window {
    slots: Span<Slot>,
    /// Dead letters that were given back to the group, by position with [`DEAD`].
    dead: BTreeMap<Position, Slot>,
    /// Settled before the last start, above the floor; or since as a dead letter that was owed then.
    settled: VecDeque<(Position, Position)>,
    /// Of positions that are not settled.
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
        let texts = failures.values().map(|failure| failure.said.len()).sum();
        Self {
            slots: Span::new(state.floor, bounds().places),
            dead: BTreeMap::new(),
            settled: state.settled.into(),
            troubles: failures.into_iter().map(|(position, failure)| (position, trouble(failure))).collect(),
            texts,
        }
    }

    /// Goes on at `to`, as if nothing had happened to what follows.
    pub(super) fn seek(&mut self, to: Position) {
        self.slots.restart(to);
        self.settled.clear();
        let events: Vec<Position> = self.troubles.range(..DEAD).map(|(p, _)| *p).collect();
        events.into_iter().for_each(|position| self.recover(position));
    }

    /// Everything below is settled.
    pub(in crate::engine) fn floor(&self) -> Position {
        self.slots.first()
    }

    /// The next position that was never delivered since the start.
    pub(in crate::engine) fn next(&self) -> Position {
        self.slots.next()
    }

    /// How many positions below `end` are not settled. Of those that were never delivered only from `first` on: the others
    /// cannot be read any more.
    pub(in crate::engine) fn unsettled(&self, (first, end): (Position, Position)) -> u64 {
        self.slots.open() as u64 + self.ahead((first, end))
    }

    /// How many positions in `first..end` were never delivered since the start, and are not settled.
    pub(in crate::engine) fn ahead(&self, (first, end): (Position, Position)) -> u64 {
        let next = self.next().max(first);
        let settled = self.settled.iter().map(|(first, last)| (*last).min(end).saturating_sub((*first).max(next)));
        end.saturating_sub(next).saturating_sub(settled.sum())
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.is_full()
    }

    /// Places that are used.
    #[cfg(test)]
    pub(in crate::engine) fn places(&self) -> usize {
        self.slots.places()
    }

    /// What is known of a position.
    pub(super) fn slot(&self, position: Position) -> Option<&Slot> {
        if position & DEAD == 0 { self.slots.get(position) } else { self.dead.get(&position) }
    }

    /// Changes what is known of a position. It is settled by [`Window::settle`] alone.
    pub(super) fn update<R>(&mut self, position: Position, change: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        if position & DEAD == 0 {
            self.slots.update(position, change)
        } else {
            self.dead.get_mut(&position).map(change)
        }
    }

    /// Takes up `next` in this state.
    pub(super) fn push(&mut self, state: State, key: u64) {
        self.slots.push(Slot::new(state, key));
    }

    /// A position is settled; gives the hash of its key.
    pub(super) fn settle(&mut self, position: Position) -> Option<u64> {
        let key = self.update(position, |slot| {
            slot.set(State::Settled);
            slot.key
        })?;
        self.recover(position);
        Some(key)
    }

    /// A position that was not taken up yet is settled.
    pub(super) fn settle_ahead(&mut self, position: Position) {
        let at = self.settled.partition_point(|(first, _)| *first < position);
        self.settled.insert(at, (position, position + 1));
        self.recover(position);
    }

    /// Dead letters that were given back and are not settled, and the first of them.
    pub(super) fn given_back(&self) -> (u64, Option<Position>) {
        (self.dead.len() as u64, self.dead.keys().next().map(|position| position & !DEAD))
    }

    /// Takes up a dead letter that is given back.
    pub(super) fn push_dead(&mut self, position: Position, key: u64) {
        self.dead.insert(position, Slot::new(State::Waiting, key));
    }

    /// A dead letter is settled.
    pub(super) fn drop_dead(&mut self, position: Position) {
        self.dead.remove(&position);
        self.recover(position);
    }

    /// Whether `next` was settled before the last start; then it is taken up as such, with what follows and was too.
    pub(super) fn skip_settled(&mut self) -> bool {
        let next = self.next();
        while self.settled.pop_front_if(|(_, end)| *end <= next).is_some() {}
        let end = self.settled.front().filter(|(first, _)| *first <= next).map(|(_, end)| *end);
        if let Some(end) = end {
            self.skip_to(end);
        }
        end.is_some()
    }

    /// The attempt number of the next delivery of `position`.
    pub(super) fn attempt(&self, position: Position, deliveries: u32) -> u32 {
        self.troubles.get(&position).map_or(0, |t| t.before) + deliveries + 1
    }

    /// How often a position was delivered so far.
    pub(super) fn attempts(&self, position: Position) -> u32 {
        let deliveries = self.slot(position).map_or(0, Slot::deliveries);
        self.attempt(position, deliveries) - 1
    }

    /// The hash of a position's key.
    pub(super) fn key(&self, position: Position) -> Option<u64> {
        self.slot(position).map(|slot| slot.key)
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
        self.troubles.len() as u64
    }

    /// Counts a failure of a position.
    pub(super) fn fail(&mut self, position: Position, outcome: Outcome, why: Why<'_>) {
        let trouble = self.troubles.entry(position).or_default();
        trouble.failure.add(outcome);
        let Why { said, what } = why;
        trouble.what = what;
        if !said.is_empty() && self.texts + said.len() <= MAX_TEXTS {
            self.texts = self.texts + said.len() - trouble.failure.said.len();
            said.clone_into(&mut trouble.failure.said);
        }
    }

    /// Nothing is wrong with a position any more.
    fn recover(&mut self, position: Position) {
        if let Some(trouble) = self.troubles.remove(&position) {
            self.texts -= trouble.failure.said.len();
        }
    }

    /// How far towards `end` it may jump over unsettled positions: up to what was settled before the last start.
    pub(super) fn may_jump_to(&self, end: Position) -> Position {
        self.settled.front().map_or(end, |(first, _)| end.min(*first))
    }

    /// Jumps over positions that are gone, or settled.
    pub(super) fn skip_to(&mut self, first: Position) {
        let next = self.next();
        while let Some(gone) = self.troubles.range(next..first.max(next)).next().map(|(position, _)| *position) {
            self.recover(gone);
        }
        if self.slots.is_level() || first.saturating_sub(next) > bounds().few {
            self.slots.jump(first, |_, _| {});
        }
        while self.next() < first {
            self.push(State::Settled, 0);
        }
        self.advance();
    }

    /// Moves the floor over what is settled.
    pub(super) fn advance(&mut self) {
        self.slots.trim(|_, _| {});
        let floor = self.floor();
        while let Some(done) = self.troubles.first_key_value().map(|(p, _)| *p).filter(|p| *p < floor) {
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
