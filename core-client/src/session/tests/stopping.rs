//! What crosses the word of a gateway that it stops is refused there, and goes to the next connection.

use super::request::{ask, ready, reply};
use super::*;

fn stops(scene: &mut Scene) {
    scene.receive(&ServerFrame::Drain(wire::Drain { deadline_ms: 10_000, reason: String::new() }));
    scene.outputs();
}

fn refused(first_sequence: u64, count: u32) -> Receipt {
    let (code, message) = (ErrorKind::Unavailable.number(), "the gateway is stopping".to_owned());
    Receipt { first_sequence, count, code, message, retry_after_ms: 1000, ..Receipt::default() }
}

#[test]
fn publishes_that_a_stopping_gateway_refuses_are_sent_again_with_their_sequences() {
    for (resume, kept_through) in [(resumed(), 1), (welcome(), 1)] {
        let mut scene = Scene::up();
        scene.publish(&["1"]);
        scene.publish(&["2", "3"]);
        scene.sent();
        stops(&mut scene);
        scene.receipts(vec![kept(1, 1, 1), refused(2, 2)]);
        assert_eq!(scene.answers(), [(1..2, true)], "two have no answer yet");
        scene.reconnect(wire::Welcome { kept_through, ..resume });
        assert_eq!(scene.sequences(), [2, 3]);
        scene.receipts(vec![kept(2, 2, 2)]);
        assert_eq!(scene.answers(), [(2..4, true)]);
    }
}

#[test]
fn a_refusal_without_that_word_is_told() {
    let mut scene = Scene::up();
    scene.publish(&["1"]);
    scene.sent();
    scene.receipts(vec![refused(1, 1)]);
    assert_eq!(scene.answers(), [(1..2, false)]);
}

#[test]
fn subscriptions_and_commands_that_a_stopping_gateway_refuses_wait_for_the_next_connection() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    let command = scene.session.admin(Bytes::from_static(b"command"));
    let number = scene.asked()[0].subscription;
    stops(&mut scene);
    let (code, message) = (ErrorKind::Unavailable.number(), "the gateway is stopping".to_owned());
    let operation = "subscribe".to_owned();
    scene.receive(&ServerFrame::Error(wire::Error {
        code,
        message: message.clone(),
        subscription: number,
        retry_after_ms: 1000,
        operation,
        fatal: false,
    }));
    scene.receive(&ServerFrame::Admin(wire::AdminAnswer { number: command, code, message, ..Default::default() }));
    scene.pass(Duration::from_secs(2));
    assert!(scene.outputs().is_empty() && scene.asked().is_empty());
    scene.reconnect(welcome());
    let sent = scene.sent();
    let again = |frame: &&ClientFrame| matches!(frame, ClientFrame::Admin(admin) if admin.number == command);
    assert_eq!(sent.iter().filter(again).count(), 1, "{sent:?}");
    let asked: Vec<_> =
        sent.iter().filter(|frame| matches!(frame, ClientFrame::Subscribe(s) if s.group == "g")).collect();
    assert_eq!(asked.len(), 1, "{sent:?}");
}

#[test]
fn the_patience_with_a_gateway_that_is_busy_begins_anew_behind_one_that_stopped() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    let error = |subscription, kind: ErrorKind| {
        let (code, retry_after_ms) = (kind.number(), 1000);
        ServerFrame::Error(wire::Error { code, subscription, retry_after_ms, ..wire::Error::default() })
    };
    let number = scene.asked()[0].subscription;
    stops(&mut scene);
    scene.receive(&error(number, ErrorKind::Unavailable));
    scene.cut();
    scene.pass(Duration::from_secs(40));
    scene.settle_down();
    scene.connect(welcome());
    let number = scene.asked()[0].subscription;
    scene.receive(&error(number, ErrorKind::Busy));
    assert!(!scene.outputs().iter().any(|output| matches!(output, Output::Ended { .. })));
    scene.pass(Duration::from_secs(2));
    assert_eq!(scene.asked().len(), 1, "it is asked again");
}

#[test]
fn a_request_that_may_be_sent_twice_goes_to_the_next_connection_and_another_is_told_that_nothing_was_done() {
    let mut scene = ready();
    let (again, once) = (scene.ask(ask(None, true)), scene.ask(ask(None, false)));
    scene.sent();
    stops(&mut scene);
    let code = ErrorKind::Unavailable.number();
    for number in [again, once] {
        scene.receive(&ServerFrame::Reply(wire::Reply { code, ..reply(number, b"", true) }));
    }
    assert_eq!(scene.failure().retry, meshwire_proto::Retry::After, "of the second");
    scene.reconnect(welcome());
    assert_eq!(scene.requests().len(), 1);
}
