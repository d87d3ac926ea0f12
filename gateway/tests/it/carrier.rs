//! Sessions inside HTTP requests, as a client by hand sees them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::{
    ClientFrame, FrameParser, PREFACE, Publish, PublishRun, ServerFrame, begin_frame, end_frame,
};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Event};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::rig::{PATIENCE, Rig, event, hello, memory, run_of};

/// One answer: its status, its head in lower case, and what came of its body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn session(&self) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix("meshwire-session: "));
        line.expect("an id").trim()
    }
}

async fn ask(rig: &Rig, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut socket = rig.socket().await;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut all = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut all)).await.expect("an answer").unwrap();
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(all[..end].to_vec()).unwrap().to_ascii_lowercase();
    Answer { status: head[9..12].parse().unwrap(), head, body: all[end + 4..].to_vec() }
}

fn encoded(frame: &ClientFrame) -> Vec<u8> {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out);
    frame.encode(&mut out);
    end_frame(&mut out, start, 0);
    out.to_vec()
}

fn login(hello: wire::Hello) -> Vec<u8> {
    [&PREFACE[..], &encoded(&ClientFrame::Hello(hello))].concat()
}

fn frames(bytes: &[u8]) -> Vec<ServerFrame> {
    let (parser, mut rest) = (FrameParser::new(1 << 26, "none"), BytesMut::from(bytes));
    let next = || parser.next(&mut rest).unwrap().map(|frame| ServerFrame::decode(frame).unwrap());
    std::iter::from_fn(next).collect()
}

/// The path of a session that is logged in, and how many bytes the gateway has said.
async fn begin(rig: &Rig) -> (String, usize) {
    let answer = ask(rig, "POST", "/v1/session", &login(hello())).await;
    assert_eq!(answer.status, 201, "{}", answer.head);
    assert_eq!(answer.body[..8], PREFACE);
    assert!(matches!(frames(&answer.body[8..])[..], [ServerFrame::Welcome(_)]));
    (format!("/v1/session/{}", answer.session()), answer.body.len())
}

fn publish(sequence: u64, id: &str) -> Vec<u8> {
    let run = PublishRun {
        alias: 1,
        topic: "orders".into(),
        first_sequence: sequence,
        events: run_of(&[event(id)]),
        ..PublishRun::default()
    };
    encoded(&ClientFrame::Publish(Publish { runs: vec![run], ..Publish::default() }))
}

/// Short answers from a byte on until one has nothing more.
async fn said(rig: &Rig, path: &str, mut after: usize, least: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < least {
        let answer = ask(rig, "GET", &format!("{path}?after={after}&wait_ms=20000"), b"").await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.head.contains("no-store") && answer.head.contains("no-transform"), "{}", answer.head);
        after += answer.body.len();
        all.extend(answer.body);
    }
    all
}

