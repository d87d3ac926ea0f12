//! Publishes that nobody waits for one by one.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{Ask, Client, ErrorKind, Event, Outcome, Queue, Retry, Room};

use crate::rig::{begin_publish, connected, deliveries, one, options, publish, subscribed, taken, texts};

const MANY: u64 = 5_000;

#[test]
fn more_than_fit_the_window_keep_their_order_and_each_has_its_receipt() {
    let gateway = Gateway::start().unwrap();
    let client = Client::connect(&options(&[("url", &gateway.url()), ("publish_window_events", "7")])).unwrap();
    let queue = Queue::new(1 << 20).unwrap();
    for tag in 0..MANY {
        begin_publish(&client, "orders", &tag.to_string(), &queue, tag).unwrap();
    }
    client.wait(Ask::Flush).unwrap();
    let mut tags: Vec<_> = taken(&queue, usize::try_from(MANY).unwrap())
        .into_iter()
        .map(|done| {
            assert!(matches!(&done.result, Ok(Outcome::Receipt(receipt)) if receipt.position.is_some()), "{done:?}");
            done.tag
        })
        .collect();
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..MANY));
    let orders = subscribed(&client, "orders", &[("group", "g"), ("prefetch_events", "10000")]);
    let mut seen = Vec::new();
    while seen.len() < 5_000 {
        seen.extend(texts(&deliveries(orders.next_batch(4096, None).unwrap())));
    }
    assert!(seen.into_iter().eq((0..MANY).map(|tag| tag.to_string())));
}

#[test]
fn a_client_that_is_closed_sends_what_waits_for_room_first() {
    let gateway = Gateway::start().unwrap();
    for deadline in [None, Some(Duration::from_secs(20))] {
        let client = Client::connect(&options(&[("url", &gateway.url()), ("publish_window_events", "2")])).unwrap();
        let queue = Queue::new(2_000).unwrap();
        for tag in 0..1_000 {
            begin_publish(&client, "orders", "x", &queue, tag).unwrap();
        }
        client.wait(Ask::Drain { deadline }).unwrap();
        assert!(taken(&queue, 1_000).into_iter().all(|done| done.result.is_ok()));
        let late = begin_publish(&client, "orders", "x", &queue, 1).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Closed);
    }
}

#[test]
fn who_does_not_wait_for_room_is_told_that_there_is_none_and_nothing_is_published() {
    let queue = Queue::new(8).unwrap();
    let gateway = Gateway::start().unwrap();
    let client = Client::connect(&options(&[("url", &gateway.url()), ("publish_window_events", "1")])).unwrap();
    gateway.kill();
    let now = |tag| client.begin_publish("orders", Event::text("t", "x"), Room::Now, &queue, tag);
    now(1).unwrap();
    let full = now(2).unwrap_err();
    assert_eq!((full.kind(), full.operation()), (ErrorKind::BufferFull, "publish"));
    begin_publish(&client, "orders", "x", &queue, 3).unwrap();
    assert_eq!(now(4).unwrap_err().kind(), ErrorKind::BufferFull, "one waits already");
    assert_eq!((queue.begun(), client.stats().unwrap().pending), (2, 1));
}

#[test]
fn what_waits_for_room_is_counted_and_may_do_so_beyond_the_publish_timeout() {
    let queue = Queue::new(8).unwrap();
    let gateway = Gateway::start().unwrap();
    let short = [("url", &*gateway.url()), ("publish_window_events", "1"), ("publish_timeout", "50ms")];
    let client = Client::connect(&options(&short)).unwrap();
    let begin = |room, tag| client.begin_publish("orders", Event::text("t", "x"), room, &queue, tag).unwrap();
    begin(Room::Soon, 0);
    assert!(taken(&queue, 1).remove(0).result.is_ok());
    assert_eq!(client.waiting_publishes().unwrap(), 0);
    gateway.kill();
    for tag in [1, 2, 3] {
        begin(Room::Soon, tag);
    }
    assert_eq!(client.waiting_publishes().unwrap(), 2, "one has room");
    let mut done = Vec::new();
    queue.take(8, Some(std::time::Duration::from_millis(200)), &mut done).unwrap();
    assert!(done.is_empty(), "the option holds for who waits for the receipt: {done:?}");
    assert_eq!(client.waiting_publishes().unwrap(), 2);
}

#[test]
fn what_is_wrong_with_an_event_is_said_at_once_and_takes_no_place() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(1).unwrap();
    for (topic, event) in
        [("no topic!", Event::text("t", "x")), ("orders", Event::text("t", "x").attribute("Bad", "x"))]
    {
        for room in [Room::Wait, Room::Now, Room::Soon] {
            let error = client.begin_publish(topic, event.clone(), room, &queue, 1).unwrap_err();
            assert_eq!((error.kind(), error.operation(), queue.begun()), (ErrorKind::Invalid, "publish", 0));
        }
    }
}

