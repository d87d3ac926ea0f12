//! Administration of consumer groups.

use std::time::Duration;

use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin as wire;
use serde::Serialize;

use crate::admin::{ask, unexpected};
use crate::client::Mesh;
use crate::listing::{self, whole_group};
use crate::topics::Topic;
use crate::{Error, GroupSettings, Position, Result, Start};

/// Looks after the groups of a topic; from [`Mesh::groups`].
#[derive(Clone, Debug)]
pub struct Groups {
    mesh: Mesh,
    topic: String,
}

/// A consumer group as the gateway lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Every event up to here is settled.
    pub settled_through: Position,
    /// Subscriptions that share it, or each get all of it in a broadcast group.
    pub members: u32,
    /// Deliveries that are out and unsettled.
    pub in_flight: u64,
    /// Events that are not settled, those in flight and redriven dead letters among them. What retention took is not in
    /// it: the group is told at its next delivery, and [`Topic::overtaken`](crate::Topic::overtaken) counts it at once.
    pub lag: u64,
    /// Of them, events that wait for a delay to pass.
    pub delayed: u64,
    /// Events that have failed at least once and are not settled.
    pub failing: u64,
    /// How long ago, by the gateway's clock, the oldest event that is not settled was
    /// stored. `None`: there is none; or the gateway has to read its place from the disk
    /// first, and then the next listing has it.
    pub oldest: Option<Duration>,
    /// Events that it gave up, and that were neither redriven and acked nor purged; redriven ones are in [`Group::lag`] too.
    pub dead_letters: u64,
    /// Events that expired before it was done with them, since the gateway started.
    pub expired: u64,
    /// How it delivers; every setting is there.
    pub settings: GroupSettings,
    /// Of a broadcast group its durable members, by name. Its own numbers are then sums of
    /// theirs, but for `settled_through` and `lag`: those of the one that is furthest behind.
    pub durable_members: Vec<Member>,
}

/// A durable member of a broadcast group as the gateway lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub name: String,
    /// It has a subscription now.
    pub connected: bool,
    /// Every event up to here is settled.
    pub settled_through: Position,
    /// Deliveries that are out and unsettled.
    pub in_flight: u64,
    /// Events that are not settled, those in flight and redriven dead letters among them.
    pub lag: u64,
    /// Of them, events that wait for a delay to pass.
    pub delayed: u64,
    /// Events that it gave up, and that were neither redriven and acked nor purged.
    pub dead_letters: u64,
}

impl From<wire::MemberSummary> for Member {
    fn from(member: wire::MemberSummary) -> Self {
        Self {
            name: member.name,
            connected: member.connected,
            settled_through: Position::from_number(member.settled_through),
            in_flight: member.in_flight,
            lag: member.lag,
            delayed: member.delayed,
            dead_letters: member.dead_letters,
        }
    }
}

impl From<wire::GroupSummary> for Group {
    fn from(group: wire::GroupSummary) -> Self {
        Self {
            name: group.name,
            settled_through: Position::from_number(group.settled_through),
            members: group.members,
            in_flight: group.in_flight,
            lag: group.lag,
            delayed: group.delayed,
            failing: group.failing,
            oldest: group.oldest_ms.map(Duration::from_millis),
            dead_letters: group.dead_letters,
            expired: group.expired,
            settings: GroupSettings::of(&group.settings.unwrap_or_default()),
            durable_members: group.durable_members.into_iter().map(Into::into).collect(),
        }
    }
}

/// What is deleted is not asked for again.
const DELETE: &str = "delete group";

impl Groups {
    pub(crate) fn new(mesh: Mesh, topic: &str) -> Self {
        Self { mesh, topic: topic.to_owned() }
    }

