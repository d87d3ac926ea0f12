//! A gateway that is told to stop: what was settled before is kept, and what is leased, by whatever door, may be settled until its time
//! is over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt as _;
use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::admin::{self, command::Command};
use meshwire_proto::wire::{mesh, session as wire};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::http_websocket::{ask, closed, next_json};
use crate::machine::Machine;
use crate::rig::{PATIENCE, Rig, earliest, event, hello, memory, run_of};

/// Settlements wait for company for 10 ms, and the gateway is told to stop before these are over.
#[tokio::test]
async fn what_was_settled_at_the_last_moment_is_kept_though_nobody_was_to_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = logged(folder.path());
    for first in 1..=5 {
        let rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
        let mut peer = rig.session().await;
        peer.publish("t", run_of(&[event(&first.to_string())])).await;
        peer.subscribe(earliest(1, "t", "g")).await;
        assert_eq!(peer.deliveries(1).await[0].first_position, first, "those before are settled");
        let ack = SettleRange { subscription: 1, first_delivery: 1, count: 1, ..SettleRange::default() };
        assert_eq!(ack.kind, SettleKind::Ack);
        peer.send(ClientFrame::Settle(Settle { sequence: 1, ranges: vec![ack], confirm: false })).await;
        peer.send(ClientFrame::Ping(wire::Ping { nonce: 1, answer: false })).await;
        peer.find(|frame| if let ServerFrame::Ping(_) = frame { Some(()) } else { None }).await;
        rig.stop().await;
    }
}

fn logged(folder: &std::path::Path) -> Config {
    let mut config = memory();
    (config.memory, config.data_dir) = (false, folder.into());
    config
}

/// Never over in these tests: who waits for it fails.
fn patient(mut config: Config) -> Config {
    config.stop_timeout = 3 * PATIENCE;
    config
}

/// A text with N for the time that a stop takes at most, of which some is over when it is said.
pub(crate) fn timeless(text: &str) -> String {
    let (before, rest) = text.split_once("deadline_ms\":").unwrap();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
    let left: u64 = rest[..digits].parse().unwrap();
    assert!((1..=60_000).contains(&left), "{text}");
    format!("{before}deadline_ms\":N{}", &rest[digits..])
}

impl Rig {
    /// Tells the gateway to stop, and waits until it says so.
    async fn begin_to_stop(&mut self) {
        self.begin_stop();
        let told = async { while self.get("/readyz").await.status == 200 {} };
        tokio::time::timeout(PATIENCE, told).await.expect("it says that it stops");
    }

    /// What became of one settlement, over a connection of its own.
    async fn settle_one(&self, delivery: &Value, kind: &str) -> Value {
        let asked = json!({"settlements": [{"lease": delivery["lease"], "kind": kind}]});
        let answer = self.post("/v1/topics/t/groups/g/settle", &asked).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["results"][0].clone()
    }
}

#[tokio::test]
async fn what_was_fetched_is_waited_for_and_meanwhile_nothing_but_settlements_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::with(patient(logged(folder.path())), Arc::new(AllowAll)).await;
    rig.offer("t", &["1", "2", "3", "4"]).await;
    let held =
        [rig.fetched(json!({"max_events": 2})).await, rig.fetched(json!({"max_events": 1, "member": "m"})).await];
    let held = held.concat();
    rig.begin_to_stop().await;
    assert_eq!(rig.settle_one(&held[0], "ack").await, json!({"settled": true}));
    let event = json!({"specversion":"1.0","id":"5","source":"/s","type":"t"}).to_string();
    let structured = [("content-type", "application/cloudevents+json")];
    for (method, path, body) in [
        ("POST", "/v1/topics/t/events", event.as_str()),
        ("GET", "/v1/topics/t/events", ""),
        ("GET", "/v1/topics/t/groups/g/events", ""),
        ("POST", "/v1/topics/t/groups/g/fetch", ""),
        ("POST", "/v1/topics/t/requests", event.as_str()),
        ("PUT", "/v1/topics/other", ""),
    ] {
        let headers = if body.is_empty() { &[][..] } else { &structured };
        let answer = rig.http().await.call(method, path, headers, body.as_bytes()).await;
        assert_eq!(answer.problem(), (503, "UNAVAILABLE".into()), "{method} {path}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{method} {path}");
        // Who may hold something stays.
        let goes = (!path.contains("/groups/")).then_some("close");
        assert_eq!(answer.header("connection"), goes, "{method} {path}");
    }
    assert_eq!(rig.get("/v1/topics/t").await.status, 200);
    assert_eq!(rig.get("/readyz").await.problem(), (503, "UNAVAILABLE".into()));
    assert_eq!(rig.settle_one(&held[1], "extend").await, json!({"settled": true}));
    assert_eq!(rig.settle_one(&held[1], "release").await, json!({"settled": true}));
    assert_eq!(rig.settle_one(&held[2], "reject").await, json!({"settled": true}));
    rig.ended().await;
    let rig = Rig::with(logged(folder.path()), Arc::new(AllowAll)).await;
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(rig.fetched(json!({"wait_ms": 20000})).await);
    }
    let again: Vec<_> = again.iter().map(|d| (d["event"]["id"].clone(), d["attempt"].clone())).collect();
    assert_eq!(again, ["2", "4"].map(|id| (json!(id), json!(1))));
}

