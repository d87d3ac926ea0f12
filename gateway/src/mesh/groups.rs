//! Groups and topics through the waist: make, change, move, remove.

use std::sync::atomic::Ordering;

use meshwire_proto::wire::admin::{self, answer};
use meshwire_proto::{ErrorKind, GroupKey, TopicName, options};

use super::admin::{Answered, summary};
use super::{Action, Caller, Mesh, Refusal, TopicRef, shard};
use crate::engine::DeleteError;
use crate::store::{Lookup, Position, Ticket};

fn invalid(problem: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::Invalid, problem)
}

fn no_group(topic: &TopicName, group: &GroupKey) -> Refusal {
    Refusal::new(ErrorKind::NotFound, format!("topic {topic} has no group {group}"))
}

impl Mesh {
    /// A topic that exists, and a group's name, for this action.
    fn group(
        &self,
        caller: &Caller,
        action: Action,
        (topic, group): (&str, &str),
    ) -> Result<(TopicRef, TopicName, GroupKey), Refusal> {
        let group = GroupKey::parse(group).map_err(|e| invalid(e.to_string()))?;
        let (topic, name) = self.known_topic(caller, action, topic)?;
        Ok((topic, name, group))
    }

    /// A topic that exists, for this action.
    pub(super) fn known_topic(
        &self,
        caller: &Caller,
        action: Action,
        topic: &str,
    ) -> Result<(TopicRef, TopicName), Refusal> {
        let name = TopicName::parse(topic).map_err(|e| invalid(e.to_string()))?;
        self.authorize(caller, action, name.as_str())?;
        let found = self.inner.topics().names.get(&name).copied();
        let absent = || Refusal::new(ErrorKind::TopicNotFound, format!("topic {name} does not exist"));
        let topic = found.ok_or_else(absent)?;
        Ok((topic, name))
    }

    /// What a group is now, and when its last change is kept.
    fn shown(&self, topic: TopicRef, (name, group): (&TopicName, &GroupKey)) -> Answered {
        let shard = shard::lock(self.shard(topic)?);
        let ticket = shard.engine.group_ticket(topic.id, group);
        let found = shard.engine.group(topic.id, group);
        let found = found.ok_or_else(|| no_group(name, group))?;
        Ok((admin::Answer { answer: Some(answer::Answer::Group(summary(&found))) }, ticket))
    }

    pub(super) fn create_group(&self, caller: &Caller, create: &admin::CreateGroup) -> Answered {
        let (topic, name, group) = self.group(caller, Action::CreateGroup, (&create.topic, &create.group))?;
        let room = self.room_for(Some(&group));
        let spec = self.group_spec(group.clone(), create.settings.unwrap_or_default(), room);
        let start = create.start.max(self.first_position(topic));
        let created =
            self.inner.with(self.shard(topic)?, |engine, now| engine.create_group(now, topic.id, &spec, start));
        self.made(room, created.as_ref().copied().unwrap_or(0));
        created.map_err(|e| self.not_joined(&e, &name))?;
        self.shown(topic, (&name, &group))
    }

    pub(super) fn delete_group(&self, caller: &Caller, delete: &admin::DeleteGroup) -> Answered {
        let (topic, name, group) = self.group(caller, Action::DeleteGroup, (&delete.topic, &delete.group))?;
        let mutex = self.shard(topic)?;
        let before = shard::lock(mutex).engine.group(topic.id, &group);
        let deleted = self.inner.with(mutex, |engine, _| engine.delete_group(topic.id, &group));
        let removed = deleted.map_err(|e| match e {
            DeleteError::NotFound(_) => no_group(&name, &group),
            DeleteError::InUse { .. } => invalid(e.to_string()),
        })?;
        self.inner.groups.fetch_sub(removed, Ordering::Relaxed);
        let ticket = shard::lock(mutex).engine.ticket(topic.id);
        let was = before.as_ref().map(summary).unwrap_or_default();
        Ok((admin::Answer { answer: Some(answer::Answer::Group(was)) }, ticket))
    }

    pub(super) fn seek_group(&self, caller: &Caller, seek: &admin::SeekGroup) -> Answered {
        let (topic, name, group) = self.group(caller, Action::SeekGroup, (&seek.topic, &seek.group))?;
        let to = seek.to.max(self.first_position(topic));
        let sought = self.inner.with(self.shard(topic)?, |engine, _| engine.seek_group(topic.id, &group, to));
        sought.ok_or_else(|| no_group(&name, &group))?;
        self.shown(topic, (&name, &group))
    }

    pub(super) fn update_group(&self, caller: &Caller, update: &admin::UpdateGroup) -> Answered {
        let (topic, name, group) = self.group(caller, Action::UpdateGroup, (&update.topic, &update.group))?;
        let asked = update.settings.unwrap_or_default();
        let updated = self.inner.with(self.shard(topic)?, |engine, _| engine.update_group(topic.id, &group, &asked));
        updated.ok_or_else(|| no_group(&name, &group))?.map_err(invalid)?;
        self.shown(topic, (&name, &group))
    }

    pub(super) fn update_topic(&self, caller: &Caller, update: &admin::UpdateTopic) -> Answered {
        let (topic, _) = self.known_topic(caller, Action::UpdateTopic, &update.name)?;
        let retention = options::RETENTION.check(update.retention_ms).map_err(invalid)?;
        let mutex = self.shard(topic)?;
        self.inner.with(mutex, |engine, _| engine.update_topic(topic.id, retention));
        let ticket: Ticket = shard::lock(mutex).engine.created(topic.id, None);
        Ok((admin::Answer { answer: Some(answer::Answer::Topic(self.describe(topic))) }, ticket))
    }

    /// The first position that can be read.
    pub(super) fn first_position(&self, topic: TopicRef) -> Position {
        match self.inner.stores.of(topic.id).read(topic.id, 1) {
            Lookup::Gone(first) => first,
            _ => 1,
        }
    }
}
