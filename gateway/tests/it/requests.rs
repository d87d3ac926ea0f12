//! Requests and replies over real frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::{admin, session as wire};
use prost::Message as _;

use crate::rig::{Peer, Rig, earliest, event, hello, memory, run_of};

pub(crate) fn serve(subscription: u32, topic: &str) -> wire::Subscribe {
    wire::Subscribe {
        subscription,
        topic: topic.into(),
        serve: true,
        max_events: 16,
        max_bytes: 1 << 20,
        ..wire::Subscribe::default()
    }
}

fn body(id: &str) -> Bytes {
    event(id).encode().unwrap()
}

pub(crate) fn request(number: u64, topic: &str) -> wire::Request {
    let event = body(&number.to_string());
    wire::Request { number, topic: topic.into(), timeout_ms: 20_000, event, ..wire::Request::default() }
}

impl Peer {
    pub(crate) async fn ask(&mut self, request: wire::Request) {
        self.send(ClientFrame::Request(request)).await;
    }

    pub(crate) async fn asked(&mut self) -> wire::Request {
        self.find(|f| if let ServerFrame::Request(r) = f { Some(r) } else { None }).await
    }

    pub(crate) async fn replied(&mut self) -> wire::Reply {
        self.find(|f| if let ServerFrame::Reply(r) = f { Some(r) } else { None }).await
    }

    async fn cancelled(&mut self) -> u64 {
        self.find(|f| if let ServerFrame::Cancel(c) = f { Some(c.number) } else { None }).await
    }

    async fn reply(&mut self, to: &wire::Request, event: Bytes, end: bool) {
        let reply_to = to.reply_to.clone();
        let reply = wire::Reply { number: to.number, reply_to, end, event, ..wire::Reply::default() };
        self.send(ClientFrame::Reply(reply)).await;
    }
}

fn code(kind: ErrorKind) -> u32 {
    kind.number()
}

#[tokio::test]
async fn a_request_goes_to_who_serves_the_topic_and_its_reply_comes_back() {
    let rig = Rig::start().await;
    let (mut responder, mut requester) = (rig.session().await, rig.session().await);
    responder.subscribe(serve(1, "quote")).await;
    requester.ask(request(1, "quote")).await;
    let asked = responder.asked().await;
    assert_eq!((asked.subscription, asked.event.clone()), (1, body("1")));
    responder.reply(&asked, body("answer"), true).await;
    let reply = requester.replied().await;
    assert_eq!((reply.number, reply.end, reply.code, reply.event), (1, true, 0, body("answer")));
}

/// A requester and a responder that serves `quote`.
async fn pair(rig: &Rig) -> (Peer, Peer) {
    let (mut responder, requester) = (rig.session().await, rig.session().await);
    responder.subscribe(serve(1, "quote")).await;
    (requester, responder)
}

#[tokio::test]
async fn without_a_responder_the_answer_comes_at_once_and_no_topic_is_made() {
    let rig = Rig::start().await;
    let mut requester = rig.session().await;
    requester.ask(request(1, "quote")).await;
    let reply = requester.replied().await;
    assert_eq!((reply.number, reply.end, reply.code), (1, true, code(ErrorKind::NoResponders)));
    // A subscriber of events is no responder.
    let mut subscriber = rig.session().await;
    subscriber.subscribe(earliest(1, "quote", "g")).await;
    requester.ask(request(2, "quote")).await;
    assert_eq!(requester.replied().await.code, code(ErrorKind::NoResponders));
}

#[tokio::test]
async fn requests_and_replies_are_not_stored() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(request(1, "quote")).await;
    let asked = responder.asked().await;
    responder.reply(&asked, body("answer"), true).await;
    requester.replied().await;
    requester.publish("quote", run_of(&[event("e")])).await;
    let mut subscriber = rig.session().await;
    subscriber.subscribe(earliest(1, "quote", "g")).await;
    let runs = subscriber.deliveries(1).await;
    assert_eq!((runs[0].first_position, runs[0].events.count()), (1, 1));
}

#[tokio::test]
async fn at_the_deadline_both_ends_are_told() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(wire::Request { timeout_ms: 20, ..request(1, "quote") }).await;
    let asked = responder.asked().await;
    assert!((1..=20).contains(&asked.timeout_ms));
    assert_eq!(requester.replied().await.code, code(ErrorKind::Timeout));
    assert_eq!(responder.cancelled().await, asked.number);
    // It is late, and the next one is not mistaken for it.
    responder.reply(&asked, body("late"), true).await;
    requester.ask(request(2, "quote")).await;
    let asked = responder.asked().await;
    responder.reply(&asked, body("in time"), true).await;
    assert_eq!(requester.replied().await.event, body("in time"));
}

