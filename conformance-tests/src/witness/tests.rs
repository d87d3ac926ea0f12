//! Cells that went well in every step, with one thing bent that only the history sees.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use serde_json::{Value, json};

use super::*;

/// A cell in which three events of one key are published, handled by a group and acked.
struct Scene {
    witness: Witness,
    next: u64,
    end: End,
}

fn event(n: u64) -> Value {
    json!({"id": n.to_string(), "source": "//s", "key": "k", "data": format!("data {n}")})
}

fn message(on: &str, n: u64, position: u64) -> Value {
    json!({
        "ev": "msg", "on": on, "n": n, "id": position.to_string(), "source": "//s", "type": "t", "attempt": 1,
        "position": position, "gap": 0, "data": format!("data {position}"),
        "attributes": {"partitionkey": "k", "time": "2026-01-01T00:00:00Z"},
    })
}

impl Scene {
    fn new() -> Self {
        Self { witness: Witness::new(false), next: 0, end: End::default() }
    }

    fn at(&mut self) -> Instant {
        self.next += 1;
        self.witness.began + Duration::from_millis(self.next)
    }

    fn call(&mut self, command: &Value, answer: &Value) {
        let (id, at) = (self.next, self.at());
        self.witness.sent(id, command, at);
        let at = self.at();
        self.witness.answered(id, answer, at);
    }

    fn publish(&mut self, n: u64) {
        let answer = json!({"ok": {"position": n, "duplicate": false}});
        self.call(&json!({"op": "publish", "on": "c", "topic": "t", "event": event(n)}), &answer);
    }

    fn come(&mut self, message: &Value) {
        let at = self.at();
        self.witness.came(message, at);
    }

    fn ack(&mut self, n: u64) {
        self.call(&json!({"op": "ack", "on": "s", "n": [n], "confirmed": true}), &json!({"ok": {}}));
    }

    fn good() -> Self {
        let mut scene = Self::new();
        scene.call(&json!({"op": "subscribe", "on": "c", "as": "s", "topic": "t", "group": "g"}), &json!({"ok": {}}));
        for n in 1..=3 {
            scene.publish(n);
            scene.come(&message("s", n, n));
            scene.ack(n);
            scene.end.log.push(message("$end", n, n));
        }
        scene.end.finished.push("g".to_owned());
        scene
    }

    fn broken(&self) -> Vec<String> {
        self.witness.broken("t", &self.end)
    }

    fn is_broken(&self, how: &str) {
        let broken = self.broken();
        assert!(broken.iter().any(|sentence| sentence.starts_with(how)), "{how}: {broken:?}");
    }
}

#[test]
fn a_cell_that_went_well_breaks_nothing() {
    assert_eq!(Scene::good().broken(), [""; 0]);
}

#[test]
fn what_was_answered_and_is_not_in_the_log_is_lost() {
    let mut scene = Scene::good();
    scene.publish(4);
    scene.is_broken("lost: t: event 3 was acknowledged");
}

#[test]
fn what_was_not_answered_may_be_lost_and_what_was_refused_may_not_be_there() {
    let mut scene = Scene::good();
    let publish = |n| json!({"op": "publish", "on": "c", "topic": "t", "event": event(n)});
    scene.call(&publish(4), &json!({"err": {"code": "STORE_FAILED", "retry": "unknown_outcome"}}));
    assert_eq!(scene.broken(), [""; 0]);
    scene.call(&publish(5), &json!({"err": {"code": "INVALID", "retry": "never"}}));
    assert_eq!(scene.broken(), [""; 0]);
    scene.end.finished.clear();
    scene.end.log.push(message("$end", 5, 5));
    scene.is_broken("phantom: t: event 4 is at 5 of the log, and it was refused");
}

#[test]
fn what_nobody_published_is_a_phantom_in_the_log_and_when_it_comes() {
    let mut scene = Scene::good();
    scene.end.log.push(message("$end", 9, 9));
    scene.is_broken("phantom: t: event 3 is at 9 of the log, and nobody published it");
    let mut scene = Scene::good();
    scene.come(&message("s", 4, 7));
    scene.is_broken("phantom: t: event 3 came to s of group g");
}

#[test]
fn other_data_another_attribute_and_another_key_are_changes() {
    for (place, value) in [("/data", "data 3"), ("/attributes/partitionkey", "other"), ("/attributes/time", "later")] {
        let mut scene = Scene::good();
        *scene.end.log[1].pointer_mut(place).unwrap() = value.into();
        scene.is_broken("changed: t: event 1");
    }
}

#[test]
fn an_event_that_is_in_the_log_twice_is_doubled_and_one_that_is_elsewhere_misplaced() {
    let mut scene = Scene::good();
    let mut again = message("$end", 9, 1);
    again["position"] = 4.into();
    scene.end.log.push(again);
    scene.is_broken("doubled: t: event 0 is in the log twice");
    let mut scene = Scene::good();
    scene.end.log[0]["position"] = 8.into();
    scene.is_broken("misplaced: t: event 0 came to s");
}

#[test]
fn an_event_that_comes_before_an_earlier_one_of_its_key_is_reordered() {
    let mut scene = Scene::new();
    scene.call(&json!({"op": "subscribe", "on": "c", "as": "s", "topic": "t", "group": "g"}), &json!({"ok": {}}));
    for n in 1..=2 {
        scene.publish(n);
        scene.end.log.push(message("$end", n, n));
    }
    scene.come(&message("s", 1, 2));
    scene.is_broken("reordered: t: event 1 at 2 of key k came to s");
}

#[test]
fn a_confirmed_ack_that_does_not_stand_is_lost_and_one_that_was_refused_is_not() {
    let mut scene = Scene::good();
    scene.come(&json!({"ev": "msg", "on": "s", "n": 4, "attempt": 2, "position": 3, "id": "3", "source": "//s",
        "type": "t", "data": "data 3", "attributes": {"partitionkey": "k", "time": "2026-01-01T00:00:00Z"}}));
    scene.is_broken("ack lost: t: event 2 came again");
    let mut scene = Scene::good();
    scene.publish(4);
    scene.come(&message("s", 4, 4));
    scene.end.log.push(message("$end", 4, 4));
    scene.call(&json!({"op": "ack", "on": "s", "n": [4], "confirmed": true}), &json!({"err": {"code": "LEASE_LOST"}}));
    scene.come(&message("s", 5, 4));
    assert!(!scene.broken().iter().any(|sentence| sentence.starts_with("ack lost")), "{:?}", scene.broken());
}

#[test]
fn an_event_that_a_finished_group_never_had_is_left_open() {
    let mut scene = Scene::good();
    scene.publish(4);
    scene.end.log.push(message("$end", 4, 4));
    scene.is_broken("left open: t: event 3 at 4 never came to group g");
}

#[test]
fn after_what_histories_do_not_know_a_topic_is_not_judged() {
    let mut scene = Scene::good();
    scene.call(&json!({"op": "something_new", "on": "c", "topic": "t"}), &json!({"ok": {}}));
    assert_eq!(scene.witness.judged(), [""; 0]);
}
