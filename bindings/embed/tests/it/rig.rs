//! A gateway, a client, and a queue that is pumped by hand.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{
    Ask, Client, Completion, Delivery, ErrorKind, Event, Options, Outcome, Queue, Receipt, Result, Room, Subscription,
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

/// Asks topic `quote` from a thread of its own, with tries until somebody serves.
pub(crate) fn ask(
    gateway: &Gateway,
    text: &'static str,
    stream: bool,
) -> std::thread::JoinHandle<std::result::Result<Vec<String>, ErrorKind>> {
    let client = connected(gateway);
    std::thread::spawn(move || {
        let (topic, event) = ("quote".to_owned(), Box::new(Event::text("t", text)));
        loop {
            let options = options(&[("request_timeout", "10s")]);
            let (topic, event) = (topic.clone(), event.clone());
            let asked = if stream {
                let Outcome::Answers(answers) = client.wait(Ask::RequestStream { topic, event, options }).unwrap()
                else {
                    panic!("no answers")
                };
                let mut all = Vec::new();
                loop {
                    match answers.next_batch(64, None) {
                        Ok(Outcome::Replies(replies)) => {
                            all.extend(replies.iter().map(|r| r.text().unwrap().to_owned()))
                        }
                        Ok(_) => break Ok(all),
                        Err(error) => break Err(error),
                    }
                }
            } else {
                client.wait(Ask::Request { topic, event, options }).map(|outcome| match outcome {
                    Outcome::Reply(reply) => vec![reply.text().unwrap().to_owned()],
                    other => panic!("{other:?}"),
                })
            };
            match asked {
                Err(error) if error.kind() == ErrorKind::NoResponders => {}
                other => return other.map_err(|error| error.kind()),
            }
        }
    })
}
