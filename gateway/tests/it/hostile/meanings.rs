//! One mistake, one code, whatever door it comes by: each meaning is sent over each door that can say it.

use std::collections::BTreeMap;

use meshwire_proto::ErrorKind;

use super::answers::Got;
use super::frames::{attribute, event, field, moment};
use super::http1::{EVENT, post};
use super::http2;
use super::table::{Case, play};
use crate::doors::{Ask, Door, Said, Sent, events, grpc};
use crate::rig::Rig;

/// A meaning in the words of each format.
struct Meaning {
    name: &'static str,
    kind: ErrorKind,
    topic: String,
    /// Headers in place of those of an event; `None`: headers cannot say it.
    headers: Option<String>,
    /// `None`: JSON cannot say it.
    json: Option<String>,
    protobuf: Vec<u8>,
}

fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#)
}

/// A wrong event for the topic `t`.
fn wrong(name: &'static str, headers: Option<String>, json: String, protobuf: Vec<u8>) -> Meaning {
    Meaning { name, kind: ErrorKind::Invalid, topic: "t".to_owned(), headers, json: Some(json), protobuf }
}

/// A moment that is none; elsewhere moments are text.
fn no_moment(name: &'static str, attribute: &str, seconds: i64, nanos: i32) -> Meaning {
    let protobuf = event(&[], &moment(attribute, seconds, nanos));
    Meaning { json: None, ..wrong(name, None, String::new(), protobuf) }
}

/// A good event for a topic that cannot be.
fn misnamed(name: &'static str, topic: impl Into<String>) -> Meaning {
    Meaning { topic: topic.into(), ..wrong(name, Some(EVENT.to_owned()), with(""), event(&[], b"")) }
}

