//! Bad input over HTTP that is well-formed: each is answered with its code and says what would be accepted; the gateway goes on.
//! What is broken as HTTP, JSON or a CloudEvent is in `hostile`.

use serde_json::json;

use crate::rig::Rig;

const JSON: (&str, &str) = ("content-type", "application/json");
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

/// Method, path, one header, body; status, code, a part of what is said.
type Case = (&'static str, &'static str, (&'static str, &'static str), &'static str, u16, &'static str, &'static str);

const FETCH: &str = "/v1/topics/t/groups/g/fetch";
const SETTLE: &str = "/v1/topics/t/groups/g/settle";
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("POST", "/v1/topics/t/events?deliver=1", STRUCTURED, EVENT, 400, "INVALID", "deliver_at, expires_in_ms, timeout_ms"),
    ("POST", "/v1/topics/t/events?deliver_at=soon", STRUCTURED, EVENT, 400, "INVALID", "RFC 3339"),
    ("POST", "/v1/topics/t/events?expires_in_ms=0", STRUCTURED, EVENT, 400, "INVALID", "expires_in_ms"),
    ("POST", "/v1/topics/t/events?expires_in_ms=-1", STRUCTURED, EVENT, 400, "INVALID", "expires_in_ms"),
    ("POST", "/v1/topics/t/events?timeout_ms=0", STRUCTURED, EVENT, 400, "INVALID", "timeout_ms"),
    ("POST", "/v1/topics/t/events?timeout_ms=1&timeout_ms=2", STRUCTURED, EVENT, 400, "INVALID", "twice"),
    ("POST", "/v1/topics/t/events?timeout_ms=%zz", STRUCTURED, EVENT, 400, "INVALID", "percent"),
    ("POST", "/v1/topics/t/events", STRUCTURED, r#"{"id":"1","source":"/s","type":"t"}"#, 400, "INVALID", "specversion"),
    ("POST", "/v1/topics/t/events", JSON, EVENT, 400, "INVALID", "application/cloudevents+json"),
    ("POST", "/v1/topics/t/events", ("content-type", "application/cloudevents+avro"), "", 415, "UNSUPPORTED", "application/cloudevents+json"),
    ("POST", "/v1/topics/t/events", ("content-type", "application/cloudevents+json; charset=latin1"), EVENT, 415, "UNSUPPORTED", "UTF-8"),
    ("POST", "/v1/topics/t/requests?wait=1", STRUCTURED, EVENT, 400, "INVALID", "timeout_ms"),
    ("POST", "/v1/topics/t/requests?timeout_ms=99999999999", STRUCTURED, EVENT, 400, "INVALID", "timeout_ms"),
    ("POST", "/v1/topics/t/requests", ("content-type", "application/cloudevents-batch+json"), "[]", 400, "INVALID", "one event"),
    ("POST", "/v1/topics/t/requests", STRUCTURED, r#"{"specversion":"1.0"}"#, 400, "INVALID", "id"),
    ("GET", "/v1/topics/t/requests", JSON, "", 405, "INVALID", "GET"),
    ("GET", "/v1/topics/t/events?from=1", JSON, "", 400, "INVALID", "there is start"),
    ("GET", "/v1/topics/t/events?start=yesterday", JSON, "", 400, "INVALID", "earliest, latest"),
    ("GET", "/v1/topics/t/events", ("last-event-id", "x"), "", 400, "INVALID", "last-event-id"),
    ("GET", "/v1/topics/t/events", ("accept", "image/png"), "", 406, "UNSUPPORTED", "application/x-ndjson"),
    ("GET", "/v1/topics/*/events", JSON, "", 400, "INVALID", "*"),
    ("GET", "/v1/topics/t/groups/g/events?max_unsettled=0", JSON, "", 400, "INVALID", "max_unsettled"),
    ("GET", "/v1/topics/t/groups/g/events?max_unsettled=65537", JSON, "", 400, "INVALID", "65536"),
    ("GET", "/v1/topics/t/groups/g/events?unsettled=1", JSON, "", 400, "INVALID", "max_unsettled, member, start"),
    ("GET", "/v1/topics/t/groups/%3E/events", JSON, "", 400, "INVALID", ">"),
    ("GET", "/v1/topics/t/groups/g/events?member=a%20b", JSON, "", 400, "INVALID", "a b"),
    ("POST", FETCH, JSON, r#"{"max":1}"#, 400, "INVALID", "max_events"),
    ("POST", FETCH, JSON, r#"{"max_events":1,"max_events":2}"#, 400, "INVALID", "is there more than once"),
    ("POST", FETCH, JSON, r#"{"max_events":0}"#, 400, "INVALID", "1024"),
    ("POST", FETCH, JSON, r#"{"max_events":1025}"#, 400, "INVALID", "1024"),
    ("POST", FETCH, JSON, r#"{"max_events":"1"}"#, 400, "INVALID", r#"field max_events is \"1\"; a whole number from 1 to 1024 is accepted"#),
    ("POST", FETCH, JSON, r#"{"wait_ms":30001}"#, 400, "INVALID", "30000"),
    ("POST", FETCH, JSON, r#"{"member":""}"#, 400, "INVALID", "member"),
    ("POST", FETCH, JSON, r#"{"member":"a b"}"#, 400, "INVALID", "a b"),
    ("POST", FETCH, JSON, "[]", 400, "INVALID", "the body is an array; an object is accepted"),
    ("POST", FETCH, JSON, "{", 400, "INVALID", "the body is no JSON"),
    ("POST", FETCH, ("content-type", "text/plain"), "{}", 415, "UNSUPPORTED", "application/json"),
    ("POST", "/v1/topics/t/groups/g/fetch?wait_ms=1", JSON, "{}", 400, "INVALID", "timeout_ms"),
    ("POST", "/v1/topics/t/groups/a%20b/fetch", JSON, "{}", 400, "INVALID", "a b"),
    ("GET", FETCH, JSON, "", 405, "INVALID", "GET"),
    ("POST", SETTLE, JSON, "", 400, "INVALID", "settlements"),
    ("POST", SETTLE, JSON, "{}", 400, "INVALID", "settlements"),
    ("POST", SETTLE, JSON, r#"{"settlements":{}}"#, 400, "INVALID", "field settlements is {}; an array is accepted"),
    ("POST", SETTLE, JSON, r#"{"settlements":[],"confirm":1}"#, 400, "INVALID", "field confirm is 1; true or false is accepted"),
    ("POST", SETTLE, JSON, r#"{"settlements":[],"wait":true}"#, 400, "INVALID", "confirm"),
    ("POST", SETTLE, ("content-type", "text/plain"), "{}", 415, "UNSUPPORTED", "application/json"),
];

#[tokio::test]
async fn every_bad_input_has_its_code_and_says_what_would_do() {
    let rig = Rig::start().await;
    for (method, path, header, body, status, code, says) in CASES {
        let mut http = rig.http().await;
        let answer = http.call(method, path, &[*header], body.as_bytes()).await;
        let case = format!("{method} {path} {header:?} {body}: {} {}", answer.status, answer.text());
        assert_eq!(answer.problem(), (*status, (*code).to_owned()), "{case}");
        assert!(answer.text().contains(says), "{case}");
    }
    rig.offer("fine", &["1"]).await;
}

#[tokio::test]
async fn too_many_settlements_are_refused_as_a_whole() {
    let rig = Rig::start().await;
    let items = vec![json!({"lease": "x", "kind": "ack"}); 10_001];
    let answer = rig.post(SETTLE, &json!({"settlements": items})).await;
    assert_eq!(answer.problem(), (413, "TOO_LARGE".into()));
}

#[tokio::test]
async fn without_auto_create_a_topic_must_be_there() {
    let mut config = crate::rig::memory();
    config.auto_create = false;
    let rig = Rig::with(config, std::sync::Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    for path in ["/v1/topics/t/events", "/v1/topics/t/groups/g/events"] {
        assert_eq!(rig.get(path).await.problem(), (404, "TOPIC_NOT_FOUND".into()));
    }
    assert_eq!(rig.post(FETCH, &json!({})).await.problem(), (404, "TOPIC_NOT_FOUND".into()));
}

#[tokio::test]
async fn credentials_that_nobody_can_verify_are_refused_on_every_path() {
    let rig = Rig::start().await;
    for path in
        ["/", "/healthz", "/metrics", "/v1/topics", "/v1/ws", "/v1/topics/t/events", "/v1/session/x", "/nowhere"]
    {
        let answer = rig.http().await.call("GET", path, &[("authorization", "Bearer x")], b"").await;
        assert_eq!(answer.problem(), (401, "UNAUTHENTICATED".into()), "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
    }
}