#[tokio::test]
async fn a_cancel_reaches_the_responder() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(request(1, "quote")).await;
    let asked = responder.asked().await;
    requester.send(ClientFrame::Cancel(wire::Cancel { number: 1 })).await;
    assert_eq!(responder.cancelled().await, asked.number);
}

#[tokio::test]
async fn a_stream_goes_on_as_credit_is_given() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(wire::Request { stream: true, credit: 1, ..request(1, "quote") }).await;
    let asked = responder.asked().await;
    assert_eq!((asked.stream, asked.credit), (true, 1));
    responder.reply(&asked, body("1"), false).await;
    assert!(!requester.replied().await.end);
    requester.send(ClientFrame::ReplyCredit(wire::ReplyCredit { number: 1, events: 2 })).await;
    let more = responder.find(|f| if let ServerFrame::ReplyCredit(c) = f { Some(c) } else { None }).await;
    assert_eq!((more.number, more.events), (asked.number, 2));
    responder.reply(&asked, body("2"), false).await;
    responder.reply(&asked, Bytes::new(), true).await;
    assert_eq!(requester.replied().await.event, body("2"));
    let last = requester.replied().await;
    assert_eq!((last.end, last.code, last.event), (true, 0, Bytes::new()));
}

#[tokio::test]
async fn a_responder_that_calls_itself_unavailable_has_failed_since_only_a_gateway_says_that_it_stops() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(wire::Request { retry: true, ..request(1, "quote") }).await;
    let asked = responder.asked().await;
    let reply = wire::Reply {
        number: asked.number,
        reply_to: asked.reply_to,
        end: true,
        code: code(ErrorKind::Unavailable),
        message: "closed today".into(),
        ..wire::Reply::default()
    };
    responder.send(ClientFrame::Reply(reply)).await;
    let reply = requester.replied().await;
    assert_eq!((reply.code, &*reply.message), (code(ErrorKind::ResponderFailed), "closed today"));
}

#[tokio::test]
async fn a_responder_that_dies_is_told_and_with_leave_another_one_is_asked() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(request(1, "quote")).await;
    responder.asked().await;
    drop(responder);
    assert_eq!(requester.replied().await.code, code(ErrorKind::ResponderLost));

    let (mut first, mut second) = (rig.session().await, rig.session().await);
    first.subscribe(serve(1, "quote")).await;
    requester.ask(wire::Request { retry: true, ..request(2, "quote") }).await;
    first.asked().await;
    second.subscribe(serve(1, "quote")).await;
    drop(first);
    let asked = second.asked().await;
    second.reply(&asked, body("second"), true).await;
    assert_eq!(requester.replied().await.event, body("second"));
}

#[tokio::test]
async fn a_responder_that_dies_in_the_middle_of_a_stream_is_told_and_nobody_else_is_asked() {
    let rig = Rig::start().await;
    let (mut requester, mut first) = pair(&rig).await;
    let stream = wire::Request { stream: true, credit: 5, retry: true, ..request(1, "quote") };
    requester.ask(stream).await;
    let asked = first.asked().await;
    let mut second = rig.session().await;
    second.subscribe(serve(1, "quote")).await;
    first.reply(&asked, body("1"), false).await;
    first.reply(&asked, body("2"), false).await;
    for part in ["1", "2"] {
        assert_eq!(requester.replied().await.event, body(part));
    }
    drop(first);
    let last = requester.replied().await;
    assert_eq!((last.end, last.code, last.event), (true, code(ErrorKind::ResponderLost), Bytes::new()));
    // A second responder would begin from the start: the next it hears of is another request.
    requester.ask(request(2, "quote")).await;
    assert_eq!(second.asked().await.event, body("2"));
}

#[tokio::test]
async fn a_connection_that_is_resumed_serves_and_asks_nothing_of_before() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(request(1, "quote")).await;
    responder.asked().await;
    let hello = hello();
    let (mut first, welcome) = rig.login(hello.clone()).await;
    first.subscribe(serve(1, "other")).await;
    requester.ask(request(2, "other")).await;
    first.asked().await;
    let resume = wire::Hello { resume_session: welcome.session, resume_secret: welcome.secret, ..hello };
    let (mut second, welcome) = rig.login(resume).await;
    assert!(welcome.resumed);
    assert_eq!(requester.replied().await.code, code(ErrorKind::ResponderLost));
    second.subscribe(serve(2, "other")).await;
    requester.ask(request(3, "other")).await;
    assert_eq!(second.asked().await.number, 1);
}

