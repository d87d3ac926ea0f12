//! `meshwire topics`.

use serde_json::{Value, json};

use crate::program::Gateway;

#[test]
fn a_created_topic_is_listed_with_its_settings_events_and_groups() {
    let gateway = Gateway::start();
    let created = gateway.run(&["topics", "create", "orders", "--durability", "memory", "--retention", "1h"]);
    assert_eq!(created.code, Some(0), "{}", created.err);
    assert_eq!(created.out, "topic orders: durability memory, retention 1h\n");
    gateway.publish("orders", &["a", "b", "c"]);
    assert_eq!(gateway.group_ids("orders", "billing"), ["a", "b", "c"]);
    let listed = gateway.run(&["topics", "list", "--json"]);
    let mut topic: Value = serde_json::from_str(&listed.out).unwrap();
    assert!(topic["bytes"].as_u64().unwrap() > 0);
    topic["bytes"] = Value::Null;
    let group = json!({ "name": "billing", "settled_through": "3", "members": 0, "in_flight": 0, "lag": 0 });
    let expected = json!({
        "name": "orders", "durability": "memory", "retention_ms": 3_600_000, "first": "1", "next": "4",
        "events": 3, "bytes": null, "delayed": 0, "groups": [group],
    });
    assert_eq!(topic, expected);
    let table = gateway.run(&["topics", "list"]).out;
    assert!(table.lines().any(|l| l.starts_with("orders  memory      1h")), "{table}");
    assert!(table.contains("group billing: 0 members, 0 in flight, 0 waiting"), "{table}");
}

#[test]
fn no_topics_are_said_to_be_none() {
    let gateway = Gateway::start();
    assert_eq!(gateway.run(&["topics", "list"]).out, "no topics\n");
    assert_eq!(gateway.run(&["topics", "list", "--json"]).out, "");
}

#[test]
fn creating_a_topic_again_is_fine_with_the_same_settings_and_refused_with_others() {
    let gateway = Gateway::start();
    for _ in 0..2 {
        assert_eq!(gateway.run(&["topics", "create", "orders", "--retention", "1h", "--json"]).code, Some(0));
    }
    let refused = gateway.run(&["topics", "create", "orders", "--retention", "2h"]);
    assert_eq!(refused.code, Some(4));
    assert!(refused.err.contains("ALREADY_EXISTS") && refused.err.contains("orders"), "{}", refused.err);
}

#[test]
fn a_gateway_in_memory_refuses_a_topic_that_must_be_on_disk() {
    let gateway = Gateway::start();
    let refused = gateway.run(&["topics", "create", "orders", "--durability", "synced"]);
    assert_eq!(refused.code, Some(4));
    assert!(refused.err.contains("UNSUPPORTED") && refused.err.contains("cannot be synced"), "{}", refused.err);
}
