//! Administration as text: each command with its answer, and what is said of wrong arguments.

use meshwire::testing::Gateway;
use meshwire_embed::{Ask, Client, Error, ErrorKind, Outcome, Queue, Retry, Settle};
use serde_json::{Value, json};

use crate::rig::{connected, deliveries, one, options, publish, subscribed};

fn ask(command: &str, arguments: &str) -> Ask {
    Ask::Administer { command: command.to_owned(), arguments: arguments.to_owned() }
}

fn text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn administer(client: &Client, command: &str, arguments: &Value) -> Value {
    let outcome = client.wait(ask(command, &arguments.to_string()));
    serde_json::from_str(&text(outcome.unwrap_or_else(|error| panic!("{command} {arguments}: {error}")))).unwrap()
}

fn refused(client: &Client, command: &str, arguments: &str) -> Error {
    client.wait(ask(command, arguments)).expect_err(arguments)
}

/// Without what differs from run to run.
fn settled(mut shown: Value) -> Value {
    for name in ["bytes", "physical_bytes", "oldest_ms"] {
        shown.as_object_mut().unwrap().remove(name);
    }
    shown
}

fn topic(retention_ms: u64, next: &str, groups: &[Value]) -> Value {
    json!({
        "name": "orders", "durability": "memory", "retention_ms": retention_ms, "retention_bytes": 65_536,
        "lagging": "block", "first": "1", "next": next, "events": next.parse::<u64>().unwrap() - 1, "overtaken": 0,
        "delayed": 0, "groups": groups,
    })
}

#[test]
fn topics_are_made_shown_changed_listed_and_deleted() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    assert_eq!(administer(&client, "topics.list", &json!({})), json!({ "items": [] }));
    // Numbers may be strings of their digits.
    let settings = json!({ "topic": "orders", "durability": "memory", "retention_ms": "60000", "retention_bytes": 65_536, "lagging": "block" });
    assert_eq!(settled(administer(&client, "topics.create", &settings)), topic(60_000, "1", &[]));
    publish(&client, "orders", "x").unwrap();
    drop(subscribed(&client, "orders", &[("group", "g"), ("start", "latest")]));
    let longer = json!({ "topic": "orders", "retention_ms": 70_000 });
    let updated = administer(&client, "topics.update", &longer);
    assert_eq!((&updated["retention_ms"], &updated["lagging"]), (&json!(70_000), &json!("block")));
    let mut shown = administer(&client, "topics.get", &json!({ "topic": "orders" }));
    assert_eq!(shown["groups"][0]["name"], "g");
    shown["groups"][0]["members"] = json!(0);
    let group = json!({ "name": "g", "settled_through": "1", "members": 0, "in_flight": 0, "lag": 0 });
    assert_eq!(settled(shown), topic(70_000, "2", &[group]));
    let listed = administer(&client, "topics.list", &json!({}));
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["name"]), (1, &json!("orders")));
    assert!(listed.get("next").is_none(), "{listed}");
    let deleted = administer(&client, "topics.delete", &json!({ "topic": "orders", "force": true }));
    assert_eq!((&deleted["name"], &deleted["events"]), (&json!("orders"), &json!(1)));
    assert_eq!(text(client.wait(ask("topics.list", "")).unwrap()), "{\"items\":[]}");
    let missing = refused(&client, "topics.get", "{\"topic\":\"orders\"}");
    assert_eq!(missing.kind(), ErrorKind::TopicNotFound);
}

fn group(name: &str, settled_through: &str, lag: u64) -> Value {
    json!({
        "name": name, "settled_through": settled_through, "members": 0, "in_flight": 0, "lag": lag, "delayed": 0, "failing": 0,
        "dead_letters": 0, "expired": 0, "ack_wait_ms": 30_000, "max_failures": 3, "max_age_ms": 0, "backoff_min_ms": 1_000,
        "backoff_max_ms": 60_000, "hold_after_dead_letter": true, "strict_order": false, "max_in_flight": 0, "max_rate": 9,
        "mode": "cluster",
    })
}

