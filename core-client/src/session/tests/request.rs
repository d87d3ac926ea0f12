//! Requests, and requests of others, over connections that come and go.

use super::*;

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// A reply: its number, whether it has an event, and how it ends the request.
pub(super) type Replied = (u64, bool, Option<Result<(), Failure>>);

pub(super) fn ask(stream: Option<u32>, retry: bool) -> RequestSpec {
    RequestSpec { topic: topic("quote"), event: Bytes::from_static(b"question"), timeout: TIMEOUT, stream, retry }
}

pub(super) fn serve() -> ServeSpec {
    ServeSpec { topic: topic("quote"), group: None, max_events: 256, max_bytes: 8 << 20 }
}

pub(super) fn reply(number: u64, event: &'static [u8], end: bool) -> wire::Reply {
    wire::Reply { number, end, event: Bytes::from_static(event), ..wire::Reply::default() }
}

pub(super) fn done(event: &'static [u8]) -> TaskReply {
    TaskReply { event: Some(Bytes::from_static(event)), end: Some(Ok(())) }
}

/// A scene that is logged in, and told so.
pub(super) fn ready() -> Scene {
    let mut scene = Scene::up();
    scene.outputs();
    scene
}

impl Scene {
    pub(super) fn ask(&mut self, spec: RequestSpec) -> u64 {
        self.session.request(self.now, spec)
    }

    pub(super) fn requests(&mut self) -> Vec<wire::Request> {
        let request = |f| if let ClientFrame::Request(r) = f { Some(r) } else { None };
        self.sent().into_iter().filter_map(request).collect()
    }

    /// The replies since the last look: number, event, and how it ended.
    pub(super) fn replies(&mut self) -> Vec<Replied> {
        let reply = |o| match o {
            Output::Replied { request, event, end } => Some((request, event.is_some(), end)),
            _ => None,
        };
        self.outputs().into_iter().filter_map(reply).collect()
    }

    /// The one failure since the last look.
    pub(super) fn failure(&mut self) -> Failure {
        match self.replies().as_slice() {
            [(_, false, Some(Err(failure)))] => failure.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Something that serves, and its number on the wire.
    fn serves(&mut self) -> (ServeId, u32) {
        let id = self.session.serve(serve());
        let frame = self.asked().pop().expect("a Subscribe frame");
        assert!(frame.serve);
        self.confirm_subscribe(frame.subscription);
        assert_eq!(self.outputs(), [Output::Serving { serve: id }]);
        (id, frame.subscription)
    }

    /// A request of others; gives what the session calls it.
    fn asks(&mut self, number: u64, subscription: u32) -> TaskId {
        let reply_to = Bytes::from(format!("gw/1/{number}"));
        let request = wire::Request { number, subscription, reply_to, ..wire::Request::default() };
        self.receive(&ServerFrame::Request(request));
        match self.outputs().as_slice() {
            [Output::Asked { task, .. }] => *task,
            other => panic!("{other:?}"),
        }
    }

    fn said(&mut self) -> Vec<wire::Reply> {
        let reply = |f| if let ClientFrame::Reply(r) = f { Some(r) } else { None };
        self.sent().into_iter().filter_map(reply).collect()
    }
}

#[test]
fn a_request_is_sent_once_and_its_reply_ends_it() {
    let mut scene = ready();
    let number = scene.ask(ask(None, false));
    let sent = scene.requests();
    assert_eq!((sent[0].number, sent[0].timeout_ms, sent[0].stream), (number, 5000, false));
    scene.receive(&ServerFrame::Reply(reply(number, b"answer", true)));
    assert_eq!(scene.replies(), [(number, true, Some(Ok(())))]);
    assert_eq!(scene.session.unfinished_requests(), 0);
    // A second one is late.
    scene.receive(&ServerFrame::Reply(reply(number, b"again", true)));
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.session.stats().replies_late, 1);
}

#[test]
fn a_reply_that_crosses_with_the_deadline_is_dropped_and_counted_here_as_the_gateway_does_not() {
    let mut scene = ready();
    let number = scene.ask(ask(None, false));
    scene.pass(TIMEOUT);
    assert_eq!(scene.failure().kind, ErrorKind::Timeout);
    scene.receive(&ServerFrame::Reply(reply(number, b"answer", true)));
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.session.stats().replies_late, 1);
    // What the gateway says of its own deadline is no reply.
    let over = wire::Reply { code: ErrorKind::Timeout.number(), ..reply(number, b"", true) };
    scene.receive(&ServerFrame::Reply(over));
    assert_eq!(scene.session.stats().replies_late, 1);
}

