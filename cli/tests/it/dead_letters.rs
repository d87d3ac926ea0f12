//! Events that consumers cannot handle: tried again, given up, looked at, given back.

use std::time::Duration;

use meshwire::{Delivery, GroupSettings, Mesh, Subscription};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::program::Gateway;

const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn impatient() -> GroupSettings {
    GroupSettings::new().max_failures(2).backoff(Duration::from_millis(50), Duration::from_millis(50))
}

async fn join(url: &str) -> (Mesh, Subscription) {
    let mesh = meshwire::connect(url).await.unwrap();
    let work = mesh.subscribe("work").group("g").settings(impatient()).await.unwrap();
    (mesh, work)
}

async fn next(work: &mut Subscription) -> Delivery {
    timeout(PATIENCE, work.try_next()).await.unwrap().unwrap().unwrap()
}

/// Handles `count` deliveries; the event `2` cannot be.
async fn handle(work: &mut Subscription, count: usize) -> Vec<(String, u32)> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let delivery = next(work).await;
        seen.push((delivery.id().to_owned(), delivery.attempt()));
        if delivery.id() == "2" { delivery.nack() } else { delivery.ack_confirmed().await.unwrap() }
    }
    seen
}

#[test]
fn an_event_that_cannot_be_handled_is_kept_over_a_kill_shown_and_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("work", &["1", "2", "3"]);
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        let seen = handle(&mut work, 4).await;
        let of = |id: &str| seen.iter().filter(|(i, _)| i == id).map(|(_, attempt)| *attempt).collect::<Vec<_>>();
        assert_eq!((of("1"), of("2"), of("3")), (vec![1], vec![1, 2], vec![1]));
        mesh.close().await.unwrap();
    });
    let listed = gateway.run(&["dead-letters", "list", "work"]);
    assert!(listed.out.starts_with("     1  group g  at 2  failures  2 failures, the last 20"), "{listed:?}");
    drop(gateway);
    let gateway = Gateway::on(directory.path());
    let shown = gateway.run(&["dead-letters", "show", "work", "1"]);
    let letter: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&letter["group"], &letter["position"], &letter["failures"]), (&"g".into(), &"2".into(), &2.into()));
    assert_eq!(letter["event"]["id"], "2");
    let missing = gateway.run(&["dead-letters", "show", "work", "7"]);
    assert!(missing.code == Some(4) && missing.err.contains("no dead letter 7"), "{missing:?}");
    let redriven = gateway.run(&["dead-letters", "redrive", "work", "1", "7"]);
    assert_eq!((redriven.code, redriven.out.as_str()), (Some(1), "redriven 1\n"), "{redriven:?}");
    assert_eq!(redriven.notes(), ["1 of 2 are not there"]);
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        let delivery = next(&mut work).await;
        assert_eq!((delivery.id(), delivery.attempt(), delivery.position().number()), ("2", 1, 2));
        delivery.ack_confirmed().await.unwrap();
        mesh.close().await.unwrap();
    });
    assert_eq!(gateway.run(&["dead-letters", "list", "work"]).out, "no dead letters\n");
}

#[test]
fn rejected_events_have_their_reason_and_are_purged_by_number_or_all() {
    let gateway = Gateway::with(&["--memory"]);
    gateway.publish("work", &["1", "2", "3"]);
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        for _ in 0..3 {
            next(&mut work).await.reject_confirmed("no such\ncustomer").await.unwrap();
        }
        mesh.close().await.unwrap();
    });
    let listed = gateway.run(&["dead-letters", "list", "work", "--group", "g"]);
    assert_eq!(listed.lines().len(), 3, "{listed:?}");
    assert!(listed.lines()[0].ends_with("  no such\\ncustomer"), "{listed:?}");
    assert_eq!(gateway.run(&["dead-letters", "list", "work", "--group", "other", "--json"]).out, "");
    assert_eq!(gateway.run(&["dead-letters", "purge", "work", "2"]).out, "purged 1\n");
    assert_eq!(gateway.run(&["dead-letters", "purge", "work", "--all"]).out, "purged 2\n");
    assert_eq!(gateway.run(&["dead-letters", "list", "work"]).out, "no dead letters\n");
}

#[test]
fn the_settings_of_a_group_are_changed_while_it_runs_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("work", &["2"]);
    let changed = runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        handle(&mut work, 1).await;
        let conflict = mesh.subscribe("work").group("g").settings(GroupSettings::new().max_failures(3)).await;
        let conflict = conflict.unwrap_err().to_string();
        assert!(conflict.contains("max_failures 2, not 3") && conflict.contains("GROUP_CONFLICT"), "{conflict}");
        let changed = gateway.run(&["groups", "update", "work", "g", "--max-failures", "1", "--backoff-max", "1h"]);
        mesh.close().await.unwrap();
        changed
    });
    assert_eq!(changed.code, Some(0), "{changed:?}");
    assert!(changed.out.ends_with("; ack wait 30s, 1 failures, back-off 50ms to 1h\n"), "{changed:?}");
    drop(gateway);
    let gateway = Gateway::on(directory.path());
    let listed = gateway.run(&["groups", "list", "work", "--json"]);
    let group: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!((&group["max_failures"], &group["backoff_max_ms"]), (&1.into(), &3_600_000.into()), "{listed:?}");
    assert_eq!((&group["dead_letters"], &group["lag"]), (&1.into(), &0.into()));
}

#[test]
fn dead_letters_of_a_memory_topic_outlive_it_and_go_to_its_group_once_both_are_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.run(&["topics", "create", "work", "--durability", "memory"]);
    gateway.publish("work", &["1", "2"]);
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        next(&mut work).await.reject_confirmed("no").await.unwrap();
        drop(work);
        mesh.close().await.unwrap();
    });
    drop(gateway);
    let gateway = Gateway::on(directory.path());
    gateway.publish("other", &["9"]);
    gateway.run(&["topics", "create", "work", "--durability", "memory"]);
    let listed = gateway.run(&["dead-letters", "list", "work"]);
    assert!(listed.out.contains("group g  at 1  rejected"), "{listed:?}");
    let early = gateway.run(&["dead-letters", "redrive", "work", "--all"]);
    assert!(early.code == Some(4) && early.err.contains("group g does not exist any more"), "{early:?}");
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        assert_eq!(mesh.dead_letters("work").redrive_all().await.unwrap(), 1);
        let delivery = next(&mut work).await;
        assert_eq!((delivery.id(), delivery.attempt()), ("1", 1));
        delivery.ack_confirmed().await.unwrap();
        mesh.close().await.unwrap();
    });
    assert_eq!(gateway.run(&["dead-letters", "list", "work"]).out, "no dead letters\n");
}
