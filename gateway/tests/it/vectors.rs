//! The examples of the CloudEvents specification, sent in each content mode of HTTP and over each binding of WebSocket and gRPC: everybody
//! gets the same event, in whatever form he takes it.

#[path = "../../../proto/tests/vectors/examples.rs"]
mod examples;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt as _;
use meshwire_proto::Defaults;
use meshwire_proto::codec::json;
use meshwire_proto::wire::mesh as wire;
use tokio_tungstenite::tungstenite::Message;

use crate::doors::carriers::{Socket, upgrade};
use crate::doors::{events, page};
use crate::grpc::Stub;
use crate::http_websocket::next;
use crate::rig::{Rig, earliest};
use examples::{Meaning, Vector, meaning, vectors};

/// What an event in JSON means to a consumer that keeps the exact text of the data.
fn meaning_of_json(text: &str) -> Meaning {
    let mut out = BytesMut::new();
    json::read(text).unwrap().encode_with(Defaults::default(), &mut out).unwrap();
    meaning(&out)
}

async fn post(rig: &Rig, topic: &str, headers: &[(&str, &str)], body: &[u8]) {
    let answer = rig.http().await.call("POST", &format!("/v1/topics/{topic}/events"), headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// All that comes to a topic, in each form that somebody takes.
async fn received(rig: &Rig, topic: &str, (protobuf, json): (usize, usize)) -> Vec<(&'static str, Vec<Meaning>)> {
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, topic, "g")).await;
    let runs = peer.deliveries(u32::try_from(protobuf).unwrap()).await;
    let session = runs.iter().flat_map(|run| run.events.iter().map(|event| meaning(&event))).collect();
    let mut binary = socket(rig, topic, events::PROTOBUF).await;
    let mut messages = Vec::new();
    for _ in 0..protobuf {
        let Message::Binary(event) = next(&mut binary).await else { panic!("not protobuf") };
        messages.push(meaning(&event));
    }
    let mut text = socket(rig, topic, events::SUBPROTOCOL).await;
    let mut texts = Vec::new();
    for _ in 0..json {
        let Message::Text(event) = next(&mut text).await else { panic!("not JSON") };
        texts.push(meaning_of_json(&event));
    }
    vec![
        ("a session", session),
        ("Subscribe", subscribed(rig, topic, protobuf).await),
        ("lines", lines(rig, topic, json).await),
        ("cloudevents.proto", messages),
        ("cloudevents.json", texts),
    ]
}

/// A socket that gets all from the beginning.
async fn socket(rig: &Rig, topic: &str, subprotocol: &str) -> Socket {
    let path = format!("/v1/topics/{topic}/events?start=earliest");
    upgrade(rig, &path, subprotocol, &[]).await.unwrap()
}

async fn subscribed(rig: &Rig, topic: &str, count: usize) -> Vec<Meaning> {
    let asked = wire::SubscribeRequest { topic: topic.into(), group: "grpc".into(), ..Default::default() };
    let mut stream = Stub::of(rig).await.subscribe(asked).await.unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        let batch = stream.message().await.unwrap().expect("a batch");
        found.extend(batch.deliveries.iter().map(|delivery| meaning(&delivery.event)));
    }
    found
}

/// What has no form in JSON has an error in its place, and is passed over.
async fn lines(rig: &Rig, topic: &str, count: usize) -> Vec<Meaning> {
    let mut http = rig.http().await;
    http.stream(&format!("/v1/topics/{topic}/events?start=earliest"), &[]).await;
    let mut found = Vec::new();
    while found.len() < count {
        let line = http.line().await.unwrap();
        if let Some((_, event)) = line.split_once("\"event\":") {
            found.push(meaning_of_json(event.strip_suffix('}').unwrap()));
        }
    }
    found
}

/// Each content mode of HTTP, to a topic of its own.
async fn over_http(rig: &Rig, vectors: &[Vector]) {
    let texts: Vec<&str> = vectors.iter().filter_map(|vector| vector.json.as_deref()).collect();
    for text in &texts {
        let kind = ("content-type", "application/cloudevents+json; charset=UTF-8");
        post(rig, "structured", &[kind], text.as_bytes()).await;
    }
    let kind = ("content-type", "application/cloudevents-batch+json; charset=utf-8");
    post(rig, "batch", &[kind], format!("[{}]", texts.join(",")).as_bytes()).await;
    // It says that there is nothing.
    post(rig, "batch", &[kind], b"[]").await;
    for vector in vectors {
        let headers: Vec<(&str, &str)> =
            vector.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        post(rig, "binary", &headers, &vector.body).await;
    }
}

/// The forms of JSON over WebSocket.
async fn over_websocket(rig: &Rig, vectors: &[Vector]) {
    let mut text = socket(rig, "cloudevents.json", events::SUBPROTOCOL).await;
    let mut page = upgrade(rig, "/v1/ws", page::SUBPROTOCOL, &[]).await.unwrap();
    for Vector { name, json, .. } in vectors {
        let event = json.as_deref().unwrap();
        text.send(Message::text(event)).await.unwrap();
        // It comes back to who listens, so that it is there by then.
        next(&mut text).await;
        let answer = page::call(&mut page, &page::publishing("meshwire.v1.json", event)).await;
        assert!(answer["error"].is_null(), "{name}: {answer}");
    }
}

/// The forms of protobuf over WebSocket and gRPC.
async fn over_protobuf(rig: &Rig, all: &[Bytes]) {
    let (mut binary, stub) = (socket(rig, "cloudevents.proto", events::PROTOBUF).await, Stub::of(rig).await);
    for event in all {
        binary.send(Message::Binary(event.clone())).await.unwrap();
        next(&mut binary).await;
        let asked = wire::PublishRequest { topic: "Publish".into(), event: event.clone(), ..Default::default() };
        stub.publish(asked).await.unwrap();
    }
    let asked = wire::PublishBatchRequest { topic: "PublishBatch".into(), events: all.to_vec(), ..Default::default() };
    let answer: wire::PublishBatchResponse = stub.call("/meshwire.v1.Mesh/PublishBatch", asked).await.unwrap();
    assert!(answer.results.iter().all(|result| result.error.is_none()), "{answer:?}");
}

#[tokio::test]
async fn the_examples_of_the_specification_arrive_whole_over_every_binding_and_in_every_content_mode() {
    let (rig, mut vectors) = (Rig::start().await, vectors());
    let all: Vec<Bytes> = vectors.iter().map(|vector| vector.protobuf.clone()).collect();
    // Those that have a form in JSON and HTTP; the other one is behind them.
    vectors.retain(|vector| vector.json.is_some());
    let expected: Vec<Meaning> = all.iter().map(|event| meaning(event)).collect();
    assert_eq!((vectors.len(), expected.len()), (10, 11));
    assert_eq!(expected.iter().position(|(_, _, message)| *message), Some(10));
    over_http(&rig, &vectors).await;
    over_websocket(&rig, &vectors).await;
    over_protobuf(&rig, &all).await;
    let json = ["structured", "batch", "binary", "cloudevents.json", "meshwire.v1.json"].map(|mode| (mode, 10));
    let protobuf = ["cloudevents.proto", "Publish", "PublishBatch"].map(|mode| (mode, 11));
    for (mode, count) in json.into_iter().chain(protobuf) {
        for (form, found) in received(&rig, mode, (count, 10)).await {
            assert_eq!(found, expected[..found.len()], "{mode} to {form}");
        }
    }
}