    /// The topic's groups, by name.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, and as the gateway answers.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn list(&self) -> Result<Vec<Group>> {
        let topics = listing::topics(&self.mesh, "list groups", &self.topic).await?;
        let found = topics.into_iter().map(Topic::try_from).collect::<Result<Vec<_>>>()?;
        let found = found.into_iter().find(|topic| topic.name == self.topic && topic.is_stored());
        let absent =
            || Error::new(ErrorKind::TopicNotFound, "list groups", format!("topic {} does not exist", self.topic));
        found.map(|topic| topic.groups).ok_or_else(absent)
    }

    /// One of the topic's groups, or as `group/member` a durable member of one.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (the group), `INVALID` (a name).
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn get(&self, group: &str) -> Result<Group> {
        let command =
            wire::command::Command::GetGroup(wire::GetGroup { topic: self.topic.clone(), group: group.to_owned() });
        self.ask("show group", group, command).await
    }

    /// Makes a group before anybody joins it, beginning with the first event that
    /// can be read, or at `start`, which may be a time. One that exists with these settings is left as it is.
    /// As `group/member` a durable member of a broadcast group, and the group with it.
    ///
    /// # Errors
    /// `GROUP_CONFLICT` with other settings; `TOPIC_NOT_FOUND`, `INVALID` (a setting),
    /// `TOO_LARGE` (too many groups).
    ///
    /// # Cancel safety
    /// The group may be made or not.
    pub async fn create(&self, group: &str, settings: GroupSettings, start: Option<Start>) -> Result<Group> {
        let settings = settings.check().map_err(|p| Error::new(ErrorKind::Invalid, "create group", p))?;
        let (start, start_time_unix_ms) = start.map_or((0, 0), Start::to_wire);
        let command = wire::command::Command::CreateGroup(wire::CreateGroup {
            topic: self.topic.clone(),
            group: group.to_owned(),
            settings: Some(settings),
            start,
            start_time_unix_ms,
        });
        self.ask("create group", group, command).await
    }

    /// Moves a group to a position, to a time
    /// ([`SystemTime`](std::time::SystemTime)) or to any other [`Start`]: what its members hold is lost to them, and
    /// every event from there on is delivered as if for the first time. Beyond
    /// either end it goes to that end; the group answered says where. A broadcast group
    /// moves all its durable members, and `group/member` one of them.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (the group).
    ///
    /// # Cancel safety
    /// The group may be moved or not.
    pub async fn seek(&self, group: &str, to: impl Into<Start> + Send) -> Result<Group> {
        let (to, time_unix_ms) = to.into().to_wire();
        let command = wire::command::Command::SeekGroup(wire::SeekGroup {
            topic: self.topic.clone(),
            group: group.to_owned(),
            to,
            time_unix_ms,
        });
        self.ask("seek group", group, command).await
    }

    /// Removes a group that has no members; a broadcast group goes with its durable ones. Its
    /// dead letters stay, and belong to a group of that name if there is one again. Gives what it was, of very many
    /// durable members only the first.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (the group), `GROUP_CONFLICT` while it has members.
    ///
    /// # Cancel safety
    /// The group may be removed or not.
    pub async fn delete(&self, group: &str) -> Result<Group> {
        let command = wire::command::Command::DeleteGroup(wire::DeleteGroup {
            topic: self.topic.clone(),
            group: group.to_owned(),
        });
        self.ask(DELETE, group, command).await
    }

    /// Removes a durable member that does not come back from a broadcast group. Its dead
    /// letters stay, and belong to a member of that name if there is one again.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (the member), `GROUP_CONFLICT` while it is connected.
    ///
    /// # Cancel safety
    /// The member may be removed or not.
    pub async fn delete_member(&self, group: &str, member: &str) -> Result<()> {
        self.delete(&format!("{group}/{member}")).await.map(drop)
    }

    /// Changes what is said in `settings`; members go on, and a lease that has
    /// begun keeps its length. What has failed as often as a lower `max_failures`
    /// becomes a dead letter. A shorter `ack_wait` is for members that join, or come back in a
    /// new session, afterwards: leases of the others last as long as they were told, since they
    /// extend by that.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (the group), `INVALID` (a setting).
    ///
    /// # Cancel safety
    /// The settings may be changed or not.
    pub async fn update(&self, group: &str, settings: GroupSettings) -> Result<Group> {
        let settings = settings.check().map_err(|p| Error::new(ErrorKind::Invalid, "update group", p))?;
        let command = wire::command::Command::UpdateGroup(wire::UpdateGroup {
            topic: self.topic.clone(),
            group: group.to_owned(),
            settings: Some(settings),
        });
        self.ask("update group", group, command).await
    }

    async fn ask(&self, operation: &'static str, group: &str, command: wire::command::Command) -> Result<Group> {
        let context = |error: Error| error.with("topic", self.topic.as_str()).with("group", group);
        match ask(&self.mesh, operation, command).await.map_err(context)? {
            wire::answer::Answer::Group(found) if operation == DELETE => Ok(found.into()),
            wire::answer::Answer::Group(found) => {
                let found = whole_group(&self.mesh, operation, (&self.topic, found)).await.map_err(context)?;
                Ok(found.into())
            }
            _ => Err(unexpected(operation, "something else")),
        }
    }
}
