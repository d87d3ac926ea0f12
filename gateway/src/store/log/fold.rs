//! The fold of the log: what all its operations together say.
//!
//! The same [`Fold::apply`] serves recovery and every live batch, so what a
//! restart finds is what was there.

use std::collections::BTreeMap;

use meshwire_proto::{GroupName, TopicName, UnixMillis};

use super::ops::{AppendHead, OpView, Ranges};
use super::producers::Producers;
use super::ranges::RangeSet;
use crate::store::{Durability, Failure, Grave, GroupId, GroupSettings, Outcome, Position, TopicId};

/// A topic as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: TopicName,
    /// Its level.
    pub durability: Durability,
    /// How long its events stay at least readable, in milliseconds.
    pub retention_ms: u64,
    /// First position that retention has not taken.
    pub first: Position,
    /// Position of the next append.
    pub next: Position,
    /// When the last append was stored.
    pub stored: UnixMillis,
    /// Of a topic of dead letters: those that are not settled.
    pub graves: BTreeMap<Position, Grave>,
}

/// A group as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// Its topic.
    pub topic: TopicId,
    /// Its name.
    pub name: GroupName,
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
    /// Producers by id.
    pub producers: Producers,
}

/// A topic whose creation was in a damaged record. Its events stay readable under this name.
/// `None` only if that name broke the rule for names.
fn lost_topic(id: TopicId, first: Position) -> Option<TopicState> {
    Some(TopicState {
        name: TopicName::parse(&format!("lost.topic.{}", id.0)).ok()?,
        durability: Durability::Synced,
        retention_ms: meshwire_proto::options::RETENTION.default,
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
        (TopicId(topic), GroupId(group))
    }

    /// Adds one operation.
    pub(super) fn apply(&mut self, op: &OpView<'_>) {
        match op {
            OpView::Topic { topic, name, durability, retention_ms } => {
                let state = TopicState {
                    name: name.clone(),
                    durability: *durability,
                    retention_ms: *retention_ms,
                    first: 1,
                    next: 1,
                    stored: UnixMillis(0),
                    graves: BTreeMap::new(),
                };
                self.topics.entry(*topic).or_insert(state);
            }
            OpView::Group { topic, group, name, start, settings } => {
                let state = || GroupState {
                    topic: *topic,
                    name: name.clone(),
                    settings: *settings,
                    floor: *start,
                    acked: RangeSet::default(),
                    failures: BTreeMap::new(),
                };
                self.groups.entry(*group).or_insert_with(state).settings = *settings;
            }
            OpView::Append { head, marks } => {
                self.append(head);
                for mark in *marks {
                    self.producers.add(&mark, head.stored);
                }
            }
            OpView::Graves { topic, changes } => {
                if let Some(topic) = self.topics.get_mut(topic) {
                    for (position, change) in changes {
                        change.clone().apply(*position, &mut topic.graves);
                    }
                }
            }
            // Of a group whose creation was in a damaged record nothing can be kept.
            OpView::Settle { group, ranges, .. } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.settle(*ranges);
                }
            }
        }
    }

    /// Retention has taken everything of a topic below `first`.
    pub(super) fn retain_from(&mut self, topic: TopicId, first: Position) {
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.first = topic.first.max(first).min(topic.next);
        }
    }

    /// No position that a group has dealt with is given again, even if damage took its event.
    pub(super) fn close_gaps(&mut self) {
        for group in self.groups.values() {
            if let Some(topic) = self.topics.get_mut(&group.topic) {
                let acked = group.acked.iter().last().map_or(0, |(_, next)| next);
                let failed = group.failures.last_key_value().map_or(0, |(p, _)| p + 1);
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
    fn settle(&mut self, ranges: Ranges<'_>) {
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
                        if !self.acked.contains(position) {
                            self.failures.entry(position).or_default().add(failed);
                        }
                    }
                }
            }
        }
    }
}
