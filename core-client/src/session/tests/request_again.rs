//! Requests that are sent again: over the next connection, and over the same one when nobody serves yet.

use super::request::{TIMEOUT, ask, ready, reply};
use super::*;

fn nobody(number: u64) -> ServerFrame {
    let code = ErrorKind::NoResponders.number();
    ServerFrame::Reply(wire::Reply { code, ..reply(number, b"", true) })
}

impl Scene {
    /// Requests over one connection, whose gateway takes a number only if it is above all before.
    fn taken(&mut self, last: &mut u64) -> Vec<wire::Request> {
        let requests = self.requests();
        for request in &requests {
            assert!(request.number > *last, "request {} came behind {last}", request.number);
            *last = request.number;
        }
        requests
    }

    /// Lets time pass until the session has something to do.
    fn pass_until_due(&mut self) {
        let due = self.session.deadline().unwrap();
        self.pass(due.since(self.now));
    }
}

#[test]
fn a_request_that_is_back_before_its_responders_is_asked_again_until_its_deadline() {
    let mut scene = ready();
    let again = scene.ask(ask(None, true));
    scene.sent();
    scene.reconnect(welcome());
    let mut last = 0;
    assert_eq!(scene.taken(&mut last).len(), 1);
    scene.outputs();
    let (began, mut asked) = (scene.now, Vec::new());
    while asked.len() < 4 {
        scene.receive(&nobody(last));
        assert!(scene.replies().is_empty() && scene.requests().is_empty(), "it waits");
        scene.pass_until_due();
        let sent = scene.taken(&mut last);
        assert_eq!((sent.len(), sent[0].event.as_ref()), (1, &b"question"[..]));
        asked.push(scene.now.since(began));
    }
    assert!(asked[0] >= Duration::from_millis(50) && asked[3] >= Duration::from_millis(750), "{asked:?}");
    assert!(asked[3] <= Duration::from_millis(1200), "{asked:?}");
    // A connection that is lost meanwhile: it is sent once with the next.
    scene.receive(&nobody(last));
    scene.reconnect(welcome());
    let sent = scene.requests();
    assert_eq!(sent.len(), 1);
    scene.receive(&ServerFrame::Reply(reply(sent[0].number, b"answer", true)));
    assert_eq!(scene.replies(), [(again, true, Some(Ok(())))]);

    let late = scene.ask(ask(None, true));
    scene.sent();
    scene.reconnect(welcome());
    scene.outputs();
    scene.receive(&nobody(late));
    scene.pass(TIMEOUT);
    assert_eq!(scene.failure().kind, ErrorKind::Timeout);
    // Who was never sent before, or allows no retry, hears at once that nobody serves.
    for retry in [true, false] {
        let first = scene.ask(ask(None, retry));
        scene.receive(&nobody(first));
        assert_eq!(scene.failure().kind, ErrorKind::NoResponders);
    }
}

/// A stream that may be asked for again and met nobody on the connection of now; gives it, and the number that it had there.
fn waits_for_responders(scene: &mut Scene, last: &mut u64) -> (u64, u64) {
    let again = scene.ask(ask(Some(2), true));
    scene.sent();
    scene.reconnect(welcome());
    let first = scene.taken(last)[0].number;
    scene.outputs();
    scene.receive(&nobody(first));
    assert!(scene.replies().is_empty());
    (again, first)
}

#[test]
fn what_is_sent_again_over_the_same_connection_has_a_new_number_and_answers_to_the_old_one_are_dropped() {
    let (mut scene, mut last) = (ready(), 0);
    let (again, first) = waits_for_responders(&mut scene, &mut last);
    let open = scene.ask(ask(None, false));
    assert_eq!(scene.taken(&mut last)[0].number, open);
    // It is not at the gateway: what it is granted goes with it, and an answer is to nothing.
    scene.session.grant(again, 3);
    assert!(scene.sent().is_empty());
    scene.receive(&ServerFrame::Reply(reply(first, b"late", false)));
    scene.pass_until_due();
    let sent = scene.taken(&mut last);
    assert_eq!((sent.len(), sent[0].credit), (1, 5));
    let next = scene.ask(ask(None, false));
    assert_ne!(next, last, "a caller's number is nobody else's on the wire");
    scene.taken(&mut last);
    scene.receive(&ServerFrame::Reply(reply(first, b"late", true)));
    assert!(scene.outputs().is_empty());
    let second = sent[0].number;
    scene.session.grant(again, 1);
    assert_eq!(scene.sent(), [ClientFrame::ReplyCredit(wire::ReplyCredit { number: second, events: 1 })]);
    scene.receive(&ServerFrame::Reply(reply(second, b"1", false)));
    scene.receive(&ServerFrame::Reply(reply(next, b"other", true)));
    scene.receive(&ServerFrame::Reply(reply(second, b"2", true)));
    scene.receive(&ServerFrame::Reply(reply(open, b"other", true)));
    let ended = |number| (number, true, Some(Ok(())));
    assert_eq!(scene.replies(), [(again, true, None), ended(next), ended(again), ended(open)]);
    assert_eq!(scene.session.unfinished_requests(), 0);
}

#[test]
fn what_was_sent_again_is_cancelled_by_the_number_that_it_has_and_while_it_waits_not_at_all() {
    let (mut scene, mut last) = (ready(), 0);
    let (waits, _) = waits_for_responders(&mut scene, &mut last);
    scene.session.cancel_request(waits);
    scene.pass(Duration::from_secs(1));
    assert!(scene.sent().is_empty() && scene.session.unfinished_requests() == 0);

    for by_deadline in [false, true] {
        let (again, first) = waits_for_responders(&mut scene, &mut 0);
        let mut last = first;
        scene.pass_until_due();
        let number = scene.taken(&mut last)[0].number;
        if by_deadline {
            scene.pass(TIMEOUT);
            assert_eq!(scene.failure().kind, ErrorKind::Timeout);
        } else {
            scene.session.cancel_request(again);
        }
        assert!(scene.sent().contains(&ClientFrame::Cancel(wire::Cancel { number })));
        scene.receive(&ServerFrame::Reply(reply(number, b"late", true)));
        assert!(scene.replies().is_empty());
    }
}

#[test]
fn what_waits_for_responders_goes_out_with_the_next_connection_when_the_gateway_stops() {
    let (mut scene, mut last) = (ready(), 0);
    let (again, _) = waits_for_responders(&mut scene, &mut last);
    scene.receive(&ServerFrame::Drain(wire::Drain { deadline_ms: 100, reason: String::new() }));
    scene.pass(Duration::from_secs(1));
    assert!(scene.requests().is_empty());
    scene.reconnect(welcome());
    let sent = scene.requests();
    assert_eq!(sent.len(), 1);
    scene.outputs();
    scene.receive(&ServerFrame::Reply(reply(sent[0].number, b"answer", true)));
    assert_eq!(scene.replies(), [(again, true, Some(Ok(())))]);
}

#[test]
fn a_request_that_was_sent_over_a_lost_connection_is_never_said_not_to_have_been_sent() {
    for closes in [false, true] {
        let mut scene = ready();
        scene.ask(ask(None, true));
        scene.sent();
        scene.cut();
        scene.outputs();
        if closes {
            scene.session.close()
        } else {
            scene.pass(TIMEOUT)
        }
        let failure = scene.failure();
        assert_eq!(failure.retry, meshwire_proto::Retry::UnknownOutcome, "{failure:?}");
        assert!(!failure.message.contains("not sent"), "{failure:?}");
    }
}
