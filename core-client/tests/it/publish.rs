use std::future::IntoFuture;
use std::time::Duration;

use meshwire::{Connect, ErrorKind, Event, MemoryTransport, Position, Receipt};
use meshwire_proto::frame::{Receipt as Range, ServerFrame};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{EventLimits, EventView};
use tokio::time::timeout;
use tracing::Level;

use crate::logs;
use crate::script::{Gateway, connected, connected_with, welcome};

fn events(count: usize) -> impl Iterator<Item = Event> {
    (0..count).map(|n| Event::text("test", format!("event {n}")))
}

#[tokio::test(start_paused = true)]
async fn a_publish_answers_with_the_position_of_its_receipt() {
    let (mesh, mut gateway, _listener) = connected().await;
    let publish = mesh.publish("orders", Event::text("order.created", "hello"));
    let (receipt, ()) = tokio::join!(publish, async {
        let publish = gateway.publish().await;
        assert_eq!((publish.runs[0].topic.as_str(), publish.runs[0].first_sequence), ("orders", 1));
        gateway.keep(1, 1, 77).await;
    });
    let receipt: Receipt = receipt.unwrap();
    assert_eq!((receipt.position, receipt.duplicate), (Some(Position::from_number(77)), false));
}

#[tokio::test(start_paused = true)]
async fn absent_attributes_are_filled_in_and_given_ones_kept() {
    let (mesh, mut gateway, _listener) = connected().await;
    let absent = mesh.publish_start("orders", Event::default()).await.unwrap();
    let given = Event::new("order.created").id("1").source("//me").time(meshwire::UnixMillis(5));
    let given = mesh.publish_start("orders", given).await.unwrap();
    let publish = gateway.publish().await;
    let events: Vec<_> = publish.runs.iter().flat_map(|r| r.events.iter().collect::<Vec<_>>()).collect();
    let view = EventView::parse(&events[0], EventLimits::default()).unwrap();
    assert_eq!((view.kind(), view.id().len()), ("orders", 36));
    assert!(view.source().starts_with("//") && view.source().ends_with("/test"), "{}", view.source());
    assert!(view.attribute("time").is_some());
    let view = EventView::parse(&events[1], EventLimits::default()).unwrap();
    assert_eq!((view.kind(), view.id(), view.source()), ("order.created", "1", "//me"));
    assert_eq!(view.attribute("time").unwrap().to_string(), "1970-01-01T00:00:00.005Z");
    drop((absent, given));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_set_to_nothing_is_refused_and_nothing_is_sent() {
    let (mesh, _gateway, _listener) = connected().await;
    for event in [Event::text("t", "x").id(""), Event::text("t", "x").source("")] {
        let error = mesh.publish("orders", event).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("is empty; leave it out instead"), "{error}");
    }
    assert_eq!(mesh.stats().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn many_concurrent_publishes_travel_as_few_frames() {
    let (mesh, mut gateway, _listener) = connected().await;
    let tasks: Vec<_> = events(1000)
        .map(|event| {
            let mesh = mesh.clone();
            tokio::spawn(async move { mesh.publish("orders", event).await })
        })
        .collect();
    let frames = gateway.publishes(1000).await;
    assert!(frames <= 20, "{frames} frames");
    gateway.keep(1, 1000, 1).await;
    let mut positions = Vec::new();
    for task in tasks {
        positions.push(task.await.unwrap().unwrap().position.unwrap().number());
    }
    positions.sort_unstable();
    assert_eq!(positions, (1..=1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_full_window_is_an_error_for_one_form_and_a_wait_for_the_other() {
    let (mesh, mut gateway, _listener) = connected_with(|c| c.publish_window(3, 1 << 20)).await;
    let mut pending = Vec::new();
    for event in events(3) {
        pending.push(mesh.try_publish("orders", event).unwrap());
    }
    let error = mesh.try_publish("orders", Event::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert!(error.message().contains("publish_window") && error.retryable(), "{error}");
    let waiting = mesh.publish_start("orders", Event::default());
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err());
    gateway.publishes(3).await;
    gateway.keep(1, 1, 1).await;
    drop(waiting.await.unwrap());
    assert_eq!(mesh.stats().pending, 3);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_for_room_passes_the_room_on() {
    let (mesh, mut gateway, _listener) = connected_with(|c| c.publish_window(1, 1 << 20)).await;
    let first = mesh.try_publish("orders", Event::default()).unwrap();
    let spawn =
        |mesh: meshwire::Mesh| tokio::spawn(async move { mesh.publish_start("orders", Event::default()).await });
    let (cancelled, waiting) = (spawn(mesh.clone()), spawn(mesh.clone()));
    gateway.publishes(1).await;
    cancelled.abort();
    gateway.keep(1, 1, 1).await;
    first.await.unwrap();
    let second = waiting.await.unwrap().unwrap();
    gateway.publishes(1).await;
    gateway.keep(2, 1, 2).await;
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_gives_one_result_an_event_and_one_bad_event_fails_alone() {
    let (mesh, mut gateway, _listener) = connected().await;
    let bad = Event::default().attribute("UPPER", "case");
    let batch = vec![Event::default(), bad, Event::default(), Event::default()];
    let (results, ()) = tokio::join!(mesh.publish_batch("orders", batch), async {
        gateway.publishes(3).await;
        gateway.keep(1, 2, 1).await;
        let full = Range {
            first_sequence: 3,
            count: 1,
            code: ErrorKind::DiskFull.number(),
            message: "topic old holds the oldest segment".to_owned(),
            ..Range::default()
        };
        gateway.receipt(full).await;
    });
    let kinds: Vec<_> = results.iter().map(|r| r.as_ref().map_err(|e| e.kind()).map(|_| ())).collect();
    assert_eq!(kinds, [Ok(()), Err(ErrorKind::Invalid), Ok(()), Err(ErrorKind::DiskFull)]);
    let full = results[3].as_ref().unwrap_err();
    assert_eq!(full.context(), [("topic", "orders".to_owned()), ("index", "3".to_owned())]);
    assert!(full.message().contains("topic old"), "{full}");
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_every_answer_and_tells_failures_that_nobody_awaits() {
    let (mesh, mut gateway, _listener) = connected().await;
    mesh.flush().await.unwrap();
    for event in events(10) {
        drop(mesh.publish_start("orders", event).await.unwrap());
    }
    let flush = mesh.flush();
    tokio::pin!(flush);
    gateway.publishes(10).await;
    assert!(timeout(Duration::from_secs(1), &mut flush).await.is_err());
    gateway.keep(1, 8, 1).await;
    assert!(timeout(Duration::from_secs(1), &mut flush).await.is_err());
    gateway.receipt(Range { first_sequence: 9, count: 2, code: ErrorKind::Busy.number(), ..Range::default() }).await;
    let error = flush.await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Busy, "flush"));
    assert_eq!(error.context(), [("failed_publishes", "2".to_owned())]);
    mesh.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_says_which_publishes_failed_that_nobody_asked_for() {
    logs::keep();
    let (mesh, mut gateway, _listener) = connected().await;
    for event in events(3) {
        drop(mesh.publish_start("orders", event).await.unwrap());
    }
    gateway.publishes(3).await;
    let refused = Range { first_sequence: 1, count: 2, code: ErrorKind::Denied.number(), ..Range::default() };
    gateway.receipt(refused).await;
    gateway.keep(3, 1, 1).await;
    let (closed, ()) = tokio::join!(mesh.close(), async { while gateway.next().await.is_some() {} });
    closed.unwrap();
    let told = logs::take(Level::WARN);
    assert!(
        matches!(&*told, [one] if one.contains("receipts nobody waited for") && one.contains("count=2") && one.contains("DENIED")),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn bad_topics_and_too_large_events_are_refused_before_they_are_sent() {
    let (mesh, mut gateway, _listener) = connected().await;
    let error = mesh.publish("no topic", Event::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("1 to 120 bytes"), "{error}");
    for wrong in ["", "a\0b"] {
        let error = mesh.publish(wrong, Event::default()).await.unwrap_err();
        assert!(error.message().starts_with("topic name"), "{error}");
    }
    let huge = Event::bytes("test", vec![0; 9 << 20]);
    let error = mesh.publish("orders", huge).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("max_frame_bytes"), "{error}");
    let good = mesh.publish_start("orders", Event::default()).await.unwrap();
    assert_eq!(gateway.publish().await.runs[0].first_sequence, 1);
    drop(good);
}

#[tokio::test(start_paused = true)]
async fn unanswered_publishes_are_replayed_on_the_next_connection_and_answered_there() {
    let (mesh, mut gateway, mut listener) = connected().await;
    let mut pending = Vec::new();
    for event in events(100) {
        pending.push(mesh.publish_start("orders", event).await.unwrap());
    }
    gateway.publishes(100).await;
    gateway.keep(1, 40, 1).await;
    for receipt in pending.drain(..40) {
        receipt.await.unwrap();
    }
    drop(gateway);
    let welcome = meshwire_proto::wire::session::Welcome { kept_through: 70, ..welcome() };
    let (mut gateway, hello) = Gateway::log_in(&mut listener, welcome).await;
    assert_eq!(hello.first_unanswered, 41);
    let publish = gateway.publish().await;
    assert_eq!((publish.runs[0].first_sequence, publish.runs[0].events.count()), (71, 30));
    gateway.keep(71, 30, 71).await;
    for (index, receipt) in pending.into_iter().enumerate() {
        assert_eq!(receipt.await.unwrap().position.is_some(), index >= 30);
    }
    assert_eq!((mesh.stats().replays, mesh.stats().pending), (30, 0));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_read_cannot_stop_the_client_from_reading() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (subscription, subscribe) = tokio::join!(mesh.subscribe("orders").into_future(), gateway.subscribe());
    let mut subscription = subscription.unwrap();
    // More than the pipe and the client's write buffer hold.
    let pending: Vec<_> =
        (0..64).map(|_| mesh.try_publish("orders", Event::bytes("test", vec![0; 64 << 10])).unwrap()).collect();
    for number in 1..=100 {
        gateway.deliver(subscribe.subscription, number, [crate::script::event("1", None, "data")]).await;
        subscription.try_next().await.unwrap().unwrap().ack();
    }
    drop(pending);
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_later_is_told_by_the_gateways_clock_beside_the_event() {
    for ahead in [0, -3_600_000, 3_600_000] {
        let (transport, mut listener) = MemoryTransport::new();
        let (mesh, mut gateway) = tokio::join!(Connect::memory(transport).name("test"), async {
            let mut gateway = Gateway::accept(&mut listener).await;
            gateway.hello().await;
            let told = wire::Welcome { gateway_time_unix_ms: now_ms() + ahead, ..welcome() };
            gateway.send(&ServerFrame::Welcome(told)).await;
            gateway
        });
        let mesh = mesh.unwrap();
        let before = now_ms();
        let due = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        drop(mesh.publish_start("orders", Event::new("t").deliver_after(Duration::from_secs(60))).await.unwrap());
        drop(mesh.try_publish("orders", Event::new("t").deliver_at(due).expires_in(Duration::from_secs(5))).unwrap());
        drop(mesh.publish_start("orders", Event::new("t")).await.unwrap());
        let runs = gateway.publish().await.runs;
        let times: Vec<_> = runs.iter().map(|r| (r.deliver_at_ms, r.expires_in_ms)).collect();
        assert_eq!(times[1..], [(4_000_000_000_000, 5000), (0, 0)], "as it was said");
        // Not less than the delay, and more by no more than the login took.
        let delay = times[0].0 - ahead - before;
        assert!((60_000..70_000).contains(&delay) && times[0].1 == 0, "{delay} with a clock {ahead} ms ahead");
    }
}
