//! Topics, groups and dead letters.

use std::time::Duration;

use meshwire::{DeadLetter, Durability, Error, Group, Lagging, TopicSettings};
use serde_json::{Value, json};

use crate::command;
use crate::event;
use crate::room::{Room, absent};

fn millis(duration: Option<Duration>) -> Option<u64> {
    duration.and_then(|duration| u64::try_from(duration.as_millis()).ok())
}

fn group(group: &Group) -> Value {
    let settings = &group.settings;
    json!({
        "name": group.name,
        "settled_through": group.settled_through.number(),
        "members": group.members,
        "in_flight": group.in_flight,
        "lag": group.lag,
        "delayed": group.delayed,
        "dead_letters": group.dead_letters,
        "settings": {
            "ack_wait_ms": millis(settings.ack_wait),
            "max_failures": settings.max_failures,
            "backoff_ms": [millis(settings.backoff_min), millis(settings.backoff_max)],
            "hold_after_dead_letter": settings.hold_after_dead_letter,
            "strict_order": settings.strict_order,
            "max_in_flight": settings.max_in_flight,
            "max_rate": settings.max_rate,
        },
    })
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "number": letter.number,
        "group": letter.group,
        "position": letter.position.number(),
        "reason": letter.reason.name(),
        "failures": letter.failures,
        "attempts": letter.attempts,
        "error": letter.error,
        "redriven": letter.redriven,
        "event": letter.event().map(|view| event::event(&view)),
    })
}

fn settings(spec: &command::TopicSpec) -> Result<TopicSettings, Error> {
    let mut settings = spec.settings();
    settings.durability = match spec.durability.as_deref() {
        None => None,
        Some("memory") => Some(Durability::Memory),
        Some("written") => Some(Durability::Written),
        Some("synced") => Some(Durability::Synced),
        Some(other) => return Err(absent(other)),
    };
    settings.lagging = match spec.lagging.as_deref() {
        None => None,
        Some("drop") => Some(Lagging::Drop),
        Some("block") => Some(Lagging::Block),
        Some(other) => return Err(absent(other)),
    };
    Ok(settings)
}

impl Room {
    fn letters(&self, of: &command::DeadLetters) -> Result<meshwire::DeadLetters, Error> {
        let letters = self.client(&of.on)?.dead_letters(&of.topic);
        Ok(match &of.group {
            Some(group) => letters.group(group),
            None => letters,
        })
    }

    pub(crate) async fn create_topic(&self, on: &str, topic: &str, spec: command::TopicSpec) -> Result<Value, Error> {
        let topic = self.client(on)?.topics().create(topic, settings(&spec)?).await?;
        Ok(json!({"name": topic.name}))
    }

    pub(crate) async fn update_topic(&self, on: &str, topic: &str, spec: command::TopicSpec) -> Result<Value, Error> {
        let topic = self.client(on)?.topics().update(topic, settings(&spec)?).await?;
        Ok(json!({
            "name": topic.name,
            "retention_ms": millis(Some(topic.retention)),
            "retention_bytes": topic.retention_bytes,
            "lagging": if topic.lagging == Lagging::Block { "block" } else { "drop" },
        }))
    }

    pub(crate) async fn topics(&self, on: &str) -> Result<Value, Error> {
        let topics = self.client(on)?.topics().list().await?;
        let shown = topics.iter().map(
            |t| json!({"name": t.name, "first": t.first.number(), "next": t.next.number(), "overtaken": t.overtaken}),
        );
        Ok(json!({"topics": shown.collect::<Vec<_>>()}))
    }

    pub(crate) async fn groups(&self, on: &str, topic: &str) -> Result<Value, Error> {
        let groups = self.client(on)?.groups(topic).list().await?;
        Ok(json!({"groups": groups.iter().map(group).collect::<Vec<_>>()}))
    }

    pub(crate) async fn update_group(
        &self,
        on: &str,
        topic: &str,
        name: &str,
        settings: command::Settings,
    ) -> Result<Value, Error> {
        let updated = self.client(on)?.groups(topic).update(name, settings.into()).await?;
        Ok(group(&updated))
    }

    pub(crate) async fn create_group(
        &self,
        on: &str,
        (topic, name): (&str, &str),
        start: Option<command::StartSpec>,
        settings: command::Settings,
    ) -> Result<Value, Error> {
        let start = start.map(|spec| self.start(spec)).transpose()?;
        let created = self.client(on)?.groups(topic).create(name, settings.into(), start).await?;
        Ok(group(&created))
    }

    pub(crate) async fn seek_group(
        &self,
        on: &str,
        (topic, name): (&str, &str),
        to: command::StartSpec,
    ) -> Result<Value, Error> {
        let to = self.start(to)?;
        let moved = self.client(on)?.groups(topic).seek(name, to).await?;
        Ok(group(&moved))
    }

    pub(crate) async fn dead_letters(&self, of: command::DeadLetters) -> Result<Value, Error> {
        let mut pages = self.letters(&of)?.pages(true);
        let mut found = Vec::new();
        while let Some(page) = pages.next().await? {
            found.extend(page.iter().map(letter));
        }
        Ok(json!({"letters": found}))
    }

    pub(crate) async fn dead_letter(&self, of: command::DeadLetters) -> Result<Value, Error> {
        let number = of.numbers.first().copied().unwrap_or_default();
        self.letters(&of)?.get(number).await.map(|found| letter(&found))
    }

    pub(crate) async fn redrive(&self, of: command::DeadLetters) -> Result<Value, Error> {
        let letters = self.letters(&of)?;
        let all = of.numbers.is_empty();
        let count = if all { letters.redrive_all().await? } else { letters.redrive(&of.numbers).await? };
        Ok(json!({"count": count}))
    }

    pub(crate) async fn purge(&self, of: command::DeadLetters) -> Result<Value, Error> {
        let letters = self.letters(&of)?;
        let all = of.numbers.is_empty();
        let count = if all { letters.purge_all().await? } else { letters.purge(&of.numbers).await? };
        Ok(json!({"count": count}))
    }
}
