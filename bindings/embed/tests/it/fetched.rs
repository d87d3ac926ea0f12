//! Deliveries that were asked for, and that the program was never handed.

use meshwire::testing::Gateway;
use meshwire_embed::{Delivery, Fetched, Outcome, Queue, Settle, Subscription};

use crate::rig::{PATIENCE, connected, one, publish, subscribed};

/// What fails once does not come again: it is a dead letter.
const SAID: [(&str, &str); 2] = [("group", "g"), ("max_failures", "1")];

fn fetched(outcome: Outcome) -> Fetched {
    match outcome {
        Outcome::Deliveries(fetched) => fetched,
        other => panic!("{other:?}"),
    }
}

/// Asks until so many have come.
fn next(orders: &Subscription, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let more = fetched(orders.next_batch(count, Some(PATIENCE)).unwrap()).hand_all().unwrap();
        assert!(!more.is_empty(), "{} of {count} came in time", all.len());
        all.extend(more);
    }
    all
}

/// They come, though not for the first time; settles them.
fn assert_come_again(orders: &Subscription, texts: &[&str]) {
    let all = next(orders, texts.len());
    let mut seen: Vec<_> = all.iter().map(|delivery| delivery.get().unwrap().text().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, texts);
    assert!(all.iter().all(|delivery| delivery.get().unwrap().attempt() > 1));
    all.into_iter().for_each(|delivery| delivery.settle(Settle::Ack).unwrap());
}

#[test]
fn a_batch_that_is_dropped_comes_again_at_once_and_has_not_failed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let orders = subscribed(&client, "orders", &SAID);
    for text in ["a", "b", "c"] {
        publish(&client, "orders", text).unwrap();
    }
    let mut dropped = 0;
    while dropped < 3 {
        let batch = fetched(orders.next_batch(3 - dropped, Some(PATIENCE)).unwrap());
        assert!(!batch.is_empty());
        dropped += batch.len();
        drop(batch);
    }
    assert_come_again(&orders, &["a", "b", "c"]);
}

#[test]
fn of_a_batch_what_was_not_handed_comes_again_and_has_not_failed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    for text in ["a", "b", "c"] {
        publish(&client, "orders", text).unwrap();
    }
    let orders = subscribed(&client, "orders", &SAID);
    let handed = loop {
        let batch = fetched(orders.next_batch(3, Some(PATIENCE)).unwrap());
        // Another look if they have not all arrived.
        if batch.len() == 3 {
            break batch.hand(1).unwrap().remove(0);
        }
        assert!(!batch.is_empty());
    };
    let had = handed.get().unwrap().text().unwrap().to_owned();
    handed.settle(Settle::Ack).unwrap();
    let rest: Vec<_> = ["a", "b", "c"].into_iter().filter(|text| *text != had).collect();
    assert_come_again(&orders, &rest);
}

#[test]
fn what_waits_in_a_queue_that_is_closed_comes_again_and_has_not_failed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    publish(&client, "orders", "a").unwrap();
    let orders = subscribed(&client, "orders", &SAID);
    let (queue, behind) = (Queue::new(1).unwrap(), Queue::new(1).unwrap());
    drop(orders.begin_next(1, None, &queue, 1).unwrap());
    // One asks at a time: when this one has its turn the other has its event.
    drop(orders.begin_next(1, None, &behind, 2).unwrap());
    publish(&client, "orders", "b").unwrap();
    let held = fetched(one(&behind).unwrap()).hand_all().unwrap().remove(0);
    queue.close();
    let had = held.get().unwrap().text().unwrap().to_owned();
    assert_come_again(&orders, &[if had == "a" { "b" } else { "a" }]);
    // What was handed is the program's still.
    held.settle_confirmed(Settle::Ack).unwrap();
}

/// Three that a host has taken ahead of its program.
fn ahead(orders: &Subscription) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < 3 {
        all.extend(fetched(orders.next_batch(3 - all.len(), Some(PATIENCE)).unwrap()).ahead().unwrap());
    }
    all
}

fn published(client: &meshwire_embed::Client) -> Subscription {
    for text in ["a", "b", "c"] {
        publish(client, "orders", text).unwrap();
    }
    subscribed(client, "orders", &SAID)
}

#[test]
fn what_a_program_was_handed_and_has_not_settled_fails_when_it_leaves_and_what_it_was_not_handed_comes_again() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let orders = published(&client);
    let mut all = ahead(&orders);
    assert!(all[0].claim().unwrap());
    orders.leave().unwrap();
    // Whatever becomes of them then.
    drop(all);
    let orders = subscribed(&client, "orders", &SAID);
    assert_come_again(&orders, &["b", "c"]);
    publish(&client, "orders", "d").unwrap();
    let next = next(&orders, 1).remove(0);
    assert_eq!(next.get().unwrap().text().unwrap(), "d", "the other one is a dead letter");
    next.settle(Settle::Ack).unwrap();
}

#[test]
fn closing_fails_nothing_and_whatever_is_said_of_one_that_was_taken_ahead_claims_it() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let orders = published(&client);
    let mut all = ahead(&orders);
    all.remove(2).give_back().unwrap();
    all.remove(0).settle_confirmed(Settle::Ack).unwrap();
    all[0].extend_confirmed().unwrap();
    assert!(all[0].claim().unwrap());
    orders.close().unwrap();
    assert_come_again(&subscribed(&client, "orders", &SAID), &["b", "c"]);
}

#[test]
fn of_a_batch_in_stuck_hands_all_but_the_first_comes_to_others_unfailed_and_late_acks_are_counted() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    for text in ["a", "b", "c"] {
        publish(&client, "orders", text).unwrap();
    }
    let said = [("group", "g"), ("max_failures", "1"), ("ack_wait", "1s")];
    let orders = subscribed(&client, "orders", &said);
    let stuck = loop {
        let batch = fetched(orders.next_batch(3, Some(PATIENCE)).unwrap());
        // Another look if they have not all arrived.
        if batch.len() == 3 {
            break batch.hand_all().unwrap();
        }
        assert!(!batch.is_empty());
    };
    let first = stuck[0].get().unwrap().text().unwrap().to_owned();
    let rest: Vec<_> = ["a", "b", "c"].into_iter().filter(|text| *text != first).collect();
    let other = connected(&gateway);
    assert_come_again(&subscribed(&other, "orders", &said), &rest);
    stuck.into_iter().for_each(|delivery| delivery.settle(Settle::Ack).unwrap());
    assert!(client.stats_json().unwrap().contains("\"leases_lost\":2"), "{}", client.stats_json().unwrap());
}