#[test]
fn what_the_gateway_refuses_is_told_with_its_kind_and_wait() {
    let mut scene = ready();
    let number = scene.ask(ask(None, false));
    let code = ErrorKind::Busy.number();
    let refused = wire::Reply { code, message: "full".into(), retry_after_ms: 50, ..reply(number, b"", true) };
    scene.receive(&ServerFrame::Reply(refused));
    let failure = scene.failure();
    assert_eq!((failure.kind, failure.retry_after), (ErrorKind::Busy, Some(Duration::from_millis(50))));
}

#[test]
fn a_request_whose_deadline_passes_is_cancelled_at_the_gateway() {
    let mut scene = ready();
    let number = scene.ask(ask(None, false));
    scene.sent();
    assert_eq!(scene.session.deadline(), Some(scene.now + TIMEOUT));
    scene.pass(TIMEOUT);
    let failure = scene.failure();
    assert_eq!((failure.kind, failure.retry), (ErrorKind::Timeout, meshwire_proto::Retry::UnknownOutcome));
    assert_eq!(scene.sent(), [ClientFrame::Cancel(wire::Cancel { number })]);
}

#[test]
fn a_request_without_a_connection_waits_and_at_its_deadline_was_not_sent() {
    let mut scene = Scene::new();
    scene.until_dial();
    scene.ask(ask(None, false));
    scene.pass(Duration::from_secs(2));
    scene.ask(ask(None, false));
    scene.pass(Duration::from_secs(3));
    let failure = scene.failure();
    assert_eq!((failure.kind, failure.retry), (ErrorKind::Timeout, meshwire_proto::Retry::After));
    assert!(failure.message.contains("was not sent"), "{}", failure.message);
    scene.session.connected(scene.now);
    scene.sent();
    scene.receive(&ServerFrame::Welcome(welcome()));
    let sent = scene.requests();
    assert_eq!((sent.len(), sent[0].number, sent[0].timeout_ms), (1, 2, 2000));
}

#[test]
fn a_lost_connection_ends_what_was_sent_except_where_a_retry_is_allowed() {
    let mut scene = ready();
    let (once, again, part) = (scene.ask(ask(None, false)), scene.ask(ask(None, true)), scene.ask(ask(Some(8), true)));
    scene.sent();
    scene.receive(&ServerFrame::Reply(reply(part, b"1", false)));
    scene.outputs();
    scene.cut();
    let ended = scene.replies();
    let unknown = |(number, _, end): &Replied| match end {
        Some(Err(f)) => (*number, f.kind, f.retry == meshwire_proto::Retry::UnknownOutcome),
        other => panic!("{other:?}"),
    };
    let ended: Vec<_> = ended.iter().map(unknown).collect();
    assert_eq!(ended, [(once, ErrorKind::Unavailable, true), (part, ErrorKind::Unavailable, true)]);
    scene.connect(resumed());
    let sent = scene.requests();
    assert_eq!((sent.len(), sent[0].number, sent[0].event.as_ref()), (1, again, &b"question"[..]));
}

