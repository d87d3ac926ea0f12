//! What the administration sees of groups.

use std::collections::BTreeMap;

use meshwire_proto::GroupKey;

use super::Engine;
use super::group::Group;
use super::topic::Topic;
use crate::store::{GroupId, GroupSettings, Position, TopicId};

/// A line of a listing. Of a broadcast group its numbers are sums over its members, `floor` and `lag` those of the
/// durable member that is worst off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its name.
    pub name: GroupKey,
    /// Everything below is settled.
    pub floor: Position,
    /// Members now, those whose connection is lost and may come back among them.
    pub members: u32,
    /// One of a group or a durable member is not away.
    pub connected: bool,
    /// Deliveries that are not settled.
    pub in_flight: u64,
    /// Events that are not settled and may still be delivered.
    pub lag: u64,
    /// How it delivers.
    pub settings: GroupSettings,
    /// Events that it gave up.
    pub dead_letters: u64,
    /// Events that wait for a delay to pass.
    pub delayed: u64,
    /// Events that have failed and are not settled.
    pub failing: u64,
    /// Events that expired before it was done with them, since the gateway started.
    pub expired: u64,
    /// Durable members of a broadcast group, by name.
    pub durable: Vec<Self>,
}

/// What is counted once for all groups of a topic.
struct Counts<'a> {
    letters: BTreeMap<&'a GroupKey, u64>,
    /// Unnamed members of broadcast groups, and what they hold.
    unnamed: BTreeMap<GroupId, (u32, u64)>,
}

impl Counts<'_> {
    fn summary(&self, topic: &Topic, group: &Group) -> GroupSummary {
        let (unnamed, held) = self.unnamed.get(&group.id).copied().unwrap_or_default();
        let mut summary = GroupSummary {
            name: group.name.clone(),
            floor: group.window.floor(),
            members: group.members.len() as u32 + unnamed,
            connected: group.members.values().any(|member| !member.away),
            in_flight: group.in_flight() + held,
            lag: group.window.unsettled(topic.next),
            settings: group.settings,
            dead_letters: self.letters.get(&group.name).copied().unwrap_or(0),
            delayed: group.delayed(),
            failing: group.window.failing(),
            expired: group.expired,
            durable: Vec::new(),
        };
        if group.is_broadcast() {
            summary.durable = topic.members_of(&group.name.group).map(|member| self.summary(topic, member)).collect();
            summary.add_up(topic.next);
        }
        summary
    }
}

impl GroupSummary {
    fn add_up(&mut self, topic_next: Position) {
        self.floor = self.durable.iter().map(|m| m.floor).min().unwrap_or(topic_next);
        self.lag = self.durable.iter().map(|m| m.lag).max().unwrap_or(0);
        for member in &self.durable {
            self.members += member.members;
            self.in_flight += member.in_flight;
            self.dead_letters += member.dead_letters;
            self.delayed += member.delayed;
            self.failing += member.failing;
            self.expired += member.expired;
        }
    }
}

impl Engine {
    fn counts(&self, id: TopicId, topic: &Topic) -> Counts<'_> {
        let mut unnamed: BTreeMap<GroupId, (u32, u64)> = BTreeMap::new();
        for solo in topic.solos.values() {
            if let Some(group) = solo.group {
                let (members, held) = unnamed.entry(group).or_default();
                *members += 1;
                *held += u64::from(solo.subscriber.deliveries.held());
            }
        }
        Counts { letters: self.letter_counts(id), unnamed }
    }

    /// Groups of a topic, by name.
    #[must_use]
    pub fn groups(&self, id: TopicId) -> Vec<GroupSummary> {
        let Some(topic) = self.topics.get(&id) else {
            return Vec::new();
        };
        let counts = self.counts(id, topic);
        let groups = topic.names.iter().filter(|(name, _)| name.member.is_none());
        groups.filter_map(|(_, id)| topic.groups.get(id)).map(|group| counts.summary(topic, group)).collect()
    }

    /// One group of a topic, or a durable member of one.
    #[must_use]
    pub fn group(&self, id: TopicId, name: &GroupKey) -> Option<GroupSummary> {
        let topic = self.topics.get(&id)?;
        Some(self.counts(id, topic).summary(topic, topic.named(name)?))
    }

    /// Events that retention took before the groups of a topic had them, since the start.
    #[must_use]
    pub fn overtaken(&self, id: TopicId) -> u64 {
        self.topics.get(&id).into_iter().flat_map(|topic| topic.groups.values()).map(|group| group.overtaken).sum()
    }

    /// How many deliveries the members of all groups hold.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.topics.values().flat_map(|t| t.groups.values()).map(Group::in_flight).sum()
    }
}
