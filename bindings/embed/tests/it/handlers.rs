//! Handlers of the host: events of a consumer, requests of a responder, and settles that wait for the gateway's word.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{
    Ask, Client, Consumer, ErrorKind, Event, Handled, Inquiry, Job, Options, Outcome, Queue, Settle, Work,
};

use crate::rig::{PATIENCE, ask, connected, deliveries, one, options, publish, subscribed};

fn jobs(consumer: &Consumer) -> Vec<Work<Job>> {
    match consumer.next_batch(64, Some(PATIENCE)).unwrap() {
        Outcome::Jobs(jobs) => jobs,
        other => panic!("{other:?}"),
    }
}

fn begun(work: Work<Job>) -> Job {
    let Work::Begin(mut job) = work else { panic!("{work:?}") };
    job.begin();
    job
}

fn text(job: &Job) -> String {
    String::from_utf8(job.event().data().bytes().to_vec()).unwrap()
}

fn consumer(client: &Client, pairs: &[(&str, &str)]) -> Consumer {
    client.consume("orders", &options(pairs)).unwrap()
}

/// Work is told while it is let go of: one may be seen before the other.
fn becomes_lost(is_lost: impl Fn() -> bool) {
    let until = std::time::Instant::now() + PATIENCE;
    while !is_lost() {
        assert!(std::time::Instant::now() < until, "it is not lost");
        std::thread::yield_now();
    }
}

#[test]
fn events_of_one_key_are_handled_one_at_a_time_and_settled_as_their_handlers_end() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    for (key, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        client.publish("orders", Event::text("t", text).key(key)).unwrap();
    }
    let said = [("group", "g"), ("handler_concurrency", "8"), ("backoff_min", "0"), ("max_failures", "9")];
    let consumer = consumer(&client, &said);
    assert_eq!(consumer.concurrency().unwrap(), 8);
    let mut first: Vec<Job> = Vec::new();
    while first.len() < 2 {
        first.extend(jobs(&consumer).into_iter().map(begun));
    }
    first.sort_by_key(text);
    assert_eq!(first.iter().map(text).collect::<Vec<_>>(), ["a1", "b1"], "a2 waits for a1");
    let (a, b) = (first.remove(0), first.remove(0));
    assert_eq!((a.topic(), a.attempt(), a.gap(), a.event().key()), ("orders", 1, 0, Some("a")));
    b.end(Handled::Done).unwrap();
    a.end(Handled::Failed("not today".to_owned())).unwrap();
    let again = begun(jobs(&consumer).remove(0));
    assert_eq!((text(&again), again.attempt()), ("a1".to_owned(), 2));
    again.end(Handled::NackAfter(Duration::ZERO)).unwrap();
    let third = begun(jobs(&consumer).remove(0));
    assert_eq!((text(&third), third.attempt()), ("a1".to_owned(), 3));
    third.end(Handled::Reject("never".to_owned())).unwrap();
    let second = begun(jobs(&consumer).remove(0));
    assert_eq!(text(&second), "a2");
    // The stop lets it end.
    consumer.stop().unwrap();
    second.end(Handled::Done).unwrap();
    assert!(matches!(consumer.next_batch(1, None), Ok(Outcome::Ended)));
    assert!(matches!(consumer.next_batch(1, None), Ok(Outcome::Ended)));
    let left = subscribed(&client, "orders", &[("group", "g")]);
    assert!(deliveries(left.next_batch(9, Some(Duration::from_millis(100))).unwrap()).is_empty());
}

#[test]
fn a_handler_that_is_given_up_has_failed_and_one_whose_consumer_is_gone_is_not_heard() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    publish(&client, "orders", "x").unwrap();
    let held = consumer(&client, &[("group", "g"), ("backoff_min", "0")]);
    drop(jobs(&held));
    let again = begun(jobs(&held).remove(0));
    assert_eq!(again.attempt(), 2);
    drop(held);
    again.end(Handled::Done).unwrap();
    let held = consumer(&client, &[("group", "g"), ("backoff_min", "0")]);
    // Once more if the gateway had it on its way to the one that is gone.
    assert!((3..=4).contains(&begun(jobs(&held).remove(0)).attempt()));
}

