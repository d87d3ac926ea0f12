//! Topics, groups and dead letters.

use std::time::Duration;

use meshwire::{DeadLetter, Durability, Error, Group, GroupMode, Lagging, Member, Topic, TopicSettings};
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
        "failing": group.failing,
        "expired": group.expired,
        "dead_letters": group.dead_letters,
        "settings": {
            "ack_wait_ms": millis(settings.ack_wait),
            "max_failures": settings.max_failures,
            "backoff_ms": [millis(settings.backoff_min), millis(settings.backoff_max)],
            "hold_after_dead_letter": settings.hold_after_dead_letter,
            "strict_order": settings.strict_order,
            "max_in_flight": settings.max_in_flight,
            "max_rate": settings.max_rate,
            "mode": settings.mode.map(GroupMode::name),
        },
        "durable_members": group.durable_members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn member(member: &Member) -> Value {
    json!({
        "name": member.name,
        "connected": member.connected,
        "settled_through": member.settled_through.number(),
        "in_flight": member.in_flight,
        "lag": member.lag,
        "delayed": member.delayed,
        "dead_letters": member.dead_letters,
    })
}

fn topic(topic: &Topic) -> Value {
    let mut shown = json!({
        "name": topic.name,
        "first": topic.first.number(),
        "next": topic.next.number(),
        "delayed": topic.delayed,
        "overtaken": topic.overtaken,
    });
    if let (Some(requests), Some(fields)) = (&topic.requests, shown.as_object_mut()) {
        let of = json!({"members": requests.members, "open": requests.open, "late_replies": requests.late_replies});
        fields.insert("requests".to_owned(), of);
    }
    shown
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "number": letter.number,
        "group": letter.group,
        "member": letter.member,
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
        Ok(json!({"topics": topics.iter().map(topic).collect::<Vec<_>>()}))
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

    pub(crate) async fn create_group(&self, asked: command::CreateGroup) -> Result<Value, Error> {
        let start = asked.start.map(|spec| self.start(spec)).transpose()?;
        let groups = self.client(&asked.on)?.groups(&asked.topic);
        let created = groups.create(&asked.group, asked.settings.into(), start).await?;
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

    pub(crate) async fn delete_group(&self, on: &str, topic: &str, name: &str) -> Result<Value, Error> {
        let was = self.client(on)?.groups(topic).delete(name).await?;
        Ok(group(&was))
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
        let done = if all { letters.redrive_all().await? } else { letters.redrive(&of.numbers).await? };
        match done.left.is_empty() {
            true => Ok(json!({"count": done.count})),
            false => Ok(json!({"count": done.count, "left": done.left})),
        }
    }

    pub(crate) async fn purge(&self, of: command::DeadLetters) -> Result<Value, Error> {
        let letters = self.letters(&of)?;
        let all = of.numbers.is_empty();
        let count = if all { letters.purge_all().await? } else { letters.purge(&of.numbers).await? };
        Ok(json!({"count": count}))
    }
}
