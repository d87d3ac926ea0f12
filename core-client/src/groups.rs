//! Administration of consumer groups.

use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin as wire;

use crate::admin::{ask, unexpected};
use crate::client::Mesh;
use crate::{Error, GroupSettings, Position, Result};

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
    /// Subscriptions that share it.
    pub members: u32,
    /// Deliveries that are out and unsettled.
    pub in_flight: u64,
    /// Events that are not settled, those in flight among them.
    pub lag: u64,
    /// Of them, events that wait for a delay to pass.
    pub delayed: u64,
    /// Events that it gave up, and that were neither redriven and acked nor purged.
    pub dead_letters: u64,
    /// Events that expired before it was done with them, since the gateway started.
    pub expired: u64,
    /// How it delivers; every setting is there.
    pub settings: GroupSettings,
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
            dead_letters: group.dead_letters,
            expired: group.expired,
            settings: GroupSettings::of(&group.settings.unwrap_or_default()),
        }
    }
}

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
        let topics = self.mesh.topics().list().await.map_err(|e| e.during("list groups"))?;
        let found = topics.into_iter().find(|topic| topic.name == self.topic);
        let absent =
            || Error::new(ErrorKind::TopicNotFound, "list groups", format!("topic {} does not exist", self.topic));
        found.map(|topic| topic.groups).ok_or_else(absent)
    }

    /// Makes a group before anybody joins it, beginning with the first event that
    /// can be read, or at `start`. One that exists with these settings is left as it is.
    ///
    /// # Errors
    /// `GROUP_CONFLICT` with other settings; `TOPIC_NOT_FOUND`, `INVALID` (a setting),
    /// `TOO_LARGE` (too many groups).
    ///
    /// # Cancel safety
    /// The group may be made or not.
    pub async fn create(&self, group: &str, settings: GroupSettings, start: Option<Position>) -> Result<Group> {
        let settings = settings.check().map_err(|p| Error::new(ErrorKind::Invalid, "create group", p))?;
        let command = wire::command::Command::CreateGroup(wire::CreateGroup {
            topic: self.topic.clone(),
            group: group.to_owned(),
            settings: Some(settings),
            start: start.map_or(0, |position| position.number()),
        });
        self.ask("create group", group, command).await
    }

    /// Moves a group to a position: what its members hold is lost to them, and
    /// every event from there on is delivered as if for the first time. Beyond
    /// either end it goes to that end; the group answered says where.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (the group).
    ///
    /// # Cancel safety
    /// The group may be moved or not.
    pub async fn seek(&self, group: &str, to: Position) -> Result<Group> {
        let command = wire::command::Command::SeekGroup(wire::SeekGroup {
            topic: self.topic.clone(),
            group: group.to_owned(),
            to: to.number(),
        });
        self.ask("seek group", group, command).await
    }

    /// Removes a group that has no members. Its dead letters stay, and belong to a
    /// group of that name if there is one again. Gives what it was.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`, `NOT_FOUND` (the group), `INVALID` while it has members.
    ///
    /// # Cancel safety
    /// The group may be removed or not.
    pub async fn delete(&self, group: &str) -> Result<Group> {
        let command = wire::command::Command::DeleteGroup(wire::DeleteGroup {
            topic: self.topic.clone(),
            group: group.to_owned(),
        });
        self.ask("delete group", group, command).await
    }

    /// Changes what is said in `settings`; members go on, and a lease that has
    /// begun keeps its length. What has failed as often as a lower `max_failures`
    /// becomes a dead letter.
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
            wire::answer::Answer::Group(group) => Ok(group.into()),
            _ => Err(unexpected(operation, "something else")),
        }
    }
}
