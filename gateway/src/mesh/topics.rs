//! The directory of topics: names to ids, and creation.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use meshwire_proto::wire::admin::{self, answer};
use meshwire_proto::{ErrorKind, TopicName, options};

use super::admin::Answered;
use super::{Action, Caller, Inner, Mesh, Refusal};
use crate::engine::TopicSettings;
use crate::store::{Durability, Limits, Ticket, TopicId};

/// A topic that exists. Kept by those who use it, so that no name is looked up twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicRef {
    /// Its id.
    pub id: TopicId,
    /// What an acknowledgement of it says.
    pub durability: Durability,
    pub(super) shard: usize,
}

#[cfg(test)]
impl TopicRef {
    /// Some topic.
    pub const ANY: Self = Self { id: TopicId(1), durability: Durability::Memory, shard: 0 };
}

#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) names: BTreeMap<TopicName, TopicRef>,
    /// Numbers of memory topics of an earlier life that have dead letters: a topic of the name, of whatever durability,
    /// gets them when it is made again.
    pub(super) orphans: BTreeMap<TopicName, u32>,
    pub(super) next: u32,
}

/// What a new topic is to be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NewTopic {
    pub(super) durability: Option<Durability>,
    pub(super) retention_ms: Option<u64>,
    pub(super) retention_bytes: Option<u64>,
    pub(super) block: Option<bool>,
}

impl NewTopic {
    /// What a command says of retention.
    ///
    /// # Errors
    /// The option that is out of its bounds.
    pub(super) fn retention(ms: u64, bytes: u64, lagging: admin::Lagging) -> Result<Self, Refusal> {
        let check = |option: &options::Bounded, value: u64| match value {
            0 => Ok(None),
            value => option.check(value).map(Some).map_err(|e| Refusal::new(ErrorKind::Invalid, e)),
        };
        Ok(Self {
            durability: None,
            retention_ms: check(&options::RETENTION, ms)?,
            retention_bytes: check(&options::RETENTION_BYTES, bytes)?,
            block: match lagging {
                admin::Lagging::Unspecified => None,
                admin::Lagging::Drop => Some(false),
                admin::Lagging::Block => Some(true),
            },
        })
    }
}

impl Inner {
    pub(super) fn topics(&self) -> std::sync::MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which shard a topic is of.
    pub(super) fn shard_of(&self, id: TopicId) -> usize {
        id.number() as usize % self.shards.len().max(1)
    }

    /// The memory topic of an earlier life that left dead letters under this name.
    pub(super) fn orphan(&self, name: &str) -> Option<TopicRef> {
        let id = TopicId::memory(*self.topics().orphans.get(&TopicName::parse(name).ok()?)?);
        Some(TopicRef { id, durability: Durability::Memory, shard: self.shard_of(id) })
    }

    /// Whether a new topic can be; gives the durability it will have.
    fn may_create(&self, topics: &Topics, name: &TopicName, asked: NewTopic) -> Result<Durability, Refusal> {
        if topics.names.len() >= self.config.max_topics {
            let text = format!(
                "there are {} topics already; topic {name} was not created: use one of them or raise max_topics",
                topics.names.len()
            );
            return Err(Refusal::new(ErrorKind::TooLarge, text));
        }
        let strongest = self.stores.log.as_ref().map_or(Durability::Memory, |log| log.capability().durability);
        let durability = asked.durability.unwrap_or(strongest);
        if durability > strongest {
            let text =
                format!("topic {name} cannot be {durability}: this gateway keeps nothing on disk (option memory)");
            return Err(Refusal::new(ErrorKind::Unsupported, text));
        }
        if durability > Durability::Memory
            && let Some(log) = &self.stores.log
        {
            // Not claimed: its few bytes are in what is always left for settlements.
            drop(log.reserve_quietly(0).map_err(|e| Refusal::new(e.kind(), e.to_string()).after(1000))?);
        }
        Ok(durability)
    }

