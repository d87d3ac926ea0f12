//! Listings: topics with their groups and durable members, page by page.
//!
//! A page has about as many bytes as the longest run of deliveries, which every client takes,
//! however many groups a topic has. Its cursor names the last line: `topic`, `topic/group` or
//! `topic/group/member`.

use std::collections::BTreeMap;

use meshwire_proto::wire::admin::{self, answer};
use meshwire_proto::{ErrorKind, GroupKey, TopicName};

use super::admin::Answered;
use super::ages::Ages;
use super::{Action, Caller, Mesh, Refusal, TopicRef, shard};
use crate::engine::{GroupSummary, GroupsPage, MAX_RUN_BYTES};
use crate::store::{Durability, Ticket, TopicBytes};

/// Bytes of a page: one ends with the line that reaches it.
const PAGE_BYTES: usize = MAX_RUN_BYTES as usize - 4096;

/// Most bytes of a topic's line beside its name, encoded.
const TOPIC: usize = 256;

/// What is left of a page.
struct Room {
    bytes: usize,
    /// Blocks that were asked for, to tell how old events are.
    reads: u32,
}

impl Room {
    const fn new() -> Self {
        Self { bytes: PAGE_BYTES, reads: 0 }
    }
}

/// Where a page begins.
struct Cursor {
    /// Behind this topic; or in it, behind a group or a durable member.
    topic: String,
    within: Option<GroupKey>,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let (topic, within) = text.split_once('/').map_or((text, None), |(topic, key)| (topic, Some(key)));
        let within = within.map(GroupKey::parse).transpose();
        let within = within.map_err(|e| Refusal::new(ErrorKind::Invalid, format!("cursor {text:?}: {e}")))?;
        Ok(Self { topic: topic.to_owned(), within })
    }

    fn is_before(&self, topic: &str) -> bool {
        topic > self.topic.as_str() || (self.within.is_some() && topic == self.topic)
    }
}

impl Mesh {
    pub(super) fn list_topics(&self, caller: &Caller, list: &admin::ListTopics) -> Answered {
        self.authorize(caller, Action::ListTopics, &list.topic)?;
        let limit = match list.limit {
            0 => 100,
            limit @ 1..=1000 => limit as usize,
            other => {
                return Err(Refusal::new(ErrorKind::Invalid, format!("limit is {other}; from 1 to 1000 is accepted")));
            }
        };
        let cursor = Cursor::parse(&list.cursor)?;
        let mut found = self.topics_from(&cursor, &list.topic, limit + 1).into_iter();
        let (mut topics, mut next, mut last, mut room) = (Vec::new(), String::new(), None, Room::new());
        for _ in 0..limit {
            let Some((name, topic)) = found.next() else { break };
            if room.bytes == 0 {
                next = last.unwrap_or_default();
                return Ok(listed(topics, next));
            }
            let within = cursor.within.as_ref().filter(|_| name.as_str() == cursor.topic);
            let described = match topic {
                Some(topic) => self.describe_from(topic, within, &mut room),
                // Only served, unless nobody does by now: nothing of it is stored.
                None => self.served(name.as_str()).map(|requests| {
                    let requests = Some(requests);
                    room.bytes = room.bytes.saturating_sub(TOPIC + name.as_str().len());
                    admin::Topic { requests, name: name.to_string(), ..admin::Topic::default() }
                }),
            };
            if let Some(described) = described {
                next.clone_from(&described.groups_next);
                topics.push(described);
                if !next.is_empty() {
                    return Ok(listed(topics, next));
                }
            }
            last = Some(name.to_string());
        }
        if found.next().is_some() {
            next = last.unwrap_or_default();
        }
        Ok(listed(topics, next))
    }

    /// Topics of a page, by name: those that are stored, and those that are only served.
    fn topics_from(&self, cursor: &Cursor, only: &str, most: usize) -> BTreeMap<TopicName, Option<TopicRef>> {
        let wanted = |name: &TopicName| cursor.is_before(name.as_str()) && (only.is_empty() || only == name.as_str());
        let served = if only.is_empty() {
            self.served_after(&cursor.topic, most)
        } else {
            TopicName::parse(only).ok().filter(|name| self.served(name.as_str()).is_some()).into_iter().collect()
        };
        let mut found: BTreeMap<TopicName, Option<TopicRef>> =
            served.into_iter().filter(&wanted).map(|name| (name, None)).collect();
        let topics = self.inner.topics();
        let stored = topics.names.iter().filter(|(name, _)| wanted(name));
        found.extend(stored.take(most).map(|(name, topic)| (name.clone(), Some(*topic))));
        found
    }

