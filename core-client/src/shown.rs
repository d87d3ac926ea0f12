//! What a gateway says of itself as JSON, with the names and units of docs/http-admin.md: durations are milliseconds, times those of
//! RFC 3339, and positions strings, as they are opaque, and numbers of JSON end at 2^53.

use std::time::Duration;

use meshwire_proto::{EventError, codec};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{
    DeadLetter, Durability, GivenUp, Group, GroupMode, Lagging, LimitsInForce, Member, Position, Topic, TopicRequests,
};

fn millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

macro_rules! in_one_word {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }
    )*};
}

in_one_word!(Durability, GivenUp, GroupMode, Lagging);

#[derive(Serialize)]
struct TopicLine<'a> {
    name: &'a str,
    durability: Durability,
    retention_ms: u64,
    retention_bytes: u64,
    lagging: Lagging,
    first: Position,
    next: Position,
    events: u64,
    bytes: u64,
    physical_bytes: u64,
    overtaken: u64,
    delayed: u64,
    groups: Vec<Short<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<TopicRequests>,
}

/// A group as its topic shows it.
#[derive(Serialize)]
struct Short<'a> {
    name: &'a str,
    settled_through: Position,
    members: u32,
    in_flight: u64,
    lag: u64,
}

impl<'a> From<&'a Group> for Short<'a> {
    fn from(group: &'a Group) -> Self {
        let Group { ref name, settled_through, members, in_flight, lag, .. } = *group;
        Self { name, settled_through, members, in_flight, lag }
    }
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let line = TopicLine {
            name: &self.name,
            durability: self.durability,
            retention_ms: millis(Some(self.retention)),
            retention_bytes: self.retention_bytes,
            lagging: self.lagging,
            first: self.first,
            next: self.next,
            events: self.next.number().saturating_sub(self.first.number()),
            bytes: self.bytes,
            physical_bytes: self.physical_bytes,
            overtaken: self.overtaken,
            delayed: self.delayed,
            groups: self.groups.iter().map(Short::from).collect(),
            requests: self.requests,
        };
        line.serialize(to)
    }
}

#[derive(Serialize)]
struct GroupLine<'a> {
    name: &'a str,
    settled_through: Position,
    members: u32,
    in_flight: u64,
    lag: u64,
    delayed: u64,
    failing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_ms: Option<u64>,
    dead_letters: u64,
    expired: u64,
    ack_wait_ms: u64,
    max_failures: Option<u32>,
    max_age_ms: u64,
    backoff_min_ms: u64,
    backoff_max_ms: u64,
    hold_after_dead_letter: Option<bool>,
    strict_order: Option<bool>,
    max_in_flight: Option<u32>,
    max_rate: Option<u32>,
    mode: Option<GroupMode>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    durable_members: &'a [Member],
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let settings = &self.settings;
        let line = GroupLine {
            name: &self.name,
            settled_through: self.settled_through,
            members: self.members,
            in_flight: self.in_flight,
            lag: self.lag,
            delayed: self.delayed,
            failing: self.failing,
            oldest_ms: self.oldest.map(|age| millis(Some(age))),
            dead_letters: self.dead_letters,
            expired: self.expired,
            ack_wait_ms: millis(settings.ack_wait),
            max_failures: settings.max_failures,
            max_age_ms: millis(settings.max_age),
            backoff_min_ms: millis(settings.backoff_min),
            backoff_max_ms: millis(settings.backoff_max),
            hold_after_dead_letter: settings.hold_after_dead_letter,
            strict_order: settings.strict_order,
            max_in_flight: settings.max_in_flight,
            max_rate: settings.max_rate,
            mode: settings.mode,
            durable_members: &self.durable_members,
        };
        line.serialize(to)
    }
}

#[derive(Serialize)]
struct LimitsLine {
    publish_rate: u64,
    publish_bytes_rate: u64,
    publish_budget_bytes: u64,
    deliver_rate: u64,
    deliver_bytes_rate: u64,
    unkept_bytes: u64,
    sending_bytes: u64,
    sending_most: u64,
}

