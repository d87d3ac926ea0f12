//! Webhook payloads as events to publish.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use meshwire::Event;
use serde_json::value::RawValue;

/// How many events the story needs; the sample is repeated until it has so many.
const EVENTS: usize = 329;

#[derive(serde::Deserialize)]
struct Webhook {
    name: String,
    examples: Vec<Box<RawValue>>,
}

#[derive(serde::Deserialize)]
struct Payload {
    repository: Option<Repository>,
}

#[derive(serde::Deserialize)]
struct Repository {
    full_name: String,
}

/// One event of the story.
pub(crate) struct Sent {
    /// CloudEvents `id`.
    pub(crate) id: String,
    /// CloudEvents `partitionkey`.
    pub(crate) key: Option<String>,
    /// What is published.
    pub(crate) event: Event,
    /// The same as it must come back, byte for byte.
    pub(crate) encoded: Bytes,
}

/// Reads a file of payloads. Each is published as the very text that stands there.
pub(crate) fn read(path: &Path, repeat: bool) -> anyhow::Result<Vec<Sent>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let webhooks: Vec<Webhook> =
        serde_json::from_str(&text).with_context(|| format!("{} holds no list of webhooks", path.display()))?;
    let payloads: Vec<(&str, &RawValue)> =
        webhooks.iter().flat_map(|w| w.examples.iter().map(|e| (w.name.as_str(), &**e))).collect();
    anyhow::ensure!(!payloads.is_empty(), "{} holds no payload", path.display());
    let count = if repeat { EVENTS } else { payloads.len() };
    payloads.iter().cycle().take(count).enumerate().map(|(n, (name, payload))| sent(n, name, payload)).collect()
}

fn sent(number: usize, name: &str, payload: &RawValue) -> anyhow::Result<Sent> {
    let id = format!("webhook-{number:03}");
    // Not every payload is an object with a repository; what is none has no key.
    let key = serde_json::from_str::<Payload>(payload.get()).ok().and_then(|p| p.repository).map(|r| r.full_name);
    let mut event = Event::json(format!("com.github.{name}"), payload)?
        .id(id.clone())
        .source("https://api.github.com/webhooks")
        .time(meshwire::UnixMillis(1_700_000_000_000 + i64::try_from(number)?));
    if let Some(key) = &key {
        event = event.key(key);
    }
    let encoded = event.encode()?;
    Ok(Sent { id, key, event, encoded })
}