#[test]
fn groups_are_made_shown_changed_moved_listed_and_deleted() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    for event in ["a", "b", "c"] {
        publish(&client, "orders", event).unwrap();
    }
    let of = |more: Value| {
        let mut arguments = json!({ "topic": "orders", "group": "g" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let settings = json!({ "start": "2", "max_failures": 3, "hold_after_dead_letter": true, "max_rate": "9" });
    let created = administer(&client, "groups.create", &of(settings));
    assert!(created["oldest_ms"].is_u64(), "{created}");
    assert_eq!(settled(created), group("g", "1", 2));
    assert_eq!(settled(administer(&client, "groups.get", &of(json!({})))), group("g", "1", 2));
    for (to, through) in [
        (json!("latest"), "3"),
        (json!("earliest"), "0"),
        (json!(3), "2"),
        (json!("2"), "1"),
        (json!("2026-01-01T00:00:00Z"), "0"),
    ] {
        let moved = administer(&client, "groups.seek", &of(json!({ "to": to })));
        assert_eq!(moved["settled_through"], through, "{to}");
    }
    let all = json!({
        "ack_wait_ms": 10_000, "max_failures": 0, "max_age_ms": 1_000, "backoff_min_ms": 0, "backoff_max_ms": 5,
        "hold_after_dead_letter": false, "strict_order": true, "max_in_flight": 7, "max_rate": 0,
    });
    let updated = administer(&client, "groups.update", &of(all.clone()));
    for (name, value) in all.as_object().unwrap() {
        assert_eq!(&updated[name], value, "{name}");
    }
    let listed = administer(&client, "groups.list", &json!({ "topic": "orders" }));
    assert_eq!(settled(listed["items"][0].clone()), settled(updated));
    let deleted = administer(&client, "groups.delete", &of(json!({})));
    assert_eq!(deleted["name"], "g");
    assert_eq!(administer(&client, "groups.list", &json!({ "topic": "orders" })), json!({ "items": [] }));
}

#[test]
fn durable_members_are_made_shown_moved_and_deleted() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    for event in ["a", "b", "c"] {
        publish(&client, "orders", event).unwrap();
    }
    let of = json!({ "topic": "orders", "group": "caches", "member": "a" });
    let with = |name: &str, value: &str| {
        let mut arguments = of.clone();
        arguments[name] = json!(value);
        arguments
    };
    let created = administer(&client, "groups.create", &with("mode", "broadcast"));
    assert_eq!((&created["name"], &created["lag"]), (&json!("caches/a"), &json!(3)));
    assert_eq!(administer(&client, "groups.seek", &with("to", "3"))["settled_through"], "2");
    assert_eq!(administer(&client, "groups.get", &of)["lag"], 1);
    let shown = administer(&client, "groups.get", &json!({ "topic": "orders", "group": "caches" }));
    let member = json!({
        "name": "a", "connected": false, "settled_through": "2", "in_flight": 0, "lag": 1, "delayed": 0, "dead_letters": 0,
    });
    assert_eq!((&shown["mode"], &shown["durable_members"]), (&json!("broadcast"), &json!([member])));
    assert_eq!(administer(&client, "groups.delete_member", &of), json!({}));
    let missing = refused(&client, "groups.get", &of.to_string());
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

/// Three dead letters of group `g` of topic `orders`.
fn given_up(client: &Client) {
    let orders = subscribed(client, "orders", &[("group", "g")]);
    for event in ["a", "b", "c"] {
        publish(client, "orders", event).unwrap();
        for delivery in deliveries(orders.next_batch(1, None).unwrap()) {
            delivery.settle(Settle::Reject("no".to_owned())).unwrap();
        }
    }
    client.wait(Ask::Flush).unwrap();
    let all = || administer(client, "groups.get", &json!({ "topic": "orders", "group": "g" }))["dead_letters"] == 3;
    assert!((0..1000).any(|_| all()), "they were rejected");
    orders.close().unwrap();
}

#[test]
fn dead_letters_are_listed_by_pages_shown_given_back_and_removed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    given_up(&client);
    let of = |more: Value| {
        let mut arguments = json!({ "topic": "orders", "group": "g" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let first = administer(&client, "dead_letters.list", &of(json!({ "limit": 2 })));
    let numbers =
        |page: &Value| page["items"].as_array().unwrap().iter().map(|l| l["number"].clone()).collect::<Vec<_>>();
    assert_eq!((numbers(&first), &first["next"]), (vec![json!(1), json!(2)], &json!("2")));
    let last = administer(&client, "dead_letters.list", &json!({ "topic": "orders", "cursor": "2", "events": true }));
    assert!(numbers(&last) == [3] && last.get("next").is_none(), "{last}");
    assert_eq!((&last["items"][0]["event"]["data"], first["items"][0].get("event")), (&json!("c"), None));
    let mut letter = administer(&client, "dead_letters.get", &of(json!({ "number": "1" })));
    for time in ["first_failure", "last_failure", "stored"] {
        let text = letter.as_object_mut().unwrap().remove(time).unwrap();
        assert!(text.as_str().unwrap().ends_with('Z'), "{time}: {text}");
    }
    let event = letter.as_object_mut().unwrap().remove("event").unwrap();
    assert_eq!((&event["data"], &event["specversion"]), (&json!("a"), &json!("1.0")));
    let expected = json!({
        "number": 1, "group": "g", "position": "1", "reason": "rejected", "failures": 1, "attempts": 1, "error": "no",
        "redriven": false,
    });
    assert_eq!(letter, expected);
    let redriven = administer(&client, "dead_letters.redrive", &of(json!({ "numbers": [1, "1", 9] })));
    assert_eq!(redriven, json!({ "redriven": 1, "left": {}, "not_there": 1 }));
    assert_eq!(administer(&client, "dead_letters.purge", &of(json!({ "numbers": [2] }))), json!({ "purged": 1 }));
    let purged = administer(&client, "dead_letters.purge", &of(json!({ "numbers": [2] })));
    assert_eq!(purged, json!({ "purged": 0, "not_there": 1 }));
    administer(&client, "groups.delete", &of(json!({})));
    let left = administer(&client, "dead_letters.redrive", &json!({ "topic": "orders", "all": true }));
    assert_eq!(left["left"]["g"], 2, "{left}");
    let named = administer(&client, "dead_letters.redrive", &json!({ "topic": "orders", "numbers": [3] }));
    assert_eq!(named, json!({ "redriven": 0, "left": { "g": 1 } }));
    assert_eq!(administer(&client, "dead_letters.purge", &json!({ "topic": "orders", "all": true }))["purged"], 2);
}

#[test]
fn limits_are_shown_and_changed() {
    // Without a log there is nothing that is not yet kept, and no budget for it.
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::with_args(&["--data-dir", folder.path().to_str().unwrap()]).unwrap();
    let client = connected(&gateway);
    let before = administer(&client, "limits.get", &json!({}));
    let names = ["publish_rate", "publish_bytes_rate", "publish_budget_bytes", "deliver_rate", "deliver_bytes_rate"];
    for name in names.into_iter().chain(["unkept_bytes", "sending_bytes", "sending_most"]) {
        assert!(before[name].is_u64(), "{name}: {before}");
    }
    let mut after = before.clone();
    let budget = before["publish_budget_bytes"].as_u64().unwrap() / 2;
    for (name, value) in names.into_iter().zip([5_000, 6_000, budget, 7_000, 8_000]) {
        after[name] = json!(value);
    }
    let said: Value = names.into_iter().map(|name| (name.to_owned(), after[name].clone())).collect();
    let set = administer(&client, "limits.set", &said);
    // It follows the budget.
    after["sending_most"] = set["sending_most"].clone();
    assert_eq!(set, after);
    let much = refused(&client, "limits.set", "{\"publish_budget_bytes\":1099511627776}");
    assert!(much.kind() == ErrorKind::Invalid && much.to_string().contains("the gateway was started with"), "{much}");
}

const NAME: &str = "a name has 1 to 120 bytes of A-Z a-z 0-9 . _ - ~ % : and does not begin with $ (the gateway's own)";

/// As the client's own errors name what a command does.
fn operation(command: &str) -> &'static str {
    match command {
        "topics.list" => "list topics",
        "topics.get" => "show topic",
        "topics.create" => "create topic",
        "topics.update" => "update topic",
        "topics.delete" => "delete topic",
        "groups.list" => "list groups",
        "groups.get" => "show group",
        "groups.create" => "create group",
        "groups.update" => "update group",
        "groups.seek" => "seek group",
        "groups.delete" | "groups.delete_member" => "delete group",
        "dead_letters.list" => "list dead letters",
        "dead_letters.get" => "get dead letter",
        "dead_letters.redrive" => "redrive",
        "dead_letters.purge" => "purge",
        "limits.set" => "set limits",
        other => panic!("{other}"),
    }
}

#[test]
fn a_wrong_argument_is_refused_with_its_name_what_it_is_and_what_is_accepted() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let name = format!("argument group: group name \"g/m\" holds '/'; {NAME}");
    for (command, arguments, said) in [
        ("topics.list", "{", "the arguments are no JSON: it ends inside an object at line 1 column 1"),
        ("topics.list", "[]", "the arguments are an array; an object is accepted"),
        ("topics.list", "{\"limit\":1}", "there is no argument \"limit\"; there is none"),
        ("topics.get", "", "argument topic is missing"),
        ("topics.get", "{\"topic\":7}", "argument topic is 7; a string is accepted"),
        ("topics.delete", "{\"topic\":\"t\",\"force\":1}", "argument force is 1; a boolean is accepted"),
        (
            "topics.create",
            "{\"topic\":\"t\",\"retention\":1}",
            "there is no argument \"retention\"; there is topic, durability, retention_ms, retention_bytes, lagging",
        ),
        (
            "topics.create",
            "{\"topic\":\"t\",\"durability\":\"none\"}",
            "argument durability is none; one of memory, written, synced is accepted",
        ),
        (
            "topics.create",
            "{\"topic\":\"t\",\"retention_ms\":1}",
            "argument retention_ms is 1; from 1000 to 315360000000 is accepted",
        ),
        (
            "topics.update",
            "{\"topic\":\"t\",\"retention_bytes\":\"1GiB\"}",
            "argument retention_bytes is \"1GiB\"; a whole number or a string of its digits is accepted",
        ),
        ("groups.list", "{\"group\":\"g\"}", "there is no argument \"group\"; there is topic"),
        ("groups.get", "{\"topic\":\"t\",\"group\":\"g/m\"}", &*name),
        (
            "groups.create",
            "{\"topic\":\"t\",\"group\":\"g\",\"mode\":\"x\"}",
            "argument mode is x; cluster or broadcast is accepted",
        ),
        (
            "groups.update",
            "{\"topic\":\"t\",\"group\":\"g\",\"max_rate\":4294967296}",
            "argument max_rate is 4294967296; from 0 to 4294967295 is accepted",
        ),
        (
            "groups.update",
            "{\"topic\":\"t\",\"group\":\"g\",\"ack_wait_ms\":1}",
            "argument ack_wait_ms is 1; from 1000 to 43200000 is accepted",
        ),
        (
            "groups.seek",
            "{\"topic\":\"t\",\"group\":\"g\",\"to\":\"soon\"}",
            "argument to is \"soon\"; earliest, latest, a position or a time such as 2026-11-28T06:30:00Z is accepted",
        ),
        ("groups.seek", "{\"topic\":\"t\",\"group\":\"g\"}", "argument to is missing"),
        ("groups.delete_member", "{\"topic\":\"t\",\"group\":\"g\"}", "argument member is missing"),
        ("dead_letters.list", "{\"topic\":\"t\",\"limit\":0}", "argument limit is 0; from 1 to 1000 is accepted"),
        (
            "dead_letters.list",
            "{\"topic\":\"t\",\"member\":\"m\"}",
            "argument member needs its group too: name it as argument group",
        ),
        (
            "dead_letters.get",
            "{\"topic\":\"t\",\"number\":-1}",
            "argument number is -1; a whole number or a string of its digits is accepted",
        ),
        (
            "dead_letters.redrive",
            "{\"topic\":\"t\"}",
            "no dead letter is named: say either argument numbers, or argument all as true",
        ),
        (
            "dead_letters.purge",
            "{\"topic\":\"t\",\"numbers\":[]}",
            "argument numbers is empty; name dead letters, or say all as true",
        ),
        (
            "dead_letters.purge",
            "{\"topic\":\"t\",\"numbers\":[1],\"all\":true}",
            "say either argument numbers or argument all, not both",
        ),
        (
            "limits.set",
            "{\"publish_rate\":\"1000000001\"}",
            "argument publish_rate is 1000000001; from 0 to 1000000000 is accepted",
        ),
    ] {
        let error = refused(&client, command, arguments);
        assert_eq!(
            (error.kind(), error.operation(), error.message()),
            (ErrorKind::Invalid, operation(command), said),
            "{arguments}"
        );
    }
    let error = refused(&client, "topics.lst", "");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "administer"));
    assert!(
        error.message().starts_with("there is no command \"topics.lst\"; there is topics.list, topics.get,"),
        "{error}"
    );
    assert!(error.message().ends_with("dead_letters.purge, limits.get, limits.set"), "{error}");
}

#[test]
fn a_command_comes_to_a_completion_and_is_named_by_its_errors() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(1).unwrap();
    drop(client.begin(ask("topics.create", "{\"topic\":\"t\"}"), &queue, 1).unwrap());
    let full = client.begin(ask("topics.list", ""), &queue, 2).unwrap_err();
    assert_eq!((full.kind(), full.operation()), (ErrorKind::BufferFull, "list topics"));
    assert!(text(one(&queue).unwrap()).starts_with("{\"name\":\"t\","));
}

#[test]
fn of_a_cancelled_command_that_changes_something_the_outcome_is_not_known() {
    let queue = Queue::new(1).unwrap();
    let away = Client::connect(&options(&[("url", "tcp://127.0.0.1:1"), ("publish_offline", "buffer")])).unwrap();
    for (command, retry) in [("topics.get", Retry::Now), ("topics.create", Retry::UnknownOutcome)] {
        away.begin(ask(command, "{\"topic\":\"t\"}"), &queue, 1).unwrap().cancel();
        let cancelled = one(&queue).unwrap_err();
        assert_eq!((cancelled.kind(), cancelled.operation()), (ErrorKind::Cancelled, operation(command)));
        assert_eq!(cancelled.retry(), retry, "{command}");
    }
}
