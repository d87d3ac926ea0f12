//! A gateway, a client, and a queue that is pumped by hand.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{
    Ask, Client, Completion, Delivery, Event, Options, Outcome, Queue, Receipt, Result, Room, Subscription,
};

/// Nothing here takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().copied().collect()
}

pub(crate) fn connected(gateway: &Gateway) -> Client {
    Client::connect(&options(&[("url", &gateway.url())])).unwrap()
}

/// Publishes a text, and waits for the receipt.
pub(crate) fn publish(client: &Client, topic: &str, text: &str) -> Result<Receipt> {
    client.publish(topic, Event::text("t", text))
}

/// Begins to publish a text, waiting for room if there is none.
pub(crate) fn begin_publish(client: &Client, topic: &str, text: &str, queue: &Queue, tag: u64) -> Result<()> {
    client.begin_publish(topic, Event::text("t", text), Room::Wait, queue, tag)
}

pub(crate) fn subscribe(topic: &str, pairs: &[(&str, &str)]) -> Ask {
    Ask::Subscribe { topic: topic.to_owned(), options: options(pairs) }
}

/// Takes so many completions.
pub(crate) fn taken(queue: &Queue, count: usize) -> Vec<Completion> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let before = taken.len();
        assert!(queue.take(count - before, Some(PATIENCE), &mut taken).unwrap());
        assert!(taken.len() > before, "{before} of {count} came in time");
    }
    taken
}

/// Takes one completion.
pub(crate) fn one(queue: &Queue) -> Result<Outcome> {
    taken(queue, 1).remove(0).result
}

pub(crate) fn subscribed(client: &Client, topic: &str, pairs: &[(&str, &str)]) -> Subscription {
    match client.wait(subscribe(topic, pairs)).unwrap() {
        Outcome::Subscription(subscription) => subscription,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn deliveries(outcome: Outcome) -> Vec<Delivery> {
    match outcome {
        Outcome::Deliveries(deliveries) => deliveries.hand_all().unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| delivery.get().unwrap().text().unwrap().to_owned()).collect()
}