#[tokio::test]
async fn one_connection_has_no_more_requests_than_the_option_says() {
    let mut config = memory();
    config.max_requests = 3;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let (mut requester, mut responder) = pair(&rig).await;
    for number in 1..=4 {
        requester.ask(request(number, "quote")).await;
    }
    let reply = requester.replied().await;
    assert_eq!((reply.number, reply.code), (4, code(ErrorKind::Busy)));
    assert!(reply.message.contains("max_requests") && reply.retry_after_ms > 0, "{reply:?}");
    let asked = responder.asked().await;
    responder.reply(&asked, body("1"), true).await;
    assert_eq!(requester.replied().await.number, 1);
    requester.ask(request(5, "quote")).await;
    for _ in 0..3 {
        responder.asked().await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_requests_of_one_connection_are_bounded_and_others_are_served() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    let many = wire::Credit { subscription: 1, max_events: 65_536, max_bytes: 64 << 20 };
    responder.send(ClientFrame::Credit(many)).await;
    let most = meshwire_proto::options::MAX_REQUESTS.default;
    let mut busy = 0;
    for number in 1..=100_000 {
        requester.ask(request(number, "quote")).await;
        if number > most && number % 1000 == 0 {
            // Taking the answers, as who does not is not read from.
            while busy < number - most {
                assert_eq!(requester.replied().await.code, code(ErrorKind::Busy));
                busy += 1;
            }
        }
    }
    assert_eq!(busy, 100_000 - most);
    let mut other = rig.session().await;
    other.ask(request(1, "quote")).await;
    let mut asked = responder.asked().await;
    for _ in 0..most {
        asked = responder.asked().await;
    }
    responder.reply(&asked, body("answer"), true).await;
    assert_eq!(other.replied().await.event, body("answer"));
}

#[tokio::test]
async fn wrong_requests_and_replies_are_told_and_end_at_most_their_connection() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    let of = |number, topic: &str| request(number, topic);
    for (wrong, kind) in [
        (of(1, "a b"), ErrorKind::Invalid),
        (wire::Request { event: Bytes::from_static(b"nothing"), ..of(2, "quote") }, ErrorKind::Invalid),
        (wire::Request { event: Bytes::new(), ..of(3, "quote") }, ErrorKind::Invalid),
        (wire::Request { timeout_ms: u32::MAX, ..of(4, "quote") }, ErrorKind::Invalid),
    ] {
        let number = wrong.number;
        requester.ask(wrong).await;
        let reply = requester.replied().await;
        assert_eq!((reply.number, reply.end, reply.code), (number, true, code(kind)), "{reply:?}");
    }
    // What does not exist any more is no reason for an answer.
    requester.send(ClientFrame::Cancel(wire::Cancel { number: 1 })).await;
    requester.send(ClientFrame::ReplyCredit(wire::ReplyCredit { number: 1, events: u32::MAX })).await;

    requester.ask(of(5, "quote")).await;
    let asked = responder.asked().await;
    let forged = wire::Request { reply_to: Bytes::from_static(b"x"), ..asked.clone() };
    responder.reply(&forged, body("forged"), true).await;
    let error = responder.error().await;
    assert_eq!((error.code, error.operation.as_str(), error.fatal), (code(ErrorKind::Invalid), "reply", false));
    requester.reply(&asked, body("another session"), true).await;
    assert_eq!(requester.error().await.code, code(ErrorKind::Invalid));
    responder.reply(&asked, Bytes::from_static(b"no event"), true).await;
    let reply = requester.replied().await;
    assert_eq!((reply.number, reply.code), (5, code(ErrorKind::ResponderFailed)));
    assert_eq!(responder.error().await.code, code(ErrorKind::Invalid));
    responder.reply(&asked, body("twice"), true).await;
    assert_eq!(responder.error().await.code, code(ErrorKind::Invalid));

    requester.ask(of(5, "quote")).await;
    assert!(requester.error().await.fatal, "numbers rise");
    let mut other = rig.session().await;
    other.ask(request(1, "quote")).await;
    responder.asked().await;
}

