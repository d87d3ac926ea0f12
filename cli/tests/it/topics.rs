//! `meshwire topics`.

use serde_json::{Value, json};

use crate::program::Gateway;

#[test]
fn a_created_topic_is_listed_with_its_settings_events_and_groups() {
    let gateway = Gateway::start();
    let created = gateway.run(&["topics", "create", "orders", "--durability", "memory", "--retention", "1h"]);
    assert_eq!(created.code, Some(0), "{}", created.err);
    assert_eq!(created.out, "topic orders: durability memory, retention 1h, 1GiB\n");
    gateway.publish("orders", &["a", "b", "c"]);
    assert_eq!(gateway.group_ids("orders", "billing"), ["a", "b", "c"]);
    let listed = gateway.run(&["topics", "list", "--json"]);
    let mut topic: Value = serde_json::from_str(&listed.out).unwrap();
    assert!(topic["bytes"].as_u64().unwrap() > 0);
    assert_eq!(topic["physical_bytes"], topic["bytes"]);
    (topic["bytes"], topic["physical_bytes"]) = (Value::Null, Value::Null);
    let group = json!({ "name": "billing", "settled_through": "3", "members": 0, "in_flight": 0, "lag": 0 });
    let expected = json!({
        "name": "orders", "durability": "memory", "retention_ms": 3_600_000, "first": "1", "next": "4",
        "retention_bytes": 1 << 30, "lagging": "drop", "events": 3, "bytes": null, "physical_bytes": null, "overtaken": 0,
        "delayed": 0, "groups": [group],
    });
    assert_eq!(topic, expected);
    let table = gateway.run(&["topics", "list"]).out;
    assert!(table.lines().any(|l| l.starts_with("orders  memory      1h, 1GiB ")), "{table}");
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

#[test]
fn a_deleted_topic_stays_deleted_over_a_kill_and_its_name_can_be_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("orders", &["a", "b"]);
    gateway.publish("kept", &["x"]);
    let mut reader = gateway.begin(&["sub", "orders", "--group", "g"]);
    reader.line();
    let refused = gateway.run(&["topics", "delete", "orders"]);
    assert!(refused.code == Some(4) && refused.err.contains("it has 1 subscription;"), "{refused:?}");
    let deleted = gateway.run(&["topics", "delete", "orders", "--force"]);
    assert_eq!((deleted.code, deleted.out.as_str()), (Some(0), "topic orders: deleted, 2 events\n"), "{}", deleted.err);
    gateway.program.kill();
    let ended = reader.end();
    assert_eq!(ended.code, Some(4));
    assert!(ended.err.contains("topic orders was deleted") && ended.err.contains("TOPIC_NOT_FOUND"), "{}", ended.err);

    let gateway = Gateway::on(directory.path());
    let listed = gateway.run(&["topics", "list"]).out;
    assert!(listed.contains("kept") && !listed.contains("orders"), "{listed}");
    let again = gateway.run(&["topics", "delete", "orders"]);
    assert!(again.code == Some(4) && again.err.contains("topic orders does not exist"), "{again:?}");
    // Neither its ids nor its groups are remembered.
    gateway.publish("orders", &["b", "c"]);
    assert_eq!(gateway.group_ids("orders", "g"), ["b", "c"]);
    gateway.program.kill();
    let gateway = Gateway::on(directory.path());
    assert_eq!(gateway.all_ids("orders"), ["b", "c"]);
    assert_eq!(gateway.all_ids("kept"), ["x"]);
}

#[test]
fn retention_is_changed_while_it_runs_and_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let created = gateway.run(&["topics", "create", "orders", "--retention-bytes", "10MiB", "--lagging", "block"]);
    assert_eq!(created.out, "topic orders: durability synced, retention 7d, 10MiB, lagging block\n", "{created:?}");
    let differs = gateway.run(&["topics", "create", "orders", "--retention-bytes", "11MiB"]);
    assert!(differs.err.contains("exists with a retention of 10485760 bytes"), "{differs:?}");
    gateway.publish("orders", &["a"]);
    gateway.program.kill();
    let gateway = Gateway::on(directory.path());
    assert!(gateway.run(&["topics", "list"]).out.contains("lagging block, 0 events gone"));
    let changed = gateway.run(&["topics", "set", "orders", "--lagging", "drop", "--retention-bytes", "1GiB"]);
    assert_eq!(changed.out, "topic orders: durability synced, retention 7d, 1GiB\n", "{changed:?}");
    for wrong in [&[][..], &["--retention-bytes", "1KiB"], &["--lagging", "maybe"]] {
        let wrong = gateway.run(&[&["topics", "set", "orders"], wrong].concat());
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_program_is_shown_one_topic_and_told_of_one_that_is_not_there() {
    let gateway = Gateway::start();
    gateway.publish("orders", &["a", "b"]);
    gateway.publish("others", &["a"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        let topic = mesh.topics().get("orders").await.unwrap();
        assert_eq!((topic.name.as_str(), topic.durability), ("orders", meshwire::Durability::Memory));
        let kinds = [mesh.topics().get("order").await, mesh.topics().get("").await].map(|got| got.unwrap_err().kind());
        assert_eq!(kinds, [meshwire::ErrorKind::TopicNotFound, meshwire::ErrorKind::Invalid]);
    });
}
