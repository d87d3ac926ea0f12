//! Administration of topics.

use std::time::Duration;

use meshwire_proto::wire::admin as wire;
use meshwire_proto::{ErrorKind, TopicName, options};
use serde::Serialize;

use crate::admin::{ask, unexpected};
use crate::client::Mesh;
use crate::groups::Group;
use crate::listing::{self, whole_topic};
use crate::{Error, Position, Result};

/// Creates, changes, removes and lists topics; from [`Mesh::topics`].
#[derive(Clone, Debug)]
pub struct Topics {
    mesh: Mesh,
}

/// What a receipt of a topic says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The event is gone when the gateway restarts.
    Memory,
    /// The event is in the kernel: it survives the gateway's process.
    Written,
    /// The event is on disk: it survives a power loss.
    Synced,
    /// There are no events: the topic is there because somebody serves requests to it, and
    /// for as long as somebody does. No topic is created so.
    NotStored,
}

/// Requests to a topic, as the gateway lists them. Counts are since somebody began to
/// serve it; they end with the last who does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TopicRequests {
    /// Subscriptions that serve it.
    pub members: u32,
    /// Requests that wait for their last reply.
    pub open: u64,
    /// Requests that got to a member.
    pub requests: u64,
    /// Replies that were dropped, since nobody waited for them any more.
    pub late_replies: u64,
}

/// What happens when a topic's retention overtakes a group that has not settled its oldest events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lagging {
    /// The events go. The group goes on with those that are left, and its next delivery says how many are missing
    /// ([`Delivery::gap`](crate::Delivery::gap)). The default.
    Drop,
    /// The events stay, and publishers get `TOPIC_FULL`, with a time after which to try again, until the group has settled
    /// them, is moved on or deleted.
    Block,
}

/// What a topic is to be. What is not said is the gateway's default, or stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSettings {
    /// What a receipt says. It cannot be changed later.
    pub durability: Option<Durability>,
    /// How long events are kept; from 1 s to 10 years. Default: the gateway's option `retention`, 7 days.
    pub retention: Option<Duration>,
    /// Most bytes of events; over it the oldest go. From 64 KiB to 1 PiB. Default: the gateway's option
    /// `retention_bytes`, 1 GiB. A topic in memory has at most its ring (16 MiB).
    pub retention_bytes: Option<u64>,
    /// What becomes of groups that are overtaken.
    pub lagging: Option<Lagging>,
}

impl TopicSettings {
    /// Nothing is said.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this [`TopicSettings::durability`].
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// With this [`TopicSettings::retention`].
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// With this [`TopicSettings::retention_bytes`].
    #[must_use]
    pub const fn retention_bytes(mut self, bytes: u64) -> Self {
        self.retention_bytes = Some(bytes);
        self
    }

    /// With this [`TopicSettings::lagging`].
    #[must_use]
    pub const fn lagging(mut self, lagging: Lagging) -> Self {
        self.lagging = Some(lagging);
        self
    }

    /// Retention in milliseconds and bytes, 0 for what is not said; else the option that is out of its bounds.
    fn check(&self) -> std::result::Result<(u64, u64), String> {
        let retention = self.retention.map(|r| options::RETENTION.check_duration(r)).transpose()?;
        let bytes = self.retention_bytes.map(|bytes| options::RETENTION_BYTES.check(bytes)).transpose()?;
        let millis = |r: Duration| u64::try_from(r.as_millis()).unwrap_or(u64::MAX);
        Ok((retention.map_or(0, millis), bytes.unwrap_or(0)))
    }

    fn lagging_on_wire(&self) -> i32 {
        let lagging = match self.lagging {
            None => wire::Lagging::Unspecified,
            Some(Lagging::Drop) => wire::Lagging::Drop,
            Some(Lagging::Block) => wire::Lagging::Block,
        };
        lagging.into()
    }
}