fn meanings() -> Vec<Meaning> {
    let replaced = |from: &str, to: &str| Some(EVENT.replace(from, to));
    let more = |header: &str| Some(format!("{EVENT}{header}"));
    let without = |json: &str| with("").replace(json, "");
    let long = "x".repeat(65 << 10);
    let mut meanings = vec![
        wrong("no id", replaced("ce-id: 1\r\n", ""), without(r#""id":"1","#), event(&[(1, b"")], b"")),
        wrong("no source", replaced("ce-source: /s\r\n", ""), without(r#""source":"/s","#), event(&[(2, b"")], b"")),
        wrong("no type", replaced("ce-type: t\r\n", ""), without(r#","type":"t""#), event(&[(4, b"")], b"")),
        wrong(
            "no specversion",
            replaced("ce-specversion: 1.0\r\n", ""),
            without(r#""specversion":"1.0","#),
            event(&[(3, b"")], b""),
        ),
        wrong("version 0.3", replaced("1.0", "0.3"), with("").replace("1.0", "0.3"), event(&[(3, b"0.3")], b"")),
        wrong("an id twice", more("ce-id: 2\r\n"), with(r#","id":"2""#), event(&[], &field(1, b"2"))),
        wrong(
            "an attribute twice",
            more("ce-a: 1\r\nce-a: 1\r\n"),
            with(r#","a":"1","a":"1""#),
            event(&[], &attribute("a", b"1").repeat(2)),
        ),
        wrong(
            "an underscore in a name",
            more("ce-my_a: 1\r\n"),
            with(r#","my_a":"1""#),
            event(&[], &attribute("my_a", b"1")),
        ),
        wrong("an empty name", more("ce-: 1\r\n"), with(r#","":"1""#), event(&[], &attribute("", b"1"))),
        wrong("a capital in a name", None, with(r#","A":"1""#), event(&[], &attribute("A", b"1"))),
        wrong(
            "a NUL in an attribute",
            more("ce-a: %00\r\n"),
            with(r#","a":"\u0000""#),
            event(&[], &attribute("a", b"\0")),
        ),
        wrong(
            "data in two forms",
            None,
            with(r#","data":1,"data_base64":"AA==""#),
            event(&[], &[field(6, b"1"), field(7, b"1")].concat()),
        ),
        wrong(
            "text as time",
            more("ce-time: yesterday\r\n"),
            with(r#","time":"yesterday""#),
            event(&[], &attribute("time", b"yesterday")),
        ),
        no_moment("seconds behind the year 9999 in time", "time", 253_402_300_800, 0),
        no_moment("seconds behind the year 9999 in an extension", "at", 10_000_000_000_000, 0),
        no_moment("seconds before the year 1 in an extension", "at", -62_135_596_801, 0),
        no_moment("nanos below 0 in an extension", "at", 0, -1),
        no_moment("nanos of a second in an extension", "at", 0, 1_000_000_000),
        misnamed("a blank in the topic", "a b"),
        misnamed("a star as topic", "*"),
        misnamed("a slash in the topic", "a/b"),
        misnamed("a NUL in the topic", "a\0b"),
        misnamed("a topic that is not ASCII", "\u{e4}"),
        misnamed("a topic of 121 bytes", "t".repeat(121)),
        misnamed("the gateway's topic", "$x"),
        misnamed("no topic", ""),
    ];
    let large = wrong(
        "attributes over the limit",
        None,
        with(&format!(r#","a":"{long}""#)),
        event(&[], &attribute("a", long.as_bytes())),
    );
    meanings.push(Meaning { kind: ErrorKind::TooLarge, ..large });
    meanings
}

fn path(topic: &str) -> String {
    let encoded: String = topic.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("/v1/topics/{encoded}/events")
}

/// What is sent, byte by byte, in the ways that no client of [`Door`] has.
fn by_hand(meaning: &Meaning) -> Vec<(&'static str, Vec<u8>)> {
    let path = path(&meaning.topic);
    let Some(json) = &meaning.json else { return Vec::new() };
    let batch = format!("[{json}]");
    let head = format!("content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n", batch.len());
    let mut ways = vec![("batch", post(&path, &head, &batch))];
    // More than the first window of a connection would have to wait for the gateway.
    if json.len() < 60_000 {
        ways.push(("HTTP/2", http2::publish(&path, json)));
    }
    if let Some(headers) = &meaning.headers {
        ways.push(("binary", post(&path, &format!("{headers}content-length: 5\r\n"), "hello")));
    }
    ways
}

/// What clients are told, over every door and in each form of an event that it takes.
async fn by_clients(rig: &Rig, meaning: &Meaning) -> Vec<(String, Said)> {
    let (topic, protobuf) = (meaning.topic.as_str(), bytes::Bytes::from(meaning.protobuf.clone()));
    let event = Sent { json: meaning.json.clone().unwrap_or_default(), protobuf: protobuf.clone() };
    let mut told = vec![
        ("gRPC batch".to_owned(), grpc::batch(rig, topic, protobuf.clone()).await),
        ("CloudEvents in protobuf".to_owned(), events::protobuf(rig, topic, protobuf).await),
    ];
    let says = |door: &Door| meaning.json.is_some() || !matches!(door, Door::Http | Door::Page | Door::Events);
    for door in Door::ALL.into_iter().filter(says) {
        let ask = Ask::Publish { topic, event: event.clone() };
        told.push((format!("{door:?}"), door.ask(rig, &ask).await.expect("every door publishes")));
    }
    told
}

#[tokio::test]
async fn a_mistake_has_the_same_code_over_every_door() {
    let rig = Rig::start().await;
    let (mut wrong, mut by_way) = (Vec::new(), BTreeMap::<_, u32>::new());
    for meaning in meanings() {
        let (name, code) = (meaning.name, meaning.kind.code());
        for (way, sent) in by_hand(&meaning) {
            let case = Case::new(name, sent, Got::Refused(code));
            let got = play(Box::new(rig.socket().await), &case).await;
            if !matches!(&got, Got::Http(_, told) if told == code) {
                wrong.push(format!("{name} ({way}): {got:?}, not {code}"));
            }
            *by_way.entry(way.to_owned()).or_default() += 1;
        }
        for (way, said) in by_clients(&rig, &meaning).await {
            if !said.is(meaning.kind) {
                wrong.push(format!("{name} ({way}): {said:?}, not {code}"));
            }
            *by_way.entry(way).or_default() += 1;
        }
    }
    let cells: u32 = by_way.values().sum();
    println!("meaning x door: {cells} cells, {by_way:?}");
    assert!(cells >= 250, "{cells} cells");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
