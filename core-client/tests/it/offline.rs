//! Publishes that wait for a gateway.

use std::time::Duration;

use meshwire::{Connect, ErrorKind, Event, MemoryListener, MemoryTransport, Mesh, Offline, Retry, State};
use meshwire_proto::frame::Receipt;
use meshwire_proto::wire::session::Welcome;
use meshwire_proto::{EventLimits, EventView};
use tokio::time::{Instant, sleep, timeout};

use crate::script::{Gateway, resumed, welcome};

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn event(n: u64) -> Event {
    Event::text("test", n.to_string()).id(n.to_string())
}

/// A client that has no gateway yet, and where one may come.
async fn away(offline: Offline) -> (Mesh, MemoryListener) {
    away_with(offline, |connect| connect).await
}

async fn away_with(offline: Offline, options: impl FnOnce(Connect) -> Connect) -> (Mesh, MemoryListener) {
    let (transport, listener) = MemoryTransport::new();
    let mesh = options(Connect::memory(transport).name("test").offline(offline)).await.unwrap();
    assert_eq!(*mesh.state().borrow(), State::Disconnected);
    (mesh, listener)
}

/// A gateway comes: takes the first connection that was not given up already.
pub(crate) async fn comes(listener: &mut MemoryListener, welcome: Welcome) -> Gateway {
    while timeout(Duration::from_millis(1), listener.accept()).await.is_ok() {}
    Gateway::log_in(listener, welcome).await.0
}

/// Reads and keeps `count` publishes; gives their sequences and ids in the order they came.
pub(crate) async fn keep(gateway: &mut Gateway, count: usize) -> Vec<(u64, String)> {
    let mut came = Vec::new();
    while came.len() < count {
        for run in gateway.publish().await.runs {
            let first = run.first_sequence;
            for (sequence, event) in (first..).zip(run.events.iter()) {
                let id = EventView::parse(&event, EventLimits::default()).unwrap().id().to_owned();
                came.push((sequence, id));
            }
            gateway.keep(first, run.events.count(), first).await;
        }
    }
    came
}

