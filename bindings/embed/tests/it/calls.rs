//! Calls begun and waited for, and what they come to.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{Ask, Client, ErrorKind, Event, Outcome, Queue, Settle, State};

use crate::rig::{begin_publish, connected, deliveries, one, options, publish, subscribe, subscribed, taken, texts};

#[test]
fn what_is_published_by_one_thread_comes_to_another_in_batches_and_is_settled_without_waiting() {
    let gateway = Gateway::start().unwrap();
    let queue = Queue::new(1024).unwrap();
    drop(Client::begin_connect(options(&[("url", &gateway.url()), ("name", "embed")]), &queue, 1).unwrap());
    let Ok(Outcome::Client(client)) = one(&queue) else { panic!("no client") };
    for tag in 0..100 {
        begin_publish(&client, "orders", &tag.to_string(), &queue, tag).unwrap();
    }
    let mut tags: Vec<u64> = taken(&queue, 100)
        .into_iter()
        .map(|completion| {
            assert!(matches!(completion.result, Ok(Outcome::Receipt(_))), "{completion:?}");
            completion.tag
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..100).collect::<Vec<_>>());
    drop(client.begin(subscribe("orders", &[("group", "g"), ("start", "earliest")]), &queue, 7).unwrap());
    let Ok(Outcome::Subscription(orders)) = one(&queue) else { panic!("no subscription") };
    let mut seen = Vec::new();
    while seen.len() < 100 {
        drop(orders.begin_next(64, None, &queue, 8).unwrap());
        let batch = deliveries(one(&queue).unwrap());
        assert!((1..=64).contains(&batch.len()));
        seen.extend(texts(&batch));
        batch.into_iter().for_each(|delivery| delivery.settle(Settle::Ack).unwrap());
    }
    let distinct: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (100, 100));
    orders.close().unwrap();
    client.wait(Ask::Drain { deadline: None }).unwrap();
    let again = connected(&gateway);
    let orders = subscribed(&again, "orders", &[("group", "g")]);
    assert!(deliveries(orders.next_batch(9, Some(Duration::from_millis(200))).unwrap()).is_empty(), "all were acked");
}

#[test]
fn a_batch_gives_a_receipt_or_an_error_for_each_event_in_order() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let event = |id: &str| Event::text("t", "x").id(id).into();
    let bad = Event::text("t", "x").attribute("Bad", "x").into();
    let ask = Ask::PublishBatch { topic: "t".to_owned(), events: vec![Ok(event("1")), Ok(bad), Ok(event("1"))] };
    let Outcome::Receipts(receipts) = client.wait(ask).unwrap() else { panic!("no receipts") };
    assert!(matches!(&receipts[..], [Ok(first), Err(bad), Ok(again)]
        if !first.duplicate && bad.kind() == ErrorKind::Invalid && again.duplicate));
    client.wait(Ask::Flush).unwrap();
    client.wait(Ask::Connected).unwrap();
    assert_eq!(client.stats().unwrap().pending, 0);
}

#[test]
fn what_fails_comes_again_or_never_as_the_host_says() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let orders = subscribed(&client, "orders", &[("group", "g"), ("backoff_min", "0"), ("max_failures", "5")]);
    for text in ["again", "never"] {
        publish(&client, "orders", text).unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 3 {
        for delivery in deliveries(orders.next_batch(10, None).unwrap()) {
            let text = delivery.get().unwrap().text().unwrap().to_owned();
            let attempt = delivery.get().unwrap().attempt();
            delivery.extend().unwrap();
            let how = match (&*text, attempt) {
                ("never", _) => Settle::Reject("no".to_owned()),
                (_, 1) => Settle::Nack(Some(Duration::ZERO)),
                _ => Settle::Ack,
            };
            delivery.settle(how).unwrap();
            seen.push((text, attempt));
        }
    }
    seen.sort();
    let expected = [("again", 1), ("again", 2), ("never", 1)].map(|(text, attempt)| (text.to_owned(), attempt));
    assert_eq!(seen, expected);
}

#[test]
fn the_end_of_a_subscription_reaches_who_waits_for_it_and_gives_back_what_nobody_was_handed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(4).unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    drop(orders.begin_next(1, None, &queue, 1).unwrap());
    orders.close().unwrap();
    assert!(matches!(one(&queue), Ok(Outcome::Ended)));
    assert!(matches!(orders.next_batch(1, None), Ok(Outcome::Ended)));
    orders.close().unwrap();
    publish(&client, "orders", "x").unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    assert_eq!(texts(&deliveries(orders.next_batch(1, None).unwrap())), ["x"]);
}

#[test]
fn a_call_without_a_gateway_fails_typed_both_ways() {
    let nowhere = || options(&[("url", "tcp://127.0.0.1:1")]);
    let refused = Client::connect(&nowhere()).unwrap_err();
    assert_eq!((refused.kind(), refused.operation()), (ErrorKind::Unavailable, "connect"));
    let queue = Queue::new(1).unwrap();
    drop(Client::begin_connect(nowhere(), &queue, 9).unwrap());
    assert_eq!(one(&queue).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_client_that_is_dropped_with_publishes_on_their_way_sends_them_first() {
    let gateway = Gateway::start().unwrap();
    let queue = Queue::new(1000).unwrap();
    let client = connected(&gateway);
    for tag in 0..500 {
        begin_publish(&client, "orders", "x", &queue, tag).unwrap();
    }
    drop(client);
    let again = connected(&gateway);
    let orders = subscribed(&again, "orders", &[("group", "g"), ("prefetch_events", "1000")]);
    let mut count = 0;
    while count < 500 {
        count += deliveries(orders.next_batch(1000, None).unwrap()).len();
    }
    assert!(taken(&queue, 500).into_iter().all(|completion| completion.result.is_ok()));
}

#[test]
fn the_state_of_a_client_is_told_as_it_changes() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(2).unwrap();
    assert_eq!(client.state().unwrap(), State::Connected);
    drop(client.begin(Ask::StateAfter(State::Connected), &queue, 1).unwrap());
    gateway.kill();
    let mut state = one(&queue).unwrap();
    while let Outcome::State(between @ State::Disconnected) = state {
        state = client.wait(Ask::StateAfter(between)).unwrap();
    }
    assert!(matches!(state, Outcome::State(State::Reconnecting)), "{state:?}");
    drop(client.begin(Ask::StateAfter(State::Reconnecting), &queue, 2).unwrap());
    assert!(client.stats_json().unwrap().starts_with(r#"{"pending":0,"#));
    drop(client);
    assert!(matches!(one(&queue), Ok(Outcome::State(State::Draining | State::Closed)) | Err(_)));
}