#[test]
fn a_publish_timeout_holds_for_what_waits_for_room_too_and_order_is_kept_under_it() {
    let queue = Queue::new(2_000).unwrap();
    let gateway = Gateway::start().unwrap();
    let short = [("url", &*gateway.url()), ("publish_window_events", "1"), ("publish_timeout", "50ms")];
    let client = Client::connect(&options(&short)).unwrap();
    gateway.kill();
    for tag in [1, 2] {
        begin_publish(&client, "orders", "x", &queue, tag).unwrap();
    }
    for done in taken(&queue, 2) {
        let error = done.result.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::UnknownOutcome), "{error}");
    }
    let gateway = Gateway::start().unwrap();
    let timed = [("url", &*gateway.url()), ("publish_timeout", "20s"), ("publish_window_events", "16")];
    let client = Client::connect(&options(&timed)).unwrap();
    for tag in 0..1_000 {
        begin_publish(&client, "orders", &tag.to_string(), &queue, tag).unwrap();
    }
    assert!(taken(&queue, 1_000).into_iter().all(|done| done.result.is_ok()));
    let orders = subscribed(&client, "orders", &[("group", "g"), ("prefetch_events", "10000")]);
    let mut seen = Vec::new();
    while seen.len() < 1_000 {
        seen.extend(texts(&deliveries(orders.next_batch(4096, None).unwrap())));
    }
    assert!(seen.into_iter().eq((0..1_000).map(|tag| tag.to_string())));
}

#[test]
fn with_an_offline_file_a_publish_is_started_when_it_is_there_and_its_receipt_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offline");
    let away = |url: &str| {
        let said = [("url", url), ("publish_offline", "buffer"), ("offline_file", file.to_str().unwrap())];
        Client::connect(&options(&said)).unwrap()
    };
    let queue = Queue::new(8).unwrap();
    let client = away("tcp://127.0.0.1:1");
    let event = || Box::new(Event::text("t", "kept").into());
    let ask = Ask::PublishStart { topic: "orders".to_owned(), event: event() };
    let Outcome::Started(started) = client.wait(ask).unwrap() else { panic!("not started") };
    started.begin_receipt(&queue, 9).unwrap();
    let unsupported = client.begin_publish("orders", Event::text("t", "x"), Room::Now, &queue, 1).unwrap_err();
    assert_eq!(unsupported.kind(), ErrorKind::Unsupported);
    begin_publish(&client, "orders", "also kept", &queue, 10).unwrap();
    // It ends at once: they stay in the file.
    client.wait(Ask::Drain { deadline: None }).unwrap();
    assert!(taken(&queue, 2).into_iter().all(|done| done.result.is_err()));
    drop(client);
    let gateway = Gateway::start().unwrap();
    let client = away(&gateway.url());
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(texts(&deliveries(orders.next_batch(9, None).unwrap())));
    }
    assert_eq!(seen, ["kept", "also kept"]);
    let ask = Ask::PublishStart { topic: "orders".to_owned(), event: event() };
    drop(client.begin(ask, &queue, 1).unwrap());
    let Ok(Outcome::Started(started)) = one(&queue) else { panic!("not started") };
    assert!(started.receipt().is_ok());
}

#[cfg(unix)]
#[test]
fn an_event_loop_sees_when_there_is_something_to_take() {
    use std::io::Read as _;
    use std::os::fd::BorrowedFd;

    /// Whether it is readable now.
    #[allow(unsafe_code, reason = "the queue lends its descriptor as a number, as C wants it")]
    fn rings(descriptor: i32) -> bool {
        // SAFETY: the queue, which owns it, lives on.
        let lent = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let copy = std::os::unix::net::UnixStream::from(lent.try_clone_to_owned().unwrap());
        let mut polled = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which is here.
        let ready = unsafe { libc::poll(&raw mut polled, 1, 20_000) };
        drop(copy);
        ready == 1
    }

    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(8).unwrap();
    let descriptor = queue.descriptor().unwrap();
    assert_eq!(queue.descriptor().unwrap(), descriptor);
    begin_publish(&client, "orders", "x", &queue, 1).unwrap();
    assert!(rings(descriptor));
    assert!(one(&queue).is_ok());
    queue.wake();
    assert!(rings(descriptor));
    let mut none = Vec::new();
    queue.take(1, None, &mut none).unwrap();
    publish(&client, "orders", "x").unwrap();
    let mut still = [0];
    // SAFETY: as above.
    #[allow(unsafe_code, reason = "as above")]
    let lent = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let mut stream = std::os::unix::net::UnixStream::from(lent.try_clone_to_owned().unwrap());
    assert_eq!(stream.read(&mut still).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    queue.close();
    assert!(rings(descriptor));
}
