#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::sync::Arc;

use meshwire_proto::{Event, TopicName};

use super::*;
use crate::inbox::Inbox;
use crate::outbox::{Limits, Outbox};

fn inbox() -> Arc<Inbox> {
    let none = Limits { events: 1, bytes: 1 };
    let outbox = Arc::new(Outbox::new(none, false, none, crate::hooks::Hooks::default()));
    Arc::new(Inbox::new(TopicName::parse("t").unwrap(), outbox, 1000, 1 << 20))
}

/// The delivery of a session with this number and position, of an event with this key.
fn delivery(inbox: &Arc<Inbox>, (generation, number): At, position: u64, key: &str) -> Delivery {
    let event = Event::text("t", "x").id(position.to_string()).source("/s").key(key).encode().unwrap();
    let place = Place { number, position, gap: 0, stored: 0, expires: 0, attempt: 1, generation };
    Delivery::new(event, inbox, place).unwrap()
}

/// What may be handled now.
fn ready(keys: &mut Keys) -> Vec<Delivery> {
    std::iter::from_fn(|| keys.next()).collect()
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.place().number).collect()
}

fn remembered(keys: &Keys) -> (usize, usize) {
    (keys.busy.len(), keys.settling.values().map(Vec::len).sum())
}

#[test]
fn a_key_whose_event_failed_is_forgotten_when_all_that_was_on_its_way_has_been_read() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    for n in 1..=100 {
        keys.arrive(delivery(&inbox, (0, n), n, &n.to_string()));
    }
    for failed in ready(&mut keys) {
        let key = keys.fail(&failed).unwrap();
        // Those of the second half are answered when two more are on their way.
        keys.nacked(key.clone(), failed.place(), if failed.place().number > 50 { 103 } else { 101 });
    }
    assert_eq!(remembered(&keys), (50, 50), "they come again at somebody else");
    keys.arrive(delivery(&inbox, (0, 101), 101, "other"));
    assert_eq!(remembered(&keys), (51, 50), "102 was on its way too");
    keys.arrive(delivery(&inbox, (0, 102), 102, "other"));
    assert_eq!(remembered(&keys), (1, 0));
}

#[test]
fn what_was_on_its_way_at_a_nack_is_let_go_and_what_comes_behind_it_is_handled() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    keys.arrive(delivery(&inbox, (0, 1), 10, "k"));
    let failed = ready(&mut keys).remove(0);
    let key = keys.fail(&failed).unwrap();
    keys.arrive(delivery(&inbox, (0, 2), 11, "k"));
    keys.nacked(key.clone(), failed.place(), 4);
    keys.arrive(delivery(&inbox, (0, 3), 12, "k"));
    assert!(ready(&mut keys).is_empty());
    keys.arrive(delivery(&inbox, (0, 4), 13, "k"));
    assert_eq!(numbers(&ready(&mut keys)), [4], "the ones before went elsewhere");
}

#[test]
fn the_answer_to_an_earlier_nack_of_an_event_says_nothing_of_a_later_one() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    keys.arrive(delivery(&inbox, (0, 1), 10, "k"));
    let first = ready(&mut keys).remove(0);
    let key = keys.fail(&first).unwrap();
    // It comes again, and fails again, before the answer.
    keys.arrive(delivery(&inbox, (0, 2), 10, "k"));
    let second = ready(&mut keys).remove(0);
    keys.fail(&second);
    keys.nacked(key.clone(), first.place(), 3);
    keys.arrive(delivery(&inbox, (0, 3), 11, "k"));
    assert!(ready(&mut keys).is_empty(), "3 was on its way at the second nack");
    keys.nacked(key.clone(), second.place(), 4);
    assert_eq!(remembered(&keys), (0, 0));
    keys.arrive(delivery(&inbox, (0, 4), 10, "k"));
    assert_eq!(numbers(&ready(&mut keys)), [4]);
}

#[test]
fn numbers_of_another_session_are_behind_every_boundary() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    keys.arrive(delivery(&inbox, (0, 1), 10, "k"));
    let failed = ready(&mut keys).remove(0);
    let key = keys.fail(&failed).unwrap();
    keys.nacked(key.clone(), failed.place(), 500);
    // The nacked event went to another member, or is a dead letter.
    keys.arrive(delivery(&inbox, (1, 1), 11, "k"));
    assert_eq!(numbers(&ready(&mut keys)), [1]);
    assert_eq!(remembered(&keys), (1, 0));
}

#[test]
fn an_event_that_comes_again_before_its_boundary_frees_its_key() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    keys.arrive(delivery(&inbox, (0, 1), 10, "k"));
    let failed = ready(&mut keys).remove(0);
    let key = keys.fail(&failed).unwrap();
    keys.nacked(key.clone(), failed.place(), 500);
    keys.arrive(delivery(&inbox, (0, 2), 10, "k"));
    let again = ready(&mut keys).remove(0);
    keys.release(&again);
    assert_eq!(remembered(&keys), (0, 0));
}

/// The first of two events of a key is handled; both were delivered.
fn two_of_a_key(inbox: &Arc<Inbox>, keys: &mut Keys) -> Delivery {
    keys.arrive(delivery(inbox, (0, 1), 10, "k"));
    keys.arrive(delivery(inbox, (0, 2), 11, "k"));
    let mut handled = ready(keys);
    assert_eq!(numbers(&handled), [1]);
    handled.remove(0)
}

#[test]
fn a_nack_whose_session_is_lost_hands_out_nothing_of_that_session() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    let failed = two_of_a_key(&inbox, &mut keys);
    let key = keys.fail(&failed).unwrap();
    keys.nacked(key, failed.place(), u64::MAX);
    assert!(ready(&mut keys).is_empty(), "2 comes again behind 1");
    keys.arrive(delivery(&inbox, (1, 1), 10, "k"));
    keys.arrive(delivery(&inbox, (1, 2), 11, "k"));
    assert_eq!(numbers(&ready(&mut keys)), [1]);
}

#[test]
fn a_handler_that_fails_after_its_lease_throws_away_nothing_that_was_leased_again() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    let failed = two_of_a_key(&inbox, &mut keys);
    // The lease ended: both were leased again.
    keys.arrive(delivery(&inbox, (0, 3), 10, "k"));
    keys.arrive(delivery(&inbox, (0, 4), 11, "k"));
    let key = keys.fail(&failed).unwrap();
    assert!(ready(&mut keys).is_empty());
    keys.nacked(key, failed.place(), 3);
    let again = ready(&mut keys).remove(0);
    assert_eq!(again.place().number, 3);
    keys.release(&again);
    assert_eq!(numbers(&ready(&mut keys)), [4]);
}

#[test]
fn what_comes_again_is_not_handled_under_its_old_lease_whether_it_was_ready_or_waited() {
    let (inbox, mut keys) = (inbox(), Keys::default());
    for (n, key) in [(1, "a"), (2, "a"), (3, "b")] {
        keys.arrive(delivery(&inbox, (0, n), n, key));
    }
    inbox.reset(1, 0);
    keys.arrive(delivery(&inbox, (1, 1), 1, "a"));
    keys.arrive(delivery(&inbox, (1, 2), 2, "a"));
    let again = ready(&mut keys);
    assert_eq!(again.iter().map(|d| (d.place().generation, d.place().number)).collect::<Vec<_>>(), [(1, 1)]);
    keys.release(&again[0]);
    assert_eq!(numbers(&ready(&mut keys)), [2]);
    assert_eq!(remembered(&keys), (1, 0), "b is forgotten");
}
