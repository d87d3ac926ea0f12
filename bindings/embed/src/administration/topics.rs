//! Commands of topics.

use meshwire::{Durability, Lagging, Result, TopicSettings};
use meshwire_proto::options;
use serde::Deserialize;

use super::Items;
use super::arguments::Asked;
use super::values::{Topic, Whole};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    topic: Topic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    topic: Topic,
    durability: Option<Level>,
    retention_ms: Option<Whole>,
    retention_bytes: Option<Whole>,
    lagging: Option<Overtaken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    topic: Topic,
    retention_ms: Option<Whole>,
    retention_bytes: Option<Whole>,
    lagging: Option<Overtaken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    topic: Topic,
    force: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Memory,
    Written,
    Synced,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Memory => Self::Memory,
            Level::Written => Self::Written,
            Level::Synced => Self::Synced,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Overtaken {
    Drop,
    Block,
}

impl From<Overtaken> for Lagging {
    fn from(overtaken: Overtaken) -> Self {
        match overtaken {
            Overtaken::Drop => Self::Drop,
            Overtaken::Block => Self::Block,
        }
    }
}

/// How long and how much is kept.
fn kept(
    asked: &Asked,
    (millis, bytes): (Option<Whole>, Option<Whole>),
    lagging: Option<Overtaken>,
) -> Result<TopicSettings> {
    let mut settings = TopicSettings::new();
    settings.retention = asked.millis("retention_ms", millis, &options::RETENTION)?;
    settings.retention_bytes = asked.within("retention_bytes", bytes, &options::RETENTION_BYTES)?;
    settings.lagging = lagging.map(Lagging::from);
    Ok(settings)
}

pub(super) async fn list(asked: Asked) -> Result<String> {
    let Nothing {} = asked.read()?;
    let items = asked.mesh.topics().list().await?;
    asked.answer(&Items { items, next: None })
}

pub(super) async fn get(asked: Asked) -> Result<String> {
    let One { topic: Topic(name) } = asked.read()?;
    asked.answer(&asked.mesh.topics().get(name.as_str()).await?)
}

pub(super) async fn create(asked: Asked) -> Result<String> {
    let Create { topic: Topic(name), durability, retention_ms, retention_bytes, lagging } = asked.read()?;
    let mut settings = kept(&asked, (retention_ms, retention_bytes), lagging)?;
    settings.durability = durability.map(Durability::from);
    asked.answer(&asked.mesh.topics().create(name.as_str(), settings).await?)
}

pub(super) async fn update(asked: Asked) -> Result<String> {
    let Update { topic: Topic(name), retention_ms, retention_bytes, lagging } = asked.read()?;
    let settings = kept(&asked, (retention_ms, retention_bytes), lagging)?;
    asked.answer(&asked.mesh.topics().update(name.as_str(), settings).await?)
}

pub(super) async fn delete(asked: Asked) -> Result<String> {
    let Delete { topic: Topic(name), force } = asked.read()?;
    asked.answer(&asked.mesh.topics().delete(name.as_str(), force.unwrap_or(false)).await?)
}
