//! One mistake, one code, whatever door it comes by: each meaning is sent over each door that can say it.

use std::collections::BTreeMap;

use meshwire_proto::frame::PREFACE;

use super::answers::Got;
use super::frames::{attribute, event, field, hello_frame, publish, session};
use super::http1::{EVENT, post};
use super::table::{Case, play};
use super::{http2, websocket};
use crate::rig::Rig;

/// A meaning in the words of each format.
struct Meaning {
    name: &'static str,
    code: &'static str,
    topic: String,
    /// Headers in place of those of an event; `None`: headers cannot say it.
    headers: Option<String>,
    json: String,
    protobuf: Vec<u8>,
}

fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#)
}

/// A wrong event for the topic `t`.
fn wrong(name: &'static str, headers: Option<String>, json: String, protobuf: Vec<u8>) -> Meaning {
    Meaning { name, code: "INVALID", topic: "t".to_owned(), headers, json, protobuf }
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
    meanings.push(Meaning { code: "TOO_LARGE", ..large });
    meanings
}

fn path(topic: &str) -> String {
    let encoded: String = topic.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("/v1/topics/{encoded}/events")
}

/// What is sent over each door.
fn doors(meaning: &Meaning) -> Vec<(&'static str, Vec<u8>)> {
    let path = path(&meaning.topic);
    let json = |kind: &str, body: &str| {
        post(&path, &format!("content-type: application/{kind}\r\ncontent-length: {}\r\n", body.len()), body)
    };
    let frames = publish(&meaning.topic, &meaning.protobuf);
    // Messages hold at most 64 KiB of a session each.
    let bytes = [&PREFACE[..], &hello_frame(), &frames].concat();
    let inside: Vec<u8> = bytes.chunks(64 << 10).flat_map(|part| websocket::frame(0x82, part)).collect();
    let mut doors = vec![
        ("structured", json("cloudevents+json", &meaning.json)),
        ("batch", json("cloudevents-batch+json", &format!("[{}]", meaning.json))),
        ("session", session(&frames)),
        ("WebSocket", websocket::upgraded(&inside)),
    ];
    // More than the first window of a connection would have to wait for the gateway.
    if meaning.json.len() < 60_000 {
        doors.push(("HTTP/2", http2::publish(&path, &meaning.json)));
    }
    if let Some(headers) = &meaning.headers {
        doors.push(("binary", post(&path, &format!("{headers}content-length: 5\r\n"), "hello")));
    }
    doors
}

#[tokio::test]
async fn a_mistake_has_the_same_code_over_every_door() {
    let rig = Rig::start().await;
    let (mut cells, mut wrong, mut by_code) = (0, Vec::new(), BTreeMap::<_, u32>::new());
    for meaning in meanings() {
        for (door, sent) in doors(&meaning) {
            let case = Case::new(format!("{} ({door})", meaning.name), sent, Got::Refused(meaning.code));
            let got = match play(Box::new(rig.socket().await), &case).await {
                Got::Http(_, code) => code,
                Got::Refused(code) => code.to_owned(),
                other => format!("{other:?}"),
            };
            cells += 1;
            if got != meaning.code {
                wrong.push(format!("{}: {got}, not {}", case.name, meaning.code));
            }
            *by_code.entry(got).or_default() += 1;
        }
    }
    println!("meaning x door: {cells} cells, {by_code:?}");
    assert!(cells >= 120, "{cells} cells");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