#[tokio::test]
async fn a_requester_that_reads_nothing_is_given_no_more_than_its_bytes() {
    let mut config = memory();
    config.session_bytes = 1 << 20;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let (mut requester, mut responder) = pair(&rig).await;
    requester.ask(wire::Request { stream: true, credit: u32::MAX, ..request(1, "quote") }).await;
    let asked = responder.asked().await;
    let large = meshwire_proto::Event::bytes("t", vec![0; 256 << 10]).id("1").source("/rig").encode().unwrap();
    // More than the socket's buffers and the option hold together.
    for _ in 0..64 {
        responder.reply(&asked, large.clone(), false).await;
    }
    assert_eq!(responder.cancelled().await, asked.number);
    let mut replies = 0;
    let last = loop {
        let reply = requester.replied().await;
        if reply.end {
            break reply;
        }
        replies += 1;
    };
    assert_eq!(last.code, code(ErrorKind::Busy));
    assert!(last.message.contains("session_bytes") && replies < 64, "{last:?}");
}

/// Bytes that wait in connections.
async fn waiting(peer: &mut Peer) -> u64 {
    let get = admin::command::Command::GetLimits(admin::GetLimits {});
    let command = admin::Command { command: Some(get) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    let answer = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    match admin::Answer::decode(answer.answer).unwrap().answer {
        Some(admin::answer::Answer::Limits(limits)) => limits.sending_bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn eight_requesters_that_read_nothing_hold_little_and_hold_up_nobody_who_asks_the_same_responder() {
    const STUCK: u64 = 8;
    let mut config = memory();
    config.memory_budget = 16 << 20;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let (mut healthy, mut responder) = pair(&rig).await;
    let mut stuck = Vec::new();
    let large = meshwire_proto::Event::bytes("t", vec![0; 64 << 10]).id("1").source("/rig").encode().unwrap();
    // By the responder's number: what it was asked, and how many replies it may send.
    let mut asked = BTreeMap::new();
    for _ in 0..STUCK {
        let mut requester = rig.session().await;
        requester.ask(wire::Request { stream: true, credit: 10_000, ..request(1, "quote") }).await;
        let request = responder.asked().await;
        asked.insert(request.number, (request.credit, request));
        stuck.push(requester);
    }
    let mut sent = 0;
    // The sockets take some megabytes each; then no more is asked for.
    let (mut quiet, mut turn) = (0, 0);
    while quiet < 20 {
        let mut now = 0;
        turn += 1;
        for (credit, request) in asked.values_mut() {
            for _ in 0..std::mem::take(credit) {
                responder.reply(request, large.clone(), false).await;
                now += 1;
            }
        }
        sent += now;
        quiet = if now == 0 { quiet + 1 } else { 0 };
        assert!(sent < 10_000, "it is asked for more and more");
        // Nobody reads, and the one that does is answered at once by the same responder.
        healthy.ask(request(turn, "quote")).await;
        let question = loop {
            match responder.next().await.expect("the responder's connection stands") {
                ServerFrame::ReplyCredit(more) => asked.get_mut(&more.number).unwrap().0 += more.events,
                ServerFrame::Request(question) => break question,
                ServerFrame::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        };
        responder.reply(&question, body("answer"), true).await;
        assert_eq!(healthy.replied().await.code, 0);
        let held = waiting(&mut healthy).await;
        // Their part of the budget, the floor of each connection, and the first replies, whose size nobody knew.
        assert!(held <= (512 << 10) + STUCK * (64 << 10) + STUCK * 8 * (64 << 10), "{held} bytes wait");
    }
    assert!(sent >= STUCK * 8);
}

#[tokio::test]
async fn credit_is_set_anew_and_a_responder_that_leaves_is_asked_no_more() {
    let rig = Rig::start().await;
    let (mut requester, mut responder) = pair(&rig).await;
    responder.send(ClientFrame::Credit(wire::Credit { subscription: 1, max_events: 0, max_bytes: 0 })).await;
    responder.subscribe(serve(2, "other")).await;
    requester.ask(request(1, "quote")).await;
    assert_eq!(requester.replied().await.code, code(ErrorKind::Busy));
    responder.send(ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: 1 })).await;
    responder.find(|f| if let ServerFrame::Unsubscribed(u) = f { Some(u) } else { None }).await;
    requester.ask(request(2, "quote")).await;
    assert_eq!(requester.replied().await.code, code(ErrorKind::NoResponders));
    responder.send(ClientFrame::Subscribe(serve(2, "quote"))).await;
    assert_eq!(responder.error().await.code, code(ErrorKind::Invalid), "the number is in use");
}
