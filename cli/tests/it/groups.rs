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
    assert_eq!(gateway.group_ids("work", "late"), ["3"]);
    let moved = gateway.run(&["groups", "seek", "work", "late", "2"]);
    assert!(moved.out.starts_with("late: settled through 1, "), "{moved:?}");
    let beyond = gateway.run(&["groups", "seek", "work", "gone", "2"]);
    assert!(beyond.code == Some(4) && beyond.err.contains("topic work has no group gone"), "{beyond:?}");
    let kept = gateway.run(&["topics", "set", "work", "--retention", "30d"]);
    assert_eq!(kept.out, "topic work: durability synced, retention 30d\n");
    drop(gateway);

    let gateway = Gateway::on(directory.path());
    assert_eq!(gateway.group_ids("work", "late"), ["2", "3"]);
    assert!(gateway.run(&["topics", "list"]).out.contains("30d"));
    gateway.publish("work", &["4"]);
    let mut member = gateway.begin(&["sub", "work", "--group", "late"]);
    // With its first line it has joined.
    member.line();
    let used = gateway.run(&["groups", "delete", "work", "late"]);
    assert!(used.err.contains("group late has 1 members; end their subscriptions first"), "{used:?}");
    drop(member);
    let absent = gateway.run(&["groups", "list", "nothing"]);
    assert!(absent.code == Some(4) && absent.err.contains("topic nothing does not exist"), "{absent:?}");
    gateway.run(&["groups", "create", "work", "brief"]);
    assert_eq!(gateway.run(&["groups", "delete", "work", "brief"]).code, Some(0));
    drop(gateway);

    let gateway = Gateway::on(directory.path());
    assert!(!gateway.run(&["groups", "list", "work"]).out.contains("brief"));
}
