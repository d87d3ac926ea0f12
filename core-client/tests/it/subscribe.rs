use std::future::IntoFuture;
use std::time::Duration;

use futures_util::StreamExt;
use meshwire::{ErrorKind, GroupSettings, MemoryListener, Mesh, Position, Start, Subscription};
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind, SettleResult, Settled};
use meshwire_proto::wire::{admin, session as wire};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tracing::Level;

use crate::logs;
use crate::script::{Gateway, connected, event, resumed, welcome};

fn numbered(range: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = bytes::Bytes> {
    range.map(|n| event(&n.to_string(), None, "data"))
}

async fn subscribed(group: Option<&str>, prefetch: u64) -> (Mesh, Subscription, Gateway, u32, MemoryListener) {
    let (mesh, mut gateway, listener) = connected().await;
    let mut subscribe = mesh.subscribe("orders").prefetch(prefetch, 8 << 20);
    if let Some(group) = group {
        subscribe = subscribe.group(group);
    }
    let (subscription, frame) = tokio::join!(subscribe.into_future(), gateway.subscribe());
    (mesh, subscription.unwrap(), gateway, frame.subscription, listener)
}

#[tokio::test(start_paused = true)]
async fn deliveries_come_in_order_with_all_they_carry() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("billing"), 256).await;
    let events = [event("a", Some("k"), "first"), event("b", None, "[1,2]")];
    gateway.deliver_at(number, 1, 40, events.clone()).await;
    let first = orders.try_next().await.unwrap().unwrap();
    assert_eq!((first.id(), first.text().unwrap(), first.topic()), ("a", "first", "orders"));
    assert_eq!((first.attempt(), first.position().number(), first.gap()), (1, 40, 0));
    assert_eq!((first.raw(), first.event().key()), (&events[0], Some("k")));
    assert_eq!(first.json::<Vec<u8>>().unwrap_err().kind(), ErrorKind::Invalid);
    // As a stream, too.
    let second = StreamExt::next(&mut orders).await.unwrap().unwrap();
    assert_eq!((second.position().number(), second.json::<Vec<u8>>().unwrap()), (41, vec![1, 2]));
    first.ack();
    second.nack();
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack), (2, 1, SettleKind::Nack)]);
}

