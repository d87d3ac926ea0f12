//! A call takes its place in the queue before it does anything: where there is none, nothing was done.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{Ask, Client, Error, ErrorKind, Event, Options, Outcome, Queue, Settle, State, Work};

use crate::rig::{
    PATIENCE, ask, begin_publish, connected, deliveries, one, options, publish, subscribe, subscribed, texts,
};

/// A queue whose one place is taken, for as long as the client stays connected.
fn full(client: &Client) -> Queue {
    let queue = Queue::new(1).unwrap();
    drop(client.begin(Ask::StateAfter(State::Connected), &queue, 1).unwrap());
    queue
}

fn is_full(error: &Error, operation: &str) {
    assert_eq!((error.kind(), error.operation()), (ErrorKind::BufferFull, operation), "{error}");
}

#[test]
fn a_settle_for_which_there_is_no_place_was_not_made() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = full(&client);
    publish(&client, "orders", "x").unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g"), ("ack_wait", "1s"), ("backoff_min", "0")]);
    let next = || deliveries(orders.next_batch(1, Some(PATIENCE)).unwrap()).remove(0);
    let first = next();
    is_full(&first.begin_extend_confirmed(&queue, 2).unwrap_err(), "extend_confirmed");
    is_full(&queue.place(2, "ack_confirmed").unwrap_err(), "ack_confirmed");
    is_full(&first.begin_settle_confirmed(Settle::Ack, &queue, 2).unwrap_err(), "ack_confirmed");
    // It was let go of, and comes again when its lease has ended.
    let again = next();
    assert_eq!(again.get().unwrap().attempt(), 2);
    let room = Queue::new(1).unwrap();
    let place = room.place(3, "ack_confirmed").unwrap();
    is_full(&room.place(4, "ack_confirmed").unwrap_err(), "ack_confirmed");
    drop(again.begin_settle_confirmed_in(Settle::Ack, place).unwrap());
    assert!(matches!(one(&room), Ok(Outcome::Done)));
    // A place that nobody uses is free again.
    drop(room.place(5, "ack_confirmed").unwrap());
    assert_eq!((room.begun(), queue.begun()), (0, 1));
}

#[test]
fn a_publish_for_which_there_is_no_place_was_not_made_in_any_form() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = full(&client);
    is_full(&begin_publish(&client, "orders", "no", &queue, 2).unwrap_err(), "publish");
    let event = || Event::text("t", "no");
    let (topic, events) = ("orders".to_owned(), vec![Ok(event().into())]);
    let batch = Ask::PublishBatch { topic: topic.clone(), events };
    let start = Ask::PublishStart { topic: topic.clone(), event: Box::new(event().into()) };
    for call in [batch, start] {
        is_full(&client.begin(call, &queue, 2).unwrap_err(), "publish");
    }
    let request = Ask::Request { topic, event: Box::new(event()), options: Options::default() };
    is_full(&client.begin(request, &queue, 2).unwrap_err(), "request");
    is_full(&client.begin(subscribe("orders", &[("group", "late")]), &queue, 2).unwrap_err(), "subscribe");
    is_full(&Client::begin_connect(options(&[("url", &gateway.url())]), &queue, 2).unwrap_err(), "connect");
    publish(&client, "orders", "yes").unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    assert_eq!(texts(&deliveries(orders.next_batch(9, Some(PATIENCE)).unwrap())), ["yes"]);
}

#[test]
fn a_receipt_for_which_there_is_no_place_can_still_be_had() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = full(&client);
    let event = Box::new(Event::text("t", "x").into());
    let Outcome::Started(started) = client.wait(Ask::PublishStart { topic: "orders".to_owned(), event }).unwrap()
    else {
        panic!("not started")
    };
    is_full(&queue.place(2, "publish").unwrap_err(), "publish");
    let room = Queue::new(1).unwrap();
    started.begin_receipt_in(room.place(3, "publish").unwrap()).unwrap();
    assert!(matches!(one(&room), Ok(Outcome::Receipt(receipt)) if receipt.position.is_some()));
}

#[test]
fn a_reply_for_which_there_is_no_place_was_not_sent() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = full(&client);
    let responder = client.serve("quote", &Options::default()).unwrap();
    let asked = ask(&gateway, "x", true);
    let Outcome::Inquiries(mut work) = responder.next_batch(1, Some(PATIENCE)).unwrap() else { panic!("ended") };
    let Some(Work::Begin(inquiry)) = work.pop() else { panic!("lost") };
    is_full(&inquiry.begin_reply(Event::text("said", "no"), &queue, 2).unwrap_err(), "reply");
    let room = Queue::new(1).unwrap();
    drop(inquiry.begin_reply(Event::text("said", "yes"), &room, 3).unwrap());
    assert!(matches!(one(&room), Ok(Outcome::Done)));
    inquiry.end().unwrap();
    assert_eq!(asked.join().unwrap().unwrap(), ["yes"]);
}

#[test]
fn work_and_deliveries_for_which_there_is_no_place_stay_to_be_asked_for() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = full(&client);
    for topic in ["orders", "jobs"] {
        publish(&client, topic, "x").unwrap();
    }
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    is_full(&orders.begin_next(1, None, &queue, 2).unwrap_err(), "receive");
    assert_eq!(texts(&deliveries(orders.next_batch(1, Some(PATIENCE)).unwrap())), ["x"]);
    let consumer = client.consume("jobs", &options(&[("group", "g")])).unwrap();
    is_full(&consumer.begin_next(1, None, &queue, 2).unwrap_err(), "consume");
    let Outcome::Jobs(mut jobs) = consumer.next_batch(1, Some(PATIENCE)).unwrap() else { panic!("ended") };
    assert!(matches!(jobs.pop(), Some(Work::Begin(job)) if job.attempt() == 1));
    let responder = client.serve("quote", &Options::default()).unwrap();
    is_full(&responder.begin_next(1, Some(Duration::ZERO), &queue, 2).unwrap_err(), "serve");
}