    /// A topic as it is listed, with as many groups as a page has; `None` when it is gone by now.
    pub(super) fn describe(&self, topic: TopicRef) -> Option<admin::Topic> {
        self.describe_from(topic, None, &mut Room::new())
    }

    fn describe_from(&self, topic: TopicRef, within: Option<&GroupKey>, room: &mut Room) -> Option<admin::Topic> {
        // Publishes do not wait for a count over all segments. Before all else: what retention has taken from it by then is not
        // said to be there.
        let TopicBytes { live, physical } = self.inner.stores.of(topic.id).topic_bytes(topic.id);
        let shard = shard::lock(self.inner.shards.get(topic.shard)?);
        let (settings, next) = shard.engine.topic(topic.id)?;
        let first = self.first_position(topic);
        let durability = match settings.durability {
            Durability::Memory => admin::Durability::Memory,
            Durability::Written => admin::Durability::Written,
            Durability::Synced => admin::Durability::Synced,
        };
        let mut described = admin::Topic {
            name: settings.name.to_string(),
            durability: durability.into(),
            retention_ms: settings.retention_ms,
            bytes: live,
            physical_bytes: physical,
            // It may have taken more by now than there was.
            first_position: first.min(next),
            next_position: next,
            retention_bytes: settings.limits.bytes,
            lagging: if settings.limits.block { admin::Lagging::Block } else { admin::Lagging::Drop }.into(),
            overtaken: shard.engine.overtaken(topic.id, first),
            requests: self.served(settings.name.as_str()),
            delayed: shard.engine.delayed(topic.id),
            ..admin::Topic::default()
        };
        room.bytes = room.bytes.saturating_sub(TOPIC + described.name.len());
        let GroupsPage { groups, next } = shard.engine.groups_after((topic.id, first), within, &mut room.bytes);
        let letters = shard.engine.letters_of(topic.id);
        drop(shard);
        let mut ages = Ages::new(&self.inner.stores, (topic.id, letters), self.now().wall, &mut room.reads);
        described.groups = groups.iter().map(|group| summary(group, &mut ages)).collect();
        described.groups_next = next.map(|last| format!("{}/{last}", described.name)).unwrap_or_default();
        Some(described)
    }

    /// A group, or a durable member of one, as it is listed; `None`: there is none.
    pub(super) fn describe_group(
        &self,
        (topic, name): (TopicRef, &TopicName),
        group: &GroupKey,
        engine: &crate::engine::Engine,
    ) -> Option<admin::GroupSummary> {
        let mut room = Room::new();
        let (found, next) = engine.group_within((topic.id, self.first_position(topic)), group, &mut room.bytes)?;
        let mut ages =
            Ages::new(&self.inner.stores, (topic.id, engine.letters_of(topic.id)), self.now().wall, &mut room.reads);
        let members_next = next.map(|last| format!("{name}/{last}")).unwrap_or_default();
        Some(admin::GroupSummary { members_next, ..summary(&found, &mut ages) })
    }
}

fn listed(topics: Vec<admin::Topic>, next: String) -> (admin::Answer, Ticket) {
    (admin::Answer { answer: Some(answer::Answer::Topics(admin::TopicList { topics, next })) }, Ticket::KEPT)
}

fn summary(group: &GroupSummary, ages: &mut Ages<'_>) -> admin::GroupSummary {
    admin::GroupSummary {
        name: group.name.to_string(),
        settled_through: group.floor.saturating_sub(1),
        members: group.members,
        in_flight: group.in_flight,
        lag: group.lag,
        settings: Some(group.settings.shown()),
        dead_letters: group.dead_letters,
        delayed: group.delayed,
        failing: group.failing,
        oldest_ms: ages.oldest(group.oldest),
        durable_members: group.durable.iter().map(member).collect(),
        expired: group.expired,
        members_next: String::new(),
    }
}

fn member(member: &GroupSummary) -> admin::MemberSummary {
    admin::MemberSummary {
        name: member.name.member.as_ref().map(ToString::to_string).unwrap_or_default(),
        connected: member.connected,
        settled_through: member.floor.saturating_sub(1),
        in_flight: member.in_flight,
        lag: member.lag,
        dead_letters: member.dead_letters,
        delayed: member.delayed,
    }
}
