//! Each thing that can go wrong is seen.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use bytes::Bytes;
use meshwire::Event;

use super::{AtKill, Report};
use crate::consumers::GroupReport;
use crate::webhooks::Sent;

const AT_KILL: AtKill = AtKill { answered: 1, unanswered: 50, open: 10 };

fn sent(id: &str, key: Option<&str>) -> Sent {
    let event = Event::new("t").id(id).source("s");
    let encoded = event.encode().unwrap();
    let (id, key) = (id.to_owned(), key.map(str::to_owned));
    Sent { id, key, event, encoded }
}

fn events() -> Vec<Sent> {
    vec![sent("a", Some("k")), sent("b", None), sent("c", Some("k"))]
}

fn faults(at_kill: AtKill, log: &[&str], spoil: impl FnOnce(&mut Vec<(String, Bytes)>)) -> Vec<String> {
    let events = events();
    let ids: BTreeSet<String> = events.iter().map(|s| s.id.clone()).collect();
    let encoded = |id: &str| events.iter().find(|s| s.id == id).map(|s| s.encoded.clone()).unwrap_or_default();
    let mut log: Vec<(String, Bytes)> = log.iter().map(|id| ((*id).to_owned(), encoded(id))).collect();
    spoil(&mut log);
    let group = GroupReport {
        first_seen: ids.iter().cloned().collect(),
        acked: ids.clone(),
        redelivered: 0,
        kept_acks: BTreeSet::new(),
        broken_acks: 0,
        events: ids.iter().map(|id| (id.clone(), encoded(id))).collect(),
    };
    Report::new(at_kill, &events, &ids, &group, &log).faults()
}

#[test]
fn a_story_that_went_well_has_no_fault() {
    assert!(faults(AT_KILL, &["a", "b", "c"], |_| ()).is_empty());
}

#[test]
fn what_is_acknowledged_and_not_in_the_log_is_lost() {
    assert_eq!(faults(AT_KILL, &["a", "c"], |_| ()), ["1 acknowledged events are not in the log"]);
}

#[test]
fn an_event_that_is_in_the_log_twice_is_a_fault() {
    assert_eq!(faults(AT_KILL, &["a", "b", "b", "c"], |_| ()), ["1 events are in the log twice"]);
}

#[test]
fn an_event_that_nobody_sent_is_a_fault() {
    assert_eq!(faults(AT_KILL, &["a", "b", "c", "x"], |_| ()), ["1 events in the log were never sent"]);
}

#[test]
fn other_bytes_are_a_fault() {
    let spoiled = faults(AT_KILL, &["a", "b", "c"], |log| {
        if let Some((_, bytes)) = log.first_mut() {
            *bytes = Bytes::from_static(b"x");
        }
    });
    assert_eq!(spoiled, ["1 events came back with other bytes"]);
}

#[test]
fn an_event_that_overtakes_one_of_its_key_is_a_fault() {
    assert_eq!(faults(AT_KILL, &["c", "b", "a"], |_| ()), ["1 events overtook one of their key"]);
    assert!(faults(AT_KILL, &["b", "a", "c"], |_| ()).is_empty());
}

#[test]
fn a_kill_that_comes_late_or_hits_nothing_is_a_fault() {
    let late = AtKill { answered: 3, unanswered: 0, open: 0 };
    let found = faults(late, &["a", "b", "c"], |_| ());
    assert_eq!(found.first().map(String::as_str), Some("the kill came after the last receipt"));
    assert_eq!(found.len(), 3);
}
