use std::future::IntoFuture;
use std::time::Duration;

use meshwire::{ErrorKind, Event, Retry, State};
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::session as wire;
use tokio::time::{Instant, timeout};
use tracing::Level;

use crate::logs;
use crate::script::{connected, event};

#[tokio::test(start_paused = true)]
async fn close_waits_for_receipts_and_says_goodbye() {
    let (mesh, mut gateway, _listener) = connected().await;
    let pending = mesh.publish_start("orders", Event::default()).await.unwrap();
    let closing = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.close().await }
    });
    gateway.publish().await;
    gateway.keep(1, 1, 1).await;
    assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
    assert!(gateway.next().await.is_none());
    closing.await.unwrap().unwrap();
    pending.await.unwrap();
    mesh.state().wait_for(|s| *s == State::Closed).await.unwrap();
    assert_eq!(mesh.publish("orders", Event::default()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(mesh.subscribe("orders").await.unwrap_err().kind(), ErrorKind::Closed);
    mesh.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drain_lets_what_was_handed_out_be_settled_and_hands_out_nothing_more() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (orders, frame) = tokio::join!(mesh.subscribe("orders").group("g").into_future(), gateway.subscribe());
    let mut orders = orders.unwrap();
    gateway.deliver(frame.subscription, 1, ["1", "2", "3"].map(|id| event(id, None, "x"))).await;
    let first = orders.try_next().await.unwrap().unwrap();
    let draining = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.drain(Duration::from_secs(10)).await }
    });
    assert!(matches!(gateway.next().await, Some(ClientFrame::Credit(c)) if c.max_events == 0));
    assert!(orders.try_next().await.unwrap().is_none());
    assert!(!draining.is_finished());
    first.ack();
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack)]);
    gateway.settled(1).await;
    // Processed is not kept: the drain asks for that.
    assert_eq!(gateway.confirm().await, [(1, SettleKind::Ack)]);
    assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
    draining.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_deliveries_that_the_program_was_never_handed() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (orders, frame) = tokio::join!(mesh.subscribe("orders").group("g").into_future(), gateway.subscribe());
    let mut orders = orders.unwrap();
    gateway.deliver(frame.subscription, 1, ["1", "2", "3"].map(|id| event(id, None, "x"))).await;
    orders.try_next().await.unwrap().unwrap().ack();
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack)]);
    gateway.settled(1).await;
    let started = Instant::now();
    let closing = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.close().await }
    });
    assert!(matches!(gateway.next().await, Some(ClientFrame::Credit(c)) if c.max_events == 0));
    // The two others are in the stream, which nobody reads any more; the goodbye gives them back.
    assert_eq!(gateway.confirm().await, [(1, SettleKind::Ack)]);
    assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
    drop(gateway);
    closing.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(orders.try_next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn close_is_over_only_when_the_gateway_has_heard_the_goodbye() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (orders, frame) = tokio::join!(mesh.subscribe("orders").group("g").into_future(), gateway.subscribe());
    gateway.deliver(frame.subscription, 1, [event("1", None, "x")]).await;
    let mut orders = orders.unwrap();
    let held = orders.try_next().await.unwrap();
    drop(orders);
    drop(held);
    let closing = tokio::spawn(async move { mesh.close().await });
    assert!(matches!(gateway.next().await, Some(ClientFrame::Unsubscribe(_))));
    assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
    assert!(gateway.next().await.is_none());
    assert!(!closing.is_finished(), "the gateway has not hung up yet");
    drop(gateway);
    closing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flush_during_a_drain_still_waits_for_the_answers() {
    let (mesh, mut gateway, _listener) = connected().await;
    let pending = mesh.publish_start("orders", Event::default()).await.unwrap();
    let draining = mesh.drain(Duration::from_secs(10));
    let flushing = async {
        // The drain has begun.
        mesh.state().wait_for(|s| *s == State::Draining).await.unwrap();
        let early = timeout(Duration::from_secs(1), mesh.flush()).await;
        assert!(early.is_err());
        gateway.publish().await;
        gateway.keep(1, 1, 1).await;
        mesh.flush().await.unwrap();
    };
    let (drained, ()) = tokio::join!(draining, flushing);
    drained.unwrap();
    pending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_not_done_by_its_deadline_says_what_was_left() {
    let (mesh, mut gateway, _listener) = connected().await;
    let pending = mesh.publish_start("orders", Event::default()).await.unwrap();
    let started = Instant::now();
    let error = mesh.drain(Duration::from_secs(3)).await.unwrap_err();
    // The goodbye of a gateway that does not answer takes one more.
    assert_eq!(started.elapsed().as_secs(), 4);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("1 publishes"), "{error}");
    let error = pending.await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Closed, Retry::UnknownOutcome));
    gateway.publish().await;
    assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_still_sends_what_was_published() {
    let (mesh, mut gateway, _listener) = connected().await;
    let pending = mesh.publish_start("orders", Event::default()).await.unwrap();
    drop(mesh);
    gateway.publish().await;
    gateway.keep(1, 1, 9).await;
    assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
    assert_eq!(pending.await.unwrap().position.unwrap().number(), 9);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_of_an_idle_client_ends_it_at_once() {
    let (mesh, mut gateway, _listener) = connected().await;
    drop(mesh);
    assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
    assert!(timeout(Duration::from_secs(2), gateway.next()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_keeps_its_client_alive() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (orders, frame) = tokio::join!(mesh.subscribe("orders").into_future(), gateway.subscribe());
    let mut orders = orders.unwrap();
    drop(mesh);
    gateway.deliver(frame.subscription, 1, [event("1", None, "x")]).await;
    orders.try_next().await.unwrap().unwrap().ack();
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack)]);
}

