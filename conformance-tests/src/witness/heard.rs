//! Commands to the testee, and their answers.

use std::time::{Duration, Instant};

use meshwire_history::{Absence, Answer, Level, SettleKind};
use serde_json::Value;

use super::content::Shown;
use super::topic::{Known, Made, Said};
use super::{Lane, Witness};

/// When a publish is delivered, and until when.
const TIMES: [&str; 3] = ["deliver_at", "deliver_after_ms", "expires_in_ms"];

/// Fields of a subscribe that histories understand; others make another kind of subscription.
const SUBSCRIBE: [&str; 10] = ["op", "id", "on", "as", "topic", "group", "start", "prefetch", "concurrency", "gate"];
/// Likewise of an event.
const EVENT: [&str; 10] = ["id", "source", "type", "key", "subject", "attributes", "data", "json", "data_b64", "zeros"];
/// Commands that only look.
const HARMLESS: [&str; 8] = ["topics", "groups", "dead_letters", "dead_letter", "flush", "stats", "state", "gate"];

/// What an answer will be about.
#[derive(Debug)]
pub(super) enum Open {
    /// Events of a topic, by their places.
    Published(String, Vec<usize>),
    /// What was said, by topic and place.
    Settled(Vec<(String, usize)>),
}

/// The text of a field.
fn text<'a>(command: &'a Value, name: &str) -> &'a str {
    command[name].as_str().unwrap_or_default()
}

fn has_only(value: &Value, known: &[&str]) -> bool {
    value.as_object().is_some_and(|fields| fields.keys().all(|name| known.contains(&name.as_str())))
}

impl Witness {
    /// A command goes to the testee.
    pub(crate) fn sent(&mut self, id: u64, command: &Value, at: Instant) {
        let at = self.since(at);
        match text(command, "op") {
            "connect" => {
                let name = command["client_name"].as_str().unwrap_or("testee");
                self.clients.insert(text(command, "as").to_owned(), name.to_owned());
            }
            "publish" => self.publishes(id, command, std::slice::from_ref(&command["event"]), at),
            "publish_batch" => {
                let events = command["events"].as_array().cloned().unwrap_or_default();
                self.publishes(id, command, &events, at);
            }
            "subscribe" | "consume" => self.subscribes(command),
            "ack" => self.settles(id, command, Some(SettleKind::Ack), at),
            "nack" => self.settles(id, command, Some(SettleKind::Nack), at),
            "reject" => self.settles(id, command, Some(SettleKind::Reject), at),
            "extend" | "forget" => self.settles(id, command, None, at),
            "unsubscribe" => self.absent(text(command, "on"), at),
            "close" | "drain" | "abandon" => {
                let client = text(command, "on");
                let lanes = self.lanes.iter().filter(|(_, lane)| lane.client == client);
                let lanes: Vec<String> = lanes.map(|(name, _)| name.clone()).collect();
                lanes.iter().for_each(|lane| self.absent(lane, at));
            }
            "create_topic" => {
                let level = match text(command, "durability") {
                    "memory" => Level::Memory,
                    "written" => Level::Written,
                    "synced" => Level::Synced,
                    _ => self.level,
                };
                let has_retention = !command["retention_ms"].is_null();
                let topic = self.topic(text(command, "topic"));
                topic.level = level;
                topic.strange |= has_retention;
            }
            "update_group" => self.group_is(command),
            "create_group" | "seek_group" | "delete_group" => {
                let topic = self.topic(text(command, "topic"));
                topic.groups.entry(text(command, "group").to_owned()).or_default().from_start = false;
            }
            "redrive" => self.topic(text(command, "topic")).redriven = true,
            "purge" => self.topic(text(command, "topic")).purged = true,
            // Nothing of it is stored.
            "request" | "request_stream" | "serve" => {}
            op if HARMLESS.contains(&op) => {}
            _ if !text(command, "topic").is_empty() => self.topic(text(command, "topic")).strange = true,
            _ => {}
        }
    }

    fn absent(&mut self, lane: &str, at: Duration) {
        self.absences.push(Absence { at, member: lane.into() });
    }

    fn publishes(&mut self, id: u64, command: &Value, events: &[Value], at: Duration) {
        let name = text(command, "topic").to_owned();
        let client = self.clients.get(text(command, "on"));
        let filled = format!("//$host/{}", client.map_or("testee", String::as_str));
        let topic = self.topic(&name);
        // What waits or expires is not where a history looks for it.
        topic.strange |= TIMES.iter().any(|time| !command[*time].is_null());
        let mut places = Vec::new();
        for event in events {
            topic.strange |= !has_only(event, &EVENT);
            let mut event = Shown::made(event);
            event.source.get_or_insert_with(|| filled.clone());
            places.push(topic.made.len());
            topic.made.push(Made { event, at, answer: Answer::Open, position: None });
        }
        self.open.insert(id, Open::Published(name, places));
    }

