//! Events that consumers cannot handle: tried again, given up, looked at, given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meshwire::{Delivery, Event, GroupSettings, Mesh, Subscription};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
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
    let page = gateway.run(&["dead-letters", "show", "work", "1"]);
    assert!(page.out.starts_with("dead letter 1 of topic work\n  group          g\n  position       2\n"), "{page:?}");
    assert!(page.out.contains("\n  failures       2, of 2 deliveries\n"), "{page:?}");
    assert!(page.out.contains("\n  event          {") && page.out.contains("\"id\":\"2\""), "{page:?}");
    let shown = gateway.run(&["dead-letters", "show", "work", "1", "--json"]);
    let letter: Value = serde_json::from_str(&shown.out).unwrap();
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
    gateway.run(&["groups", "create", "work", "none-yet"]);
    assert_eq!(gateway.run(&["dead-letters", "list", "work", "--group", "none-yet"]).out, "no dead letters\n");
    let mut shell = crate::program::meshwire(&["--", "meshwire", "dead-letters", "redrive", "work", ""]);
    shell.env("MESHWIRE_URL", &gateway.url).env("MESHWIRE_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "4");
    shell.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "true").env("_CLAP_IFS", " ");
    let offered = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    assert_eq!(offered.split_whitespace().take(3).collect::<Vec<_>>(), ["1", "2", "3"], "{offered}");
    assert_eq!(gateway.run(&["dead-letters", "purge", "work", "2"]).out, "purged 1\n");
    assert_eq!(gateway.run(&["dead-letters", "purge", "work", "--all"]).out, "purged 2\n");
    assert_eq!(gateway.run(&["dead-letters", "list", "work"]).out, "no dead letters\n");
}

#[test]
fn dead_letters_of_a_group_that_is_gone_are_left_and_counted_and_those_of_others_go_back() {
    let gateway = Gateway::start();
    gateway.publish("work", &["1", "2"]);
    let others = runtime().block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        for group in ["gone", "stays"] {
            let mut work = mesh.subscribe("work").group(group).await.unwrap();
            for _ in 0..2 {
                next(&mut work).await.reject_confirmed("no").await.unwrap();
            }
            drop(work);
        }
        assert_eq!(gateway.run(&["groups", "delete", "work", "gone"]).code, Some(0));
        let all = gateway.run(&["dead-letters", "redrive", "work", "--all"]);
        assert_eq!((all.code, all.out.as_str()), (Some(4), "redriven 2\n"), "{all:?}");
        let left = "2 left: group gone does not exist any more; create it, or subscribe with it, and try again";
        assert_eq!(all.notes(), [left]);
        let mut work = mesh.subscribe("work").group("stays").await.unwrap();
        let others = [next(&mut work).await.id().to_owned(), next(&mut work).await.id().to_owned()];
        mesh.close().await.unwrap();
        others
    });
    assert_eq!(others, ["1", "2"]);
    let some = gateway.run(&["dead-letters", "redrive", "work", "1", "3", "9", "--json"]);
    assert_eq!(some.code, Some(4), "{some:?}");
    assert_eq!(some.out, "{\"redriven\":1,\"not_there\":1,\"left\":{\"gone\":1}}\n");
    let purged = gateway.run(&["dead-letters", "purge", "work", "--group", "gone", "--all", "--json"]);
    assert_eq!((purged.code, purged.out.as_str()), (Some(0), "{\"purged\":2}\n"), "{purged:?}");
    let rest = gateway.run(&["dead-letters", "redrive", "work", "--all", "--json"]);
    assert_eq!((rest.code, rest.out.as_str()), (Some(0), "{\"redriven\":2,\"left\":{}}\n"), "{rest:?}");
}