impl Serialize for LimitsInForce {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let line = LimitsLine {
            publish_rate: self.limits.publish_rate.unwrap_or_default(),
            publish_bytes_rate: self.limits.publish_bytes_rate.unwrap_or_default(),
            publish_budget_bytes: self.limits.publish_budget_bytes.unwrap_or_default(),
            deliver_rate: self.limits.deliver_rate.unwrap_or_default(),
            deliver_bytes_rate: self.limits.deliver_bytes_rate.unwrap_or_default(),
            unkept_bytes: self.unkept_bytes,
            sending_bytes: self.sending_bytes,
            sending_most: self.sending_most,
        };
        line.serialize(to)
    }
}

#[derive(Serialize)]
struct DeadLetterLine<'a> {
    number: u64,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    position: Position,
    reason: GivenUp,
    failures: u32,
    attempts: u32,
    error: &'a str,
    first_failure: String,
    last_failure: String,
    stored: String,
    redriven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_error: Option<Unwritable>,
}

/// Why an event has no form in JSON.
#[derive(Serialize)]
struct Unwritable {
    code: String,
    detail: String,
}

/// An event on one line.
fn event(of: &DeadLetter) -> Result<Box<RawValue>, EventError> {
    let mut text = String::new();
    codec::json::write_line(&of.parsed()?, &mut text)?;
    RawValue::from_string(text).map_err(|e| EventError::Json(codec::json::told(&e)))
}

