//! Streams of a group whose consumer is lost with what it holds, and those that end in order: only the first is a failure, by every door.

use futures_util::SinkExt as _;
use meshwire_proto::wire::mesh as wire;
use meshwire_proto::{EventLimits, EventView};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tonic::Request;

use crate::grpc::Stub;
use crate::http_receive::members;
use crate::http_websocket::{Socket, ask, next_json};
use crate::rig::{Peer, Rig};

const GROUP: &str = "/v1/topics/t/groups/g";

/// An id and an attempt.
type Got = (String, u64);

fn got(delivery: &Value) -> Got {
    (delivery["event"]["id"].as_str().unwrap().to_owned(), delivery["attempt"].as_u64().unwrap())
}

async fn stream(rig: &Rig, accept: &str) -> Got {
    let mut http = rig.http().await;
    http.stream(&format!("{GROUP}/events?max_unsettled=1"), &[("accept", accept)]).await;
    loop {
        let line = http.line().await.expect("a delivery");
        if let Some(object) = line.find('{').and_then(|begin| line.get(begin..)) {
            return got(&serde_json::from_str(object).unwrap());
        }
    }
}

async fn subscribed(rig: &Rig) -> (Socket, Got) {
    let mut page = ask(rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let call = json!({"id": 1, "op": "subscribe", "topic": "t", "group": "g", "max_unsettled": 1});
    page.send(Message::text(call.to_string())).await.unwrap();
    assert_eq!(next_json(&mut page).await["ok"], json!({}));
    let got = got(&next_json(&mut page).await);
    (page, got)
}

async fn called(rig: &Rig, timeout: Option<&'static str>) -> (tonic::Streaming<wire::Deliveries>, Got) {
    let stub = Stub::of(rig).await;
    let (topic, group) = ("t".into(), "g".into());
    let mut asked = Request::new(wire::SubscribeRequest { topic, group, max_unsettled: 1, ..Default::default() });
    if let Some(timeout) = timeout {
        asked.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    let mut stream = stub.stream::<_, wire::Deliveries>("/meshwire.v1.Mesh/Subscribe", asked).await.unwrap();
    let batch = stream.message().await.unwrap().expect("a batch");
    let delivery = &batch.deliveries[0];
    let id = EventView::parse(&delivery.event, EventLimits::default()).unwrap().id().to_owned();
    (stream, (id, delivery.attempt.into()))
}

/// Once the group has no member.
async fn empty(peer: &mut Peer) {
    while members(peer, "t", "g").await > 0 {}
}

async fn letters(rig: &Rig) -> Vec<Value> {
    rig.get(&format!("{GROUP}/dead-letters")).await.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_event_that_kills_its_consumer_is_a_dead_letter_in_the_end_and_the_one_behind_it_is_reached() {
    for door in ["ndjson", "sse", "websocket", "too large", "grpc"] {
        let rig = Rig::start().await;
        let mut peer = rig.session().await;
        rig.offer("t", &["poison", "2"]).await;
        for attempt in 1..=5 {
            let got = match door {
                "ndjson" => stream(&rig, "application/x-ndjson").await,
                "sse" => stream(&rig, "text/event-stream").await,
                "websocket" => subscribed(&rig).await.1,
                "too large" => {
                    let (mut page, got) = subscribed(&rig).await;
                    let code = CloseCode::Size;
                    page.close(Some(CloseFrame { code, reason: "message too big".into() })).await.unwrap();
                    got
                }
                _ => called(&rig, None).await.1,
            };
            assert_eq!(got, ("poison".into(), attempt), "{door}");
            empty(&mut peer).await;
        }
        let letters = letters(&rig).await;
        assert_eq!(letters.len(), 1, "{door}");
        let letter = &letters[0];
        assert_eq!((&letter["position"], &letter["failures"]), (&json!("1"), &json!(5)), "{door}");
        assert_eq!(letter["error"], "its consumer was lost", "{door}");
        assert_eq!(stream(&rig, "application/x-ndjson").await, ("2".into(), 1), "{door}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_in_order_fails_nothing_however_often() {
    let closes = [CloseCode::Normal, CloseCode::Away];
    let close = |code| Some(CloseFrame { code, reason: "".into() });
    for end in ["unsubscribe", "close", "close with a code", "deadline", "deadline of the call"] {
        let rig = Rig::start().await;
        let mut peer = rig.session().await;
        rig.offer("t", &["1"]).await;
        for (n, attempt) in (1..=6).enumerate() {
            let got = match end {
                "deadline" => {
                    let mut http = rig.http().await;
                    http.stream(&format!("{GROUP}/events?timeout_ms=50"), &[]).await;
                    let got = got(&http.delivery().await);
                    assert_eq!(http.delivery().await["error"]["code"], "TIMEOUT");
                    got
                }
                "deadline of the call" => {
                    let (mut stream, got) = called(&rig, Some("50m")).await;
                    stream.message().await.unwrap_err();
                    got
                }
                _ => {
                    let (mut page, got) = subscribed(&rig).await;
                    match end {
                        "unsubscribe" => {
                            let call = json!({"id": 2, "op": "unsubscribe", "subscription": 1}).to_string();
                            page.send(Message::text(call)).await.unwrap();
                            assert_eq!(next_json(&mut page).await["ok"], json!({}));
                        }
                        "close" => page.close(None).await.unwrap(),
                        _ => page.close(close(closes[n % 2])).await.unwrap(),
                    }
                    got
                }
            };
            assert_eq!(got, ("1".into(), attempt), "{end}");
            empty(&mut peer).await;
        }
        assert!(letters(&rig).await.is_empty(), "{end}");
        assert_eq!(rig.get(GROUP).await.json()["failing"], 0, "{end}");
    }
}