#[tokio::test(start_paused = true)]
async fn acks_wait_for_others_at_most_five_milliseconds() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, numbered(1..=20)).await;
    let started = Instant::now();
    for _ in 0..10 {
        orders.try_next().await.unwrap().unwrap().ack();
    }
    assert_eq!(gateway.ranges().await, [(1, 10, SettleKind::Ack)]);
    assert!(started.elapsed() <= Duration::from_millis(5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn acks_leave_at_once_when_half_the_credit_is_used_or_nothing_is_left_to_read() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("g"), 8).await;
    gateway.deliver(number, 1, numbered(1..=6)).await;
    let started = Instant::now();
    for _ in 0..4 {
        orders.try_next().await.unwrap().unwrap().ack();
    }
    assert_eq!(gateway.ranges().await, [(1, 4, SettleKind::Ack)]);
    for _ in 0..2 {
        orders.try_next().await.unwrap().unwrap().ack();
    }
    let (_, ranges) = tokio::join!(timeout(Duration::ZERO, orders.next()), gateway.ranges());
    assert_eq!(ranges, [(5, 2, SettleKind::Ack)]);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_ack_has_the_gateways_word() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, numbered(1..=2)).await;
    for code in [0, ErrorKind::LeaseLost.number()] {
        let delivery = orders.try_next().await.unwrap().unwrap();
        let (answer, ()) = tokio::join!(delivery.ack_confirmed(), async {
            let settle = gateway.settle().await;
            assert!(settle.confirm);
            let range = &settle.ranges[0];
            let result = SettleResult {
                sequence: settle.sequence,
                subscription: number,
                first_delivery: range.first_delivery,
                count: range.count,
                code,
                next_delivery: 0,
            };
            let settled = Settled { through: settle.sequence, results: vec![result] };
            gateway.send(&ServerFrame::Settled(settled)).await;
        });
        assert_eq!(answer.map_err(|e| e.kind().number()), if code == 0 { Ok(()) } else { Err(code) });
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_subscription_ends_it_behind_its_last_settles() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, numbered(1..=5)).await;
    orders.try_next().await.unwrap().unwrap().ack();
    drop(orders);
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack)]);
    assert_eq!(gateway.confirm().await, [(1, SettleKind::Ack)]);
    assert!(matches!(gateway.next().await, Some(ClientFrame::Unsubscribe(u)) if u.subscription == number));
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscribe_is_the_callers_error() {
    let (mesh, mut gateway, _listener) = connected().await;
    let subscribe = mesh.subscribe("orders").group("g").ack_wait(Duration::from_secs(60));
    let (subscription, ()) = tokio::join!(subscribe.into_future(), async {
        let Some(ClientFrame::Subscribe(frame)) = gateway.next().await else { panic!("no Subscribe") };
        let settings = admin::GroupSettings::decode(&frame.settings[..]).unwrap();
        assert_eq!(settings, admin::GroupSettings { ack_wait_ms: Some(60_000), ..admin::GroupSettings::default() });
        let error = wire::Error {
            code: ErrorKind::GroupConflict.number(),
            message: "ack_wait is 30 s".to_owned(),
            subscription: frame.subscription,
            ..wire::Error::default()
        };
        gateway.send(&ServerFrame::Error(error)).await;
    });
    let error = subscription.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::GroupConflict, "subscribe"));
    assert_eq!(error.context(), [("topic", "orders".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_subscribe_is_told_before_it_is_sent() {
    let (mesh, _gateway, _listener) = connected().await;
    for (subscribe, word) in [
        (mesh.subscribe("a b"), "topic name"),
        (mesh.subscribe("a").group("$g"), "group name"),
        (mesh.subscribe("a").prefetch(0, 1), "prefetch_events"),
        (mesh.subscribe("a").prefetch(1, 1 << 40), "prefetch_bytes"),
        (mesh.subscribe("a").ack_wait(Duration::from_millis(10)), "ack_wait"),
        (mesh.subscribe("a").ack_wait(Duration::from_secs(60)), "name a group"),
        (mesh.subscribe("a").settings(GroupSettings::new().max_failures(1)), "name a group"),
    ] {
        let error = subscribe.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(word), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_subscription_yields_its_reason_and_then_nothing() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, numbered(1..=1)).await;
    let ended = wire::Unsubscribed {
        subscription: number,
        code: ErrorKind::NotFound.number(),
        message: "the topic was deleted".to_owned(),
    };
    gateway.send(&ServerFrame::Unsubscribed(ended)).await;
    orders.try_next().await.unwrap().unwrap().ack();
    let error = orders.try_next().await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "the topic was deleted"));
    assert!(orders.try_next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_resumed_session_goes_on_where_it_was_cut() {
    let (_mesh, mut orders, mut gateway, number, mut listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, numbered(1..=3)).await;
    let first = orders.try_next().await.unwrap().unwrap();
    drop(gateway);
    let (mut gateway, hello) = Gateway::log_in(&mut listener, resumed()).await;
    assert_eq!(hello.held[0].next_delivery, 4);
    first.ack();
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack)]);
    gateway.deliver(number, 4, numbered(4..=4)).await;
    for id in ["2", "3", "4"] {
        let delivery = orders.try_next().await.unwrap().unwrap();
        assert_eq!(delivery.id(), id);
        delivery.ack();
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_an_existing_group_does_not_heed_is_told_with_the_place_where_it_goes_on() {
    logs::keep();
    let (mesh, mut gateway, _listener) = connected().await;
    let mut told = Vec::new();
    for (start, new_group) in [
        (Some(Start::Earliest), true),
        (None, false),
        (Some(Start::Earliest), false),
        (Some(Start::Position(Position::from_number(90))), false),
    ] {
        let mut subscribe = mesh.subscribe("orders").group("g");
        if let Some(start) = start {
            subscribe = subscribe.start(start);
        }
        let (subscription, _) = tokio::join!(subscribe.into_future(), gateway.subscribe_at(7, new_group));
        drop(subscription.unwrap());
        assert!(matches!(gateway.next().await, Some(ClientFrame::Unsubscribe(_))));
        told.push(logs::take(Level::INFO).join("|"));
    }
    let goes_on = |start| format!("group g exists and goes on at position 7; {start} is ignored topic=\"orders\"");
    assert_eq!(told, ["", "", &goes_on("start earliest"), &goes_on("start position 90")]);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_session_a_group_member_does_not_see_what_comes_again_twice() {
    let (mesh, mut orders, mut gateway, number, mut listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, numbered(1..=3)).await;
    let first = orders.try_next().await.unwrap().unwrap();
    drop(gateway);
    let (mut gateway, _) = Gateway::log_in(&mut listener, welcome()).await;
    let again = gateway.subscribe().await.subscription;
    gateway.deliver(again, 1, numbered(1..=3)).await;
    first.ack();
    for id in ["1", "2", "3"] {
        let delivery = orders.try_next().await.unwrap().unwrap();
        assert_eq!(delivery.id(), id);
        delivery.ack();
    }
    assert_eq!(gateway.ranges().await, [(1, 3, SettleKind::Ack)]);
    assert_eq!(mesh.stats().settles_dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_session_a_reader_without_a_group_misses_and_repeats_nothing() {
    let (mesh, mut gateway, mut listener) = connected().await;
    let subscribe = mesh.subscribe("orders").start(Start::Earliest);
    let (orders, frame) = tokio::join!(subscribe.into_future(), gateway.subscribe());
    let mut orders = orders.unwrap();
    gateway.deliver(frame.subscription, 1, numbered(1..=3)).await;
    orders.try_next().await.unwrap().unwrap().ack();
    drop(gateway);
    let (mut gateway, _) = Gateway::log_in(&mut listener, welcome()).await;
    let again = gateway.subscribe().await;
    assert_eq!(again.start.unwrap().at, Some(wire::start::At::Position(4)));
    gateway.deliver_at(again.subscription, 1, 4, numbered(4..=4)).await;
    for id in ["2", "3", "4"] {
        assert_eq!(orders.try_next().await.unwrap().unwrap().id(), id);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_read_is_an_item_of_its_own() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, [bytes::Bytes::from_static(b"\xFF"), event("2", None, "x")]).await;
    let error = orders.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(orders.try_next().await.unwrap().unwrap().id(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_nack_has_its_delay_a_reject_its_reason_and_an_extension_settles_nothing() {
    let (_mesh, mut orders, mut gateway, number, _listener) = subscribed(Some("g"), 256).await;
    gateway.deliver(number, 1, numbered(1..=4)).await;
    let mut next = async || orders.try_next().await.unwrap().unwrap();
    let (first, second, third, fourth) = (next().await, next().await, next().await, next().await);
    first.extend();
    second.nack_after(Duration::from_secs(5));
    third.nack_after(Duration::ZERO);
    fourth.reject("too \u{20ac}xpensive");
    first.ack();
    let told: Vec<_> =
        gateway.settle().await.ranges.into_iter().map(|r| (r.first_delivery, r.kind, r.delay_ms, r.reason)).collect();
    let said = |n, kind, delay: Option<u32>, why: &str| (n, kind, delay, why.to_owned());
    assert_eq!(
        told,
        [
            said(1, SettleKind::Extend, None, ""),
            said(2, SettleKind::Nack, Some(5000), ""),
            said(3, SettleKind::Nack, Some(0), ""),
            said(4, SettleKind::Reject, None, "too \u{20ac}xpensive"),
            said(1, SettleKind::Ack, None, ""),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_time_is_a_start() {
    let (mesh, mut gateway, _listener) = connected().await;
    let time = std::time::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_999);
    let begun = mesh.subscribe("orders").start(time);
    let (subscription, frame) = tokio::join!(begun.into_future(), gateway.subscribe());
    assert_eq!(frame.start.unwrap().at, Some(wire::start::At::TimeUnixMs(1_700_000_000_123)));
    drop(subscription);
    let before = std::time::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(Start::from(before), Start::Time(meshwire::UnixMillis(-1000)));
}