/// A topic as the gateway lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// What a receipt says.
    pub durability: Durability,
    /// How long events are kept.
    pub retention: Duration,
    /// Most bytes of events; 0: no limit.
    pub retention_bytes: u64,
    /// What becomes of groups that retention overtakes.
    pub lagging: Lagging,
    /// The oldest event that can be read.
    pub first: Position,
    /// Where the next event will be. Formula: `next - first` events can be read.
    pub next: Position,
    /// Bytes of the events that can be read.
    pub bytes: u64,
    /// Bytes of its events on disk, those past retention too: the space of a part of the log comes back when everything
    /// in it is gone. In memory as [`Topic::bytes`].
    pub physical_bytes: u64,
    /// Events that retention took before its groups had them, since the gateway started; those that they were not told of
    /// yet among them.
    pub overtaken: u64,
    /// Events that wait for the time they are to be delivered at.
    pub delayed: u64,
    /// Its groups, by name.
    pub groups: Vec<Group>,
    /// Requests to it; `None`: nobody serves it.
    pub requests: Option<TopicRequests>,
}

impl Topic {
    /// Whether events may be published to it; else it is only served.
    pub(crate) fn is_stored(&self) -> bool {
        self.durability != Durability::NotStored
    }
}

impl Durability {
    /// In one word; [`Durability::NotStored`] is `none`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Synced => "synced",
            Self::NotStored => "none",
        }
    }

    const fn to_wire(self) -> wire::Durability {
        match self {
            Self::Memory => wire::Durability::Memory,
            Self::Written => wire::Durability::Written,
            Self::Synced => wire::Durability::Synced,
            Self::NotStored => wire::Durability::Unspecified,
        }
    }

    fn of(topic: &wire::Topic) -> Result<Self> {
        match topic.durability() {
            wire::Durability::Memory => Ok(Self::Memory),
            wire::Durability::Written => Ok(Self::Written),
            wire::Durability::Synced => Ok(Self::Synced),
            wire::Durability::Unspecified if topic.requests.is_some() => Ok(Self::NotStored),
            wire::Durability::Unspecified => Err(unexpected("topics", "a topic without durability")),
        }
    }
}

impl Lagging {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Block => "block",
        }
    }
}

impl From<wire::RequestSummary> for TopicRequests {
    fn from(summary: wire::RequestSummary) -> Self {
        let wire::RequestSummary { members, open, requests, late_replies } = summary;
        Self { members, open, requests, late_replies }
    }
}

impl TryFrom<wire::Topic> for Topic {
    type Error = Error;

    fn try_from(topic: wire::Topic) -> Result<Self> {
        Ok(Self {
            durability: Durability::of(&topic)?,
            lagging: if topic.lagging() == wire::Lagging::Block { Lagging::Block } else { Lagging::Drop },
            requests: topic.requests.map(TopicRequests::from),
            retention: Duration::from_millis(topic.retention_ms),
            retention_bytes: topic.retention_bytes,
            physical_bytes: topic.physical_bytes,
            overtaken: topic.overtaken,
            first: Position::from_number(topic.first_position),
            next: Position::from_number(topic.next_position),
            bytes: topic.bytes,
            delayed: topic.delayed,
            groups: topic.groups.into_iter().map(Group::from).collect(),
            name: topic.name,
        })
    }
}

impl Topics {
    pub(crate) const fn new(mesh: Mesh) -> Self {
        Self { mesh }
    }

    /// Creates a topic. One of that name with the same settings is left as it is.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` with other settings; `UNSUPPORTED` for a durability that
    /// the gateway's store has not; `INVALID` for name, settings or `NotStored`.
    ///
    /// # Cancel safety
    /// The topic may be created or not.
    pub async fn create(&self, name: &str, settings: TopicSettings) -> Result<Topic> {
        let context = |error: Error| error.during("create topic").with("topic", name);
        let name = TopicName::parse(name).map_err(|e| context(Error::name("create topic", &e)))?;
        let invalid = |p: String| context(Error::new(ErrorKind::Invalid, "create topic", p));
        if settings.durability == Some(Durability::NotStored) {
            let text = "a topic that is created stores its events: memory, written or synced is accepted";
            return Err(invalid(text.to_owned()));
        }
        let (retention_ms, retention_bytes) = settings.check().map_err(invalid)?;
        let command = wire::command::Command::CreateTopic(wire::CreateTopic {
            name: name.to_string(),
            durability: settings.durability.map_or(wire::Durability::Unspecified, Durability::to_wire).into(),
            retention_ms,
            retention_bytes,
            lagging: settings.lagging_on_wire(),
        });
        match ask(&self.mesh, "topics", command).await.map_err(context)? {
            wire::answer::Answer::Topic(topic) => {
                let topic = whole_topic(&self.mesh, "topics", topic).await.map_err(context)?;
                Topic::try_from(topic).map_err(context)
            }
            _ => Err(context(unexpected("topics", "something else"))),
        }
    }

