//! The fold of the log: what all its operations together say.
//!
//! The same [`Fold::apply`] serves recovery and every live batch, so what a
//! restart finds is what was there.

use std::collections::BTreeMap;

use meshwire_proto::{GroupKey, TopicName, UnixMillis};

use super::ops::{AppendHead, OpView, Ranges};
use super::producers::Producers;
use super::ranges::RangeSet;
use super::times::TimesFold;
use crate::store::{
    Change, DEAD, Durability, Failure, Grave, GroupId, GroupSettings, Limits, Outcome, Position, TopicId,
};

/// A topic as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: TopicName,
    /// Its level.
    pub durability: Durability,
    /// How long its events stay at least readable, in milliseconds.
    pub retention_ms: u64,
    /// How much of it is kept.
    pub limits: Limits,
    /// First position that retention has not taken.
    pub first: Position,
    /// Position of the next append.
    pub next: Position,
    /// When the last append was stored.
    pub stored: UnixMillis,
    /// Of a topic of dead letters: those that are not settled.
    pub graves: BTreeMap<Position, Grave>,
}

/// A group, or a durable member of one, as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// Its topic.
    pub topic: TopicId,
    /// Its name.
    pub name: GroupKey,
    /// How it delivers.
    pub settings: GroupSettings,
    /// Everything below is settled.
    pub floor: Position,
    /// Settled above the floor.
    pub acked: RangeSet,
    /// Failures of positions that are not settled.
    pub failures: BTreeMap<Position, Failure>,
}

/// Everything the log says, up to one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// The last batch in it.
    pub batch: u64,
    /// Topics by id.
    pub topics: BTreeMap<TopicId, TopicState>,
    /// Groups by id.
    pub groups: BTreeMap<GroupId, GroupState>,
    /// The same by number of the topic and name.
    pub(super) names: BTreeMap<(u32, GroupKey), GroupId>,
    /// Above all numbers of topics, and all ids of groups, that were given: those of what is gone are not given again.
    pub next: (u32, u32),
    /// Producers by id.
    pub producers: Producers,
    /// Events that wait for their time, and those that expire.
    pub times: TimesFold,
}

impl TopicState {
    const fn new(name: TopicName, durability: Durability, retention_ms: u64) -> Self {
        let (first, next, stored, limits) = (1, 1, UnixMillis(0), Limits { bytes: 0, block: false });
        Self { name, durability, retention_ms, limits, first, next, stored, graves: BTreeMap::new() }
    }
}

/// A topic whose creation was in a damaged record. Its events stay readable under this name.
/// `None` only if that name broke the rule for names.
fn lost_topic(id: TopicId, first: Position) -> Option<TopicState> {
    Some(TopicState {
        name: TopicName::parse(&format!("lost.topic.{}", id.0)).ok()?,
        durability: Durability::Synced,
        retention_ms: meshwire_proto::options::RETENTION.default,
        limits: Limits::default(),
        first,
        next: first,
        stored: UnixMillis(0),
        graves: BTreeMap::new(),
    })
}

impl Fold {
    /// Ids for the next topic and the next group: above all that were given.
    #[must_use]
    pub fn next_ids(&self) -> (TopicId, GroupId) {
        let topic = self.topics.keys().map(|id| id.number() + 1).max().unwrap_or(1);
        let group = self.groups.last_key_value().map_or(1, |(id, _)| id.0 + 1);
        (TopicId(topic.max(self.next.0)), GroupId(group.max(self.next.1)))
    }