#[test]
fn requests_are_numbered_in_the_order_they_are_sent_also_after_a_reconnect() {
    let mut scene = ready();
    for _ in 0..3 {
        scene.ask(ask(None, true));
    }
    scene.sent();
    scene.reconnect(welcome());
    scene.ask(ask(None, true));
    assert_eq!(scene.requests().iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn while_the_gateway_stops_requests_wait_for_the_next_connection() {
    let mut scene = ready();
    scene.receive(&ServerFrame::Drain(wire::Drain { deadline_ms: 100, reason: String::new() }));
    scene.ask(ask(None, false));
    assert!(scene.requests().is_empty());
    scene.reconnect(welcome());
    assert_eq!(scene.requests().len(), 1);
}

#[test]
fn a_stream_is_given_credit_and_may_be_cancelled() {
    let mut scene = ready();
    let number = scene.ask(ask(Some(2), false));
    assert_eq!(scene.requests()[0].credit, 2);
    scene.receive(&ServerFrame::Reply(reply(number, b"1", false)));
    scene.session.grant(number, 1);
    assert_eq!(scene.sent(), [ClientFrame::ReplyCredit(wire::ReplyCredit { number, events: 1 })]);
    scene.session.cancel_request(number);
    assert_eq!(scene.sent(), [ClientFrame::Cancel(wire::Cancel { number })]);
    scene.session.grant(number, 1);
    scene.session.cancel_request(number);
    assert!(scene.sent().is_empty());
    assert_eq!(scene.session.deadline().unwrap().since(scene.now), Duration::from_secs(10), "only the heartbeat");
}

#[test]
fn a_request_of_others_is_answered_with_its_address_and_ended_once() {
    let mut scene = ready();
    let (_, wire) = scene.serves();
    let task = scene.asks(1, wire);
    scene.session.reply(task, TaskReply { event: Some(Bytes::from_static(b"1")), end: None });
    scene.session.reply(task, done(b"2"));
    scene.session.reply(task, done(b"3"));
    let said = scene.said();
    assert_eq!(said.iter().map(|r| (r.number, r.end)).collect::<Vec<_>>(), [(1, false), (1, true)]);
    assert!(said.iter().all(|r| r.reply_to == "gw/1/1"));
    assert_eq!(scene.session.stats().replies_dropped, 1);
}

#[test]
fn a_failure_is_said_without_an_event() {
    let mut scene = ready();
    let (_, wire) = scene.serves();
    let task = scene.asks(1, wire);
    let failure = Failure::new(ErrorKind::ResponderFailed, "no such sku");
    scene.session.reply(task, TaskReply { event: Some(Bytes::from_static(b"x")), end: Some(Err(failure)) });
    let said = scene.said().remove(0);
    assert_eq!(
        (said.end, said.code, said.message.as_str()),
        (true, ErrorKind::ResponderFailed.number(), "no such sku")
    );
    assert!(said.event.is_empty());
}

#[test]
fn a_cancel_of_the_gateway_is_passed_on_and_the_request_still_ended() {
    let mut scene = ready();
    let (_, wire) = scene.serves();
    let task = scene.asks(1, wire);
    scene.receive(&ServerFrame::Cancel(wire::Cancel { number: 1 }));
    scene.receive(&ServerFrame::Cancel(wire::Cancel { number: 9 }));
    assert_eq!(scene.outputs(), [Output::TaskCancelled { task }]);
    scene.session.reply(task, TaskReply { event: None, end: Some(Err(Failure::new(ErrorKind::Cancelled, "gone"))) });
    assert_eq!(scene.said().len(), 1);
}

#[test]
fn who_serves_does_so_again_on_the_next_connection_and_answers_nothing_of_the_last() {
    let mut scene = ready();
    let (id, wire) = scene.serves();
    let task = scene.asks(1, wire);
    scene.cut();
    assert!(scene.outputs().contains(&Output::TaskCancelled { task }));
    scene.session.reply(task, done(b"late"));
    scene.connect(resumed());
    let asked = scene.asked().pop().unwrap();
    assert!(asked.serve && asked.subscription > wire);
    scene.confirm_subscribe(asked.subscription);
    assert!(scene.outputs().contains(&Output::Serving { serve: id }));
    assert!(scene.said().is_empty());
    assert_eq!(scene.session.stats().replies_dropped, 1);
    // The gateway's numbers begin anew.
    let next = scene.asks(1, asked.subscription);
    assert_ne!(next, task);
}

#[test]
fn on_the_next_connection_a_client_serves_before_it_asks_as_it_may_ask_itself() {
    let mut scene = ready();
    scene.serves();
    scene.cut();
    scene.ask(ask(None, false));
    scene.connect(resumed());
    let frames = scene.sent();
    let serves = frames.iter().position(|f| matches!(f, ClientFrame::Subscribe(s) if s.serve));
    let asks = frames.iter().position(|f| matches!(f, ClientFrame::Request(_)));
    assert!(serves.is_some() && serves < asks, "{frames:?}");
}

#[test]
fn a_request_that_crosses_with_the_end_of_who_serves_is_sent_back() {
    let mut scene = ready();
    let (id, wire) = scene.serves();
    scene.session.serve_no_more(id);
    assert_eq!(scene.sent(), [ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: wire })]);
    scene.receive(&ServerFrame::Request(wire::Request { number: 1, subscription: wire, ..wire::Request::default() }));
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.said()[0].code, ErrorKind::NoResponders.number());
}

