//! Groups as they are administered: made, changed, moved, removed.

use meshwire_proto::wire::admin;
use meshwire_proto::{GroupKey, counted};

use super::readers::Reader;
use super::{Engine, GroupSpec, Now, SubscribeError, TopicSettings};
use crate::store::{GroupId, GroupSettings, Limits, Needed, Op, Position, Ticket, TopicId};

/// Why a group is not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// There is none.
    #[error("there is no group {0}")]
    NotFound(GroupKey),
    /// Somebody uses it.
    #[error("group {group} has {}; end their subscriptions first", counted(*.members as u64, "member"))]
    InUse {
        /// Which.
        group: GroupKey,
        /// How many.
        members: usize,
    },
}

impl Engine {
    /// Makes a group and a durable member of it, or finds them with these settings; gives how many are new.
    ///
    /// # Errors
    /// As [`Engine::subscribe`].
    pub fn create_group(
        &mut self,
        now: Now,
        topic_id: TopicId,
        asked: &GroupSpec,
        start: Position,
    ) -> Result<usize, SubscribeError> {
        let next = self.topics.get(&topic_id).ok_or(SubscribeError::NoTopic)?.next;
        let start = start.clamp(1, next);
        #[cfg(feature = "testing")]
        let start = if super::planted::is(super::planted::Defect::CreateStartIgnored) { 1 } else { start };
        Ok(self.find_or_make(now, topic_id, asked, start)?.made.len())
    }

    /// A group, and if it is a broadcast group its durable members: what a change of it is about.
    fn within(&self, topic_id: TopicId, name: &GroupKey) -> Vec<GroupId> {
        let Some(topic) = self.topics.get(&topic_id) else {
            return Vec::new();
        };
        let Some(group) = topic.named(name) else {
            return Vec::new();
        };
        let members = group.is_broadcast().then(|| topic.members_of(&name.group)).into_iter().flatten();
        std::iter::once(group.id).chain(members.map(|member| member.id)).collect()
    }

    /// How many subscriptions use a group now.
    fn users(&self, topic_id: TopicId, groups: &[GroupId]) -> usize {
        let Some(topic) = self.topics.get(&topic_id) else {
            return 0;
        };
        let unnamed = topic.solos.values().filter(|solo| solo.group.is_some_and(|group| groups.contains(&group)));
        let members = groups.iter().filter_map(|id| topic.groups.get(id)).map(|group| group.members.len());
        unnamed.count() + members.sum::<usize>()
    }