    /// Adds one operation.
    pub(super) fn apply(&mut self, op: &OpView<'_>) {
        match op {
            OpView::Topic { topic, name, durability, retention_ms } => {
                self.next.0 = self.next.0.max(topic.number().saturating_add(1));
                let state = || TopicState::new(name.clone(), *durability, *retention_ms);
                let state = self.topics.entry(*topic).or_insert_with(state);
                state.retention_ms = *retention_ms;
                // Nothing is kept less well than it was promised.
                state.durability = state.durability.max(*durability);
            }
            OpView::Group { topic, group, name, start, settings } => {
                self.next.1 = self.next.1.max(group.0.saturating_add(1));
                let state = || GroupState {
                    topic: *topic,
                    name: name.clone(),
                    settings: *settings,
                    floor: *start,
                    acked: RangeSet::default(),
                    failures: BTreeMap::new(),
                };
                self.names.insert((topic.number(), name.clone()), *group);
                self.groups.entry(*group).or_insert_with(state).settings = *settings;
            }
            OpView::Append { head, marks } => {
                self.append(head);
                for mark in *marks {
                    self.producers.add(&mark, head.stored);
                }
            }
            OpView::Limits { topic, limits } => {
                if let Some(topic) = self.topics.get_mut(topic) {
                    topic.limits = *limits;
                }
            }
            OpView::TopicGone { topic } => self.remove_topic(*topic),
            OpView::GroupGone { group, .. } => self.remove_group(*group),
            OpView::Reasons { group, reasons, .. } => self.give_reasons(*group, reasons.iter().copied()),
            OpView::Seek { group, to, .. } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.seek(*to);
                }
            }
            OpView::Graves { topic, changes } => {
                for (position, change) in changes {
                    self.change_grave(*topic, *position, change);
                }
            }
            OpView::Times(times) => {
                let now = self.topics.get(&times.topic()).map_or(UnixMillis(0), |t| t.stored);
                self.times.apply(times, now);
            }
            // Of a group whose creation was in a damaged record nothing can be kept.
            OpView::Settle { group, ranges, .. } => {
                if let Some(group) = self.groups.get_mut(group) {
                    let letters = self.topics.get(&group.topic.dead_letters(true));
                    group.settle(*ranges, letters.map(|letters| &letters.graves));
                }
            }
        }
    }

    /// Why events failed that are given up and not settled.
    pub(super) fn give_reasons<'a>(&mut self, group: GroupId, reasons: impl Iterator<Item = (Position, &'a str)>) {
        let Some(group) = self.groups.get_mut(&group) else { return };
        for (position, said) in reasons {
            if let Some(failure) = group.failures.get_mut(&position) {
                said.clone_into(&mut failure.said);
            }
        }
    }

    fn remove_topic(&mut self, topic: TopicId) {
        // Also if the record that made it was damaged.
        self.next.0 = self.next.0.max(topic.number().saturating_add(1));
        self.topics.remove(&topic);
        self.times.forget(topic);
        self.groups.retain(|_, group| group.topic != topic);
        self.names.retain(|_, group| self.groups.contains_key(group));
    }

    fn remove_group(&mut self, group: GroupId) {
        let name = self.groups.remove(&group).map(|gone| (gone.topic.number(), gone.name));
        // One made again may have it by now, if a record between was damaged.
        if let Some(name) = name.filter(|name| self.names.get(name) == Some(&group)) {
            self.names.remove(&name);
        }
    }

    fn change_grave(&mut self, id: TopicId, position: Position, change: &Change) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        if let (Change::Gone, Some(grave)) = (change, topic.graves.get(&position)) {
            let name = (id.number(), grave.group.clone());
            if let Some(group) = self.names.get(&name).and_then(|group| self.groups.get_mut(group)) {
                group.failures.remove(&(position | DEAD));
            }
        }
        change.clone().apply(position, &mut topic.graves);
    }

    /// Retention has taken everything of a topic below `first`.
    pub(super) fn retain_from(&mut self, topic: TopicId, first: Position) {
        self.times.retain_from(topic, first);
        let Some(state) = self.topics.get_mut(&topic) else {
            return;
        };
        state.first = state.first.max(first).min(state.next);
        // Dead letters that are gone, and what failed of those that had been given back.
        let kept = state.graves.split_off(&state.first);
        for (position, grave) in std::mem::replace(&mut state.graves, kept) {
            let name = (topic.number(), grave.group);
            if let Some(group) = self.names.get(&name).and_then(|group| self.groups.get_mut(group)) {
                group.failures.remove(&(position | DEAD));
            }
        }
    }

    /// No position that a group has dealt with is given again, even if damage took its event.
    pub(super) fn close_gaps(&mut self) {
        for group in self.groups.values() {
            if let Some(topic) = self.topics.get_mut(&group.topic) {
                let acked = group.acked.iter().last().map_or(0, |(_, next)| next);
                let failed = group.failures.range(..DEAD).next_back().map_or(0, |(p, _)| p + 1);
                topic.next = topic.next.max(group.floor).max(acked).max(failed);
            }
        }
    }

    fn append(&mut self, head: &AppendHead) {
        if !self.topics.contains_key(&head.topic) {
            self.topics.extend(lost_topic(head.topic, head.first).map(|t| (head.topic, t)));
        }
        let Some(topic) = self.topics.get_mut(&head.topic) else {
            return;
        };
        topic.next = topic.next.max(head.first + u64::from(head.count));
        topic.stored = topic.stored.max(head.stored);
    }
}