    /// Creates a topic; the caller holds the directory and has seen that it is new.
    pub(super) fn create(
        &self,
        topics: &mut Topics,
        name: &TopicName,
        asked: NewTopic,
    ) -> Result<(TopicRef, Ticket), Refusal> {
        let durability = self.may_create(topics, name, asked)?;
        let number = topics.orphans.remove(name).unwrap_or_else(|| {
            topics.next += 1;
            topics.next - 1
        });
        let id = if durability == Durability::Memory { TopicId::memory(number) } else { TopicId(number) };
        let retention_ms = asked.retention_ms.unwrap_or(self.config.retention_ms);
        let bytes = asked.retention_bytes.unwrap_or(self.config.retention_bytes);
        let limits = Limits { bytes, block: asked.block.unwrap_or_default() };
        let topic = TopicRef { id, durability, shard: self.shard_of(id) };
        let ticket = self.shards.get(topic.shard).map_or(Ticket::KEPT, |shard| {
            let settings = TopicSettings { name: name.clone(), durability, retention_ms, limits };
            self.with(shard, |engine, now| engine.create_topic(id, settings, now));
            super::shard::lock(shard).engine.created(id, None)
        });
        topics.names.insert(name.clone(), topic);
        Ok((topic, ticket))
    }
}

impl Mesh {
    /// Removes a topic with its events, groups and dead letters. It is gone for good once the ticket is kept; one of the
    /// same name may be made at once, and is another topic.
    pub(super) fn delete_topic(&self, caller: &Caller, delete: &admin::DeleteTopic) -> Answered {
        let (topic, name) = self.known_topic(caller, Action::DeleteTopic, &delete.name)?;
        let mutex = self.shard(topic)?;
        // With all its groups: before the directory is locked, where everybody who names a topic waits.
        let was = self.describe(topic).unwrap_or_default();
        // Held to the end: the log has a topic made anew behind this.
        let mut topics = self.inner.topics();
        if topics.names.get(&name) != Some(&topic) {
            return Err(Refusal::new(ErrorKind::TopicNotFound, format!("topic {name} does not exist")));
        }
        let mut shard = super::shard::lock(mutex);
        let deleted = shard.engine.delete_topic(topic.id, delete.force);
        let in_use = |e| Refusal::new(ErrorKind::GroupConflict, format!("topic {name} was not deleted: {e}"));
        let deleted = deleted.map_err(in_use)?;
        let ended = deleted.subscriptions.iter().filter_map(|key| Some((*key, shard.sinks.remove(key)?)));
        let ended: Vec<_> = ended.collect();
        let batch = self.inner.commit(&mut shard, self.now(), false);
        drop(shard);
        topics.names.remove(&name);
        drop(topics);
        self.inner.groups.fetch_sub(deleted.groups, Ordering::Relaxed);
        for (key, sink) in ended {
            sink.ended(key.subscription);
        }
        let ticket = Ticket { batch, level: Durability::Synced };
        Ok((admin::Answer { answer: Some(answer::Answer::Topic(was)) }, ticket))
    }

    /// Which topic of its name it is: numbers are not used again in a data directory, and a topic in memory is one of
    /// this process.
    #[must_use]
    pub fn topic_identity(&self, topic: TopicRef) -> Bytes {
        let mut identity = topic.id.0.to_le_bytes().to_vec();
        if topic.id.is_memory() {
            identity.extend_from_slice(self.inner.config.gateway_id.as_bytes());
        }
        identity.into()
    }

    /// Whether a topic is still there.
    #[must_use]
    pub fn has_topic(&self, topic: TopicRef) -> bool {
        self.shard(topic).is_ok_and(|mutex| super::shard::lock(mutex).engine.has_topic(topic.id))
    }

    /// The topic of this name, for this action; created if it is new and
    /// `auto_create` is on.
    ///
    /// # Errors
    /// `INVALID` (the name), `DENIED`, `TOPIC_NOT_FOUND`, `TOO_LARGE` (too
    /// many topics), `DISK_FULL`; `UNAVAILABLE`: the gateway stops.
    pub fn open_topic(&self, caller: &Caller, name: &str, action: Action) -> Result<TopicRef, Refusal> {
        let name = TopicName::parse(name).map_err(|e| Refusal::new(ErrorKind::Invalid, e.to_string()))?;
        self.check_serving()?;
        self.authorize(caller, action, name.as_str())?;
        let mut topics = self.inner.topics();
        if let Some(topic) = topics.names.get(&name) {
            return Ok(*topic);
        }
        if !self.inner.config.auto_create {
            let text = format!("topic {name} does not exist; create it with: meshwire topics create {name}");
            return Err(Refusal::new(ErrorKind::TopicNotFound, text));
        }
        self.authorize(caller, Action::CreateTopic, name.as_str())?;
        self.inner.create(&mut topics, &name, NewTopic::default()).map(|(topic, _)| topic)
    }
}
