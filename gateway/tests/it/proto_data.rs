//! Data that is a protobuf message: it goes to who reads protobuf, as it came; others are told that they cannot have it, it is
//! counted, and what comes behind it comes. Nobody gets bytes that were guessed.

use bytes::Bytes;
use futures_util::SinkExt as _;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::mesh;
use meshwire_proto::wire::session as wire;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::codes::responder;
use crate::doors::carriers::upgrade;
use crate::doors::sent;
use crate::grpc::Stub;
use crate::hostile::frames;
use crate::http_client::Http;
use crate::http_websocket::{next, next_json};
use crate::rig::{Rig, earliest, event, run_of};

fn message(id: &str) -> Bytes {
    let any = [frames::field(1, b"type.example/T"), frames::field(2, &[8, 1])].concat();
    frames::event(&[(1, id.as_bytes())], &frames::field(8, &any)).into()
}

/// A topic `t` with a message, and an event behind it.
async fn furnished() -> Rig {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let events = std::iter::once(message("message")).chain(run_of(&[event("next")]).iter()).collect();
    assert!(peer.publish("t", events).await.iter().all(|receipt| receipt.code == 0));
    rig
}

/// How many were not written, as `/metrics` has it.
async fn unwritable(rig: &Rig) -> u64 {
    let answer = rig.get("/metrics").await;
    let line = answer.text().lines().find_map(|line| line.strip_prefix("meshwire_unwritable_events_total "));
    line.expect("it is counted").parse().unwrap()
}

fn is_unsupported(delivery: &Value) {
    assert_eq!((&delivery["error"]["code"], &delivery["error"]["status"]), (&json!("UNSUPPORTED"), &json!(501)));
    assert!(delivery["event"].is_null() && delivery["position"] == "1", "{delivery}");
}

fn is_next(delivery: &Value) {
    assert_eq!(delivery["event"]["id"], "next", "{delivery}");
}

#[tokio::test]
async fn protobuf_consumers_get_it_as_it_came() {
    let rig = furnished().await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "session")).await;
    assert_eq!(peer.deliveries(1).await[0].events.pop_front(), Some(message("message")));
    let asked = mesh::SubscribeRequest { topic: "t".into(), group: "grpc".into(), ..Default::default() };
    let batch = Stub::of(&rig).await.subscribe(asked).await.unwrap().message().await.unwrap().unwrap();
    assert_eq!(batch.deliveries[0].event, message("message"));
    let mut socket = upgrade(&rig, "/v1/topics/t/events?start=earliest", "cloudevents.proto", &[]).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Binary(message("message")));
    assert_eq!(unwritable(&rig).await, 0);
}

#[tokio::test]
async fn a_stream_of_lines_or_of_server_sent_events_says_so_in_its_place() {
    let rig = furnished().await;
    let (mut lines, mut sse) = (rig.http().await, rig.http().await);
    let path = "/v1/topics/t/events?start=earliest";
    lines.stream(path, &[]).await;
    is_unsupported(&lines.delivery().await);
    is_next(&lines.delivery().await);
    sse.stream(path, &[("accept", "text/event-stream")]).await;
    let data = async |http: &mut Http| loop {
        if let Some(data) = http.line().await.unwrap().strip_prefix("data: ") {
            break serde_json::from_str::<Value>(data).unwrap();
        }
    };
    is_unsupported(&data(&mut sse).await);
    is_next(&data(&mut sse).await);
    assert_eq!(unwritable(&rig).await, 2);
}

#[tokio::test]
async fn what_is_fetched_says_so_and_its_lease_can_be_settled() {
    let rig = furnished().await;
    let fetched = rig.post("/v1/topics/t/groups/g/fetch", &json!({})).await.json();
    is_unsupported(&fetched["deliveries"][0]);
    is_next(&fetched["deliveries"][1]);
    assert_eq!(unwritable(&rig).await, 1);
    let settle = json!({"settlements": [{"lease": fetched["deliveries"][0]["lease"], "kind": "reject"}]});
    let settled = rig.post("/v1/topics/t/groups/g/settle", &settle).await.json();
    assert_eq!(settled["results"][0]["settled"], true);
}

#[tokio::test]
async fn a_page_is_told_of_a_delivery() {
    let rig = furnished().await;
    let mut page = upgrade(&rig, "/v1/ws", "meshwire.v1.json", &[]).await.unwrap();
    let subscribe = json!({"id": 1, "op": "subscribe", "topic": "t", "group": "page"});
    page.send(Message::text(subscribe.to_string())).await.unwrap();
    assert_eq!(next_json(&mut page).await["ok"], json!({}));
    is_unsupported(&next_json(&mut page).await);
    is_next(&next_json(&mut page).await);
    assert_eq!(unwritable(&rig).await, 1);
}

/// CloudEvents over WebSocket have no place to say so.
#[tokio::test]
async fn a_json_socket_of_cloudevents_alone_goes_on_with_the_next() {
    let rig = furnished().await;
    let mut socket = upgrade(&rig, "/v1/topics/t/events?start=earliest", "cloudevents.json", &[]).await.unwrap();
    assert_eq!(next_json(&mut socket).await["id"], "next");
    assert_eq!(unwritable(&rig).await, 1);
}

#[tokio::test]
async fn a_reply_that_is_a_message_reaches_who_reads_protobuf_and_others_hear_why_not() {
    let rig = Rig::start().await;
    let _serving = responder(&rig, "t", wire::Reply { event: message("message"), ..wire::Reply::default() }).await;
    let (event, timeout_ms) = (sent("1", 1), 10_000);
    let asked = mesh::RequestRequest { topic: "t".into(), event: event.protobuf, timeout_ms };
    let reply: mesh::RequestResponse = Stub::of(&rig).await.call("/meshwire.v1.Mesh/Request", asked).await.unwrap();
    assert_eq!(reply.event, message("message"));
    for accept in ["*/*", "application/cloudevents+json"] {
        let headers = [("content-type", "application/cloudevents+json"), ("accept", accept)];
        let answer = rig.http().await.call("POST", "/v1/topics/t/requests", &headers, event.json.as_bytes()).await;
        assert_eq!(answer.problem(), (501, "UNSUPPORTED".into()), "{accept}");
    }
    let mut page = upgrade(&rig, "/v1/ws", "meshwire.v1.json", &[]).await.unwrap();
    let asked: Value = serde_json::from_str(&event.json).unwrap();
    let request = json!({"id": 1, "op": "request", "topic": "t", "event": asked});
    page.send(Message::text(request.to_string())).await.unwrap();
    assert_eq!(next_json(&mut page).await["error"]["code"], "UNSUPPORTED");
    assert_eq!(unwritable(&rig).await, 3);
}

#[tokio::test]
async fn a_dead_letter_says_so_in_place_of_its_event() {
    let rig = furnished().await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.deliveries(2).await;
    peer.settle(1, 1, 2, SettleKind::Reject).await;
    let path = "/v1/topics/t/groups/g/dead-letters";
    let listed = rig.get(&format!("{path}?events=true")).await.json();
    let one = rig.get(&format!("{path}/1")).await.json();
    for letter in [&listed["items"][0], &one] {
        assert_eq!(letter["event_error"]["code"], "UNSUPPORTED", "{letter}");
        assert!(letter["event"].is_null());
    }
    assert_eq!(listed["items"][1]["event"]["id"], "next");
    assert_eq!(unwritable(&rig).await, 2);
    // Without events there is nothing to write.
    assert!(rig.get(path).await.json()["items"][0]["event_error"].is_null());
}
