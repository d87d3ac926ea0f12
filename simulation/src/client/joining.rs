//! What a program subscribes to.

use bytes::{Bytes, BytesMut};
use meshwire::session::{Start, SubscribeSpec, SubscriptionId};
use meshwire_proto::wire::admin::{AfterDeadLetter, GroupMode, GroupSettings};
use meshwire_proto::{GroupName, MemberName, TopicName};

use super::Client;
use crate::history::Topic;
use crate::script::{ACK_WAIT, BACKOFF, FIRST_MEMBER, HOLDING, IMPATIENT, MAX_FAILURES, Role, TUNED};
use crate::tuned::Settings;

impl Client {
    /// Ends its subscription of a topic; whether it had one.
    pub(crate) fn leave_topic(&mut self, topic: Topic) -> bool {
        let id = self.subscriptions.iter().find(|(_, (of, _))| *of == topic).map(|(id, _)| *id);
        let left = id.map(|id| {
            self.subscriptions.remove(&id);
            self.session.unsubscribe(id);
        });
        left.is_some()
    }

    /// Ends one of its subscriptions of a group; gives the topic.
    pub(crate) fn leave(&mut self, rng: &mut fastrand::Rng) -> Option<Topic> {
        let mine: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        let id = *mine.get(rng.usize(..mine.len().max(1)))?;
        let (topic, _) = self.subscriptions.remove(&id)?;
        self.session.unsubscribe(id);
        Some(topic)
    }

    /// Ends the session; gives what is still to be sent.
    pub(crate) fn close(&mut self) -> Bytes {
        let mut bytes = BytesMut::new();
        while self.session.transmit(&mut bytes) {}
        self.session.close();
        while self.session.transmit(&mut bytes) {}
        bytes.freeze()
    }

    /// A reader of everything, for the end.
    pub(crate) fn subscribe(&mut self, topic: Topic, group: Option<u8>, rng: &mut fastrand::Rng) {
        let Ok(name) = TopicName::parse(topic.name()) else {
            return;
        };
        let member = group.filter(|n| *n >= FIRST_MEMBER);
        // A reader without a place is a member of the broadcast group or of none.
        let unnamed = group.is_none() && self.role == Role::Consumer(None) && self.index % 2 == 1;
        let broadcast = unnamed || member.is_some();
        let group_name = if broadcast { Some("all".to_owned()) } else { group.map(|n| format!("g{n}")) };
        let mode = if broadcast { GroupMode::Broadcast } else { GroupMode::Cluster };
        let spec = SubscribeSpec {
            topic: name,
            group: group_name.and_then(|name| GroupName::parse(&name).ok()),
            member: member.and_then(|n| MemberName::parse(&format!("m{n}")).ok()),
            start: Some(Start::Earliest),
            settings: GroupSettings { mode: Some(mode.into()), ..self.wanted(group, broadcast) },
            max_events: if Topic::SCARCE.contains(&topic) { rng.u32(1..5) } else { rng.u32(4..64) },
            max_bytes: 1 << 20,
        };
        let id = self.session.subscribe(spec);
        self.subscriptions.insert(id, (topic, group));
    }

    /// What its group is to be like.
    fn wanted(&self, group: Option<u8>, broadcast: bool) -> GroupSettings {
        let settings = match group {
            // As it is.
            Some(TUNED) if self.adopts => return GroupSettings::default(),
            Some(TUNED) => return Settings::first(),
            _ => group_settings(group),
        };
        GroupSettings { ack_wait_ms: settings.ack_wait_ms.filter(|_| broadcast || group.is_some()), ..settings }
    }
}

/// What a group is like from the start on.
pub(crate) fn group_settings(group: Option<u8>) -> GroupSettings {
    GroupSettings {
        ack_wait_ms: Some(ACK_WAIT.as_millis() as u32),
        max_failures: Some(if matches!(group, Some(HOLDING | IMPATIENT)) { MAX_FAILURES } else { 0 }),
        backoff_min_ms: Some(if group == Some(IMPATIENT) { BACKOFF.as_millis() as u32 } else { 0 }),
        after_dead_letter: (group == Some(HOLDING)).then_some(AfterDeadLetter::Hold.into()),
        ..GroupSettings::default()
    }
}
