//! Requests of HTTP.

use meshwire_proto::wire::admin::Durability;
use serde_json::json;

use super::{Ask, Said, sent};
use crate::http_client::Answer;
use crate::rig::Rig;

pub(crate) fn said(answer: &Answer) -> Said {
    if answer.status < 400 {
        return Said::Fine;
    }
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
    Said::problem(answer.status, answer.header("retry-after"), &answer.body)
}

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A name in a path.
pub(super) fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

pub(super) async fn ask(rig: &Rig, headers: &[(&'static str, &str)], ask: &Ask<'_>) -> Option<Said> {
    let (method, path, kind, body) = match *ask {
        Ask::Publish { topic, ref event } => {
            ("POST", format!("/v1/topics/{}/events", encoded(topic)), STRUCTURED, event.json.clone())
        }
        Ask::Request { topic, timeout_ms } => {
            ("POST", format!("/v1/topics/{topic}/requests?timeout_ms={timeout_ms}"), STRUCTURED, sent("1", 1).json)
        }
        Ask::Join { topic, group, member } => {
            ("GET", format!("/v1/topics/{topic}/groups/{group}/events?member={member}"), JSON, String::new())
        }
        Ask::SettleTwice { topic } => return Some(settle_twice(rig, topic).await),
        Ask::Create { topic, durability, retention_ms } => {
            let durability = match durability {
                Durability::Memory => "memory",
                Durability::Written => "written",
                _ => "synced",
            };
            let body = json!({"durability": durability, "retention_ms": retention_ms}).to_string();
            ("PUT", format!("/v1/topics/{topic}"), JSON, body)
        }
        Ask::GetGroup { topic, group } => ("GET", format!("/v1/topics/{topic}/groups/{group}"), JSON, String::new()),
    };
    let mut http = rig.http().await;
    http.send(method, &path, &[headers, &[kind]].concat(), body.as_bytes()).await;
    let head = http.head().await;
    // A stream that has begun does not end.
    if head.status == 200 && method == "GET" { Some(Said::Fine) } else { Some(said(&http.rest_of(head).await)) }
}

async fn settle_twice(rig: &Rig, topic: &str) -> Said {
    rig.offer(topic, &["http"]).await;
    let group = format!("/v1/topics/{topic}/groups/http");
    let fetched = rig.post(&format!("{group}/fetch"), &json!({})).await.json();
    let settle = async |kind: &str| {
        let body = json!({"settlements": [{"lease": fetched["deliveries"][0]["lease"], "kind": kind}]});
        let answer = rig.post(&format!("{group}/settle"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Said::item(&answer.json()["results"][0])
    };
    assert_eq!(settle("ack").await, Said::Fine);
    settle("reject").await
}