#[tokio::test]
async fn a_stream_stays_open_and_silent_until_what_it_gave_is_settled() {
    for (accept, told) in [
        ("application/x-ndjson", "{\"stopping\":{\"deadline_ms\":N}}\n"),
        ("text/event-stream", "event: stopping\ndata: {\"stopping\":{\"deadline_ms\":N}}\n\n"),
    ] {
        let mut rig = Rig::with(patient(memory()), Arc::new(AllowAll)).await;
        rig.offer("t", &["1", "2"]).await;
        let (mut stream, mut reader) = (rig.http().await, rig.http().await);
        reader.stream("/v1/topics/t/events?start=earliest", &[("accept", accept)]).await;
        stream.stream("/v1/topics/t/groups/g/events?max_unsettled=1", &[("accept", accept)]).await;
        let piece = String::from_utf8(stream.piece().await.unwrap()).unwrap();
        let delivery: Value = serde_json::from_str(&piece[piece.find('{').unwrap()..]).unwrap();
        assert_eq!(delivery["event"]["id"], "1");
        rig.begin_to_stop().await;
        assert_eq!(timeless(std::str::from_utf8(&stream.piece().await.unwrap()).unwrap()), told);
        assert_eq!(rig.settle_one(&delivery, "ack").await, json!({"settled": true}));
        // The second event did not come.
        assert_eq!(stream.piece().await, None);
        let mut rest = String::new();
        while let Some(piece) = reader.piece().await {
            rest += std::str::from_utf8(&piece).unwrap();
        }
        assert!(rest.contains("\"id\":\"2\"") && timeless(&rest).ends_with(told), "{rest}");
        assert_eq!(rest.matches("stopping\":").count(), 1, "{rest}");
        rig.ended().await;
    }
}

#[test]
fn a_session_that_hears_late_of_a_stop_is_told_what_is_left_of_it() {
    let machine = Machine::start();
    let line = machine.session();
    machine.native().mesh().stop();
    machine.pass(9_000);
    let drain = |frame| if let ServerFrame::Drain(drain) = frame { Some(drain.deadline_ms) } else { None };
    assert_eq!(line.frames().into_iter().find_map(drain), Some(1000));
}