fn numbered(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, String)> {
    numbers.into_iter().map(|n| (n, n.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_close_gives_events_in_memory_thirty_seconds_for_a_gateway_to_come_and_a_drain_what_it_says() {
    let within = |seconds| Some(Duration::from_secs(seconds));
    for (deadline, took) in [(None, 30), (within(3), 3), (within(0), 0)] {
        let (mesh, listener) = away(Offline::new()).await;
        drop(listener);
        let pending = mesh.publish_start("orders", event(1)).await.unwrap();
        let began = Instant::now();
        let ended = match deadline {
            None => mesh.close().await,
            Some(deadline) => mesh.drain(deadline).await,
        };
        assert_eq!((ended.unwrap_err().kind(), began.elapsed().as_secs()), (ErrorKind::Timeout, took));
        assert_eq!(pending.await.unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_there_without_a_gateway_and_what_it_published_arrives_in_order_when_one_comes() {
    let (mesh, mut listener) = away(Offline::new()).await;
    let mut pending = Vec::new();
    for n in 1..=1000 {
        pending.push(mesh.publish_start("orders", event(n)).await.unwrap());
    }
    sleep(10 * MINUTE).await;
    let stats = mesh.stats();
    assert_eq!((stats.buffered, stats.pending), (1000, 1000));
    assert!(stats.buffered_bytes > 1000 * 10, "{stats:?}");
    let gateway = async {
        let mut gateway = comes(&mut listener, welcome()).await;
        keep(&mut gateway, 1000).await
    };
    let (came, connected) = tokio::join!(gateway, mesh.connected());
    connected.unwrap();
    assert_eq!(came, numbered(1..=1000));
    for pending in pending {
        pending.await.unwrap();
    }
    assert_eq!((mesh.stats().buffered, mesh.stats().buffered_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn after_a_link_was_cut_for_ten_minutes_everything_arrives_in_order() {
    let (mesh, mut listener) = away(Offline::new()).await;
    let mut gateway = comes(&mut listener, welcome()).await;
    let first = mesh.publish_start("orders", event(1)).await.unwrap();
    gateway.publishes(1).await;
    // The link is cut before the receipt, for ten minutes, while the program goes on.
    drop(gateway);
    let mut pending = vec![first];
    for n in 2..=601 {
        sleep(Duration::from_secs(1)).await;
        pending.push(mesh.publish_start("orders", event(n)).await.unwrap());
    }
    assert_eq!(mesh.stats().buffered, 601);
    let mut gateway = comes(&mut listener, resumed()).await;
    assert_eq!(keep(&mut gateway, 601).await, numbered(1..=601));
    for pending in pending {
        pending.await.unwrap();
    }
    assert_eq!((mesh.stats().replays, mesh.stats().buffered), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_is_an_error_while_there_is_no_gateway_and_a_wait_while_there_is_one() {
    let (mesh, mut listener) = away(Offline::new().max_bytes(65_536)).await;
    let large = || Event::text("test", "x".repeat(30_000));
    let pending = [(); 2].map(|()| mesh.try_publish("orders", large()).unwrap());
    for error in [
        mesh.try_publish("orders", large()).unwrap_err(),
        mesh.publish_start("orders", large()).await.unwrap_err(),
        mesh.publish("orders", large()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::BufferFull);
        assert!(error.message().contains("offline_max_bytes") && error.retryable(), "{error}");
    }
    let mut gateway = comes(&mut listener, welcome()).await;
    mesh.connected().await.unwrap();
    let waits = mesh.publish_start("orders", large());
    let (third, ()) = tokio::join!(waits, async {
        gateway.publishes(2).await;
        gateway.keep(1, 2, 1).await;
    });
    drop((third.unwrap(), pending));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_told_when_the_gateway_goes() {
    let (mesh, mut listener) = away(Offline::new().max_bytes(65_536)).await;
    let gateway = comes(&mut listener, welcome()).await;
    mesh.connected().await.unwrap();
    let large = || Event::text("test", "x".repeat(40_000));
    drop(mesh.publish_start("orders", large()).await.unwrap());
    let waiting = mesh.clone();
    let waiting = tokio::spawn(async move { waiting.publish_start("orders", large()).await });
    sleep(MINUTE / 60).await;
    assert!(!waiting.is_finished());
    drop(gateway);
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::BufferFull);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_too_long_fails_and_those_behind_it_are_published() {
    let (mesh, mut listener) = away(Offline::new().max_age(2 * MINUTE)).await;
    let began = Instant::now();
    let old = mesh.publish_start("orders", event(1)).await.unwrap();
    sleep(MINUTE).await;
    let young = mesh.publish_start("orders", event(2)).await.unwrap();
    let error = old.await.unwrap_err();
    assert!((120_000..120_010).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Now), "nothing of it ever left");
    assert!(error.message().contains("offline_max_age"), "{error}");
    let mut gateway = comes(&mut listener, welcome()).await;
    assert_eq!(keep(&mut gateway, 1).await, numbered([2]));
    young.await.unwrap();
    assert_eq!(mesh.stats().given_up, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_and_then_waits_too_long_fails_with_unknown_outcome() {
    let (mesh, mut listener) = away(Offline::new().max_age(MINUTE)).await;
    let mut gateway = comes(&mut listener, welcome()).await;
    let pending = mesh.publish_start("orders", event(1)).await.unwrap();
    gateway.publishes(1).await;
    drop(gateway);
    let error = pending.await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::UnknownOutcome));
}

#[tokio::test(start_paused = true)]
async fn a_plain_publish_waits_for_its_receipt_until_its_deadline_and_is_published_all_the_same() {
    let (mesh, mut listener) = away_with(Offline::new(), |c| c.publish_timeout(MINUTE)).await;
    let began = Instant::now();
    let error = mesh.publish("orders", event(1)).await.unwrap_err();
    assert_eq!(began.elapsed(), MINUTE);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::UnknownOutcome));
    let mut gateway = comes(&mut listener, welcome()).await;
    assert_eq!(keep(&mut gateway, 1).await, numbered([1]));
}

#[tokio::test(start_paused = true)]
async fn what_a_busy_gateway_refuses_is_sent_again_in_order_when_it_says() {
    let (mesh, mut listener) = away(Offline::new()).await;
    let mut pending = Vec::new();
    for n in 1..=3 {
        pending.push(mesh.publish_start("orders", event(n)).await.unwrap());
    }
    let mut gateway = comes(&mut listener, welcome()).await;
    gateway.publishes(3).await;
    let began = Instant::now();
    gateway.keep(1, 1, 1).await;
    let busy = Receipt {
        first_sequence: 2,
        count: 2,
        code: ErrorKind::Busy.number(),
        retry_after_ms: 5000,
        ..Receipt::default()
    };
    gateway.receipt(busy).await;
    assert_eq!(keep(&mut gateway, 2).await, numbered([2, 3]));
    assert!((5000..=7600).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    for pending in pending {
        pending.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_no_frame_of_the_gateway_holds_is_refused_and_the_others_are_published() {
    let (mesh, mut listener) = away(Offline::new()).await;
    let large = mesh.publish_start("orders", Event::text("test", "x".repeat(300_000))).await.unwrap();
    let small = mesh.publish_start("orders", event(2)).await.unwrap();
    let small_frames = Welcome { max_frame_bytes: 262_144, ..welcome() };
    let mut gateway = comes(&mut listener, small_frames).await;
    assert_eq!(keep(&mut gateway, 1).await, numbered([2]));
    let error = large.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    small.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn options_out_of_bounds_are_refused_by_name() {
    let connect = |offline| Connect::memory(MemoryTransport::new().0).offline(offline);
    for (offline, name) in [
        (Offline::new().max_bytes(1), "offline_max_bytes"),
        (Offline::new().max_age(Duration::ZERO), "offline_max_age"),
    ] {
        let error = connect(offline).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(name), "{error}");
    }
}