impl Serialize for DeadLetter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (event, event_error) = match (!self.raw().is_empty()).then(|| event(self)) {
            None => (None, None),
            Some(Ok(event)) => (Some(event), None),
            Some(Err(e)) => (None, Some(Unwritable { code: e.kind().to_string(), detail: e.to_string() })),
        };
        let line = DeadLetterLine {
            number: self.number,
            group: &self.group,
            member: self.member.as_deref(),
            position: self.position,
            reason: self.reason,
            failures: self.failures,
            attempts: self.attempts,
            error: &self.error,
            first_failure: self.first_failure.to_string(),
            last_failure: self.last_failure.to_string(),
            stored: self.stored.to_string(),
            redriven: self.redriven,
            event,
            event_error,
        };
        line.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use bytes::Bytes;
    use meshwire_proto::Event;
    use meshwire_proto::wire::admin as wire;

    use super::*;

    fn text(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    fn group() -> wire::GroupSummary {
        wire::GroupSummary {
            name: "g".to_owned(),
            settled_through: 1 << 60,
            members: 2,
            in_flight: 3,
            lag: 4,
            oldest_ms: Some(5),
            settings: Some(wire::GroupSettings {
                ack_wait_ms: Some(30_000),
                max_failures: Some(5),
                max_age_ms: Some(0),
                backoff_min_ms: Some(1_000),
                backoff_max_ms: Some(60_000),
                after_dead_letter: Some(wire::AfterDeadLetter::Hold.into()),
                strict_order: Some(false),
                max_in_flight: Some(6),
                max_rate: Some(7),
                mode: Some(wire::GroupMode::Broadcast.into()),
            }),
            ..wire::GroupSummary::default()
        }
    }

    #[test]
    fn a_topic_has_milliseconds_positions_as_strings_and_groups_in_short() {
        let topic = wire::Topic {
            name: "t".to_owned(),
            durability: wire::Durability::Synced.into(),
            retention_ms: 1_000,
            first_position: 7,
            next_position: 9,
            groups: vec![group()],
            ..wire::Topic::default()
        };
        let requests = wire::RequestSummary { members: 1, open: 2, requests: 3, late_replies: 4 };
        let served = wire::Topic { requests: Some(requests), ..wire::Topic::default() };
        assert_eq!(
            text(&Topic::try_from(topic).unwrap()),
            r#"{"name":"t","durability":"synced","retention_ms":1000,"retention_bytes":0,"lagging":"drop","first":"7","next":"9","events":2,"bytes":0,"physical_bytes":0,"overtaken":0,"delayed":0,"groups":[{"name":"g","settled_through":"1152921504606846976","members":2,"in_flight":3,"lag":4}]}"#
        );
        let served = text(&Topic::try_from(served).unwrap());
        assert!(served.contains(r#""durability":"none""#), "{served}");
        assert!(served.ends_with(r#""requests":{"members":1,"open":2,"requests":3,"late_replies":4}}"#), "{served}");
    }

    #[test]
    fn a_group_has_its_settings_beside_its_numbers_and_members_where_it_has_some() {
        let bare = r#"{"name":"g","settled_through":"1152921504606846976","members":2,"in_flight":3,"lag":4,"delayed":0,"failing":0,"oldest_ms":5,"dead_letters":0,"expired":0,"ack_wait_ms":30000,"max_failures":5,"max_age_ms":0,"backoff_min_ms":1000,"backoff_max_ms":60000,"hold_after_dead_letter":true,"strict_order":false,"max_in_flight":6,"max_rate":7,"mode":"broadcast"}"#;
        assert_eq!(text(&Group::from(group())), bare);
        let member = wire::MemberSummary { name: "m".to_owned(), connected: true, ..wire::MemberSummary::default() };
        let durable = wire::GroupSummary { durable_members: vec![member], ..group() };
        let members = r#","durable_members":[{"name":"m","connected":true,"settled_through":"0","in_flight":0,"lag":0,"delayed":0,"dead_letters":0}]}"#;
        assert_eq!(text(&Group::from(durable)), [bare.strip_suffix('}').unwrap(), members].concat());
    }

    #[test]
    fn limits_are_numbers_beside_what_is_used_of_them() {
        let limits = wire::Limits { publish_rate: Some(9), ..wire::Limits::default() };
        let in_force = wire::LimitsInForce { limits: Some(limits), sending_most: 1, ..wire::LimitsInForce::default() };
        assert_eq!(
            text(&LimitsInForce::from(in_force)),
            r#"{"publish_rate":9,"publish_bytes_rate":0,"publish_budget_bytes":0,"deliver_rate":0,"deliver_bytes_rate":0,"unkept_bytes":0,"sending_bytes":0,"sending_most":1}"#
        );
    }

    fn letter(event: Bytes) -> String {
        let letter = wire::DeadLetter {
            number: 1,
            group: "g/m".to_owned(),
            position: 2,
            reason: wire::DeathReason::Rejected.into(),
            failures: 3,
            attempts: 4,
            error: "no".to_owned(),
            first_failure_unix_ms: 1_500,
            event,
            ..wire::DeadLetter::default()
        };
        text(&DeadLetter::read(letter).unwrap())
    }

    #[test]
    fn a_dead_letter_has_times_and_its_event_on_one_line_or_why_that_has_no_form_in_json() {
        let bare = r#"{"number":1,"group":"g","member":"m","position":"2","reason":"rejected","failures":3,"attempts":4,"error":"no","first_failure":"1970-01-01T00:00:01.500Z","last_failure":"1970-01-01T00:00:00Z","stored":"1970-01-01T00:00:00Z","redriven":false"#;
        assert_eq!(letter(Bytes::new()), format!("{bare}}}"));
        let json = Event::bytes("t", "{\"a\":\n1}").id("1").source("/s").data_content_type("application/json");
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"application/json","data":{"a": 1}}"#;
        assert_eq!(letter(json.encode().unwrap()), format!("{bare},\"event\":{event}}}"));
        // Id, source, specversion, type, and data in protobuf.
        let protobuf = b"\x0a\x011\x12\x02/s\x1a\x031.0\x22\x01t\x42\x03\x0a\x01x";
        let unsupported =
            r#"{"code":"UNSUPPORTED","detail":"proto_data cannot be written as JSON; receive it as protobuf"}"#;
        assert_eq!(letter(Bytes::from_static(protobuf)), format!("{bare},\"event_error\":{unsupported}}}"));
    }

    #[test]
    fn what_was_redriven_is_counted_beside_what_is_left_by_group() {
        let mut redriven = crate::Redriven { count: 2, ..crate::Redriven::default() };
        redriven.left.insert("gone".to_owned(), 1);
        assert_eq!(text(&redriven), r#"{"redriven":2,"left":{"gone":1}}"#);
    }
}
