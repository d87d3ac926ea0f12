//! Administration: one command in, one answer out, the same on every protocol.

use meshwire_proto::wire::admin::{self, answer, command};
use meshwire_proto::{ErrorKind, TopicName};

use super::dead_letters::{LetterSelection, SoFar};
use super::topics::NewTopic;
use super::{Action, Caller, Mesh, Refusal, TopicRef, shard};
use crate::store::{Durability, Ticket};

/// An answer and when it holds, or why there is none.
pub type Answered = Result<(admin::Answer, Ticket), Refusal>;

/// The fields that commands about dead letters share.
macro_rules! letters {
    ($command:expr) => {
        &LetterSelection {
            topic: &$command.topic,
            group: &$command.group,
            after: $command.after,
            limit: $command.limit,
            numbers: &$command.numbers,
        }
    };
}

impl Mesh {
    /// Carries out one command. The answer holds once the ticket is kept. `None`: what it needs is being fetched; ask
    /// again after [`Mesh::wake_when_fetched`], with what was done so far. A page of a list may have less than its limit.
    ///
    /// # Errors
    /// As the command says; `UNSUPPORTED` for one that this version does not know; `UNAVAILABLE`: the gateway stops, and the command
    /// would change what is kept.
    pub fn admin(&self, caller: &Caller, command: &admin::Command, so_far: &mut SoFar) -> Option<Answered> {
        let answered = self.carry_out(caller, command, so_far)?;
        Some(answered.map_err(|refusal| so_far.refuse(refusal)))
    }

    fn carry_out(&self, caller: &Caller, command: &admin::Command, so_far: &mut SoFar) -> Option<Answered> {
        if let Err(refusal) = self.check_serving()
            && !keeps_nothing(command)
        {
            return Some(Err(refusal));
        }
        Some(match &command.command {
            Some(command::Command::CreateTopic(create)) => self.create_topic(caller, create),
            Some(command::Command::ListTopics(list)) => self.list_topics(caller, list),
            Some(command::Command::UpdateTopic(update)) => self.update_topic(caller, update),
            Some(command::Command::DeleteTopic(delete)) => self.delete_topic(caller, delete),
            Some(command::Command::CreateGroup(create)) => return self.create_group(caller, create),
            Some(command::Command::UpdateGroup(update)) => self.update_group(caller, update),
            Some(command::Command::SeekGroup(seek)) => return self.seek_group(caller, seek),
            Some(command::Command::DeleteGroup(delete)) => self.delete_group(caller, delete),
            Some(command::Command::GetGroup(get)) => self.get_group(caller, get),
            Some(command::Command::ListDeadLetters(c)) => {
                return self.list_letters(caller, (letters!(c), c.events), so_far);
            }
            Some(command::Command::RedriveDeadLetters(c)) => return self.redrive_letters(caller, letters!(c), so_far),
            Some(command::Command::PurgeDeadLetters(c)) => self.purge_letters(caller, letters!(c)),
            Some(command::Command::GetLimits(_)) => self.get_limits(caller),
            Some(command::Command::SetLimits(set)) => self.set_limits(caller, set),
            None => Err(Refusal::new(ErrorKind::Unsupported, "this gateway does not know the command")),
        })
    }

    fn create_topic(&self, caller: &Caller, create: &admin::CreateTopic) -> Answered {
        let invalid = |e: String| Refusal::new(ErrorKind::Invalid, e);
        let name = TopicName::parse(&create.name).map_err(|e| invalid(e.to_string()))?;
        self.authorize(caller, Action::CreateTopic, name.as_str())?;
        let durability = match create.durability() {
            admin::Durability::Unspecified => None,
            admin::Durability::Memory => Some(Durability::Memory),
            admin::Durability::Written => Some(Durability::Written),
            admin::Durability::Synced => Some(Durability::Synced),
        };
        let asked = NewTopic::retention(create.retention_ms, create.retention_bytes, create.lagging())?;
        let asked = NewTopic { durability, ..asked };
        let mut topics = self.inner.topics();
        if let Some(topic) = topics.names.get(&name).copied() {
            drop(topics);
            return self.same_topic(topic, &name, asked);
        }
        let (topic, ticket) = self.inner.create(&mut topics, &name, asked)?;
        drop(topics);
        let described = self.describe(topic).unwrap_or_default();
        Ok((admin::Answer { answer: Some(answer::Answer::Topic(described)) }, ticket))
    }

    /// Creating what is there already is fine if it is the same.
    fn same_topic(&self, topic: TopicRef, name: &TopicName, asked: NewTopic) -> Answered {
        let has = self.describe(topic).unwrap_or_default();
        let block = has.lagging() == admin::Lagging::Block;
        let differs = if asked.durability.is_some_and(|d| d != topic.durability) {
            Some(format!("durability {}", topic.durability))
        } else if asked.retention_ms.is_some_and(|r| r != has.retention_ms) {
            Some(format!("a retention of {} ms", has.retention_ms))
        } else if asked.retention_bytes.is_some_and(|r| r != has.retention_bytes) {
            Some(format!("a retention of {} bytes", has.retention_bytes))
        } else if asked.block.is_some_and(|b| b != block) {
            Some(format!("lagging {}", if block { "block" } else { "drop" }))
        } else {
            None
        };
        match differs {
            Some(it) => Err(Refusal::new(ErrorKind::AlreadyExists, format!("topic {name} exists with {it}"))),
            // Not before it is kept, which the first to create it may still wait for.
            None => {
                let created = |shard| shard::lock(shard).engine.created(topic.id, None);
                let ticket = self.inner.shards.get(topic.shard).map_or(Ticket::KEPT, created);
                Ok((admin::Answer { answer: Some(answer::Answer::Topic(has)) }, ticket))
            }
        }
    }
}

/// Whether it keeps nothing: it only looks, or sets limits of this run.
const fn keeps_nothing(command: &admin::Command) -> bool {
    use command::Command::{GetGroup, GetLimits, ListDeadLetters, ListTopics, SetLimits};
    matches!(&command.command, Some(ListTopics(_) | GetGroup(_) | ListDeadLetters(_) | GetLimits(_) | SetLimits(_)))
}
