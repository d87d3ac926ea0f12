//! What the administration sees of groups.

use std::collections::BTreeMap;
use std::ops::Bound;

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
    /// Events that are not settled and may still be delivered, or are with a member; dead letters that were given back among
    /// them.
    pub lag: u64,
    /// Where the oldest of them is in the topic, and which is the first of those dead letters.
    pub oldest: (Option<Position>, Option<Position>),
    /// How it delivers.
    pub settings: GroupSettings,
    /// Events that it gave up.
    pub dead_letters: u64,
    /// Of them, events that wait for a delay to pass.
    pub delayed: u64,
    /// Events that have failed and are not settled.
    pub failing: u64,
    /// Events that expired before it was done with them, since the gateway started.
    pub expired: u64,
    /// Durable members of a broadcast group, by name.
    pub durable: Vec<Self>,
}

/// Groups of a topic, as many as had room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupsPage {
    /// By name. The first may be one whose first durable members were in the page before.
    pub groups: Vec<GroupSummary>,
    /// There are more, behind this group or durable member.
    pub next: Option<GroupKey>,
}

/// Most bytes of a line of a listing beside its name, encoded: settings and numbers.
const LINE: usize = 256;

/// What is counted once for all groups of a topic.
struct Counts<'a> {
    /// The first position of the topic that can be read.
    first: Position,
    letters: BTreeMap<&'a GroupKey, u64>,
    /// Unnamed members of broadcast groups, and what they hold.
    unnamed: BTreeMap<GroupId, (u32, u64)>,
}

impl Counts<'_> {
    /// Without its durable members; they are in its numbers.
    fn summary(&self, topic: &Topic, group: &Group) -> GroupSummary {
        let (unnamed, held) = self.unnamed.get(&group.id).copied().unwrap_or_default();
        let behind = group.behind((self.first, topic.next));
        let (given_back, first_given_back) = group.given_back();
        let mut summary = GroupSummary {
            name: group.name.clone(),
            floor: group.window.floor(),
            members: group.members.len() as u32 + unnamed,
            connected: group.members.values().any(|member| !member.away),
            in_flight: group.in_flight() + held,
            lag: behind + given_back,
            oldest: ((behind > 0).then(|| group.window.floor()), first_given_back),
            settings: group.settings,
            dead_letters: self.letters.get(&group.name).copied().unwrap_or(0),
            delayed: group.delayed(self.first),
            failing: group.window.failing(),
            expired: group.expired,
            durable: Vec::new(),
        };
        if group.is_broadcast() {
            (summary.floor, summary.lag, summary.oldest) = (topic.next, 0, (None, None));
            let members = topic.members_of(&group.name.group);
            members.for_each(|member| summary.add(&self.summary(topic, member)));
        }
        summary
    }

    /// Lines for these names, in rising order, while there is room, and in any case one.
    fn page<'t>(
        &self,
        topic: &Topic,
        names: impl Iterator<Item = (&'t GroupKey, &'t GroupId)>,
        room: &mut usize,
    ) -> GroupsPage {
        let mut page = GroupsPage::default();
        let mut last: Option<&GroupKey> = None;
        for (name, id) in names {
            if *room == 0 && last.is_some() {
                page.next = last.cloned();
                break;
            }
            let Some(found) = topic.groups.get(id) else { continue };
            let begins = page.groups.last().is_none_or(|group| group.name.group != name.group);
            if begins && let Some(group) = topic.named(&GroupKey::from(name.group.clone())) {
                page.groups.push(self.summary(topic, group));
                *room = room.saturating_sub(LINE + name.group.as_str().len());
            }
            if let (Some(member), Some(group)) = (&name.member, page.groups.last_mut()) {
                group.durable.push(self.summary(topic, found));
                *room = room.saturating_sub(LINE + member.as_str().len());
            }
            last = Some(name);
        }
        page
    }
}

impl GroupSummary {
    /// A durable member's numbers are its group's, too.
    fn add(&mut self, member: &Self) {
        self.floor = self.floor.min(member.floor);
        self.lag = self.lag.max(member.lag);
        self.oldest.0 = self.oldest.0.into_iter().chain(member.oldest.0).min();
        self.oldest.1 = self.oldest.1.into_iter().chain(member.oldest.1).min();
        self.members += member.members;
        self.in_flight += member.in_flight;
        self.dead_letters += member.dead_letters;
        self.delayed += member.delayed;
        self.failing += member.failing;
        self.expired += member.expired;
    }
}

impl Engine {
    fn counts(&self, (id, first): (TopicId, Position), topic: &Topic) -> Counts<'_> {
        let mut unnamed: BTreeMap<GroupId, (u32, u64)> = BTreeMap::new();
        for solo in topic.solos.values() {
            if let Some(group) = solo.group {
                let (members, held) = unnamed.entry(group).or_default();
                *members += 1;
                *held += u64::from(solo.subscriber.deliveries.held());
            }
        }
        Counts { first, letters: self.letter_counts(id), unnamed }
    }

    /// Groups of a topic and durable members of them, by name, behind one: as many as fit into so many bytes, in any case
    /// one; `room` is what is left of them. `first`: the first position of the topic that can be read.
    #[must_use]
    pub fn groups_after(
        &self,
        (id, first): (TopicId, Position),
        after: Option<&GroupKey>,
        room: &mut usize,
    ) -> GroupsPage {
        let Some(topic) = self.topics.get(&id) else {
            return GroupsPage::default();
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.counts((id, first), topic).page(topic, topic.names.range((from, Bound::Unbounded)), room)
    }

    /// One group of a topic with as many of its durable members as fit into so many bytes, and the last of them if there
    /// are more; or a durable member of one.
    #[must_use]
    pub fn group_within(
        &self,
        (id, first): (TopicId, Position),
        name: &GroupKey,
        room: &mut usize,
    ) -> Option<(GroupSummary, Option<GroupKey>)> {
        let topic = self.topics.get(&id)?;
        let counts = self.counts((id, first), topic);
        if name.member.is_some() {
            return Some((counts.summary(topic, topic.named(name)?), None));
        }
        let within = topic.names.range(name..).take_while(|(other, _)| other.is_within(name));
        let mut page = counts.page(topic, within, room);
        Some((page.groups.pop()?, page.next))
    }

    /// All groups of a topic, by name.
    #[cfg(test)]
    pub(super) fn groups(&self, id: TopicId, first: Position) -> Vec<GroupSummary> {
        self.groups_after((id, first), None, &mut usize::MAX.clone()).groups
    }

    /// One group of a topic, or a durable member of one.
    #[cfg(test)]
    pub(super) fn group(&self, of: (TopicId, Position), name: &GroupKey) -> Option<GroupSummary> {
        self.group_within(of, name, &mut usize::MAX.clone()).map(|(group, _)| group)
    }

    /// Events that retention took before the groups of a topic had them: since the start, and those below the `first` that
    /// can be read which the groups were not told of yet.
    #[must_use]
    pub fn overtaken(&self, id: TopicId, first: Position) -> u64 {
        let groups = self.topics.get(&id).into_iter().flat_map(|topic| topic.groups.values());
        groups.map(|group| group.overtaken + group.untold(first)).sum()
    }

    /// How many deliveries the members of all groups hold.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.topics.values().flat_map(|t| t.groups.values()).map(Group::in_flight).sum()
    }
}
