//! Events that are delivered at a time, and until one.

use std::time::{Duration, Instant, SystemTime};

use meshwire::{Event, Mesh, Subscription};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::program::Gateway;

const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn join(gateway: &Gateway) -> (Mesh, Subscription) {
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let subscription = mesh.subscribe("reminders").group("g").await.unwrap();
    (mesh, subscription)
}

async fn next_id(subscription: &mut Subscription) -> String {
    let delivery = timeout(PATIENCE, subscription.try_next()).await.unwrap().unwrap().unwrap();
    let id = delivery.id().to_owned();
    delivery.ack_confirmed().await.unwrap();
    id
}

fn listed(gateway: &Gateway) -> Value {
    serde_json::from_str(&gateway.run(&["topics", "list", "--json"]).out).unwrap()
}

#[test]
fn delayed_events_outlive_a_kill_and_come_once_in_their_order_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let began = SystemTime::now();
    let due = |seconds| began + Duration::from_secs(seconds);
    runtime().block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        for (id, at) in [("third", due(7)), ("first", due(5)), ("second", due(6))] {
            let receipt = mesh.publish("reminders", Event::new("r").id(id).source("/s").deliver_at(at)).await.unwrap();
            assert!(receipt.position.is_none() && !receipt.duplicate);
        }
        mesh.publish("reminders", Event::new("r").id("gone").source("/s").expires_in(Duration::from_millis(1)))
            .await
            .unwrap();
        let again =
            mesh.publish("reminders", Event::new("r").id("first").source("/s").deliver_at(due(9))).await.unwrap();
        assert!(again.duplicate);
        mesh.close().await.unwrap();
    });
    assert_eq!((&listed(&gateway)["delayed"], &listed(&gateway)["events"]), (&3.into(), &1.into()));
    assert!(gateway.run(&["topics", "list"]).out.contains("3 events wait for their time"));
    drop(gateway);
    let gateway = Gateway::on(directory.path());
    runtime().block_on(async {
        let (mesh, mut subscription) = join(&gateway).await;
        for (id, at) in [("first", due(5)), ("second", due(6)), ("third", due(7))] {
            assert_eq!(next_id(&mut subscription).await, id);
            assert!(SystemTime::now() >= at, "{id} came early");
        }
        let group = mesh.groups("reminders").list().await.unwrap().remove(0);
        assert_eq!((group.lag, group.expired), (0, 1));
        mesh.close().await.unwrap();
    });
    drop(gateway);
    let gateway = Gateway::on(directory.path());
    assert_eq!(listed(&gateway)["delayed"], 0);
    assert_eq!(listed(&gateway)["events"], 4, "each stands in the topic once");
}

#[test]
fn the_flags_of_pub_say_when_events_are_delivered() {
    let gateway = Gateway::start();
    let data = |flags: &[&str]| gateway.run(&[&["pub", "reminders", "--data", "x"], flags].concat());
    assert_eq!(data(&["--deliver-at", "2001-01-01T00:00:00Z", "--id", "now"]).code, Some(0));
    assert_eq!(data(&["--expires-in", "1ms", "--id", "gone"]).code, Some(0));
    let began = Instant::now();
    let later = data(&["--deliver-after", "2s", "--id", "later", "--json"]);
    assert_eq!(later.lines()[0], "{\"event\":1,\"line\":null,\"position\":null,\"duplicate\":false}");
    let ids = gateway.ids(&["sub", "reminders", "--start", "earliest", "--count", "2", "--json"]);
    assert_eq!(ids, ["now", "later"]);
    assert!(began.elapsed() >= Duration::from_secs(2));
    for (flags, text) in [
        (["--deliver-at", "tomorrow"], "RFC 3339"),
        (["--expires-in", "0"], "at least 1ms"),
        (["--deliver-after", "1 year"], "not a duration"),
    ] {
        let ended = data(&flags);
        assert!(ended.code == Some(2) && ended.err.contains(text), "{ended:?}");
    }
    assert_eq!(data(&["--deliver-at", "2999-01-01T00:00:00Z"]).code, Some(4), "over max_delay");
}

#[test]
fn who_deletes_a_topic_is_told_of_events_that_waited_for_their_time() {
    let gateway = Gateway::start();
    for id in ["a", "b"] {
        assert_eq!(gateway.run(&["pub", "later", "--data", "x", "--deliver-after", "1h", "--id", id]).code, Some(0));
    }
    let deleted = gateway.run(&["topics", "delete", "later"]);
    assert_eq!(deleted.out, "topic later: deleted, 0 events, and 2 that waited for their time\n");
}

async fn deliveries_tell_their_expiry(gateway: &Gateway) {
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let minute = Duration::from_secs(60);
    let event = |id: &str| Event::new("r").id(id).source("/s");
    mesh.publish("reminders", event("stays")).await.unwrap();
    mesh.publish("reminders", event("goes").expires_in(minute)).await.unwrap();
    let late = event("late").deliver_after(Duration::from_millis(1)).expires_in(minute);
    mesh.publish("reminders", late).await.unwrap();
    let mut subscription = mesh.subscribe("reminders").group("g").await.unwrap();
    for id in ["stays", "goes", "late"] {
        let delivery = timeout(PATIENCE, subscription.try_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.id(), id);
        let left = delivery.expires_at().map(|at| at.0 - delivery.stored().0);
        match id {
            "stays" => assert_eq!(left, None),
            _ => assert!((59_900..=60_100).contains(&left.unwrap()), "{id}: {left:?}"),
        }
        delivery.ack();
    }
    mesh.close().await.unwrap();
}

#[test]
fn a_delivery_tells_until_when_its_event_is_delivered() {
    runtime().block_on(deliveries_tell_their_expiry(&Gateway::start()));
}

#[test]
fn a_delivery_tells_until_when_its_event_is_delivered_in_memory() {
    runtime().block_on(deliveries_tell_their_expiry(&Gateway::with(&["--memory"])));
}