#[test]
fn what_a_handler_said_before_its_consumer_is_gone_is_heard() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let said = [("group", "g"), ("backoff_min", "0")];
    for text in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        publish(&client, "orders", text).unwrap();
        let held = consumer(&client, &said);
        let job = begun(jobs(&held).remove(0));
        assert_eq!(self::text(&job), text, "those before it are done");
        job.end(Handled::Done).unwrap();
        drop(held);
    }
}

#[test]
fn what_no_handler_began_with_goes_back_unblamed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    publish(&client, "orders", "x").unwrap();
    let said = [("group", "g"), ("backoff_min", "0"), ("max_failures", "1")];
    let held = consumer(&client, &said);
    let Work::Begin(job) = jobs(&held).remove(0) else { panic!("no work") };
    drop((job, held));
    let held = consumer(&client, &said);
    assert_eq!(text(&begun(jobs(&held).remove(0))), "x", "it is no dead letter");
}

#[test]
fn work_whose_handler_takes_too_long_is_lost_and_comes_again() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    publish(&client, "orders", "x").unwrap();
    let held = consumer(&client, &[("group", "g"), ("ack_wait", "1s"), ("backoff_min", "0")]);
    let stuck = begun(jobs(&held).remove(0));
    // Ten ack waits.
    assert!(!stuck.is_lost());
    let Work::Lost(number) = jobs(&held).remove(0) else { panic!("not lost") };
    becomes_lost(|| stuck.is_lost());
    assert_eq!(number, stuck.number());
    stuck.end(Handled::Done).unwrap();
    assert_eq!(begun(jobs(&held).remove(0)).attempt(), 2);
}

#[test]
fn why_a_consumer_or_responder_ended_is_told_once_and_then_that_it_is_over() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(2).unwrap();
    for said in [[("group", "g"), ("nothing", "x")], [("group", "g"), ("ack_wait", "soon")]] {
        let error = client.consume("orders", &options(&said)).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "consume"), "{error}");
    }
    let late = consumer(&client, &[("group", "no group!")]);
    drop(late.begin_next(1, None, &queue, 1).unwrap());
    let error = one(&queue).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "consume"), "{error}");
    assert!(matches!(late.next_batch(1, None), Ok(Outcome::Ended)));
    let responder = client.serve("no topic!", &Options::default()).unwrap();
    let error = responder.next_batch(1, None).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "serve"), "{error}");
    publish(&client, "orders", "x").unwrap();
    let consumer = consumer(&client, &[("group", "g")]);
    begun(jobs(&consumer).remove(0)).end(Handled::Done).unwrap();
    let responder = client.serve("quote", &Options::default()).unwrap();
    let asked = ask(&gateway, "one", false);
    let Outcome::Inquiries(mut work) = responder.next_batch(1, Some(PATIENCE)).unwrap() else { panic!("ended") };
    let Some(Work::Begin(inquiry)) = work.pop() else { panic!("lost") };
    reply(inquiry, &queue);
    assert!(asked.join().unwrap().is_ok());
    client.wait(Ask::Drain { deadline: None }).unwrap();
    assert!(matches!(consumer.next_batch(1, None), Ok(Outcome::Ended)));
    assert!(matches!(responder.next_batch(1, None), Ok(Outcome::Ended)));
}

#[test]
fn requests_are_answered_by_one_reply_or_by_many_or_failed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let responder = client.serve("quote", &options(&[("handler_concurrency", "8")])).unwrap();
    let asked = [("one", false), ("many", true), ("fail", false), ("drop", false), ("invalid", false)];
    let asked = asked.map(|(text, stream)| (text, ask(&gateway, text, stream)));
    let queue = Queue::new(8).unwrap();
    let mut left = asked.len();
    while left > 0 {
        let Outcome::Inquiries(work) = responder.next_batch(8, Some(PATIENCE)).unwrap() else { panic!("ended") };
        for work in work {
            let Work::Begin(inquiry) = work else { panic!("lost") };
            left -= 1;
            reply(inquiry, &queue);
        }
    }
    let said: Vec<_> = asked.into_iter().map(|(text, thread)| (text, thread.join().unwrap())).collect();
    let words = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect());
    let failed = Err(ErrorKind::ResponderFailed);
    let expected = [
        ("one", words(&["ONE"])),
        ("many", words(&["1", "2", "3"])),
        ("fail", failed.clone()),
        ("drop", failed.clone()),
        ("invalid", failed),
    ];
    assert_eq!(said, expected);
    responder.stop().unwrap();
    assert!(matches!(responder.next_batch(1, None), Ok(Outcome::Ended)));
}

