//! Errors that clients are told are counted, whatever door they leave by: one of each, and what the metrics say then.

use futures_util::SinkExt as _;
use meshwire_proto::frame::{ClientFrame, SettleKind};
use meshwire_proto::wire::session as wire;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::http_websocket::{ask, closed, next_json};
use crate::rig::{PATIENCE, Rig, earliest, event, run_of};

/// How many errors of a code clients were told.
pub(crate) async fn told(rig: &Rig, code: &str) -> u64 {
    let metrics = rig.get("/metrics").await.text().to_owned();
    let sample = format!("meshwire_errors_total{{code=\"{code}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&sample)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn answers_of_http_and_heads_that_cannot_be_read_are_counted() {
    let rig = Rig::start().await;
    assert_eq!(rig.get("/v1/topics/none").await.code(), "TOPIC_NOT_FOUND");
    assert_eq!(told(&rig, "TOPIC_NOT_FOUND").await, 1);
    let mut socket = rig.socket().await;
    socket.write_all(b"GET / HTTP/1.1\r\nbad head\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.contains("\"code\":\"INVALID\""), "{answer}");
    assert_eq!(told(&rig, "INVALID").await, 1);
}

#[tokio::test]
async fn a_stream_of_http_that_ends_with_an_error_is_counted() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let mut stream = rig.http().await;
    stream.stream("/v1/topics/t/groups/g/events", &[]).await;
    stream.delivery().await;
    assert_eq!(rig.ask("DELETE", "/v1/topics/t?force=true", "").await.status, 200);
    assert_eq!(stream.delivery().await["error"]["code"], "TOPIC_NOT_FOUND");
    assert_eq!(told(&rig, "TOPIC_NOT_FOUND").await, 1);
}

#[tokio::test]
async fn what_ends_an_event_socket_is_counted() {
    let rig = Rig::start().await;
    let mut socket = ask(&rig, "/v1/topics/t/events", "cloudevents.json").await.unwrap();
    socket.send(Message::text("{}")).await.unwrap();
    assert_eq!(closed(&mut socket).await.0, 4001);
    assert_eq!(told(&rig, "INVALID").await, 1);
}

#[tokio::test]
async fn errors_of_calls_and_of_subscriptions_of_a_page_are_counted() {
    let rig = Rig::start().await;
    let mut page = ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let mut code = async |call: serde_json::Value| {
        page.send(Message::text(call.to_string())).await.unwrap();
        next_json(&mut page).await["error"]["code"].clone()
    };
    assert_eq!(code(json!("no call")).await, "INVALID");
    assert_eq!(code(json!({"id": 1, "op": "nothing"})).await, "INVALID");
    assert_eq!(code(json!({"id": 2, "op": "subscribe", "topic": "a/b"})).await, "INVALID");
    assert_eq!(told(&rig, "INVALID").await, 3);
    assert_eq!(code(json!({"id": 3, "op": "subscribe", "topic": "t"})).await, json!(null));
    assert_eq!(rig.ask("DELETE", "/v1/topics/t?force=true", "").await.status, 200);
    assert_eq!(next_json(&mut page).await["error"]["code"], "TOPIC_NOT_FOUND");
    assert_eq!(told(&rig, "TOPIC_NOT_FOUND").await, 1);
}

#[tokio::test]
async fn every_kind_of_error_of_a_session_is_counted() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    // An error frame, an answer of administration, the end of a subscription, a receipt, a settlement, a reply.
    peer.send(ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: 9 })).await;
    peer.error().await;
    assert_eq!(told(&rig, "NOT_FOUND").await, 1);
    let command = bytes::Bytes::from_static(b"\xff");
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    peer.find(|frame| matches!(frame, meshwire_proto::frame::ServerFrame::Admin(_)).then_some(())).await;
    assert_eq!(told(&rig, "INVALID").await, 1);
    let receipts = peer.publish("a/b", run_of(&[event("1"), event("2")])).await;
    assert_eq!((receipts.len(), receipts[0].count, told(&rig, "INVALID").await), (1, 2, 2));
    peer.subscribe(earliest(1, "t", "g")).await;
    assert_eq!(peer.settle(1, 5, 1, SettleKind::Ack).await.len(), 1);
    assert_eq!(told(&rig, "LEASE_LOST").await, 1);
    let request =
        wire::Request { number: 1, topic: "t".into(), event: event("1").encode().unwrap(), ..wire::Request::default() };
    peer.send(ClientFrame::Request(request)).await;
    peer.find(|frame| matches!(frame, meshwire_proto::frame::ServerFrame::Reply(_)).then_some(())).await;
    assert_eq!(told(&rig, "NO_RESPONDERS").await, 1);
    assert_eq!(rig.ask("DELETE", "/v1/topics/t?force=true", "").await.status, 200);
    peer.find(|frame| matches!(frame, meshwire_proto::frame::ServerFrame::Unsubscribed(_)).then_some(())).await;
    assert_eq!(told(&rig, "TOPIC_NOT_FOUND").await, 1);
    peer.send(ClientFrame::Hello(crate::rig::hello())).await;
    peer.error().await;
    assert_eq!(told(&rig, "INVALID").await, 3);
}
