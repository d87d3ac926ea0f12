//! Hooks around publish and delivery.

use std::sync::{Arc, Mutex};

use meshwire::{ErrorKind, Event, SettledAs};
use meshwire_proto::frame::SettleKind;
use meshwire_proto::{EventLimits, EventView};

use crate::script::{connected_with, event};

#[tokio::test(start_paused = true)]
async fn a_publish_hook_sees_and_changes_every_event_before_it_is_encoded() {
    let stamp = |topic: &str, event: Event| {
        assert_eq!(event.get("id").as_deref(), Some("1"));
        let data = String::from_utf8(event.data_bytes().to_vec())?;
        Ok(event.attribute("traceparent", format!("00-{topic}-{data}")))
    };
    let (mesh, mut gateway, _listener) = connected_with(|c| c.on_publish(stamp)).await;
    let first = mesh.publish_start("orders", Event::text("t", "a").id("1")).await.unwrap();
    let second = mesh.try_publish("bills", Event::text("t", "b").id("1")).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        for event in gateway.publish().await.runs.iter().flat_map(|run| run.events.iter().collect::<Vec<_>>()) {
            let view = EventView::parse(&event, EventLimits::default()).unwrap();
            seen.push(view.attribute("traceparent").unwrap().to_string());
        }
    }
    assert_eq!(seen, ["00-orders-a", "00-bills-b"]);
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn what_a_publish_hook_refuses_or_panics_on_is_not_sent_and_the_others_are() {
    let check = |_: &str, event: Event| match event.data_bytes() {
        b"bad" => Err("no customer".into()),
        b"panic" => panic!("oh no"),
        _ => Ok(event),
    };
    let (mesh, mut gateway, _listener) = connected_with(|c| c.on_publish(check)).await;
    let error = mesh.publish("orders", Event::text("t", "bad")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("on_publish hook refused the event: no customer"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    let error = mesh.publish("orders", Event::text("t", "panic")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("the on_publish hook panicked: oh no"), "{error}");
    let pending = mesh.publish_start("orders", Event::text("t", "good")).await.unwrap();
    assert_eq!(gateway.publish().await.runs[0].first_sequence, 1);
    gateway.keep(1, 1, 1).await;
    pending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn delivery_and_settle_hooks_see_each_delivery_and_what_became_of_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (begins, ends) = (Arc::clone(&seen), Arc::clone(&seen));
    let (mesh, mut gateway, _listener) = connected_with(|connect| {
        connect
            .on_delivery(move |delivery| begins.lock().unwrap().push(format!("{} comes", delivery.id())))
            .on_settle(move |delivery, how| ends.lock().unwrap().push(format!("{} {how:?}", delivery.id())))
    })
    .await;
    let (mut orders, _) =
        tokio::join!(async { mesh.subscribe("orders").group("g").await.unwrap() }, gateway.subscribe());
    gateway.deliver(1, 1, ["a", "b", "c", "d"].map(|id| event(id, None, "x"))).await;
    orders.next().await.unwrap().unwrap().ack();
    orders.next().await.unwrap().unwrap().nack();
    orders.next().await.unwrap().unwrap().reject("never");
    drop(orders.next().await.unwrap().unwrap());
    let expected = ["a comes", "a Ack", "b comes", "b Nack", "c comes", "c Reject", "d comes", "d Dropped"];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(format!("{:?}", SettledAs::Dropped), "Dropped");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_that_panics_fails_the_delivery_by_name_and_the_stream_goes_on() {
    let picky = |delivery: &meshwire::Delivery| assert!(delivery.id() != "a", "not a");
    let (mesh, mut gateway, _listener) = connected_with(|c| c.on_delivery(picky)).await;
    let (mut orders, _) =
        tokio::join!(async { mesh.subscribe("orders").group("g").await.unwrap() }, gateway.subscribe());
    gateway.deliver(1, 1, ["a", "b"].map(|id| event(id, None, "x"))).await;
    let error = orders.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("the on_delivery hook panicked: not a"), "{error}");
    orders.next().await.unwrap().unwrap().ack();
    let mut ranges = gateway.ranges().await;
    if ranges.len() < 2 {
        ranges.extend(gateway.ranges().await);
    }
    assert_eq!(ranges, [(1, 1, SettleKind::Nack), (2, 1, SettleKind::Ack)]);
}

#[tokio::test(start_paused = true)]
async fn a_settle_hook_that_panics_changes_nothing() {
    let (mesh, mut gateway, _listener) = connected_with(|c| c.on_settle(|_, _| panic!("oh no"))).await;
    let (mut orders, _) =
        tokio::join!(async { mesh.subscribe("orders").group("g").await.unwrap() }, gateway.subscribe());
    gateway.deliver(1, 1, [event("a", None, "x")]).await;
    orders.next().await.unwrap().unwrap().ack();
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack)]);
}
