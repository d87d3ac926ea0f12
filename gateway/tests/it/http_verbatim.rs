//! JSON data keeps its exact text, line breaks and all, whichever way it goes in and out; where an event is a line, they become blanks.

use futures_util::SinkExt as _;
use meshwire_proto::Event;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;
use tokio_tungstenite::tungstenite::Message;

use crate::http_websocket::{Socket, ask, next};
use crate::requests::serve;
use crate::rig::{Rig, run_of};

/// Numbers and escapes that a parser would write in another way, and every kind of line break between tokens.
const DATA: &str = "{\n  \"a\" : [1e2,\r\n\t1.0, \"\\u00e9\\n\" ],\r  \"b\":{}\r\n}";

const PLACE: &str = "/v1/topics/t/events?start=earliest";

fn on_a_line() -> String {
    DATA.replace(['\n', '\r'], " ")
}

fn structured(id: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{DATA}}}"#)
}

async fn text(socket: &mut Socket) -> String {
    match next(socket).await {
        Message::Text(text) => text.to_string(),
        other => panic!("not text: {other:?}"),
    }
}

/// Publishes it once by each door.
async fn publish_everywhere(rig: &Rig) -> usize {
    let mut http = rig.http().await;
    let attributes = [("ce-specversion", "1.0"), ("ce-id", "binary"), ("ce-source", "/s"), ("ce-type", "t")];
    let binary = [&attributes[..], &[("content-type", "application/json")]].concat();
    let batch = format!("[{},\n{}]", structured("batch1"), structured("batch2"));
    for (headers, body) in [
        (&binary[..], DATA.to_owned()),
        (&[("content-type", "application/cloudevents+json")], structured("structured")),
        (&[("content-type", "application/cloudevents-batch+json")], batch),
    ] {
        let answer = http.call("POST", "/v1/topics/t/events", headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let mut events = ask(rig, "/v1/topics/t/events", "cloudevents.json").await.unwrap();
    events.send(Message::text(structured("ws-events"))).await.unwrap();
    text(&mut events).await;
    let mut calls = ask(rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let call = format!(r#"{{"id":1,"op":"publish","topic":"t","event":{}}}"#, structured("ws-calls"));
    calls.send(Message::text(call)).await.unwrap();
    assert!(text(&mut calls).await.contains("\"ok\""));
    let event = Event::new("t").id("session").source("/s").data_content_type("application/json").text_data(DATA);
    rig.session().await.publish("t", run_of(&[event])).await;
    7
}

#[tokio::test]
async fn json_data_goes_out_verbatim_and_on_a_line_without_its_line_breaks() {
    let rig = Rig::start().await;
    let count = publish_everywhere(&rig).await;
    let fetched = rig.post("/v1/topics/t/groups/g/fetch", &serde_json::json!({"wait_ms": 20000})).await;
    assert_eq!(fetched.text().matches(DATA).count(), count, "{}", fetched.text());
    let mut events = ask(&rig, PLACE, "cloudevents.json").await.unwrap();
    let mut calls = ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let call = r#"{"id":1,"op":"subscribe","topic":"t","start":"earliest"}"#;
    calls.send(Message::text(call)).await.unwrap();
    text(&mut calls).await;
    let (mut lines, mut pieces) = (rig.http().await, rig.http().await);
    lines.stream(PLACE, &[("accept", "application/x-ndjson")]).await;
    pieces.stream(PLACE, &[("accept", "text/event-stream")]).await;
    for _ in 0..count {
        for message in [text(&mut events).await, text(&mut calls).await] {
            assert!(message.contains(DATA), "{message}");
        }
        assert!(pieces.line().await.unwrap().starts_with("id: "));
        for line in [lines.line().await.unwrap(), pieces.line().await.unwrap()] {
            assert!(line.contains(&on_a_line()), "{line}");
        }
    }
}

#[tokio::test]
async fn a_request_and_its_reply_keep_the_text_of_their_json() {
    let rig = Rig::start().await;
    let mut responder = rig.session().await;
    responder.subscribe(serve(1, "t")).await;
    let mut http = rig.http().await;
    let headers = [("content-type", "application/cloudevents+json"), ("accept", "application/cloudevents+json")];
    http.send("POST", "/v1/topics/t/requests", &headers, structured("1").as_bytes()).await;
    let mut calls = ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let call = format!(r#"{{"id":1,"op":"request","topic":"t","event":{}}}"#, structured("2"));
    calls.send(Message::text(call)).await.unwrap();
    for _ in 0..2 {
        let asked = responder.find(|f| if let ServerFrame::Request(r) = f { Some(r) } else { None }).await;
        let (number, reply_to, event) = (asked.number, asked.reply_to, asked.event);
        let reply = wire::Reply { number, reply_to, end: true, event, ..wire::Reply::default() };
        responder.send(ClientFrame::Reply(reply)).await;
    }
    let answer = http.answer().await;
    assert!(answer.text().contains(DATA), "{}", answer.text());
    let answer = text(&mut calls).await;
    assert!(answer.contains(DATA), "{answer}");
}
