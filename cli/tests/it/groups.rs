//! Groups and topics that are looked after from the command line, over a restart.

use crate::program::Gateway;

#[test]
fn a_group_is_made_moved_and_removed_and_a_topic_gets_another_retention() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("work", &["1", "2", "3"]);
    let made = gateway.run(&["groups", "create", "work", "late", "--start", "3", "--max-failures", "7"]);
    assert!(made.out.starts_with("late: settled through 2, 0 members, 0 in flight, 1 waiting"), "{made:?}");
    let again = gateway.run(&["groups", "create", "work", "late", "--max-failures", "8"]);
    assert!(again.code == Some(4) && again.err.contains("max_failures 7, not 8"), "{again:?}");
    let again = gateway.run(&["groups", "create", "work", "late", "--start", "1"]);
    let said = "group late of topic work is there already, and stays as it is; its place was not changed: meshwire groups seek moves it";
    assert_eq!((again.code, again.notes()), (Some(0), vec![said]));
    assert!(again.out.starts_with("late: settled through 2, "), "{again:?}");
    assert_eq!(gateway.group_ids("work", "late"), ["3"]);
    let moved = gateway.run(&["groups", "seek", "work", "late", "2"]);
    assert!(moved.out.starts_with("late: settled through 1, "), "{moved:?}");
    let beyond = gateway.run(&["groups", "seek", "work", "gone", "2"]);
    assert!(beyond.code == Some(4) && beyond.err.contains("topic work has no group gone"), "{beyond:?}");
    let kept = gateway.run(&["topics", "set", "work", "--retention", "30d"]);
    assert_eq!(kept.out, "topic work: durability synced, retention 30d, 1GiB\n");
    drop(gateway);

    let gateway = Gateway::on(directory.path());
    assert_eq!(gateway.group_ids("work", "late"), ["2", "3"]);
    assert!(gateway.run(&["topics", "list"]).out.contains("30d"));
    gateway.publish("work", &["4"]);
    let mut member = gateway.begin(&["sub", "work", "--group", "late"]);
    // With its first line it has joined.
    member.line();
    let used = gateway.run(&["groups", "delete", "work", "late"]);
    assert!(used.err.contains("group late has 1 member; end their subscriptions first"), "{used:?}");
    drop(member);
    let absent = gateway.run(&["groups", "list", "nothing"]);
    assert!(absent.code == Some(4) && absent.err.contains("topic nothing does not exist"), "{absent:?}");
    gateway.run(&["groups", "create", "work", "brief"]);
    assert_eq!(gateway.run(&["groups", "delete", "work", "brief"]).code, Some(0));
    drop(gateway);

    let gateway = Gateway::on(directory.path());
    assert!(!gateway.run(&["groups", "list", "work"]).out.contains("brief"));
}

#[test]
fn times_of_the_command_line_lead_to_the_events_stored_then() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("work", &["1", "2"]);
    let all = gateway.run(&["sub", "work", "--start", "-1h", "--count", "2", "--json"]);
    assert_eq!((all.code, all.lines().len()), (Some(0), 2), "{all:?}");
    let made = gateway.run(&["groups", "create", "work", "old", "--start", "2001-02-03T04:05:06Z"]);
    assert!(made.out.starts_with("old: settled through 0, "), "{made:?}");
    let made = gateway.run(&["groups", "create", "work", "new", "--start", "2999-01-01T00:00:00+01:00"]);
    assert!(made.out.starts_with("new: settled through 2, "), "{made:?}");
    let moved = gateway.run(&["groups", "seek", "work", "new", "--to", "-10m"]);
    assert!(moved.out.starts_with("new: settled through 0, "), "{moved:?}");
    let moved = gateway.run(&["groups", "seek", "work", "new", "--to", "latest"]);
    assert!(moved.out.starts_with("new: settled through 2, "), "{moved:?}");
    for wrong in [&["--to", "noon"][..], &["1", "--to", "-10m"], &[]] {
        let wrong = gateway.run(&[&["groups", "seek", "work", "new"], wrong].concat());
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_group_is_shown_with_what_waits_what_has_failed_and_how_old_it_is() {
    let gateway = Gateway::start();
    gateway.publish("work", &["1", "2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        let mut work = mesh.subscribe("work").group("g").await.unwrap();
        let first = work.try_next().await.unwrap().unwrap();
        first.nack_after(std::time::Duration::from_secs(3600));
        drop(work);
        mesh.close().await.unwrap();
    });
    let listed = gateway.run(&["groups", "list", "work"]);
    let lines = listed.lines();
    assert_eq!(lines[0], "group  members  in flight  lag  delayed  failing  oldest  dead letters");
    assert!(lines[1].starts_with("g            0          0    2        1        1      "), "{listed:?}");
    let shown = gateway.run(&["groups", "show", "work", "g"]);
    assert!(shown.out.starts_with("group g of topic work\n  settled through          0\n"), "{shown:?}");
    assert!(shown.out.contains("\n  lag                      2 (1 delayed, 1 failing)\n"), "{shown:?}");
    let object: serde_json::Value =
        serde_json::from_str(&gateway.run(&["groups", "show", "work", "g", "--json"]).out).unwrap();
    assert_eq!((&object["failing"], &object["lag"]), (&1.into(), &2.into()));
    assert!(object["oldest_ms"].as_u64().unwrap() < 3_600_000, "{object}");
}

#[test]
fn a_group_holds_a_key_after_a_dead_letter_and_keeps_strict_order_when_it_is_told_to() {
    let gateway = Gateway::start();
    gateway.publish("work", &["1"]);
    let object = |args: &[&str]| {
        let run = gateway.run(&[&["groups"], args, &["--json"]].concat());
        let object: serde_json::Value = serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {run:?}"));
        (object["hold_after_dead_letter"].as_bool().unwrap(), object["strict_order"].as_bool().unwrap())
    };
    assert_eq!(object(&["create", "work", "plain"]), (false, false));
    let asked = ["--after-dead-letter", "hold", "--order", "strict"];
    assert_eq!(object(&[&["create", "work", "careful"], &asked[..]].concat()), (true, true));
    let shown = |group: &str| gateway.run(&["groups", "show", "work", group]).out;
    let lines = |after: &str, order: &str| {
        format!("\n  key after a dead letter  {after}\n  order                    {order}\n")
    };
    assert!(shown("careful").contains(&lines("waits", "strict")), "{}", shown("careful"));
    assert_eq!(object(&["update", "work", "careful", "--order", "by-key"]), (true, false));
    assert_eq!(object(&["update", "work", "careful", "--after-dead-letter", "continue"]), (false, false));
    assert!(shown("careful").contains(&lines("goes on", "by key")), "{}", shown("careful"));
    assert_eq!(object(&["update", "work", "plain", "--after-dead-letter", "hold"]), (true, false));
}

#[test]
fn an_update_that_changes_nothing_is_refused_with_what_can_be_set() {
    let gateway = Gateway::start();
    gateway.run(&["groups", "create", "work", "g"]);
    let help = gateway.run(&["groups", "update", "--help"]).out;
    let refused = gateway.run(&["groups", "update", "work", "g"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("nothing is to be changed"), "{refused:?}");
    let settings = ["ack-wait", "max-failures", "max-age", "backoff-min", "backoff-max", "after-dead-letter", "order"];
    for setting in settings.into_iter().chain(["max-in-flight", "max-rate"]) {
        let flag = format!("--{setting}");
        assert!(refused.err.contains(&flag) && help.contains(&flag), "{flag}: {refused:?}");
    }
}