#[tokio::test]
async fn an_event_of_four_mib_is_taken_in_batches_though_it_has_all_the_memory_there_is_for_frames() {
    let rig = Rig::start().await;
    let (path, after) = begin(&rig).await;
    let large = Event::bytes("t", vec![7; 4 << 20]).id("large").source("/rig");
    let run = PublishRun {
        alias: 1,
        topic: "orders".into(),
        first_sequence: 1,
        events: run_of(&[large]),
        ..PublishRun::default()
    };
    let frame = encoded(&ClientFrame::Publish(Publish { runs: vec![run], ..Publish::default() }));
    for (n, batch) in frame.chunks(256 << 10).enumerate() {
        let batch_path = format!("{path}?batch={}", n + 1);
        let sent = timeout(PATIENCE, ask(&rig, "POST", &batch_path, batch)).await;
        assert_eq!(sent.expect("it is taken").status, 204, "{n}");
    }
    let answers = frames(&said(&rig, &path, after, 1).await);
    assert!(matches!(&answers[..], [ServerFrame::Receipts(receipts)] if receipts.receipts[0].code == 0), "{answers:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_that_comes_again_is_answered_again_and_taken_once() {
    let rig = Rig::start().await;
    let (path, after) = begin(&rig).await;
    for _ in 0..3 {
        let answer = ask(&rig, "POST", &format!("{path}?batch=1"), &publish(1, "a")).await;
        assert_eq!(answer.status, 204, "{}", answer.head);
    }
    assert_eq!(ask(&rig, "POST", &format!("{path}?batch=2"), &publish(2, "b")).await.status, 204);
    let mut receipts = 0;
    let (mut all, mut next) = (Vec::new(), after);
    while receipts < 2 {
        let more = said(&rig, &path, next, 1).await;
        next += more.len();
        all.extend(more);
        let receipt = |frame: &ServerFrame| match frame {
            ServerFrame::Receipts(receipts) => receipts.receipts.iter().map(|r| r.count).sum(),
            ServerFrame::Error(error) => panic!("{error:?}"),
            _ => 0,
        };
        receipts = frames(&all).iter().map(receipt).sum::<u32>();
    }
    // Taken twice, the sequence would have been answered twice, or broken the protocol.
    assert_eq!(receipts, 2);
    rig.stop().await;
}

#[tokio::test]
async fn what_was_said_can_be_asked_for_again_from_any_byte_until_it_is_acknowledged() {
    let rig = Rig::start().await;
    let answer = ask(&rig, "POST", "/v1/session", &login(hello())).await;
    let path = format!("/v1/session/{}", answer.session());
    for after in [0, 1, 7, 20, answer.body.len() - 1] {
        let again = ask(&rig, "GET", &format!("{path}?after={after}&wait_ms=0"), b"").await;
        assert_eq!(again.body, answer.body[after..], "{after}");
    }
    let gone = ask(&rig, "GET", &format!("{path}?after=0&wait_ms=0"), b"").await;
    assert_eq!(gone.status, 400);
    let future = ask(&rig, "GET", &format!("{path}?after=100000&wait_ms=0"), b"").await;
    assert_eq!(future.status, 400);
    rig.stop().await;
}

#[tokio::test]
async fn gaps_wrong_numbers_unknown_parameters_and_ids_are_refused_with_a_reason() {
    let rig = Rig::start().await;
    let (path, _) = begin(&rig).await;
    for (method, path, body, status, told) in [
        ("POST", format!("{path}?batch=2"), &b"x"[..], 409, "expected"),
        ("POST", format!("{path}?batch=0"), b"x", 400, "parameter batch is"),
        ("POST", path.clone(), b"x", 400, "numbered from 1"),
        ("POST", format!("{path}?batch=x"), b"x", 400, "parameter batch is"),
        ("POST", format!("{path}?batch=1&batch=1"), b"x", 400, "twice"),
        ("POST", format!("{path}?batch=1&end=maybe"), b"", 400, "true and false"),
        ("POST", format!("{path}?batch=1&after=9999"), b"", 400, "not in what is kept"),
        ("POST", format!("{path}?batch=1"), &[0; 256 * 1024 + 1], 413, "over"),
        ("GET", format!("{path}?since=1"), b"", 400, "no parameter"),
        ("GET", format!("{path}?after=0&wait_ms=25001"), b"", 400, "25000"),
        ("GET", "/v1/session/00000000000000000000000000000000?after=0".to_owned(), b"", 404, "no such"),
        ("GET", "/v1/session/%00?after=0".to_owned(), b"", 404, "no such"),
        ("PUT", path.clone(), b"", 405, "does not take"),
        ("POST", "/v1/session".to_owned(), b"hello", 400, "preface"),
        ("POST", "/v1/session".to_owned(), &[0xF3; 70_000], 413, "login_frame_bytes"),
    ] {
        let answer = ask(&rig, method, &path, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {path}: {text}");
        assert!(text.contains(told), "{method} {path}: {text}");
    }
    // The session is as it was.
    assert_eq!(ask(&rig, "POST", &format!("{path}?batch=1"), &publish(1, "a")).await.status, 204);
    rig.stop().await;
}

#[tokio::test]
async fn the_end_of_a_session_is_told_once_all_has_come_and_then_its_id_is_unknown() {
    let rig = Rig::start().await;
    let (path, after) = begin(&rig).await;
    let last = encoded(&ClientFrame::Goodbye(wire::Goodbye::default()));
    assert_eq!(ask(&rig, "POST", &format!("{path}?batch=1&end=true"), &last).await.status, 204);
    let mut next = after;
    loop {
        let answer = ask(&rig, "GET", &format!("{path}?after={next}&wait_ms=20000"), b"").await;
        next += answer.body.len();
        match answer.status {
            200 => {}
            status => break assert_eq!(status, 204),
        }
    }
    loop {
        // It is forgotten a moment later.
        match ask(&rig, "GET", &format!("{path}?after={next}&wait_ms=0"), b"").await.status {
            204 => tokio::task::yield_now().await,
            status => break assert_eq!(status, 404),
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_carrier_that_nobody_asks_for_output_is_a_lost_connection_whose_session_can_be_resumed() {
    let mut config = memory();
    config.heartbeat = Duration::from_secs(1);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let hello = hello();
    let answer = ask(&rig, "POST", "/v1/session", &login(hello.clone())).await;
    let [ServerFrame::Welcome(welcome)] = &frames(&answer.body[8..])[..] else { panic!("no welcome") };
    let path = format!("/v1/session/{}", answer.session());
    // Only batches come: they do not keep it.
    let mut number = 1;
    while ask(&rig, "POST", &format!("{path}?batch={number}"), b"").await.status == 204 {
        number += 1;
    }
    assert_eq!(ask(&rig, "POST", &format!("{path}?batch={number}"), b"").await.status, 404);
    let again = wire::Hello { resume_session: welcome.session.clone(), resume_secret: welcome.secret.clone(), ..hello };
    let (_, resumed) = rig.login(again).await;
    assert!(resumed.resumed);
    rig.stop().await;
}

#[tokio::test]
async fn credentials_that_cannot_be_verified_are_unauthenticated_on_every_carrier() {
    let rig = Rig::start().await;
    let hello = || wire::Hello {
        auth_scheme: "bearer".into(),
        auth_credentials: Bytes::from_static(b"secret-token"),
        ..hello()
    };
    let mut peer = rig.peer().await;
    peer.send(ClientFrame::Hello(hello())).await;
    let error = peer.error().await;
    assert_eq!((error.code, error.fatal), (ErrorKind::Unauthenticated.number(), true));
    assert!(!error.message.contains("secret-token"), "{error:?}");
    let answer = ask(&rig, "POST", "/v1/session", &login(hello())).await;
    let [ServerFrame::Error(error)] = &frames(&answer.body[8..])[..] else { panic!("no error") };
    assert_eq!((error.code, error.fatal), (ErrorKind::Unauthenticated.number(), true));
    rig.stop().await;
}
