//! Calls that are cancelled, and calls that nobody takes.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{Ask, Client, ErrorKind, Event, Queue, Retry};

use crate::rig::{begin_publish, connected, deliveries, one, options, publish, subscribed, taken, texts};

/// A client that buffers, and finds no gateway.
fn away() -> Client {
    Client::connect(&options(&[("url", "tcp://127.0.0.1:1"), ("publish_offline", "buffer")])).unwrap()
}

#[test]
fn a_cancelled_call_has_one_completion_and_takes_no_delivery_with_it() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(2).unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    orders.begin_next(1, None, &queue, 1).unwrap().cancel();
    let cancelled = one(&queue).unwrap_err();
    assert_eq!((cancelled.kind(), cancelled.operation()), (ErrorKind::Cancelled, "receive"));
    assert_eq!(cancelled.retry(), Retry::Now);
    publish(&client, "orders", "x").unwrap();
    assert_eq!(texts(&deliveries(orders.next_batch(1, None).unwrap())), ["x"]);
}

#[test]
fn a_batch_that_is_cancelled_says_that_its_outcome_is_not_known() {
    let queue = Queue::new(2).unwrap();
    let client = away();
    let events = vec![Ok(Event::text("t", "x").into())];
    let operation = client.begin(Ask::PublishBatch { topic: "orders".to_owned(), events }, &queue, 1).unwrap();
    let mut none = Vec::new();
    queue.take(1, Some(Duration::from_millis(50)), &mut none).unwrap();
    assert!(none.is_empty(), "it waits for a gateway");
    operation.cancel();
    let cancelled = one(&queue).unwrap_err();
    assert_eq!((cancelled.kind(), cancelled.retry()), (ErrorKind::Cancelled, Retry::UnknownOutcome));
}

#[test]
fn a_publish_is_called_back_as_long_as_it_waits_for_room_and_no_longer() {
    let queue = Queue::new(8).unwrap();
    let gateway = Gateway::start().unwrap();
    let client = Client::connect(&options(&[("url", &gateway.url()), ("publish_window_events", "1")])).unwrap();
    gateway.kill();
    for tag in 1..=3 {
        begin_publish(&client, "orders", "x", &queue, tag).unwrap();
    }
    assert!(!client.cancel_publish(&queue, 1).unwrap(), "it is in the window");
    assert!(client.cancel_publish(&queue, 3).unwrap());
    assert!(!client.cancel_publish(&queue, 3).unwrap(), "once");
    let ended = taken(&queue, 1).remove(0);
    let error = ended.result.unwrap_err();
    assert_eq!((ended.tag, error.kind(), error.retry()), (3, ErrorKind::Cancelled, Retry::Now));
}

#[test]
fn a_queue_that_nobody_takes_from_refuses_the_next_call_and_nothing_is_lost() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(1).unwrap();
    begin_publish(&client, "orders", "x", &queue, 1).unwrap();
    let full = begin_publish(&client, "orders", "y", &queue, 2).unwrap_err();
    assert_eq!((full.kind(), full.operation()), (ErrorKind::BufferFull, "publish"));
    assert!(one(&queue).is_ok());
}