impl GroupState {
    fn seek(&mut self, to: Position) {
        self.floor = to;
        self.acked = RangeSet::default();
        // Dead letters that were given back stay where they are.
        self.failures.retain(|position, _| *position >= DEAD);
    }

    /// What failed of a dead letter is forgotten with the letter, also when the failure is logged behind it.
    fn settle(&mut self, ranges: Ranges<'_>, graves: Option<&BTreeMap<Position, Grave>>) {
        let is_letter = |position: Position| {
            let grave = graves.and_then(|graves| graves.get(&(position & !DEAD)));
            grave.is_some_and(|grave| grave.redriven)
        };
        for (first, count, outcome) in ranges {
            let next = first.saturating_add(u64::from(count));
            match outcome {
                Outcome::Acked => {
                    self.acked.insert(first.max(self.floor), next);
                    self.floor = self.acked.advance(self.floor);
                    let settled: Vec<Position> = self.failures.range(first..next).map(|(p, _)| *p).collect();
                    for position in settled {
                        self.failures.remove(&position);
                    }
                }
                failed => {
                    for position in first.max(self.floor)..next {
                        let is_open =
                            if position & DEAD == 0 { !self.acked.contains(position) } else { is_letter(position) };
                        if is_open {
                            self.failures.entry(position).or_default().add(failed);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use bytes::BytesMut;

    use super::*;
    use crate::store::log::ops::{self, Ops};

    const TOPIC: TopicId = TopicId(3);
    const GROUP: GroupId = GroupId(1);

    fn fold(write: impl FnOnce(&mut BytesMut)) -> Fold {
        let mut body = BytesMut::new();
        let (topic, group) = (TopicName::parse("t").unwrap(), GroupKey::parse("g").unwrap());
        ops::put_topic(&mut body, TOPIC, &topic, Durability::Synced, 1);
        ops::put_topic(&mut body, TOPIC.dead_letters(true), &topic, Durability::Synced, 1);
        ops::put_group(&mut body, (TOPIC, GROUP), &group, 1, &GroupSettings::default());
        let grave = Grave { group, key: 0, holds: false, redriven: false };
        let graves = [(1, Change::Buried(grave)), (1, Change::Redriven)];
        ops::put_graves(&mut body, TOPIC.dead_letters(true), &graves);
        let failed = Outcome::Failed { at: UnixMillis(7), delay_ms: 0 };
        ops::put_settle(&mut body, TOPIC, GROUP, &[(DEAD | 1, 1, failed), (4, 1, failed)]);
        write(&mut body);
        let mut fold = Fold::default();
        Ops::of(&body).for_each(|op| fold.apply(&op.unwrap().0));
        fold.close_gaps();
        fold
    }

    #[test]
    fn a_failure_of_a_dead_letter_that_was_given_back_moves_no_position_of_its_topic() {
        let found = fold(|_| {});
        assert_eq!(found.topics.get(&TOPIC).unwrap().next, 5, "behind the failed one");
        assert_eq!(found.groups.get(&GROUP).unwrap().failures.len(), 2);
        assert_eq!(found.next_ids(), (TopicId(4), GroupId(2)));
    }

    #[test]
    fn with_a_dead_letter_its_failures_are_gone() {
        let found = fold(|body| ops::put_graves(body, TOPIC.dead_letters(true), &[(1, Change::Gone)]));
        assert_eq!(found.groups.get(&GROUP).unwrap().failures.keys().collect::<Vec<_>>(), [&4]);
        assert!(found.topics.get(&TOPIC.dead_letters(true)).unwrap().graves.is_empty());
    }

    #[test]
    fn a_failure_that_is_logged_behind_the_end_of_its_dead_letter_is_not_kept() {
        let found = fold(|body| {
            let failed = Outcome::Failed { at: UnixMillis(8), delay_ms: 0 };
            ops::put_graves(body, TOPIC.dead_letters(true), &[(1, Change::Gone)]);
            ops::put_settle(body, TOPIC, GROUP, &[(DEAD | 1, 1, failed), (4, 1, failed)]);
        });
        let failures = &found.groups.get(&GROUP).unwrap().failures;
        assert_eq!(failures.iter().map(|(p, f)| (*p, f.count)).collect::<Vec<_>>(), [(4, 2)]);
    }

    #[test]
    fn a_topic_is_kept_as_well_as_it_was_ever_promised() {
        let name = TopicName::parse("t").unwrap();
        let found = fold(|body| {
            ops::put_topic(body, TopicId(7), &name, Durability::Written, 1);
            ops::put_topic(body, TopicId(7), &name, Durability::Synced, 2);
            ops::put_topic(body, TopicId(7), &name, Durability::Written, 3);
        });
        let topic = found.topics.get(&TopicId(7)).unwrap();
        assert_eq!((topic.durability, topic.retention_ms), (Durability::Synced, 3));
    }

    #[test]
    fn retention_takes_dead_letters_with_their_failures_and_leaves_later_ones() {
        let later = Grave { group: GroupKey::parse("g").unwrap(), key: 7, holds: true, redriven: false };
        let letters = TOPIC.dead_letters(true);
        let mut found = fold(|body| ops::put_graves(body, letters, &[(2, Change::Buried(later))]));
        found.topics.get_mut(&letters).unwrap().next = 3;
        found.retain_from(letters, 2);
        assert_eq!(found.topics.get(&letters).unwrap().graves.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(found.groups.get(&GROUP).unwrap().failures.keys().collect::<Vec<_>>(), [&4]);
    }

    #[test]
    fn a_dead_letter_is_settled_as_fast_beside_fifty_thousand_groups() {
        let letters = TOPIC.dead_letters(true);
        let mut fold = fold(|body| {
            for n in 2..50_000 {
                let name = GroupKey::parse(&format!("g{n}")).unwrap();
                ops::put_group(body, (TOPIC, GroupId(n)), &name, 1, &GroupSettings::default());
            }
        });
        let start = std::time::Instant::now();
        for position in 1..10_000 {
            let grave = Grave { group: GroupKey::parse("g49999").unwrap(), key: 0, holds: false, redriven: false };
            fold.change_grave(letters, position, &Change::Buried(grave));
            fold.change_grave(letters, position, &Change::Gone);
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    }

    #[test]
    fn with_a_topic_its_groups_are_gone_and_no_number_is_given_again() {
        let found = fold(|body| {
            ops::put_topic_gone(body, TOPIC);
            ops::put_topic_gone(body, TOPIC.dead_letters(true));
        });
        assert!(found.topics.is_empty() && found.groups.is_empty());
        assert_eq!(found.next_ids(), (TopicId(4), GroupId(2)));
        let letters_stay = fold(|body| ops::put_topic_gone(body, TOPIC));
        assert_eq!(letters_stay.topics.keys().collect::<Vec<_>>(), [&TOPIC.dead_letters(true)]);
    }

    #[test]
    fn a_seek_forgets_what_was_settled_and_failed_and_a_group_that_is_gone_is_gone() {
        let found = fold(|body| {
            ops::put_settle(body, TOPIC, GROUP, &[(1, 2, Outcome::Acked), (6, 2, Outcome::Acked)]);
            ops::put_seek(body, TOPIC, GROUP, 2);
        });
        let group = found.groups.get(&GROUP).unwrap();
        assert_eq!((group.floor, group.acked.len()), (2, 0));
        assert_eq!(group.failures.keys().collect::<Vec<_>>(), [&(DEAD | 1)]);
        assert!(fold(|body| ops::put_group_gone(body, TOPIC, GROUP)).groups.is_empty());
    }
}
