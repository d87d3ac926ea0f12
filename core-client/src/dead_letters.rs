//! Events that groups have given up.

use std::collections::BTreeMap;

use bytes::Bytes;
use meshwire_proto::wire::admin::{self as wire, DeathReason};
use meshwire_proto::{ErrorKind, EventError, EventLimits, EventView, UnixMillis};
use serde::Serialize;

use crate::admin::{ask, unexpected};
use crate::client::Mesh;
use crate::{Error, Position, Result};

/// Lists dead letters of a topic, gives them back and removes them; from
/// [`Mesh::dead_letters`].
#[derive(Clone, Debug)]
pub struct DeadLetters {
    mesh: Mesh,
    topic: String,
    group: String,
}

/// An event that a group gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Names it in other calls; rises in the topic.
    pub number: u64,
    /// The group that gave it up.
    pub group: String,
    /// The durable member that did, of a broadcast group.
    pub member: Option<String>,
    /// Where the event is, or was, in its topic.
    pub position: Position,
    /// Why.
    pub reason: GivenUp,
    /// How often it failed.
    pub failures: u32,
    /// As [`Delivery::attempt`](crate::Delivery::attempt) was at its last delivery.
    pub attempts: u32,
    /// What the consumer said last. If it never said anything, how it failed last: "the ack wait ended", "its consumer was
    /// lost" or that it was nacked. Empty for a reject without a reason, and where the gateway was restarted meanwhile.
    pub error: String,
    /// When it failed first.
    pub first_failure: UnixMillis,
    /// When it failed last.
    pub last_failure: UnixMillis,
    /// When the event was stored.
    pub stored: UnixMillis,
    /// It was given back to its group and is not settled yet.
    pub redriven: bool,
    event: Bytes,
}

/// What became of dead letters that were to be given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[must_use = "what was left says so only here"]
#[non_exhaustive]
pub struct Redriven {
    /// How many were given back; those that had been before are counted too.
    #[serde(rename = "redriven")]
    pub count: u64,
    /// How many were left, since their group does not exist any more: by the group, or by the durable member as
    /// `group/member`. Once somebody creates it again, or subscribes with it, they can be given back.
    pub left: BTreeMap<String, u64>,
}

/// Why an event was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GivenUp {
    /// It failed as often as the group's `max_failures`.
    Failures,
    /// A consumer rejected it.
    Rejected,
    /// It had failed and was older than the group's `max_age`.
    Age,
}

impl GivenUp {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Rejected => "rejected",
            Self::Age => "age",
        }
    }
}

impl DeadLetter {
    /// The event, read in place; `None` in a list that was asked for without events.
    #[must_use]
    pub fn event(&self) -> Option<EventView<'_>> {
        self.parsed().ok()
    }

    pub(crate) fn parsed(&self) -> std::result::Result<EventView<'_>, EventError> {
        let any = EventLimits { max_event_bytes: u32::MAX, max_attribute_bytes: u32::MAX };
        EventView::parse(&self.event, any)
    }

    /// The event as its CNCF protobuf bytes; empty in a list without events.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.event
    }

    pub(crate) fn read(letter: wire::DeadLetter) -> Result<Self> {
        let reason = match letter.reason() {
            DeathReason::Failures => GivenUp::Failures,
            DeathReason::Rejected => GivenUp::Rejected,
            DeathReason::Age => GivenUp::Age,
            DeathReason::Unspecified => return Err(unexpected("dead letters", "a dead letter without a reason")),
        };
        let (group, member) = match letter.group.split_once('/') {
            Some((group, member)) => (group.to_owned(), Some(member.to_owned())),
            None => (letter.group, None),
        };
        Ok(Self {
            number: letter.number,
            group,
            member,
            position: Position::from_number(letter.position),
            reason,
            failures: letter.failures,
            attempts: letter.attempts,
            error: letter.error,
            first_failure: UnixMillis(letter.first_failure_unix_ms),
            last_failure: UnixMillis(letter.last_failure_unix_ms),
            stored: UnixMillis(letter.stored_unix_ms),
            redriven: letter.redriven,
            event: letter.event,
        })
    }
}

/// Pages of a list; from [`DeadLetters::pages`].
#[derive(Debug)]
pub struct DeadLetterPages {
    of: DeadLetters,
    events: bool,
    after: Option<u64>,
}

impl DeadLetterPages {
    /// The next page, rising by number; `None` behind the last.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (a group that is not there and has no dead letters), and as the gateway answers.
    ///
    /// # Cancel safety
    /// Nothing is skipped.
    pub async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>> {
        let Some(after) = self.after else {
            return Ok(None);
        };
        let (letters, next) = self.of.page(after, 0, self.events).await?;
        self.after = Some(next).filter(|next| *next > 0);
        Ok(Some(letters))
    }
}

impl DeadLetters {
    pub(crate) fn new(mesh: Mesh, topic: &str) -> Self {
        Self { mesh, topic: topic.to_owned(), group: String::new() }
    }