    /// Removes a group with all its durable members, or one of those; gives how many that were. Dead letters stay.
    ///
    /// # Errors
    /// [`DeleteError`].
    pub fn delete_group(&mut self, topic_id: TopicId, name: &GroupKey) -> Result<usize, DeleteError> {
        let groups = self.within(topic_id, name);
        if groups.is_empty() {
            return Err(DeleteError::NotFound(name.clone()));
        }
        match self.users(topic_id, &groups) {
            0 => {}
            members => return Err(DeleteError::InUse { group: name.clone(), members }),
        }
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::DeleteIgnored) {
            return Ok(groups.len());
        }
        groups.iter().for_each(|id| self.remove_group(topic_id, *id));
        Ok(groups.len())
    }

    fn remove_group(&mut self, topic_id: TopicId, id: GroupId) {
        let Some(group) = self.topics.get_mut(&topic_id).and_then(|topic| topic.remove_group(id)) else {
            return;
        };
        self.unlogged.remove(&(topic_id, id));
        if let Some(timer) = group.timer {
            self.timers.remove(&(timer, topic_id, id));
        }
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::DeleteUnlogged) {
            return;
        }
        if !topic_id.is_memory() {
            self.ops.push(Op::GroupGone { topic: topic_id, group: id });
        }
    }

    /// Moves a group, of a broadcast group all durable members: what members hold is lost to them, and every event
    /// from there on is delivered as if for the first time. Gives where it goes on.
    pub fn seek_group(&mut self, topic_id: TopicId, name: &GroupKey, to: Position) -> Option<Position> {
        let to = to.clamp(1, self.topics.get(&topic_id)?.next);
        let groups = self.within(topic_id, name);
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::SeekIgnored) {
            return (!groups.is_empty()).then_some(to);
        }
        for id in &groups {
            self.seek_one(topic_id, *id, to);
        }
        (!groups.is_empty()).then_some(to)
    }

    fn seek_one(&mut self, topic_id: TopicId, id: GroupId, to: Position) {
        let Some(group) = self.topics.get_mut(&topic_id).and_then(|t| t.groups.get_mut(&id)) else {
            return;
        };
        group.seek(to);
        #[cfg(feature = "testing")]
        let logged = !super::planted::is(super::planted::Defect::SeekForgotten);
        #[cfg(not(feature = "testing"))]
        let logged = true;
        if logged && !topic_id.is_memory() {
            // What was settled before and not committed would settle it anew.
            self.ops.push(Op::Seek { topic: topic_id, group: id, to });
        }
        self.wake_reader(topic_id, Reader::Group(id));
        self.set_timer(topic_id, id);
    }

    /// Changes settings of a group and with it of its durable members; `None` when there is none of that name. Leases
    /// that have begun keep their length; members that are there keep an ack wait that is longer.
    pub fn update_group(
        &mut self,
        topic_id: TopicId,
        name: &GroupKey,
        asked: &admin::GroupSettings,
    ) -> Option<Result<(), String>> {
        let has = self.topics.get(&topic_id)?.named(name)?.settings;
        let settings = match has.with(asked) {
            Ok(_) if name.member.is_some() => {
                let text = format!("a member has the settings of its group: change those of group {}", name.group);
                return Some(Err(text));
            }
            Ok(settings) if settings.broadcast != has.broadcast => {
                let text = "the mode of a group is fixed when it is made: delete the group, or make another one";
                return Some(Err(text.to_owned()));
            }
            Ok(settings) => settings,
            Err(problem) => return Some(Err(problem)),
        };
        #[cfg(feature = "testing")]
        let settings = if super::planted::is(super::planted::Defect::UpdateIgnored) { has } else { settings };
        if settings != has {
            for id in self.within(topic_id, name) {
                self.change(topic_id, id, settings);
            }
        }
        Some(Ok(()))
    }

    fn change(&mut self, topic_id: TopicId, id: GroupId, settings: GroupSettings) {
        let Some(group) = self.topics.get_mut(&topic_id).and_then(|t| t.groups.get_mut(&id)) else {
            return;
        };
        group.change(settings);
        let (name, start) = (group.name.clone(), group.window.floor());
        self.hold_no_more(topic_id, &name);
        if !topic_id.is_memory() {
            self.ops.push(Op::Group { topic: topic_id, group: id, name, start, settings });
        }
        self.wake_reader(topic_id, Reader::Group(id));
    }

    /// When the last change of a group is kept.
    #[must_use]
    pub fn group_ticket(&self, topic: TopicId, name: &GroupKey) -> Ticket {
        self.topics.get(&topic).and_then(|t| t.named(name)).map_or(Ticket::KEPT, |g| g.created)
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

    /// The first position that a group of the topic has not settled, and whose it is: what a topic that blocks must keep.
    #[must_use]
    pub fn needed(&self, id: TopicId) -> Needed<'_> {
        let groups = self.topics.get(&id).into_iter().flat_map(|topic| topic.groups.values());
        // A broadcast group has no place of its own: its durable members have.
        let places = groups.filter(|group| !group.is_broadcast()).map(|group| {
            let position = group.window.floor();
            Needed { position, group: Some(&group.name), owed: group.owes_letter_of(position) }
        });
        places.min_by_key(|needed| needed.position).unwrap_or(Needed::NOTHING)
    }
}