#[test]
fn a_request_for_nobody_or_twice_is_a_protocol_error() {
    let mut scene = ready();
    let (_, wire) = scene.serves();
    scene.asks(1, wire);
    scene.receive(&ServerFrame::Request(wire::Request { number: 1, subscription: wire, ..wire::Request::default() }));
    assert!(scene.disconnect_reason().contains("request 1 came twice"));
    scene.connect(welcome());
    scene.outputs();
    scene.receive(&ServerFrame::Request(wire::Request { number: 1, subscription: 99, ..wire::Request::default() }));
    assert!(scene.disconnect_reason().contains("subscription 99, which does not exist"));
}

#[test]
fn a_reply_that_the_gateway_refuses_is_told() {
    let mut scene = ready();
    let (code, operation) = (ErrorKind::TooLarge.number(), "reply".to_owned());
    scene.receive(&ServerFrame::Error(wire::Error { code, operation, ..wire::Error::default() }));
    assert!(matches!(scene.outputs().as_slice(), [Output::ReplyRefused(f)] if f.kind == ErrorKind::TooLarge));
}

#[test]
fn a_gateway_that_refuses_to_be_served_is_heard() {
    let mut scene = ready();
    let serve = scene.session.serve(serve());
    let subscription = scene.asked().remove(0).subscription;
    let error = wire::Error { code: ErrorKind::Denied.number(), subscription, ..wire::Error::default() };
    scene.receive(&ServerFrame::Error(error));
    assert!(matches!(scene.outputs().as_slice(), [Output::ServeEnded { serve: ended, .. }] if *ended == serve));
    scene.reconnect(welcome());
    assert!(scene.asked().is_empty());
}

#[test]
fn a_close_ends_all_that_waits() {
    let mut scene = ready();
    let (serve, wire) = scene.serves();
    let task = scene.asks(1, wire);
    let number = scene.ask(ask(None, true));
    scene.sent();
    scene.session.close();
    let outputs = scene.outputs();
    assert!(outputs.contains(&Output::TaskCancelled { task }));
    assert!(outputs.iter().any(|o| matches!(o, Output::ServeEnded { serve: ended, .. } if *ended == serve)));
    let over = |o: &Output| {
        matches!(o, Output::Replied { request, end: Some(Err(f)), .. }
        if *request == number && f.kind == ErrorKind::Closed && f.retry == meshwire_proto::Retry::UnknownOutcome)
    };
    assert!(outputs.iter().any(over));
    assert_eq!(scene.session.unfinished_requests(), 0);
}

#[test]
fn a_drain_takes_no_requests_and_counts_what_is_open() {
    let mut scene = ready();
    let (_, wire) = scene.serves();
    let task = scene.asks(1, wire);
    scene.session.drain();
    let credit = wire::Credit { subscription: wire, max_events: 0, max_bytes: 0 };
    assert!(scene.sent().contains(&ClientFrame::Credit(credit)));
    assert_eq!(scene.session.unfinished(), 1);
    scene.session.reply(task, done(b"x"));
    assert_eq!(scene.session.unfinished(), 0);
}
