//! Calls that are cancelled, and calls that nobody takes.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{ErrorKind, Outcome, Queue, Retry};

use crate::rig::{connected, deliveries, one, options, publish, subscribed, texts};

#[test]
fn a_cancelled_call_has_one_completion_and_takes_no_delivery_with_it() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(2).unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    orders.begin_next(1, None, &queue, 1).unwrap().cancel();
    let cancelled = one(&queue).unwrap_err();
    assert_eq!((cancelled.kind(), cancelled.operation()), (ErrorKind::Cancelled, "receive"));
    client.wait(publish("orders", "x")).unwrap();
    assert_eq!(texts(&deliveries(orders.next_batch(1, None).unwrap())), ["x"]);
}

#[test]
fn a_cancelled_publish_says_that_its_outcome_is_not_known() {
    let queue = Queue::new(2).unwrap();
    let away = options(&[("url", "tcp://127.0.0.1:1"), ("publish_offline", "buffer")]);
    let client = meshwire_embed::Client::connect(&away).unwrap();
    let operation = client.begin(publish("orders", "x"), &queue, 1).unwrap();
    let mut none = Vec::new();
    queue.take(1, Some(Duration::from_millis(50)), &mut none).unwrap();
    assert!(none.is_empty(), "it waits for a gateway");
    operation.cancel();
    let cancelled = one(&queue).unwrap_err();
    assert_eq!((cancelled.kind(), cancelled.retry()), (ErrorKind::Cancelled, Retry::UnknownOutcome));
}

#[test]
fn what_has_come_to_something_is_not_cancelled_any_more() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(1).unwrap();
    let operation = client.begin(publish("orders", "x"), &queue, 1).unwrap();
    let done = one(&queue);
    operation.cancel();
    assert!(matches!(done, Ok(Outcome::Receipt(_))));
    assert_eq!(queue.begun(), 0);
}

#[test]
fn a_queue_that_nobody_takes_from_refuses_the_next_call_and_nothing_is_lost() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(1).unwrap();
    drop(client.begin(publish("orders", "x"), &queue, 1).unwrap());
    let full = client.begin(publish("orders", "y"), &queue, 2).unwrap_err();
    assert_eq!((full.kind(), full.operation()), (ErrorKind::BufferFull, "publish"));
    assert!(one(&queue).is_ok());
}