fn redriven_events_are_listed_as_owed(gateway: &Gateway) {
    gateway.publish("work", &["1", "2"]);
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        for _ in 0..2 {
            next(&mut work).await.reject_confirmed("no").await.unwrap();
        }
        mesh.close().await.unwrap();
    });
    let listed = || -> Value {
        let watched = gateway.run(&["watch", "--once", "--json"]);
        serde_json::from_str::<Value>(&watched.out).unwrap()["topics"][0]["groups"][0].clone()
    };
    assert_eq!((&listed()["lag"], &listed()["oldest_ms"]), (&0.into(), &Value::Null));
    assert_eq!(gateway.run(&["dead-letters", "redrive", "work", "--all"]).out, "redriven 2\n");
    let aged = (0..100).any(|_| listed()["oldest_ms"].is_u64());
    assert!(aged && listed()["lag"] == 2 && listed()["dead_letters"] == 2, "{}", listed());
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        next(&mut work).await.ack_confirmed().await.unwrap();
        let left = mesh.groups("work").get("g").await.unwrap();
        assert_eq!((left.lag, left.dead_letters), (1, 1));
        mesh.close().await.unwrap();
    });
}

#[test]
fn redriven_events_are_owed_to_their_group_in_every_listing() {
    redriven_events_are_listed_as_owed(&Gateway::start());
}

#[test]
fn redriven_events_are_owed_to_their_group_in_every_listing_in_memory() {
    redriven_events_are_listed_as_owed(&Gateway::with(&["--memory"]));
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
    assert!(changed.out.ends_with("; ack wait 30s, 1 failure, back-off 50ms to 1h\n"), "{changed:?}");
    // What failed once is a dead letter now, when the log has it.
    let letters = || gateway.run(&["groups", "list", "work", "--json"]).out.contains("\"dead_letters\":1");
    assert!((0..100).any(|_| letters()), "it is no dead letter");
    drop(gateway);
    let gateway = Gateway::on(directory.path());
    let listed = gateway.run(&["groups", "list", "work", "--json"]);
    let group: Value = serde_json::from_str(&listed.out).unwrap();
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
    assert_eq!((early.code, early.out.as_str()), (Some(4), "redriven 0\n"), "{early:?}");
    let left = "1 left: group g does not exist any more; create it, or subscribe with it, and try again";
    assert_eq!(early.notes(), [left]);
    runtime().block_on(async {
        let (mesh, mut work) = join(&gateway.url).await;
        assert_eq!(mesh.dead_letters("work").redrive_all().await.unwrap().count, 1);
        let delivery = next(&mut work).await;
        assert_eq!((delivery.id(), delivery.attempt()), ("1", 1));
        delivery.ack_confirmed().await.unwrap();
        mesh.close().await.unwrap();
    });
    assert_eq!(gateway.run(&["dead-letters", "list", "work"]).out, "no dead letters\n");
}

/// The handler of a consumer is handed what a dead letter held up, without the wait of a lease.
#[test]
fn behind_a_dead_letter_a_handler_gets_the_rest_of_the_key_at_once() {
    let directory = tempfile::tempdir().unwrap();
    for gateway in [Gateway::start(), Gateway::on(directory.path())] {
        let ran = runtime().block_on(async {
            let mesh = meshwire::connect(&gateway.url).await.unwrap();
            for id in 0..8 {
                mesh.publish("work", Event::text("made", "x").id(id.to_string()).key("k")).await.unwrap();
            }
            let (handled, done) = (AtomicUsize::new(0), Notify::new());
            let handler = async |delivery: &Delivery| {
                if delivery.id() == "0" {
                    return Err("never");
                }
                if handled.fetch_add(1, Ordering::Relaxed) == 6 {
                    done.notify_one();
                }
                Ok(())
            };
            let consume = mesh.consume("work").group("g").settings(impatient()).until(done.notified());
            // A lease takes 30 s.
            timeout(PATIENCE, consume.run(handler)).await
        });
        assert!(matches!(ran, Ok(Ok(()))), "{ran:?}");
    }
}
