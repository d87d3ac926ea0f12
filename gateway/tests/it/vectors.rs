//! The examples of the CloudEvents specification, sent to the real door in each content mode: everybody gets the same event.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use meshwire_proto::codec::json;
use meshwire_proto::{Data, Defaults, EventLimits, EventView};
use serde_json::Value;

use crate::rig::{Rig, earliest};

/// Attributes in their canonical form, and bytes of data.
type Meaning = (BTreeMap<String, String>, Vec<u8>);

fn meaning(bytes: &[u8]) -> Meaning {
    let view = EventView::parse(bytes, EventLimits::default()).unwrap();
    let mut attributes: BTreeMap<String, String> =
        view.attributes().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    for (name, value) in [("id", view.id()), ("source", view.source()), ("type", view.kind())] {
        attributes.insert(name.to_owned(), value.to_owned());
    }
    // In JSON an absent type means this one: the one attribute that a format may add.
    if attributes.get("datacontenttype").is_some_and(|kind| kind == "application/json") {
        attributes.remove("datacontenttype");
    }
    let data = if matches!(view.data(), Data::Absent) { Vec::new() } else { view.data().bytes().to_vec() };
    (attributes, data)
}

/// Those that have a form in JSON and HTTP.
fn vectors() -> Vec<Value> {
    let file = include_str!("../../../proto/tests/vectors/cloudevents.json");
    let all: Vec<Value> = serde_json::from_str(file).unwrap();
    all.into_iter().filter(|vector| vector["json"].is_string()).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

async fn post(rig: &Rig, topic: &str, headers: &[(&str, &str)], body: &[u8]) {
    let answer = rig.http().await.call("POST", &format!("/v1/topics/{topic}/events"), headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// What a protobuf consumer and a JSON consumer get.
async fn received(rig: &Rig, topic: &str, count: usize) -> [Vec<Meaning>; 2] {
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, topic, "g")).await;
    let runs = peer.deliveries(u32::try_from(count).unwrap()).await;
    let protobuf = runs.iter().flat_map(|run| run.events.iter().map(|event| meaning(&event))).collect();
    let mut http = rig.http().await;
    http.stream(&format!("/v1/topics/{topic}/events?start=earliest"), &[]).await;
    let mut texts = Vec::new();
    for _ in 0..count {
        let line = http.line().await.unwrap();
        // As a consumer has it that keeps the exact text of the data.
        let (_, event) = line.split_once("\"event\":").unwrap();
        let mut out = BytesMut::new();
        let parts = json::read(event.strip_suffix('}').unwrap()).unwrap();
        parts.encode_with(Defaults::default(), &mut out).unwrap();
        texts.push(meaning(&out));
    }
    [protobuf, texts]
}

#[tokio::test]
async fn the_examples_of_the_specification_arrive_whole_in_every_content_mode() {
    let (rig, vectors) = (Rig::start().await, vectors());
    assert_eq!(vectors.len(), 10);
    let expected: Vec<Meaning> = vectors.iter().map(|vector| meaning(&bytes(&vector["protobuf_base64"]))).collect();
    let texts: Vec<&str> = vectors.iter().map(|vector| vector["json"].as_str().unwrap()).collect();
    for text in &texts {
        let kind = ("content-type", "application/cloudevents+json; charset=UTF-8");
        post(&rig, "structured", &[kind], text.as_bytes()).await;
    }
    let kind = ("content-type", "application/cloudevents-batch+json; charset=utf-8");
    post(&rig, "batch", &[kind], format!("[{}]", texts.join(",")).as_bytes()).await;
    // It says that there is nothing.
    post(&rig, "batch", &[kind], b"[]").await;
    for vector in &vectors {
        let headers: Vec<(&str, &str)> = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        post(&rig, "binary", &headers, &Bytes::from(bytes(&vector["body_base64"]))).await;
    }
    for mode in ["structured", "batch", "binary"] {
        let [protobuf, json] = received(&rig, mode, vectors.len()).await;
        assert_eq!(protobuf, expected, "{mode}");
        assert_eq!(json, expected, "{mode}, as JSON");
    }
}
