//! `?timeout_ms` and `grpc-timeout`: the deadline of every operation, whatever it waits for.

use serde_json::{Value, json};

use crate::http_client::Answer;
use crate::rig::Rig;

/// Every body may be of this type.
const JSON: (&str, &str) = ("content-type", "application/cloudevents+json");

/// Every operation that has a deadline, as method and path; all of `/v1` that the document lists.
fn operations() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../src/ingress/http/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1/"));
    let of = |(path, item): (&String, &Value)| {
        let path = path.replace("{topic}", "t").replace("{group}", "g").replace("{number}", "1");
        item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.flat_map(of).collect()
}

/// Sends a head that announces a body which never comes.
async fn without_its_body(rig: &Rig, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut http = rig.http().await;
    http.send_head(method, path, &[headers, &[("content-length", "100")]].concat()).await;
    http.answer().await
}

#[tokio::test]
async fn every_operation_takes_a_deadline_and_refuses_one_that_is_none() {
    let rig = Rig::start().await;
    let operations = operations();
    assert!(operations.len() >= 20, "{operations:?}");
    for (method, path) in operations {
        for (query, headers) in [("?timeout_ms=0", &[][..]), ("", &[("grpc-timeout", "1x")])] {
            let refused = rig.http().await.call(&method, &format!("{path}{query}"), headers, b"").await;
            assert_eq!(refused.problem(), (400, "INVALID".into()), "{method} {path}{query}");
            let text = refused.text();
            assert!(text.contains("timeout_ms is \\\"0\\\"") || text.contains("grpc-timeout is"), "{path}: {text}");
        }
        if !path.ends_with("/events") || method == "POST" {
            let taken = rig.http().await.call(&method, &format!("{path}?timeout_ms=43200000"), &[], b"").await;
            assert!(!String::from_utf8_lossy(&taken.body).contains("timeout_ms"), "{method} {path}: {}", taken.text());
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_body_ends_at_the_deadline() {
    let rig = Rig::start().await;
    for (method, path) in operations().iter().filter(|(method, _)| !matches!(method.as_str(), "GET" | "DELETE")) {
        let headers = [JSON, ("grpc-timeout", "1m")];
        let late = without_its_body(&rig, method, path, &headers).await;
        assert_eq!(late.problem(), (504, "TIMEOUT".into()), "{method} {path}: {}", late.text());
        let late = without_its_body(&rig, method, &format!("{path}?timeout_ms=1"), &[JSON]).await;
        assert_eq!(late.problem(), (504, "TIMEOUT".into()), "{method} {path}: {}", late.text());
    }
}

#[tokio::test]
async fn a_fetch_that_waits_longer_than_its_deadline_ends_there_and_takes_nothing_with_it() {
    let rig = Rig::start().await;
    let path = "/v1/topics/t/groups/g/fetch";
    for member in [json!({"wait_ms": 30000}), json!({"wait_ms": 30000, "member": "m"})] {
        let late = rig.http().await.post(&format!("{path}?timeout_ms=20"), &member).await;
        assert_eq!(late.problem(), (504, "TIMEOUT".into()));
    }
    // The wait of a fetch that is over first is no error.
    let none = rig.http().await.post(&format!("{path}?timeout_ms=40000"), &json!({"wait_ms": 1})).await;
    assert_eq!(none.json(), json!({"deliveries": []}));
    rig.offer("t", &["1"]).await;
    let fetched = rig.http().await.post(path, &json!({"wait_ms": 30000, "member": "m"})).await.json();
    assert_eq!(fetched["deliveries"][0]["attempt"], 1, "{fetched}");
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_with_the_reason() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let lines = async {
        let mut stream = rig.http().await;
        stream.stream("/v1/topics/t/events?start=earliest&timeout_ms=2000", &[]).await;
        assert_eq!(stream.delivery().await["event"]["id"], "1");
        let last = stream.delivery().await;
        assert_eq!((&last["error"]["code"], &last["error"]["status"]), (&json!("TIMEOUT"), &json!(504)), "{last}");
        assert_eq!(stream.line().await, None);
    };
    let sent = async {
        let (mut stream, mut text) = (rig.http().await, String::new());
        let headers = [("accept", "text/event-stream"), ("grpc-timeout", "2S")];
        stream.stream("/v1/topics/t/groups/g/events", &headers).await;
        while let Some(line) = stream.line().await {
            text += &line;
        }
        assert!(text.contains("event: error") && text.contains("TIMEOUT"), "{text}");
    };
    tokio::join!(lines, sent);
}
