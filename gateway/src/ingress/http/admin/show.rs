//! Answers as JSON. Positions are strings: they are opaque, and numbers of JSON end at 2^53.

use meshwire_proto::codec::json as cloudevents;
use meshwire_proto::wire::admin::{
    AfterDeadLetter, DeadLetter, DeathReason, Durability, GroupMode, GroupSummary, Lagging, LimitsInForce,
    MemberSummary, Topic,
};
use meshwire_proto::{EventError, EventLimits, EventView, UnixMillis};
use serde_json::{Value, json};

use crate::ingress::calls::Calls;
use crate::ingress::http::Problem;

/// Adds a member if there is a value.
fn insert(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}

pub(in crate::ingress::http) const fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "memory",
        Durability::Written => "written",
        Durability::Synced => "synced",
        Durability::Unspecified => "none",
    }
}

pub(super) fn topic(topic: &Topic) -> Value {
    let mut shown = json!({
        "name": topic.name,
        "durability": durability(topic.durability()),
        "retention_ms": topic.retention_ms,
        "retention_bytes": topic.retention_bytes,
        "lagging": if topic.lagging() == Lagging::Block { "block" } else { "drop" },
        "first": topic.first_position.to_string(),
        "next": topic.next_position.to_string(),
        "events": topic.next_position.saturating_sub(topic.first_position),
        "bytes": topic.bytes,
        "physical_bytes": topic.physical_bytes,
        "overtaken": topic.overtaken,
        "delayed": topic.delayed,
        "groups": topic.groups.iter().map(short).collect::<Vec<_>>(),
    });
    let requests = topic.requests.map(
        |r| json!({ "members": r.members, "open": r.open, "requests": r.requests, "late_replies": r.late_replies }),
    );
    insert(&mut shown, "requests", requests);
    insert(&mut shown, "groups_next", Some(&topic.groups_next).filter(|n| !n.is_empty()).map(|n| n.clone().into()));
    shown
}

/// A group as a topic shows it.
fn short(group: &GroupSummary) -> Value {
    json!({
        "name": group.name,
        "settled_through": group.settled_through.to_string(),
        "members": group.members,
        "in_flight": group.in_flight,
        "lag": group.lag,
    })
}

pub(super) fn group(group: &GroupSummary) -> Value {
    let settings = group.settings.unwrap_or_default();
    let mut shown = json!({
        "name": group.name,
        "settled_through": group.settled_through.to_string(),
        "members": group.members,
        "in_flight": group.in_flight,
        "lag": group.lag,
        "delayed": group.delayed,
        "failing": group.failing,
        "dead_letters": group.dead_letters,
        "expired": group.expired,
        "ack_wait_ms": settings.ack_wait_ms(),
        "max_failures": settings.max_failures(),
        "max_age_ms": settings.max_age_ms(),
        "backoff_min_ms": settings.backoff_min_ms(),
        "backoff_max_ms": settings.backoff_max_ms(),
        "hold_after_dead_letter": settings.after_dead_letter() == AfterDeadLetter::Hold,
        "strict_order": settings.strict_order(),
        "max_in_flight": settings.max_in_flight(),
        "max_rate": settings.max_rate(),
        "mode": if settings.mode() == GroupMode::Broadcast { "broadcast" } else { "cluster" },
    });
    insert(&mut shown, "oldest_ms", group.oldest_ms.map(Into::into));
    let durable: Vec<Value> = group.durable_members.iter().map(member).collect();
    insert(&mut shown, "durable_members", (!durable.is_empty()).then(|| durable.into()));
    shown
}

fn member(member: &MemberSummary) -> Value {
    json!({
        "name": member.name,
        "connected": member.connected,
        "settled_through": member.settled_through.to_string(),
        "in_flight": member.in_flight,
        "lag": member.lag,
        "delayed": member.delayed,
        "dead_letters": member.dead_letters,
    })
}

const fn reason(reason: DeathReason) -> &'static str {
    match reason {
        DeathReason::Failures | DeathReason::Unspecified => "failures",
        DeathReason::Rejected => "rejected",
        DeathReason::Age => "age",
    }
}

/// An event that was stored, as JSON.
///
/// # Errors
/// It has no form there.
pub(in crate::ingress::http) fn event(bytes: &[u8]) -> Result<String, EventError> {
    let most = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let limits = EventLimits { max_event_bytes: most, max_attribute_bytes: most };
    let mut text = String::new();
    cloudevents::write(&EventView::parse(bytes, limits)?, &mut text)?;
    Ok(text)
}

/// Written out: JSON data of the event keeps its exact text. An event that has no form in JSON is counted, and `event_error` says so.
pub(super) fn letter(calls: &Calls, letter: &DeadLetter) -> String {
    let (group, member) = letter.group.split_once('/').map_or((&*letter.group, None), |(g, m)| (g, Some(m)));
    let time = |millis: i64| UnixMillis(millis).to_string();
    let mut shown = json!({
        "number": letter.number,
        "group": group,
        "position": letter.position.to_string(),
        "reason": reason(letter.reason()),
        "failures": letter.failures,
        "attempts": letter.attempts,
        "error": letter.error,
        "first_failure": time(letter.first_failure_unix_ms),
        "last_failure": time(letter.last_failure_unix_ms),
        "stored": time(letter.stored_unix_ms),
        "redriven": letter.redriven,
    });
    insert(&mut shown, "member", member.map(Into::into));
    let mut text = shown.to_string();
    if letter.event.is_empty() {
        return text;
    }
    text.pop();
    match event(&letter.event) {
        Ok(event) => text.push_str(&format!(",\"event\":{event}}}")),
        Err(error) => {
            calls.count_unwritable();
            let problem = Problem::new(error.kind(), error.to_string());
            text.push_str(&format!(",\"event_error\":{}}}", problem.json()));
        }
    }
    text
}

pub(super) fn limits(in_force: &LimitsInForce) -> Value {
    let limits = in_force.limits.unwrap_or_default();
    json!({
        "publish_rate": limits.publish_rate(),
        "publish_bytes_rate": limits.publish_bytes_rate(),
        "publish_budget_bytes": limits.publish_budget_bytes(),
        "deliver_rate": limits.deliver_rate(),
        "deliver_bytes_rate": limits.deliver_bytes_rate(),
        "unkept_bytes": in_force.unkept_bytes,
        "sending_bytes": in_force.sending_bytes,
        "sending_most": in_force.sending_most,
    })
}