fn reply(inquiry: Inquiry, queue: &Queue) {
    assert_eq!(inquiry.topic(), "quote");
    assert!(inquiry.remaining() <= Duration::from_secs(10));
    match inquiry.event().data().bytes() {
        b"one" => inquiry.answer(Event::text("said", "ONE")).unwrap(),
        b"many" => {
            assert!(inquiry.wants_stream());
            inquiry.reply_now(Event::text("said", "1")).unwrap();
            drop(inquiry.begin_reply(Event::text("said", "2"), queue, 2).unwrap());
            assert!(matches!(one(queue), Ok(Outcome::Done)));
            inquiry.reply_now(Event::text("said", "3")).unwrap();
            inquiry.end().unwrap();
        }
        b"fail" => inquiry.fail("no".to_owned()).unwrap(),
        b"drop" => drop(inquiry),
        b"invalid" => inquiry.answer(Event::text("said", "x").attribute("Bad", "x")).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_that_nobody_waits_for_any_more_is_lost_and_its_replies_are_cancelled() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let responder = client.serve("quote", &Options::default()).unwrap();
    let asking = connected(&gateway);
    let queue = Queue::new(2).unwrap();
    let (mut inquiry, mut operation) = (None, None);
    while inquiry.is_none() {
        let (topic, event) = ("quote".to_owned(), Box::new(Event::text("t", "x")));
        operation = Some(asking.begin(Ask::Request { topic, event, options: options(&[]) }, &queue, 1).unwrap());
        let Outcome::Inquiries(mut work) = responder.next_batch(1, Some(Duration::from_millis(200))).unwrap() else {
            panic!("ended")
        };
        match work.pop() {
            Some(Work::Begin(begun)) => inquiry = Some(begun),
            _ => drop(one(&queue)),
        }
    }
    let inquiry = inquiry.unwrap();
    assert!(!inquiry.is_lost());
    operation.unwrap().cancel();
    let Outcome::Inquiries(mut work) = responder.next_batch(1, Some(PATIENCE)).unwrap() else { panic!("ended") };
    becomes_lost(|| inquiry.is_lost());
    assert!(matches!(work.pop(), Some(Work::Lost(number)) if number == inquiry.number()));
    let cancelled = inquiry.reply_now(Event::text("said", "late")).unwrap_err();
    assert_eq!((cancelled.kind(), cancelled.operation()), (ErrorKind::Cancelled, "reply"));
    inquiry.end().unwrap();
}

#[test]
fn a_settle_can_wait_for_the_gateways_word_and_a_lost_lease_is_told() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let queue = Queue::new(8).unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g"), ("backoff_min", "0"), ("ack_wait", "1s")]);
    let next = || deliveries(orders.next_batch(1, Some(PATIENCE)).unwrap()).remove(0);
    publish(&client, "orders", "x").unwrap();
    next().settle_confirmed(Settle::Nack(None)).unwrap();
    next().settle_confirmed(Settle::Nack(Some(Duration::ZERO))).unwrap();
    let third = next();
    assert_eq!(third.get().unwrap().attempt(), 3);
    third.extend_confirmed().unwrap();
    drop(third.begin_extend_confirmed(&queue, 1).unwrap());
    assert!(matches!(one(&queue), Ok(Outcome::Done)));
    // Its lease ends.
    let fourth = next();
    assert_eq!(fourth.get().unwrap().attempt(), 4);
    let lost = third.settle_confirmed(Settle::Ack).unwrap_err();
    assert_eq!((lost.kind(), lost.operation()), (ErrorKind::LeaseLost, "ack_confirmed"));
    drop(fourth.begin_settle_confirmed(Settle::Reject("no".to_owned()), &queue, 2).unwrap());
    assert!(matches!(one(&queue), Ok(Outcome::Done)));
}

#[test]
fn a_settle_that_waits_for_the_gateways_word_behind_the_end_of_its_client_is_told_so() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    publish(&client, "orders", "x").unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    let held = deliveries(orders.next_batch(1, None).unwrap()).remove(0);
    client.wait(Ask::Drain { deadline: Some(Duration::from_millis(20)) }).unwrap_err();
    assert_eq!(held.extend_confirmed().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(held.settle_confirmed(Settle::Ack).unwrap_err().kind(), ErrorKind::Closed);
}