    /// Changes what is said in `settings`. What is too old or too much for a shorter
    /// retention goes soon.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `INVALID` (a setting is out of its bounds, or a durability is said).
    ///
    /// # Cancel safety
    /// The topic may be changed or not.
    pub async fn update(&self, name: &str, settings: TopicSettings) -> Result<Topic> {
        let context = |error: Error| error.with("topic", name);
        let invalid = |p| context(Error::new(ErrorKind::Invalid, "update topic", p));
        if settings.durability.is_some() {
            return Err(invalid("the durability of a topic cannot be changed; create another one".to_owned()));
        }
        let (retention_ms, retention_bytes) = settings.check().map_err(invalid)?;
        let command = wire::command::Command::UpdateTopic(wire::UpdateTopic {
            name: name.to_owned(),
            retention_ms,
            retention_bytes,
            lagging: settings.lagging_on_wire(),
        });
        match ask(&self.mesh, "update topic", command).await.map_err(context)? {
            wire::answer::Answer::Topic(topic) => {
                let topic = whole_topic(&self.mesh, "update topic", topic).await.map_err(context)?;
                Topic::try_from(topic).map_err(context)
            }
            _ => Err(context(unexpected("update topic", "something else"))),
        }
    }

    /// Removes a topic with its events, groups and dead letters; gives what it was, of very many groups only the first. One of the same name may be made at
    /// once: it is another topic, whose positions begin at 1. A publisher makes it anew with its next event where the
    /// gateway creates topics by itself (option `auto_create`), else it gets `TOPIC_NOT_FOUND`. Disk space comes back
    /// when everything else in the same part of the log is gone, too.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`; `GROUP_CONFLICT` while it has subscriptions, unless `force`: then they end with `TOPIC_NOT_FOUND`.
    ///
    /// # Cancel safety
    /// The topic may be removed or not.
    pub async fn delete(&self, name: &str, force: bool) -> Result<Topic> {
        let context = |error: Error| error.with("topic", name);
        let command = wire::command::Command::DeleteTopic(wire::DeleteTopic { name: name.to_owned(), force });
        match ask(&self.mesh, "delete topic", command).await.map_err(context)? {
            wire::answer::Answer::Topic(topic) => Topic::try_from(topic).map_err(context),
            _ => Err(context(unexpected("delete topic", "something else"))),
        }
    }

    /// One topic.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `INVALID` (a name).
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn get(&self, name: &str) -> Result<Topic> {
        let context = |error: Error| error.during("show topic").with("topic", name);
        // An empty name asks for all of them.
        let parsed = TopicName::parse(name).map_err(|e| context(Error::name("show topic", &e)))?;
        let topics = listing::topics(&self.mesh, "show topic", parsed.as_str()).await.map_err(context)?;
        let topic = topics.into_iter().find(|topic| topic.name == name);
        let missing = || Error::new(ErrorKind::TopicNotFound, "show topic", format!("there is no topic {name}"));
        Topic::try_from(topic.ok_or_else(|| context(missing()))?).map_err(context)
    }

    /// Every topic that has events or is served, by name. It is asked for page by page: what changes meanwhile may be
    /// in it or not.
    ///
    /// # Errors
    /// As the gateway answers.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn list(&self) -> Result<Vec<Topic>> {
        let topics = listing::topics(&self.mesh, "list topics", "").await?;
        topics.into_iter().map(Topic::try_from).collect()
    }
}
