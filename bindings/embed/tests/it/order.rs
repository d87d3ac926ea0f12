//! What one thread of the host says, one after the other, arrives in that order.

use meshwire::testing::Gateway;
use meshwire_embed::{Ask, Client, Event, Inquiry, Options, Outcome, Queue, Responder, Work};

use crate::rig::{PATIENCE, ask, begin_publish, connected, deliveries, options, publish, subscribed, taken, texts};

fn asked(responder: &Responder) -> Inquiry {
    let Outcome::Inquiries(mut work) = responder.next_batch(1, Some(PATIENCE)).unwrap() else { panic!("ended") };
    let Some(Work::Begin(inquiry)) = work.pop() else { panic!("lost") };
    inquiry
}

fn numbers(of: std::ops::Range<u64>) -> Vec<String> {
    of.map(|number| number.to_string()).collect()
}

#[test]
fn replies_that_are_begun_without_waiting_arrive_in_order_and_before_the_end() {
    const MANY: u64 = 200;
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let responder = client.serve("quote", &Options::default()).unwrap();
    let requester = ask(&gateway, "x", true);
    let inquiry = asked(&responder);
    let queue = Queue::new(256).unwrap();
    for (tag, text) in (0..).zip(numbers(0..MANY)) {
        drop(inquiry.begin_reply(Event::text("said", text), &queue, tag).unwrap());
    }
    inquiry.end().unwrap();
    assert_eq!(requester.join().unwrap().unwrap(), numbers(0..MANY));
    assert!(taken(&queue, 200).into_iter().all(|done| matches!(done.result, Ok(Outcome::Done))));
    // The one reply that ends a stream stands behind those before it, too.
    let requester = ask(&gateway, "x", true);
    let inquiry = asked(&responder);
    for (tag, text) in (0..).zip(numbers(0..9)) {
        drop(inquiry.begin_reply(Event::text("said", text), &queue, tag).unwrap());
    }
    inquiry.answer(Event::text("said", "9")).unwrap();
    assert_eq!(requester.join().unwrap().unwrap(), numbers(0..10));
}

/// Publishes numbers from `from` on, by each form after many that were begun and not waited for; gives the next number.
fn publish_by_every_form(client: &Client, queue: &Queue) -> u64 {
    const MANY: u64 = 300;
    let topic = || "orders".to_owned();
    let event = |number: u64| Event::text("t", number.to_string());
    let mut next = 0;
    for form in 0..3 {
        for number in next..next + MANY {
            begin_publish(client, "orders", &number.to_string(), queue, number).unwrap();
        }
        next += MANY;
        match form {
            0 => drop(publish(client, "orders", &next.to_string()).unwrap()),
            1 => {
                let events = (next..next + 3).map(|number| Ok(event(number).into())).collect();
                client.wait(Ask::PublishBatch { topic: topic(), events }).unwrap();
                next += 2;
            }
            _ => drop(client.wait(Ask::PublishStart { topic: topic(), event: Box::new(event(next).into()) }).unwrap()),
        }
        next += 1;
    }
    begin_publish(client, "orders", &next.to_string(), queue, next).unwrap();
    client.wait(Ask::Flush).unwrap();
    next + 1
}

#[test]
fn publishes_of_every_form_arrive_in_the_order_in_which_they_were_made() {
    for window in ["1", "7", "16384"] {
        let gateway = Gateway::start().unwrap();
        let said = [("url", &*gateway.url()), ("publish_window_events", window)];
        let client = Client::connect(&options(&said)).unwrap();
        let queue = Queue::new(4096).unwrap();
        let count = publish_by_every_form(&client, &queue);
        assert!(taken(&queue, 901).into_iter().all(|done| matches!(done.result, Ok(Outcome::Receipt(_)))));
        let orders = subscribed(&client, "orders", &[("group", "g"), ("prefetch_events", "10000")]);
        let mut seen = Vec::new();
        while seen.len() < usize::try_from(count).unwrap() {
            seen.extend(texts(&deliveries(orders.next_batch(4096, Some(PATIENCE)).unwrap())));
        }
        assert_eq!(seen, numbers(0..count), "a window of {window}");
    }
}

#[test]
fn what_is_begun_behind_a_batch_or_a_start_that_nobody_waited_for_arrives_behind_it() {
    const ROUNDS: u64 = 40;
    for window in ["2", "16384"] {
        let gateway = Gateway::start().unwrap();
        let said = [("url", &*gateway.url()), ("publish_window_events", window)];
        let client = Client::connect(&options(&said)).unwrap();
        let queue = Queue::new(4096).unwrap();
        let event = |number: u64| Event::text("t", number.to_string());
        for round in 0..ROUNDS {
            let first = round * 6;
            let events = (first..first + 4).map(|number| Ok(event(number).into())).collect();
            drop(client.begin(Ask::PublishBatch { topic: "orders".to_owned(), events }, &queue, first).unwrap());
            let start = Ask::PublishStart { topic: "orders".to_owned(), event: Box::new(event(first + 4).into()) };
            drop(client.begin(start, &queue, first + 4).unwrap());
            begin_publish(&client, "orders", &(first + 5).to_string(), &queue, first + 5).unwrap();
        }
        client.wait(Ask::Flush).unwrap();
        let orders = subscribed(&client, "orders", &[("group", "g"), ("prefetch_events", "10000")]);
        let mut seen = Vec::new();
        while seen.len() < usize::try_from(ROUNDS * 6).unwrap() {
            let more = texts(&deliveries(orders.next_batch(4096, Some(PATIENCE)).unwrap()));
            assert!(!more.is_empty(), "{} of {}", seen.len(), ROUNDS * 6);
            seen.extend(more);
        }
        assert_eq!(seen, numbers(0..ROUNDS * 6), "a window of {window}");
    }
}