    /// Only those of one group, or of one durable member as `group/member`. Without it of all.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = name.into();
        self
    }

    /// All of them, page by page, with the events themselves or without.
    #[must_use]
    pub const fn pages(self, events: bool) -> DeadLetterPages {
        DeadLetterPages { of: self, events, after: Some(0) }
    }

    /// For bindings, which hold no [`DeadLetterPages`] between calls: up to `limit` of those behind a number (1 to 1000; 0: 100), and
    /// behind which number it goes on; 0: they were the last.
    #[doc(hidden)]
    pub async fn page(&self, after: u64, limit: u32, events: bool) -> Result<(Vec<DeadLetter>, u64)> {
        self.list((after, limit), Vec::new(), events).await
    }

    /// One, with its event.
    ///
    /// # Errors
    /// `NOT_FOUND`, `TOPIC_NOT_FOUND`, and as the gateway answers.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn get(&self, number: u64) -> Result<DeadLetter> {
        let (letters, _) = self.list((number.saturating_sub(1), 0), vec![number], true).await?;
        letters.into_iter().next().ok_or_else(|| {
            let text = format!("there is no dead letter {number}");
            self.context(Error::new(ErrorKind::NotFound, "get dead letter", text))
        })
    }

    /// Gives dead letters back to the groups that gave them up, with failures from
    /// 0; each is gone once it is acked. Says how many there were of those named; where the group
    /// is gone they stay, which is no error.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (a group that is not there and has no dead letters), and as the gateway answers.
    ///
    /// # Cancel safety
    /// Some may be given back.
    pub async fn redrive(&self, numbers: &[u64]) -> Result<Redriven> {
        self.some("redrive", numbers, redrive).await
    }

    /// As [`redrive`](Self::redrive), all of them.
    ///
    /// # Errors
    /// As [`redrive`](Self::redrive).
    ///
    /// # Cancel safety
    /// As [`redrive`](Self::redrive).
    pub async fn redrive_all(&self) -> Result<Redriven> {
        let mut done = Redriven::default();
        self.change("redrive", Vec::new(), redrive, &mut done).await?;
        Ok(done)
    }

    /// Removes dead letters for good, also those that were given back. Gives how
    /// many there were of those named.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (a group that is not there and has no dead letters), and as the gateway answers.
    ///
    /// # Cancel safety
    /// Some may be removed.
    pub async fn purge(&self, numbers: &[u64]) -> Result<u64> {
        Ok(self.some("purge", numbers, purge).await?.count)
    }

    /// As [`purge`](Self::purge), all of them.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    ///
    /// # Cancel safety
    /// As [`purge`](Self::purge).
    pub async fn purge_all(&self) -> Result<u64> {
        let mut done = Redriven::default();
        self.change("purge", Vec::new(), purge, &mut done).await?;
        Ok(done.count)
    }

    fn context(&self, error: Error) -> Error {
        let error = error.with("topic", self.topic.as_str());
        if self.group.is_empty() { error } else { error.with("group", self.group.as_str()) }
    }

    async fn list(
        &self,
        (after, limit): (u64, u32),
        numbers: Vec<u64>,
        events: bool,
    ) -> Result<(Vec<DeadLetter>, u64)> {
        const OPERATION: &str = "list dead letters";
        let command = wire::command::Command::ListDeadLetters(wire::ListDeadLetters {
            topic: self.topic.clone(),
            group: self.group.clone(),
            after,
            limit,
            numbers,
            events,
        });
        match ask(&self.mesh, OPERATION, command).await.map_err(|e| self.context(e))? {
            wire::answer::Answer::DeadLetters(page) => {
                let letters: Result<Vec<_>> = page.letters.into_iter().map(DeadLetter::read).collect();
                Ok((letters?, page.next))
            }
            _ => Err(unexpected(OPERATION, "something else")),
        }
    }

    async fn some(&self, operation: &'static str, numbers: &[u64], command: Change) -> Result<Redriven> {
        let mut done = Redriven::default();
        for numbers in numbers.chunks(1000) {
            self.change(operation, numbers.to_vec(), command, &mut done).await?;
        }
        Ok(done)
    }

    async fn change(
        &self,
        operation: &'static str,
        numbers: Vec<u64>,
        command: Change,
        done: &mut Redriven,
    ) -> Result<()> {
        let mut after = 0;
        loop {
            let left: Vec<u64> = numbers.iter().copied().filter(|number| *number > after).collect();
            if left.is_empty() && !numbers.is_empty() {
                return Ok(());
            }
            let asked = (self.topic.clone(), self.group.clone(), after, left);
            match ask(&self.mesh, operation, command(asked)).await.map_err(|e| self.context(e))? {
                wire::answer::Answer::DeadLettersChanged(changed) => {
                    done.count += u64::from(changed.count);
                    for left in changed.left {
                        *done.left.entry(left.group).or_default() += u64::from(left.count);
                    }
                    after = changed.next;
                }
                _ => return Err(unexpected(operation, "something else")),
            }
            if after == 0 {
                return Ok(());
            }
        }
    }
}

type Change = fn((String, String, u64, Vec<u64>)) -> wire::command::Command;

/// Letters of one command.
const LIMIT: u32 = 1000;

fn redrive((topic, group, after, numbers): (String, String, u64, Vec<u64>)) -> wire::command::Command {
    let limit = LIMIT;
    wire::command::Command::RedriveDeadLetters(wire::RedriveDeadLetters { topic, group, after, limit, numbers })
}

fn purge((topic, group, after, numbers): (String, String, u64, Vec<u64>)) -> wire::command::Command {
    let limit = LIMIT;
    wire::command::Command::PurgeDeadLetters(wire::PurgeDeadLetters { topic, group, after, limit, numbers })
}
