//! Groups and topics through the waist: make, change, move, remove.

use std::sync::atomic::Ordering;

use meshwire_proto::wire::admin::{self, answer};
use meshwire_proto::{ErrorKind, GroupKey, TopicName, UnixMillis};

use super::admin::Answered;
use super::topics::NewTopic;
use super::{Action, Caller, Mesh, Refusal, TopicRef, shard};
use crate::engine::DeleteError;
use crate::store::{Durability, Limits, Position, Since, Ticket};

fn invalid(problem: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::Invalid, problem)
}

pub(super) fn no_group(topic: &TopicName, group: &GroupKey) -> Refusal {
    Refusal::new(ErrorKind::NotFound, format!("topic {topic} has no group {group}"))
}

/// A mode in words; `None`: it is none.
fn word(mode: i32) -> Option<&'static str> {
    match admin::GroupMode::try_from(mode).ok()? {
        admin::GroupMode::Unspecified => None,
        admin::GroupMode::Cluster => Some("cluster"),
        admin::GroupMode::Broadcast => Some("broadcast"),
    }
}

fn answer(group: admin::GroupSummary) -> admin::Answer {
    admin::Answer { answer: Some(answer::Answer::Group(group)) }
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
        let found = self.describe_group((topic, name), group, &shard.engine);
        drop(shard);
        Ok((answer(found.ok_or_else(|| no_group(name, group))?), ticket))
    }

    pub(super) fn get_group(&self, caller: &Caller, get: &admin::GetGroup) -> Answered {
        let (topic, name, group) = self.group(caller, Action::ListTopics, (&get.topic, &get.group))?;
        let (answer, _) = self.shown(topic, (&name, &group))?;
        Ok((answer, Ticket::KEPT))
    }

    pub(super) fn create_group(&self, caller: &Caller, create: &admin::CreateGroup) -> Option<Answered> {
        let of = match self.group(caller, Action::CreateGroup, (&create.topic, &create.group)) {
            Ok(of) => of,
            Err(refusal) => return Some(Err(refusal)),
        };
        let created = self.make_group(&of, create).transpose()?;
        let (topic, name, group) = &of;
        Some(created.and_then(|()| self.shown(*topic, (name, group))))
    }

    fn make_group(
        &self,
        (topic, name, group): &(TopicRef, TopicName, GroupKey),
        create: &admin::CreateGroup,
    ) -> Result<Option<()>, Refusal> {
        let mutex = self.shard(*topic)?;
        let room = self.room_for(Some(group));
        let spec = self.group_spec(group.clone(), create.settings.unwrap_or_default(), room);
        let created = self.inner.with(mutex, |engine, now| {
            let start = self.place(*topic, create.start, create.start_time_unix_ms)?;
            Some(engine.create_group(now, topic.id, &spec, start))
        });
        self.made(room, created.as_ref().and_then(|made| made.as_ref().ok()).copied().unwrap_or(0));
        created.transpose().map(|made| made.map(drop)).map_err(|e| self.not_joined(&e, name))
    }

    /// Where a topic is read from a position on, or from a time on unless that is 0; under the lock of its shard, so that
    /// nothing comes between. `None`: it is being looked up.
    fn place(&self, topic: TopicRef, position: Position, time: i64) -> Option<Position> {
        if time == 0 {
            return Some(position.max(self.first_position(topic)));
        }
        match self.inner.stores.of(topic.id).since(topic.id, UnixMillis(time)) {
            Since::At(position) => Some(position),
            // Cut down to where the next event will be.
            Since::Behind => Some(Position::MAX),
            Since::Pending => None,
        }
    }

    pub(super) fn delete_group(&self, caller: &Caller, delete: &admin::DeleteGroup) -> Answered {
        let (topic, name, group) = self.group(caller, Action::DeleteGroup, (&delete.topic, &delete.group))?;
        let mut shard = shard::lock(self.shard(topic)?);
        let was = self.describe_group((topic, &name), &group, &shard.engine).ok_or_else(|| no_group(&name, &group))?;
        let removed = shard.engine.delete_group(topic.id, &group).map_err(|e| match e {
            DeleteError::NotFound(_) => no_group(&name, &group),
            DeleteError::InUse { .. } => Refusal::new(ErrorKind::GroupConflict, e.to_string()),
        })?;
        let now = self.now();
        let batch = self.inner.commit(&mut shard, now, false);
        self.inner.deliver(&mut shard, now, None);
        drop(shard);
        self.inner.groups.fetch_sub(removed, Ordering::Relaxed);
        // It does not come back after power loss, whatever the level of the topic's events.
        Ok((answer(was), Ticket { batch, level: Durability::Synced }))
    }

    pub(super) fn seek_group(&self, caller: &Caller, seek: &admin::SeekGroup) -> Option<Answered> {
        let sought =
            self.group(caller, Action::SeekGroup, (&seek.topic, &seek.group)).and_then(|(topic, name, group)| {
                let sought = self.inner.with(self.shard(topic)?, |engine, _| {
                    let to = self.place(topic, seek.to, seek.time_unix_ms)?;
                    Some(engine.seek_group(topic.id, &group, to))
                });
                let Some(sought) = sought else { return Ok(None) };
                sought.ok_or_else(|| no_group(&name, &group))?;
                self.shown(topic, (&name, &group)).map(Some)
            });
        sought.transpose()
    }

    pub(super) fn update_group(&self, caller: &Caller, update: &admin::UpdateGroup) -> Answered {
        let (topic, name, group) = self.group(caller, Action::UpdateGroup, (&update.topic, &update.group))?;
        let asked = update.settings.unwrap_or_default();
        self.same_mode(topic, (&name, &group), asked.mode)?;
        let updated = self.inner.with(self.shard(topic)?, |engine, _| engine.update_group(topic.id, &group, &asked));
        updated.ok_or_else(|| no_group(&name, &group))?.map_err(invalid)?;
        self.shown(topic, (&name, &group))
    }

    /// A group keeps its mode: another one is refused as to who subscribes with it.
    fn same_mode(
        &self,
        topic: TopicRef,
        (name, group): (&TopicName, &GroupKey),
        asked: Option<i32>,
    ) -> Result<(), Refusal> {
        let Some(asked) = asked.and_then(word) else { return Ok(()) };
        let shard = shard::lock(self.shard(topic)?);
        let has = self.describe_group((topic, name), group, &shard.engine);
        drop(shard);
        match has.and_then(|has| word(has.settings?.mode?)) {
            Some(has) if has != asked => {
                let text = format!(
                    "group {group} has mode {has}, not {asked}; the mode of a group is fixed when it is made: delete the group, or make another one"
                );
                Err(Refusal::new(ErrorKind::GroupConflict, text))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn update_topic(&self, caller: &Caller, update: &admin::UpdateTopic) -> Answered {
        let (topic, _) = self.known_topic(caller, Action::UpdateTopic, &update.name)?;
        let asked = NewTopic::retention(update.retention_ms, update.retention_bytes, update.lagging())?;
        let mutex = self.shard(topic)?;
        self.inner.with(mutex, |engine, _| {
            let Some((has, _)) = engine.topic(topic.id) else { return };
            let bytes = asked.retention_bytes.unwrap_or(has.limits.bytes);
            let limits = Limits { bytes, block: asked.block.unwrap_or(has.limits.block) };
            let retention_ms = asked.retention_ms.unwrap_or(has.retention_ms);
            engine.update_topic(topic.id, retention_ms, limits);
        });
        let ticket: Ticket = shard::lock(mutex).engine.created(topic.id, None);
        let described = self.describe(topic).unwrap_or_default();
        Ok((admin::Answer { answer: Some(answer::Answer::Topic(described)) }, ticket))
    }

    /// The first position that can be read.
    pub(super) fn first_position(&self, topic: TopicRef) -> Position {
        self.inner.stores.of(topic.id).first(topic.id)
    }
}
