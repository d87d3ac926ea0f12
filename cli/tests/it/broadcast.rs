//! Broadcast groups from the command line, over a restart.

use std::time::Duration;

use meshwire::{Delivery, Mesh, Subscription};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::program::{Gateway, id};

const PATIENCE: Duration = Duration::from_secs(20);

const MEMBER: [&str; 6] = ["sub", "work", "--group", "caches", "--broadcast", "--json"];

fn member<'a>(name: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&MEMBER[..], &["--member", name], rest].concat()
}

fn ids(gateway: &Gateway, name: &str) -> Vec<String> {
    gateway.run(&member(name, &["--until-idle", "1s"])).lines().into_iter().map(id).collect()
}

#[test]
fn each_durable_member_gets_every_event_once_over_a_restart_and_is_removed_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("work", &["1", "2"]);
    assert_eq!(ids(&gateway, "a"), ["1", "2"]);
    gateway.publish("work", &["3"]);
    drop(gateway);

    let gateway = Gateway::on(directory.path());
    assert_eq!(
        (ids(&gateway, "a"), ids(&gateway, "b")),
        (vec!["3".to_owned()], ["1", "2", "3"].map(str::to_owned).to_vec())
    );
    gateway.publish("work", &["4"]);
    let list = gateway.run(&["groups", "list", "work"]).out;
    assert_eq!(words(&list, 1)[..7], ["caches", "(broadcast)", "0", "0", "1", "0", "0"], "{list}");
    assert_eq!(words(&list, 2), ["member", "a,", "away", "0", "1", "0", "0"], "{list}");
    let shown = gateway.run(&["groups", "show", "work", "caches"]).out;
    assert!(shown.contains("\n  member a, away: settled through 3, 0 in flight, 1 waiting"), "{shown}");
    let json = gateway.run(&["groups", "list", "work", "--json"]).out;
    assert!(json.contains("\"mode\":\"broadcast\""), "{json}");
    assert!(json.contains("{\"name\":\"b\",\"connected\":false,\"settled_through\":\"3\""), "{json}");
    let other = gateway.run(&["sub", "work", "--group", "caches", "--until-idle", "1s"]);
    assert!(other.code == Some(4) && other.err.contains("mode broadcast, not cluster"), "{other:?}");

    let mut first = gateway.begin(&member("a", &[]));
    assert_eq!(id(&first.line()), "4");
    let second = gateway.run(&member("a", &["--count", "1"]));
    assert!(
        second.code == Some(4) && second.err.contains("member a of group caches is connected already"),
        "{second:?}"
    );
    let used = gateway.run(&["groups", "delete", "work", "caches", "--member", "a"]);
    assert!(used.code == Some(4) && used.err.contains("1 member;"), "{used:?}");
    // Killed, it need not wait for its resume window when it comes back.
    first.kill();
    gateway.publish("work", &["5"]);
    let back = gateway.run(&member("a", &["--until-idle", "1s"]));
    assert_eq!(back.lines().into_iter().map(id).next_back().as_deref(), Some("5"), "{back:?}");
    assert_eq!(gateway.run(&["groups", "delete", "work", "caches", "--member", "a"]).code, Some(0));
    let list = gateway.run(&["groups", "list", "work"]).out;
    assert!(!list.contains("member a") && list.contains("member b"), "{list}");
    assert_eq!(gateway.run(&["groups", "delete", "work", "caches"]).code, Some(0));
    assert_eq!(gateway.run(&["groups", "list", "work"]).out, "no groups\n");
}

#[test]
fn a_member_without_a_name_gets_what_comes_while_it_is_there() {
    let gateway = Gateway::start();
    gateway.publish("work", &["1"]);
    let mut members = [gateway.begin(&MEMBER), gateway.begin(&MEMBER)];
    for _ in 0..100 {
        let list = gateway.run(&["groups", "list", "work"]).out;
        if words(&list, 1).get(2) == Some(&"2") {
            break;
        }
    }
    gateway.publish("work", &["2"]);
    for member in &mut members {
        assert_eq!(id(&member.line()), "2");
    }
}

#[test]
fn a_durable_member_is_made_before_it_connects() {
    let gateway = Gateway::start();
    let create = ["groups", "create", "work", "caches", "--broadcast", "--member", "a", "--start", "2"];
    let early = gateway.run(&create);
    assert!(early.err.contains("topic work does not exist"), "{early:?}");
    gateway.publish("work", &["1", "2"]);
    let made = gateway.run(&create);
    assert!(made.out.starts_with("caches/a: settled through 1, 0 members, 0 in flight, 1 waiting"), "{made:?}");
    assert_eq!(made.notes(), Vec::<&str>::new());
    assert_eq!(ids(&gateway, "a"), ["2"]);
    let moved = gateway.run(&["groups", "seek", "work", "caches", "1", "--member", "a"]);
    assert!(moved.out.starts_with("caches/a: settled through 0, "), "{moved:?}");
    let missing = gateway.run(&["sub", "work", "--group", "caches", "--member", "a"]);
    assert!(missing.code == Some(2) && missing.err.contains("--broadcast"), "{missing:?}");
}

async fn join(mesh: &Mesh, name: &str) -> Subscription {
    mesh.subscribe("work").group("caches").broadcast().member(name).await.unwrap()
}

async fn next(member: &mut Subscription) -> Delivery {
    timeout(PATIENCE, member.try_next()).await.unwrap().unwrap().unwrap()
}

#[test]
fn a_dead_letter_of_a_durable_member_goes_back_to_it_alone_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("work", &["1"]);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        let (mut a, mut b) = (join(&mesh, "a").await, join(&mesh, "b").await);
        next(&mut a).await.reject("not for me");
        next(&mut b).await.ack_confirmed().await.unwrap();
        mesh.drain(PATIENCE).await.unwrap();
    });
    let listed = gateway.run(&["dead-letters", "list", "work", "--group", "caches"]);
    assert!(listed.out.contains("group caches member a  at 1  rejected"), "{listed:?}");
    let other = gateway.run(&["dead-letters", "list", "work", "--group", "caches", "--member", "b"]);
    assert_eq!(other.out, "no dead letters\n");
    drop(gateway);

    let gateway = Gateway::on(directory.path());
    let redriven = gateway.run(&["dead-letters", "redrive", "work", "--group", "caches", "--member", "a", "--all"]);
    assert_eq!(redriven.out, "redriven 1\n");
    assert_eq!(ids(&gateway, "b"), [""; 0]);
    runtime.block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        let mut a = join(&mesh, "a").await;
        let again = next(&mut a).await;
        assert_eq!(again.id(), "1");
        again.ack_confirmed().await.unwrap();
        mesh.close().await.unwrap();
    });
    assert_eq!(gateway.run(&["dead-letters", "list", "work"]).out, "no dead letters\n");
}

/// The words of a line.
fn words(text: &str, line: usize) -> Vec<&str> {
    text.lines().nth(line).unwrap_or_default().split_whitespace().collect()
}
