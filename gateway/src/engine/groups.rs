//! Groups as they are administered: made, changed, moved, removed.

use meshwire_proto::GroupName;
use meshwire_proto::wire::admin;

use super::subscribe::join;
use super::{Engine, GroupSpec, GroupSummary, Now, SubscribeError, TopicSettings};
use crate::store::{Limits, Op, Position, Ticket, TopicId};

/// Why a group is not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// There is none.
    #[error("there is no group {0}")]
    NotFound(GroupName),
    /// Somebody uses it.
    #[error("group {group} has {members} members; end their subscriptions first")]
    InUse {
        /// Which.
        group: GroupName,
        /// How many.
        members: usize,
    },
}

impl Engine {
    /// Groups of a topic, by name.
    #[must_use]
    pub fn groups(&self, id: TopicId) -> Vec<GroupSummary> {
        let Some(topic) = self.topics.get(&id) else {
            return Vec::new();
        };
        let summary = |(name, group): (&GroupName, &super::group::Group)| GroupSummary {
            name: name.clone(),
            floor: group.window.floor(),
            members: group.members.len() as u32,
            in_flight: group.in_flight(),
            lag: group.window.unsettled(topic.next),
            settings: group.settings,
            dead_letters: self.count_letters(id, name),
            delayed: group.delayed(),
        };
        topic.groups.iter().map(summary).collect()
    }

    /// Events that retention took before the groups of a topic had them, since the start.
    #[must_use]
    pub fn overtaken(&self, id: TopicId) -> u64 {
        self.topics.get(&id).into_iter().flat_map(|topic| topic.groups.values()).map(|group| group.overtaken).sum()
    }

    /// How many deliveries the members of all groups hold.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.topics.values().flat_map(|t| t.groups.values()).map(super::group::Group::in_flight).sum()
    }

    /// Makes a group, or finds one with these settings; `true` if it is new.
    ///
    /// # Errors
    /// As [`Engine::subscribe`].
    pub fn create_group(
        &mut self,
        now: Now,
        topic_id: TopicId,
        asked: GroupSpec,
        start: Position,
    ) -> Result<bool, SubscribeError> {
        let topic = self.topics.get_mut(&topic_id).ok_or(SubscribeError::NoTopic)?;
        let (name, new) = (asked.name.clone(), !topic.groups.contains_key(&asked.name));
        let start = start.clamp(1, topic.next);
        join(topic, asked, start, now, &mut self.ops)?;
        if new {
            self.adopt_all(topic_id, &name);
        }
        Ok(new)
    }

    /// Removes a group; its dead letters stay.
    ///
    /// # Errors
    /// [`DeleteError`].
    pub fn delete_group(&mut self, topic_id: TopicId, name: &GroupName) -> Result<(), DeleteError> {
        let absent = || DeleteError::NotFound(name.clone());
        let topic = self.topics.get_mut(&topic_id).ok_or_else(absent)?;
        let group = topic.groups.get(name).ok_or_else(absent)?;
        if !group.members.is_empty() {
            return Err(DeleteError::InUse { group: name.clone(), members: group.members.len() });
        }
        let (id, timer) = (group.id, group.timer);
        topic.groups.remove(name);
        if let Some(timer) = timer {
            self.timers.remove(&(timer, topic_id, id));
        }
        if !topic_id.is_memory() {
            self.ops.push(Op::GroupGone { topic: topic_id, group: id });
        }
        Ok(())
    }

    /// Moves a group: what its members hold is lost to them, and every event from
    /// there on is delivered as if for the first time. Gives where it goes on.
    pub fn seek_group(&mut self, topic_id: TopicId, name: &GroupName, to: Position) -> Option<Position> {
        let topic = self.topics.get_mut(&topic_id)?;
        let to = to.clamp(1, topic.next);
        let group = topic.groups.get_mut(name)?;
        group.seek(to);
        let id = group.id;
        if !topic_id.is_memory() {
            // What was settled before and not committed would settle it anew.
            self.ops.push(Op::Seek { topic: topic_id, group: id, to });
        }
        self.woken.insert(topic_id);
        self.set_timers(topic_id);
        Some(to)
    }

    /// Changes settings of a group; `None` when there is none of that name. Leases that have begun keep their length.
    pub fn update_group(
        &mut self,
        topic_id: TopicId,
        name: &GroupName,
        asked: &admin::GroupSettings,
    ) -> Option<Result<(), String>> {
        let group = self.topics.get_mut(&topic_id)?.groups.get_mut(name)?;
        let settings = match group.settings.with(asked) {
            Ok(settings) => settings,
            Err(problem) => return Some(Err(problem)),
        };
        #[cfg(feature = "testing")]
        let settings =
            if super::planted::is(super::planted::Defect::UpdateIgnored) { group.settings } else { settings };
        if settings != group.settings {
            group.change(settings);
            let (id, start) = (group.id, group.window.floor());
            if !topic_id.is_memory() {
                self.ops.push(Op::Group { topic: topic_id, group: id, name: name.clone(), start, settings });
            }
            self.woken.insert(topic_id);
        }
        Some(Ok(()))
    }

    /// When the last change of a group is kept.
    #[must_use]
    pub fn group_ticket(&self, topic: TopicId, name: &GroupName) -> Ticket {
        self.topics.get(&topic).and_then(|t| t.groups.get(name)).map_or(Ticket::KEPT, |g| g.created)
    }

    /// Other retention of a topic: in milliseconds, and how much of it.
    pub fn update_topic(&mut self, id: TopicId, retention_ms: u64, limits: Limits) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        let before = (topic.settings.retention_ms, topic.settings.limits);
        (topic.settings.retention_ms, topic.settings.limits) = (retention_ms, limits);
        if before != (retention_ms, limits) {
            self.push_topic(id);
        }
    }

    /// What a topic is, for the store.
    pub(super) fn push_topic(&mut self, id: TopicId) {
        let Some(TopicSettings { name, durability, retention_ms, limits }) = self.topics.get(&id).map(|t| &t.settings)
        else {
            return;
        };
        self.ops.push(Op::Topic {
            topic: id,
            name: name.clone(),
            durability: *durability,
            retention_ms: *retention_ms,
        });
        self.ops.push(Op::Limits { topic: id, limits: *limits });
    }

    /// The first position that a group of the topic has not settled: what a topic that blocks must keep.
    #[must_use]
    pub fn needed(&self, id: TopicId) -> Position {
        let groups = self.topics.get(&id).into_iter().flat_map(|topic| topic.groups.values());
        groups.map(|group| group.window.floor()).min().unwrap_or(Position::MAX)
    }
}