#[tokio::test]
async fn a_subscription_of_grpc_ends_once_what_it_gave_is_settled_over_its_connection() {
    let mut rig = Rig::with(patient(memory()), Arc::new(AllowAll)).await;
    rig.offer("t", &["1", "2"]).await;
    let stub = crate::grpc::Stub::of(&rig).await;
    let asked = mesh::SubscribeRequest { topic: "t".into(), group: "g".into(), max_unsettled: 1, ..Default::default() };
    let mut stream = stub.subscribe(asked.clone()).await.unwrap();
    let held = stream.message().await.unwrap().unwrap().deliveries;
    rig.begin_to_stop().await;
    let refused = stub.subscribe(asked).await.unwrap_err();
    assert_eq!(crate::grpc::reason(&refused), "UNAVAILABLE");
    let ack = mesh::Settlement { lease: held[0].lease.clone(), r#as: mesh::SettleAs::Ack.into(), ..Default::default() };
    let settle = mesh::SettleRequest { topic: "t".into(), group: "g".into(), confirm: true, settlements: vec![ack] };
    let settled: mesh::SettleResponse = stub.call("/meshwire.v1.Mesh/Settle", settle).await.unwrap();
    assert_eq!(settled.results, [mesh::SettleResult { error: None }]);
    let end = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(crate::grpc::reason(&end), "UNAVAILABLE", "{end:?}");
    rig.ended().await;
}

#[tokio::test]
async fn a_page_settles_what_it_holds_and_is_answered_before_its_connection_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::with(patient(logged(folder.path())), Arc::new(AllowAll)).await;
    rig.offer("t", &["1", "2"]).await;
    let mut reader = ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let mut page = ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let call = async |page: &mut crate::http_websocket::Socket, call: Value| {
        page.send(Message::text(call.to_string())).await.unwrap();
        next_json(page).await
    };
    assert!(call(&mut reader, json!({"id": 1, "op": "subscribe", "topic": "t"})).await["ok"].is_object());
    let subscribe = json!({"id": 1, "op": "subscribe", "topic": "t", "group": "g", "max_unsettled": 1});
    assert!(call(&mut page, subscribe).await["ok"].is_object());
    let delivery = next_json(&mut page).await;
    let mut idle = ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    rig.begin_to_stop().await;
    for page in [&mut reader, &mut page, &mut idle] {
        assert_eq!(timeless(&next_json(page).await.to_string()), r#"{"stopping":{"deadline_ms":N}}"#);
    }
    let event = json!({"specversion":"1.0","id":"3","source":"/s","type":"t"});
    let publish = json!({"id": 2, "op": "publish", "topic": "t", "event": event});
    assert_eq!(call(&mut page, publish).await["error"]["code"], "UNAVAILABLE");
    let settlements = json!([{"lease": delivery["lease"], "kind": "ack"}]);
    let settle = json!({"id": 3, "op": "settle", "topic": "t", "group": "g", "settlements": settlements});
    assert_eq!(call(&mut page, settle).await["ok"]["results"], json!([{"settled": true}]));
    for page in [&mut reader, &mut page, &mut idle] {
        assert_eq!(closed(page).await, (1001, "the gateway is stopping".into()), "told once before");
    }
    drop((page, reader, idle));
    rig.ended().await;
}

#[tokio::test]
async fn at_the_deadline_what_was_fetched_comes_again_after_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = logged(folder.path());
    config.stop_timeout = Duration::from_millis(50);
    let rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
    rig.offer("t", &["1"]).await;
    let held = rig.fetched(json!({})).await;
    rig.stop().await;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let again = rig.fetched(json!({"wait_ms": 20000})).await;
    assert_eq!((&again[0]["event"]["id"], &again[0]["attempt"]), (&json!("1"), &json!(1)));
    assert_eq!(rig.settle_one(&held[0], "ack").await["code"], "LEASE_LOST");
}

#[tokio::test]
async fn a_session_that_holds_leases_may_come_back_while_the_gateway_stops_and_a_new_one_is_refused() {
    let mut rig = Rig::with(patient(memory()), Arc::new(AllowAll)).await;
    let hello_of_first = hello();
    let (mut peer, welcome) = rig.login(hello_of_first.clone()).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.publish("t", run_of(&[event("1"), event("2")])).await;
    peer.deliveries(2).await;
    // One that lost its connection is not waited for so long that a slow machine could do all of this.
    let mut other = rig.session().await;
    other.subscribe(earliest(1, "t", "h")).await;
    other.deliveries(2).await;
    rig.begin_to_stop().await;
    drop(peer);
    let mut new = rig.peer().await;
    new.send(ClientFrame::Hello(hello())).await;
    let error = new.error().await;
    assert_eq!((error.code, error.fatal), (ErrorKind::Unavailable.number(), true), "{error:?}");
    assert!(error.retry_after_ms > 0, "{error:?}");
    let resume = wire::Hello {
        resume_session: welcome.session,
        resume_secret: welcome.secret,
        held: vec![wire::HeldSubscription { subscription: 1, next_delivery: 2 }],
        first_unanswered: 3,
        ..hello_of_first
    };
    let (mut peer, again) = rig.login(resume).await;
    assert!(again.resumed);
    peer.find(|frame| if let ServerFrame::Drain(_) = frame { Some(()) } else { None }).await;
    // The second one had not come, and does not come now.
    assert_eq!(peer.settle(1, 1, 1, SettleKind::Ack).await, [(1, 1, 0)]);
    assert_eq!(other.settle(1, 1, 2, SettleKind::Ack).await, [(1, 2, 0)]);
    rig.ended().await;
}

