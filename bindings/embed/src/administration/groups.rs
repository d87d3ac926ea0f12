//! Commands of consumer groups, and of their durable members.

use meshwire::{GroupMode, GroupSettings, Groups, Result};
use meshwire_proto::{GroupKey, options};
use serde::{Deserialize, Serialize};

use super::Items;
use super::arguments::Asked;
use super::values::{Group, Member, Place, Topic, Whole};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    topic: Topic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    topic: Topic,
    group: Group,
    member: Option<Member>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seek {
    topic: Topic,
    group: Group,
    member: Option<Member>,
    to: Place,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    topic: Topic,
    group: Group,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteMember {
    topic: Topic,
    group: Group,
    member: Member,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Cluster,
    Broadcast,
}

impl From<Mode> for GroupMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Cluster => Self::Cluster,
            Mode::Broadcast => Self::Broadcast,
        }
    }
}

/// Arguments with settings among them: only in one object unknown ones are denied, and told with all that there are.
macro_rules! with_settings {
    ($name:ident { $($field:ident: $type:ty),* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($field: $type,)*
            ack_wait_ms: Option<Whole>,
            max_failures: Option<Whole>,
            max_age_ms: Option<Whole>,
            backoff_min_ms: Option<Whole>,
            backoff_max_ms: Option<Whole>,
            hold_after_dead_letter: Option<bool>,
            strict_order: Option<bool>,
            max_in_flight: Option<Whole>,
            max_rate: Option<Whole>,
        }

        impl $name {
            fn settings(&self, asked: &Asked) -> Result<GroupSettings> {
                let failures = asked.within("max_failures", self.max_failures, &options::MAX_FAILURES)?;
                let mut settings = GroupSettings::new();
                settings.ack_wait = asked.millis("ack_wait_ms", self.ack_wait_ms, &options::ACK_WAIT)?;
                settings.max_failures = failures.and_then(|number| u32::try_from(number).ok());
                settings.max_age = asked.millis("max_age_ms", self.max_age_ms, &options::MAX_AGE)?;
                settings.backoff_min = asked.millis("backoff_min_ms", self.backoff_min_ms, &options::BACKOFF_MIN)?;
                settings.backoff_max = asked.millis("backoff_max_ms", self.backoff_max_ms, &options::BACKOFF_MAX)?;
                settings.hold_after_dead_letter = self.hold_after_dead_letter;
                settings.strict_order = self.strict_order;
                settings.max_in_flight = asked.count("max_in_flight", self.max_in_flight)?;
                settings.max_rate = asked.count("max_rate", self.max_rate)?;
                Ok(settings)
            }
        }
    };
}

with_settings!(Create { topic: Topic, group: Group, member: Option<Member>, start: Option<Place>, mode: Option<Mode> });
with_settings!(Update { topic: Topic, group: Group, member: Option<Member> });

fn groups(asked: &Asked, Topic(topic): &Topic) -> Groups {
    asked.mesh.groups(topic.as_str())
}

/// The group, or its durable member, as the gateway is asked for it.
pub(super) fn key(Group(group): Group, member: Option<Member>) -> String {
    GroupKey { group, member: member.map(|Member(name)| name) }.to_string()
}

pub(super) async fn list(asked: Asked) -> Result<String> {
    let List { topic } = asked.read()?;
    let items = groups(&asked, &topic).list().await?;
    asked.answer(&Items { items, next: None })
}

pub(super) async fn get(asked: Asked) -> Result<String> {
    let One { topic, group, member } = asked.read()?;
    asked.answer(&groups(&asked, &topic).get(&key(group, member)).await?)
}

pub(super) async fn create(asked: Asked) -> Result<String> {
    let create: Create = asked.read()?;
    let mut settings = create.settings(&asked)?;
    settings.mode = create.mode.map(GroupMode::from);
    let start = create.start.map(|Place(start)| start);
    let key = key(create.group, create.member);
    asked.answer(&groups(&asked, &create.topic).create(&key, settings, start).await?)
}

pub(super) async fn update(asked: Asked) -> Result<String> {
    let update: Update = asked.read()?;
    let settings = update.settings(&asked)?;
    let key = key(update.group, update.member);
    asked.answer(&groups(&asked, &update.topic).update(&key, settings).await?)
}

pub(super) async fn seek(asked: Asked) -> Result<String> {
    let Seek { topic, group, member, to: Place(to) } = asked.read()?;
    asked.answer(&groups(&asked, &topic).seek(&key(group, member), to).await?)
}

pub(super) async fn delete(asked: Asked) -> Result<String> {
    let Delete { topic, group: Group(group) } = asked.read()?;
    asked.answer(&groups(&asked, &topic).delete(group.as_str()).await?)
}

/// There is nothing to say of a member that is gone.
#[derive(Serialize)]
struct Deleted {}

pub(super) async fn delete_member(asked: Asked) -> Result<String> {
    let DeleteMember { topic, group: Group(group), member: Member(member) } = asked.read()?;
    groups(&asked, &topic).delete_member(group.as_str(), member.as_str()).await?;
    asked.answer(&Deleted {})
}