    fn subscribes(&mut self, command: &Value) {
        let (topic, group) = (text(command, "topic").to_owned(), command["group"].as_str().map(str::to_owned));
        let is_known = command
            .as_object()
            .is_some_and(|fields| fields.keys().all(|name| name == "settings" || SUBSCRIBE.contains(&name.as_str())));
        self.topic(&topic).strange |= !is_known;
        if let Some(group) = &group {
            let from_start = matches!(&command["start"], Value::Null) || command["start"] == "earliest";
            let is_new = !self.topic(&topic).groups.contains_key(group);
            let known = self.topic(&topic).groups.entry(group.clone()).or_default();
            known.from_start &= from_start || !is_new;
            self.group_is(command);
        }
        let client = text(command, "on").to_owned();
        let lane = text(command, "as").to_owned();
        let subscription = self.lanes.get(&lane).map_or(0, |lane| lane.subscription + 1);
        self.lanes.insert(lane, Lane { topic, group, client, subscription });
    }

    /// What a command says of a group. It may be refused: the shorter lease and the fewer
    /// failures are the ones that excuse more.
    fn group_is(&mut self, command: &Value) {
        let settings = &command["settings"];
        let topic = self.topic(text(command, "topic"));
        let Known { ack_wait, max_failures, .. } = topic.groups.entry(text(command, "group").to_owned()).or_default();
        if let Some(wait) = settings["ack_wait_ms"].as_u64() {
            *ack_wait = (*ack_wait).min(Duration::from_millis(wait));
        }
        if let Some(most) = settings["max_failures"].as_u64().and_then(|most| u32::try_from(most).ok()) {
            *max_failures = if most == 0 { None } else { Some(max_failures.unwrap_or(most).min(most)) };
        }
    }

    /// Says of messages; without a kind it ends nothing, but what is said then may be late.
    fn settles(&mut self, id: u64, command: &Value, kind: Option<SettleKind>, at: Duration) {
        let lane = text(command, "on").to_owned();
        let numbers = command["n"].as_array().cloned().unwrap_or_default();
        let mut places = Vec::new();
        for number in numbers.iter().filter_map(Value::as_u64) {
            let Some((topic, of)) = self.numbers.get(&(lane.clone(), number)).cloned() else { continue };
            let faulty = self.faulty;
            let Some(kind) = kind else { continue };
            let seen = self.topic(&topic);
            let excused = faulty || seen.may_be_late(of, at);
            seen.said.push(Said { at, of, kind, confirmed: None, excused });
            let place = seen.said.len() - 1;
            places.push((topic, place));
        }
        if command["confirmed"] == true {
            self.open.insert(id, Open::Settled(places));
        }
    }

    /// An answer came.
    pub(crate) fn answered(&mut self, id: u64, answer: &Value, at: Instant) {
        let at = self.since(at);
        match self.open.remove(&id) {
            Some(Open::Published(topic, places)) => {
                let receipts = answer.pointer("/ok/receipts").and_then(Value::as_array);
                for (nth, place) in places.into_iter().enumerate() {
                    let one = match receipts {
                        Some(receipts) => receipts.get(nth),
                        None => answer.get("ok").or(answer.get("err")),
                    };
                    let made = self.topic(&topic).made.get_mut(place);
                    if let Some((made, one)) = made.zip(one) {
                        made.is_answered(one, answer, at);
                    }
                }
            }
            Some(Open::Settled(places)) if answer.get("ok").is_some() => {
                for (topic, place) in places {
                    if let Some(said) = self.topic(&topic).said.get_mut(place) {
                        said.confirmed = Some(at);
                    }
                }
            }
            Some(Open::Settled(places)) => {
                for (topic, place) in places {
                    if let Some(said) = self.topic(&topic).said.get_mut(place) {
                        said.excused = true;
                    }
                }
            }
            None => {}
        }
    }
}

impl Made {
    fn is_answered(&mut self, one: &Value, answer: &Value, at: Duration) {
        let error = one.get("err").or_else(|| answer.get("err"));
        self.answer = match error {
            None => {
                self.position = one["position"].as_u64();
                Answer::Acknowledged(at)
            }
            // Whether it was sent is not known.
            Some(error) if error["retry"] == "unknown_outcome" || error["code"] == "CLOSED" => Answer::Open,
            Some(_) => Answer::Refused(at),
        };
    }
}

impl super::topic::Topic {
    /// Whether what is said of a message now may have no effect: its lease may be over, it
    /// came again meanwhile, or an earlier event of its key has failed.
    fn may_be_late(&self, of: usize, at: Duration) -> bool {
        let Some(came) = self.came.get(of) else { return true };
        let Some(group) = &came.group else { return false };
        let wait = self.groups.get(group).map_or(Duration::ZERO, |known| known.ack_wait);
        let same =
            |other: &super::topic::Came| (&other.event.source, &other.event.id) == (&came.event.source, &came.event.id);
        let again = self.came.iter().skip(of + 1).any(|other| other.group.as_ref() == Some(group) && same(other));
        let failed = came.event.key.is_some() && self.said.iter().any(|said| said.kind != SettleKind::Ack);
        again || failed || at.saturating_sub(came.at) + super::UNDER_WAY >= wait
    }
}
