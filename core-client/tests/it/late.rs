//! Acks that come to nothing, as their session was lost: the log says so.

use std::future::IntoFuture;
use std::time::Duration;

use meshwire::{Delivery, Error, ErrorKind, MemoryListener, Mesh, Subscription};
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::session as wire;
use tokio::sync::Notify;
use tracing::Level;

use crate::logs;
use crate::script::{Gateway, connected, event, welcome};

/// A program with these events in hand.
async fn handed(events: u32) -> (Mesh, Subscription, Vec<Delivery>, Gateway, MemoryListener) {
    logs::keep();
    let (mesh, mut gateway, listener) = connected().await;
    let subscribe = mesh.subscribe("orders").group("g");
    let (orders, frame) = tokio::join!(subscribe.into_future(), gateway.subscribe());
    gateway.deliver_at(frame.subscription, 1, 11, (1..=events).map(|n| event(&n.to_string(), None, "x"))).await;
    let (mut orders, mut in_hand) = (orders.unwrap(), Vec::new());
    for _ in 0..events {
        in_hand.push(orders.try_next().await.unwrap().unwrap());
    }
    (mesh, orders, in_hand, gateway, listener)
}

/// The gateway has lost the session, and delivers the first event again.
async fn begin_anew(listener: &mut MemoryListener) -> Gateway {
    let (mut gateway, _) = Gateway::log_in(listener, welcome()).await;
    let frame = gateway.subscribe().await;
    gateway.deliver_at(frame.subscription, 1, 11, [event("1", None, "x")]).await;
    gateway
}

#[tokio::test(start_paused = true)]
async fn acks_behind_a_lost_session_are_warned_of_once_with_their_place_and_a_confirmed_one_is_lease_lost() {
    let (_mesh, mut orders, in_hand, gateway, mut listener) = handed(3).await;
    drop(gateway);
    let _gateway = begin_anew(&mut listener).await;
    let again = orders.try_next().await.unwrap().unwrap();
    let [first, second, third] = in_hand.try_into().unwrap();
    assert_eq!(logs::take(Level::WARN), Vec::<String>::new());
    first.ack();
    second.ack();
    let told = logs::take(Level::WARN);
    assert!(
        matches!(&*told, [one] if one.starts_with("acked too late") && one.contains("\"orders\" position=11")),
        "{told:?}"
    );
    assert_eq!(third.ack_confirmed().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    again.ack();
    assert_eq!(logs::take(Level::WARN), Vec::<String>::new(), "this one is in time");
}

#[tokio::test(start_paused = true)]
async fn acks_that_a_lost_session_had_not_confirmed_are_warned_of_with_the_last_place() {
    let (_mesh, mut orders, in_hand, gateway, mut listener) = handed(3).await;
    drop(gateway);
    let [first, second, third] = in_hand.try_into().unwrap();
    first.ack();
    second.ack();
    third.nack();
    let _gateway = begin_anew(&mut listener).await;
    orders.try_next().await.unwrap().unwrap().ack();
    let told = logs::take(Level::WARN);
    assert!(
        matches!(&*told, [one] if one.contains("may come again") && one.contains("position=12 count=2")),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn of_acks_in_any_order_that_a_lost_session_had_not_confirmed_the_highest_place_of_that_session_is_named() {
    let (_mesh, mut orders, in_hand, gateway, mut listener) = handed(3).await;
    let [first, second, third] = in_hand.try_into().unwrap();
    third.ack();
    first.ack();
    second.ack();
    drop(gateway);
    let gateway = begin_anew(&mut listener).await;
    let again = orders.try_next().await.unwrap().unwrap();
    let told = logs::take(Level::WARN);
    assert!(matches!(&*told, [one] if one.contains("position=13 count=3")), "{told:?}");
    again.ack();
    drop(gateway);
    let _gateway = begin_anew(&mut listener).await;
    orders.try_next().await.unwrap().unwrap().ack();
    let told = logs::take(Level::WARN);
    assert!(matches!(&*told, [one] if one.contains("position=11 count=1")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_behind_a_lost_session_is_warned_of() {
    logs::keep();
    let (mesh, mut gateway, mut listener) = connected().await;
    let go_on = Notify::new();
    let handler = async |_: &Delivery| {
        go_on.notified().await;
        Ok::<_, Error>(())
    };
    let script = async {
        let frame = gateway.subscribe().await;
        gateway.deliver_at(frame.subscription, 1, 11, [event("1", None, "x")]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(gateway);
        let mut gateway = begin_anew(&mut listener).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        go_on.notify_one();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let told = logs::take(Level::WARN);
        assert!(matches!(&*told, [one] if one.contains("acked too late") && one.contains("position=11")), "{told:?}");
        go_on.notify_one();
        gateway.ranges().await
    };
    tokio::select! {
        ended = mesh.consume("orders").group("g").run(handler) => panic!("{ended:?}"),
        ranges = script => assert_eq!(ranges, [(1, 1, SettleKind::Ack)]),
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_is_told_of_with_the_time_that_is_left() {
    let (_mesh, mut orders, in_hand, mut gateway, _listener) = handed(1).await;
    logs::take_all();
    gateway.send(&ServerFrame::Drain(wire::Drain { deadline_ms: 10_000, ..wire::Drain::default() })).await;
    gateway.deliver_at(1, 2, 12, [event("2", None, "x")]).await;
    orders.try_next().await.unwrap().unwrap().ack();
    let told = logs::take(Level::INFO);
    assert!(
        matches!(&*told, [one] if one.starts_with("the gateway stops") && one.ends_with("seconds=10.0")),
        "{told:?}"
    );
    in_hand.into_iter().for_each(Delivery::ack);
}

#[tokio::test(start_paused = true)]
async fn acks_behind_the_end_of_their_subscription_or_client_are_counted_and_warned_of() {
    let (mesh, orders, in_hand, mut gateway, _listener) = handed(3).await;
    let [first, second, third] = in_hand.try_into().unwrap();
    drop(orders);
    first.ack();
    let left = async { while !matches!(gateway.next().await, Some(ClientFrame::Unsubscribe(_))) {} };
    left.await;
    assert_eq!((mesh.stats().leases_lost, logs::take(Level::WARN)), (0, Vec::new()), "it was there before the end");
    second.ack();
    third.ack();
    assert_eq!(mesh.stats().leases_lost, 2);
    let told = logs::take(Level::WARN);
    assert!(matches!(&*told, [one] if one.contains("was left") && one.contains("position=12 count=1")), "{told:?}");
}