#[test]
fn a_runtime_that_goes_away_leaves_nobody_waiting() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (mesh, pending) = first.block_on(async {
        let (mesh, gateway, _listener) = connected().await;
        let pending = mesh.publish_start("orders", Event::default()).await.unwrap();
        drop(gateway);
        (mesh, pending)
    });
    drop(first);
    let second = runtime();
    second.block_on(async {
        let error = pending.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.message().contains("runtime"), "{error}");
        assert_eq!(mesh.publish("orders", Event::default()).await.unwrap_err().kind(), ErrorKind::Closed);
        mesh.flush().await.unwrap();
        mesh.close().await.unwrap();
    });
}

#[test]
fn a_runtime_that_goes_away_says_how_many_publishes_had_no_receipt_and_what_to_call() {
    logs::keep();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // As a `main` that returns under #[tokio::main].
    let _gateway = runtime.block_on(async {
        let (mesh, gateway, listener) = connected().await;
        for _ in 0..3 {
            drop(mesh.publish_start("orders", Event::default()).await.unwrap());
        }
        (gateway, listener)
    });
    drop(runtime);
    let told = logs::take(Level::WARN);
    let last = told.last().unwrap();
    assert!(last.contains("Call flush or close before main returns") && last.ends_with("unanswered=3"), "{told:?}");
}

#[test]
fn a_runtime_that_goes_away_gives_back_what_was_held_at_once() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (sender, gateway) = std::sync::mpsc::sync_channel(1);
    let program = async move {
        let (mesh, mut gateway, listener) = connected().await;
        let (orders, frame) = tokio::join!(mesh.subscribe("orders").group("g").into_future(), gateway.subscribe());
        let mut orders = orders.unwrap();
        gateway.deliver(frame.subscription, 1, ["1", "2"].map(|id| event(id, None, "x"))).await;
        orders.try_next().await.unwrap().unwrap().ack();
        let _held = orders.try_next().await.unwrap().unwrap();
        sender.send((gateway, listener)).unwrap();
        panic!("a defect of the program");
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.block_on(program))).unwrap_err();
    drop(first);
    let (mut gateway, _listener) = gateway.recv().unwrap();
    runtime().block_on(async {
        let ranges = gateway.ranges().await;
        // What the panic dropped has failed.
        assert_eq!(ranges, [(1, 1, SettleKind::Ack), (2, 1, SettleKind::Nack)], "what was done stays done");
        let mut last = Vec::new();
        while let Some(frame) = gateway.next().await {
            last.push(frame);
        }
        let [.., ClientFrame::Unsubscribe(_), ClientFrame::Goodbye(_)] = &last[..] else {
            panic!("{last:?}");
        };
    });
}

#[tokio::test(start_paused = true)]
async fn why_a_gateway_ends_a_client_is_heard_though_something_was_to_be_written() {
    let (mesh, mut gateway, _listener) = connected().await;
    let kind = ErrorKind::ProducerFenced;
    let (code, message) = (kind.number(), "another one".to_owned());
    gateway.send(&ServerFrame::Error(wire::Error { code, message, fatal: true, ..wire::Error::default() })).await;
    drop(gateway);
    // The client has not run since.
    let pending = mesh.publish_start("orders", Event::default()).await.unwrap();
    let error = timeout(Duration::from_secs(60), pending).await.expect("it does not connect again").unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_word_on_a_settlement_is_told_when_the_client_ends_or_has_ended() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (orders, frame) = tokio::join!(mesh.subscribe("orders").group("g").into_future(), gateway.subscribe());
    let mut orders = orders.unwrap();
    gateway.deliver(frame.subscription, 1, ["1", "2", "3"].map(|id| event(id, None, "x"))).await;
    let first = orders.try_next().await.unwrap().unwrap();
    let second = orders.try_next().await.unwrap().unwrap();
    let third = orders.try_next().await.unwrap().unwrap();
    let waiting = tokio::spawn(first.ack_confirmed());
    mesh.drain(Duration::from_millis(50)).await.unwrap_err();
    let told = timeout(Duration::from_secs(60), waiting).await.expect("an answer");
    assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    second.extend_confirmed().await.unwrap_err();
    let late = timeout(Duration::from_secs(60), third.ack_confirmed()).await.expect("an answer");
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
}
