//! `POST /v1/topics/{topic}/requests`: a request in, its reply out.

use bytes::Bytes;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Event};
use serde_json::json;

use crate::http_client::Http;
use crate::requests::serve;
use crate::rig::{Peer, Rig};

const REQUESTS: &str = "/v1/topics/quote/requests";
const HEADERS: [(&str, &str); 4] = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "ask")];

async fn responder(rig: &Rig) -> Peer {
    let mut peer = rig.session().await;
    peer.subscribe(serve(1, "quote")).await;
    peer
}

async fn asked(peer: &mut Peer) -> wire::Request {
    peer.find(|f| if let ServerFrame::Request(r) = f { Some(r) } else { None }).await
}

async fn reply(peer: &mut Peer, to: &wire::Request, reply: wire::Reply) {
    let reply = wire::Reply { number: to.number, reply_to: to.reply_to.clone(), end: true, ..reply };
    peer.send(ClientFrame::Reply(reply)).await;
}

fn answer(subject: &str) -> Bytes {
    Event::text("answer", "42").id("a").source("/r").subject(subject).encode().unwrap()
}

async fn ask(http: &mut Http, path: &str, accept: &str) {
    http.send("POST", path, &[&HEADERS[..], &[("accept", accept)]].concat(), b"?").await;
}

#[tokio::test]
async fn a_reply_comes_back_in_headers_or_as_json() {
    let rig = Rig::start().await;
    let mut responder = responder(&rig).await;
    let mut http = rig.http().await;
    ask(&mut http, REQUESTS, "*/*").await;
    let request = asked(&mut responder).await;
    reply(&mut responder, &request, wire::Reply { event: answer("\u{20ac}"), ..wire::Reply::default() }).await;
    let binary = http.answer().await;
    assert_eq!((binary.status, binary.text()), (200, "42"));
    assert_eq!((binary.header("ce-id"), binary.header("ce-subject")), (Some("a"), Some("%E2%82%AC")));
    ask(&mut http, REQUESTS, "application/cloudevents+json").await;
    let request = asked(&mut responder).await;
    reply(&mut responder, &request, wire::Reply { event: answer("s"), ..wire::Reply::default() }).await;
    let structured = http.answer().await;
    assert_eq!(structured.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!((&structured.json()["data"], &structured.json()["subject"]), (&json!("42"), &json!("s")));
}

#[tokio::test]
async fn a_reply_whose_attributes_are_too_many_for_headers_comes_as_json() {
    let rig = Rig::start().await;
    let mut responder = responder(&rig).await;
    let mut http = rig.http().await;
    ask(&mut http, REQUESTS, "*/*").await;
    let request = asked(&mut responder).await;
    let event = answer(&"x".repeat(40_000));
    reply(&mut responder, &request, wire::Reply { event, ..wire::Reply::default() }).await;
    assert_eq!(http.answer().await.header("content-type"), Some("application/cloudevents+json"));
}

#[tokio::test]
async fn an_end_without_an_event_is_no_content() {
    let rig = Rig::start().await;
    let mut responder = responder(&rig).await;
    let mut http = rig.http().await;
    ask(&mut http, REQUESTS, "*/*").await;
    let request = asked(&mut responder).await;
    reply(&mut responder, &request, wire::Reply::default()).await;
    assert_eq!(http.answer().await.status, 204);
}

#[tokio::test]
async fn a_listed_page_may_read_the_attributes_of_a_reply_in_headers() {
    let mut config = crate::rig::memory();
    config.guests.set_origins("https://app.example").unwrap();
    let rig = Rig::with(config, std::sync::Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    let mut responder = responder(&rig).await;
    let mut http = rig.http().await;
    let from = [("origin", "https://app.example")];
    http.send("POST", REQUESTS, &[&HEADERS[..], &from].concat(), b"?").await;
    let request = asked(&mut responder).await;
    reply(&mut responder, &request, wire::Reply { event: answer("s"), ..wire::Reply::default() }).await;
    let binary = http.answer().await;
    assert_eq!(binary.header("access-control-allow-origin"), Some("https://app.example"));
    let mut exposed: Vec<_> = binary.header("access-control-expose-headers").unwrap().split(", ").collect();
    exposed.sort_unstable();
    let mut expected: Vec<_> = binary.headers.iter().map(|(name, _)| name.as_str()).collect();
    expected.retain(|name| name.starts_with("ce-"));
    expected.push("retry-after");
    expected.sort_unstable();
    assert_eq!(exposed, expected);
    assert!(exposed.contains(&"ce-subject"), "{exposed:?}");
}

#[tokio::test]
async fn failures_are_problems_with_their_codes() {
    let rig = Rig::start().await;
    let mut http = rig.http().await;
    let none = http.call("POST", REQUESTS, &HEADERS, b"?").await;
    assert_eq!(none.problem(), (503, "NO_RESPONDERS".into()));
    let mut responder = responder(&rig).await;
    ask(&mut http, REQUESTS, "*/*").await;
    let request = asked(&mut responder).await;
    let code = ErrorKind::ResponderFailed.number();
    reply(&mut responder, &request, wire::Reply { code, message: "no".into(), ..wire::Reply::default() }).await;
    let failed = http.answer().await;
    assert_eq!(failed.problem(), (502, "RESPONDER_FAILED".into()));
    assert_eq!(failed.json()["detail"], "no");
    let late = http.call("POST", &format!("{REQUESTS}?timeout_ms=20"), &HEADERS, b"?").await;
    assert_eq!(late.problem(), (504, "TIMEOUT".into()));
}

#[tokio::test]
async fn a_client_that_hangs_up_calls_its_request_off() {
    let rig = Rig::start().await;
    let mut responder = responder(&rig).await;
    let mut http = rig.http().await;
    ask(&mut http, &format!("{REQUESTS}?timeout_ms=600000"), "*/*").await;
    let request = asked(&mut responder).await;
    drop(http);
    let cancelled = responder.find(|f| if let ServerFrame::Cancel(c) = f { Some(c.number) } else { None }).await;
    assert_eq!(cancelled, request.number);
}