#[tokio::test]
async fn what_a_session_holds_whose_client_does_not_come_back_holds_nobody_up() {
    for watched in [false, true] {
        let mut rig = Rig::with(patient(memory()), Arc::new(AllowAll)).await;
        let mut peer = rig.session().await;
        peer.subscribe(earliest(1, "t", "g")).await;
        peer.publish("t", run_of(&[event("1")])).await;
        peer.deliveries(1).await;
        // Whoever else is connected has nothing to do with it.
        let _other = if watched { Some(rig.session().await) } else { None };
        drop(peer);
        let began = std::time::Instant::now();
        rig.begin_stop();
        rig.ended().await;
        assert!(began.elapsed() < Duration::from_secs(5), "the resume window is 10 s: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_session_that_was_there_is_told_once_and_begins_nothing_and_what_it_looks_at_is_shown() {
    let mut rig = Rig::with(patient(memory()), Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "g")).await;
    assert_eq!(peer.publish("t", run_of(&[event("1")])).await[0].code, 0);
    peer.deliveries(1).await;
    rig.begin_to_stop().await;
    peer.find(|frame| if let ServerFrame::Drain(_) = frame { Some(()) } else { None }).await;
    let receipts = peer.publish("t", run_of(&[event("2")])).await;
    let unavailable = ErrorKind::Unavailable.number();
    assert_eq!((receipts[0].code, receipts[0].retry_after_ms), (unavailable, 1000), "{receipts:?}");
    for frame in [earliest(2, "t", "h"), wire::Subscribe { serve: true, start: None, ..earliest(3, "q", "") }] {
        let subscription = frame.subscription;
        peer.send(ClientFrame::Subscribe(frame)).await;
        let error = peer.error().await;
        assert_eq!((error.code, error.subscription, error.fatal), (unavailable, subscription, false), "{error:?}");
    }
    let question = event("q").encode().unwrap();
    let request = wire::Request { number: 1, topic: "q".into(), event: question, ..wire::Request::default() };
    peer.send(ClientFrame::Request(request)).await;
    let reply = peer.find(|frame| if let ServerFrame::Reply(reply) = frame { Some(reply) } else { None }).await;
    assert_eq!((reply.code, reply.end), (unavailable, true), "{reply:?}");
    let create = Command::CreateTopic(admin::CreateTopic { name: "new".into(), ..admin::CreateTopic::default() });
    for (number, command, code) in [(1, create, unavailable), (2, Command::ListTopics(admin::ListTopics::default()), 0)]
    {
        let command = admin::Command { command: Some(command) }.encode_to_vec().into();
        peer.send(ClientFrame::Admin(wire::Admin { number, command })).await;
        let answer = peer.find(|frame| if let ServerFrame::Admin(answer) = frame { Some(answer) } else { None }).await;
        assert_eq!((answer.number, answer.code), (number, code), "{answer:?}");
    }
    assert_eq!(peer.settle(1, 1, 1, SettleKind::Ack).await, [(1, 1, 0)]);
    while let Some(frame) = peer.next().await {
        assert!(!matches!(frame, ServerFrame::Drain(_)), "it knows");
    }
    rig.ended().await;
}

/// Reads frames of HTTP/2 until each of these kinds has come.
async fn frames_of(socket: &mut tokio::net::TcpStream, kinds: &[u8]) {
    let mut missing = kinds.to_vec();
    while !missing.is_empty() {
        let mut head = [0; 9];
        let read = tokio::time::timeout(PATIENCE, socket.read_exact(&mut head));
        read.await.expect("it comes").expect("the connection is there");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        socket.read_exact(&mut vec![0; length as usize]).await.unwrap();
        missing.retain(|kind| *kind != head[3]);
    }
}

#[tokio::test]
async fn connections_by_which_nothing_is_held_are_sent_elsewhere_and_the_others_stay() {
    const SETTINGS_AND_GET: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
        \0\0\x0e\x01\x05\0\0\0\x01\x82\x86\x84\x41\x09localhost";
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    let mut rig = Rig::with(patient(memory()), Arc::new(AllowAll)).await;
    rig.offer("t", &["1"]).await;
    let mut holds = rig.http().await;
    let fetched = holds.post("/v1/topics/t/groups/g/fetch", &json!({})).await.json();
    let mut idle = rig.http().await;
    assert_eq!(idle.call("GET", "/v1/topics/t", &[], b"").await.header("connection"), None);
    let mut http2 = rig.socket().await;
    http2.write_all(SETTINGS_AND_GET).await.unwrap();
    frames_of(&mut http2, &[HEADERS]).await;
    rig.begin_to_stop().await;
    assert!(idle.is_closed().await);
    frames_of(&mut http2, &[GOAWAY]).await;
    let mut late = rig.socket().await;
    late.write_all(SETTINGS_AND_GET).await.unwrap();
    frames_of(&mut late, &[HEADERS, GOAWAY]).await;
    for kind in ["extend", "ack"] {
        let asked = json!({"settlements": [{"lease": fetched["deliveries"][0]["lease"], "kind": kind}]});
        let answer = holds.post("/v1/topics/t/groups/g/settle", &asked).await;
        assert_eq!((answer.status, answer.header("connection")), (200, None), "{answer:?}");
    }
    rig.ended().await;
}
