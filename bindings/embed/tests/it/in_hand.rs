//! Deliveries that a host keeps by the batch.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{Client, ErrorKind, InHand, Outcome, Settle, Subscription, Together};

use crate::rig::{PATIENCE, connected, deliveries, publish, subscribed, texts};

/// Five that come together, of a topic of their own.
fn five(client: &Client) -> (String, Subscription, InHand) {
    for tried in 0..1_000 {
        let topic = format!("orders{tried}");
        // Before they are published, so that they have arrived when they are asked for.
        let orders = subscribed(client, &topic, &[("group", "g"), ("backoff_min", "0")]);
        for number in 0..5 {
            publish(client, &topic, &number.to_string()).unwrap();
        }
        publish(client, "others", "behind them").unwrap();
        let Outcome::Deliveries(batch) = orders.next_batch(5, Some(PATIENCE)).unwrap() else { panic!("it is over") };
        if batch.len() == 5 {
            return (topic, orders, batch.hand_together(5).unwrap());
        }
    }
    panic!("they never come together");
}

#[test]
fn a_batch_is_settled_by_its_places_each_once_and_together() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let (_, orders, mut batch) = five(&client);
    let texts_of: Vec<&str> = batch.all().unwrap().map(|delivery| delivery.text().unwrap()).collect();
    assert_eq!(texts_of, ["0", "1", "2", "3", "4"]);
    let mut together = Together::with_capacity(4);
    for place in [0, 1, 3] {
        batch.take_into(place, &mut together).unwrap();
    }
    let twice = batch.take_into(1, &mut together).unwrap_err();
    assert_eq!((twice.kind(), twice.operation()), (ErrorKind::Invalid, "settle"));
    assert_eq!(batch.get(3, "read").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(batch.take(9, "settle").unwrap_err().kind(), ErrorKind::Invalid);
    together.settle(&Settle::Ack);
    batch.take(4, "settle").unwrap().settle(Settle::Ack).unwrap();
    assert_eq!((batch.len(), batch.get(2, "read").unwrap().text().unwrap()), (1, "2"));
    let before = batch.get(2, "read").unwrap().attempt();
    let mut last = Together::default();
    batch.take_into(2, &mut last).unwrap();
    assert!(batch.is_empty() && last.len() == 1 && last.get(0).is_some());
    last.settle(&Settle::Nack(Some(Duration::ZERO)));
    let again = deliveries(orders.next_batch(9, Some(PATIENCE)).unwrap());
    assert_eq!(
        (texts(&again), again[0].get().unwrap().attempt()),
        (vec!["2".to_owned()], before + 1),
        "the rest is done"
    );
}

#[test]
fn a_batch_is_split_in_order_and_what_is_dropped_in_it_has_failed_when_its_subscription_ends() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let (topic, orders, batch) = five(&client);
    let parts = batch.split(2).unwrap();
    assert_eq!(parts.iter().map(InHand::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(parts[2].get(0, "read").unwrap().text().unwrap(), "4");
    let before = parts[0].get(0, "read").unwrap().attempt();
    drop(parts);
    orders.close().unwrap();
    drop(orders);
    let orders = subscribed(&client, &topic, &[("group", "g")]);
    let again = deliveries(orders.next_batch(9, Some(PATIENCE)).unwrap());
    // It may have come to the subscription once more before that had ended.
    assert!(again[0].get().unwrap().attempt() > before);
}
