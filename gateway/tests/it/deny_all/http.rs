//! Operations of `/openapi.json`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Cells, cell};
use crate::doors::http::said;
use crate::doors::{Door, Said, sent};
use crate::rig::Rig;

/// They tell nothing of what the gateway holds, and everybody may ask.
const OPEN: [&str; 4] = ["page_style", "healthz", "readyz", "openapi"];

/// A lease of group `http` of topic `held`.
pub(super) async fn lease(rig: &Rig) -> Value {
    let fetched = rig.post("/v1/topics/held/groups/http/fetch", &json!({"max_events": 1})).await;
    fetched.json()["deliveries"][0]["lease"].clone()
}

/// Operation, method, path, content type, body.
type Row = (&'static str, &'static str, &'static str, &'static str, String);

fn rows(lease: &Value) -> Vec<Row> {
    const JSON: &str = "application/json";
    let event = sent("new", 1).json;
    let settle = json!({"settlements": [{"lease": lease, "kind": "ack"}]}).to_string();
    let json = |operation, method, path, body: &str| (operation, method, path, JSON, body.to_owned());
    vec![
        json("page", "GET", "/", ""),
        json("metrics", "GET", "/metrics", ""),
        json("get_limits", "GET", "/v1/limits", ""),
        json("set_limits", "PATCH", "/v1/limits", r#"{"deliver_rate":1}"#),
        json("list_topics", "GET", "/v1/topics", ""),
        json("get_topic", "GET", "/v1/topics/t", ""),
        json("put_topic", "PUT", "/v1/topics/new", "{}"),
        json("put_topic", "PUT", "/v1/topics/t", r#"{"retention_ms":60000}"#),
        json("update_topic", "PATCH", "/v1/topics/t", r#"{"lagging":"block"}"#),
        ("publish", "POST", "/v1/topics/t/events", "application/cloudevents+json", event.clone()),
        ("publish", "POST", "/v1/topics/t/events", "application/cloudevents-batch+json", format!("[{event}]")),
        ("publish", "POST", "/v1/topics/new/events", "text/plain", "binary".to_owned()),
        json("receive_topic", "GET", "/v1/topics/t/events", ""),
        ("request", "POST", "/v1/topics/t/requests?timeout_ms=50", "application/cloudevents+json", event),
        json("list_groups", "GET", "/v1/topics/t/groups", ""),
        json("get_group", "GET", "/v1/topics/t/groups/g", ""),
        json("put_group", "PUT", "/v1/topics/t/groups/new", "{}"),
        json("update_group", "PATCH", "/v1/topics/t/groups/g", r#"{"max_rate":1}"#),
        json("seek_group", "POST", "/v1/topics/t/groups/g/seek", r#"{"to":"1"}"#),
        json("receive_group", "GET", "/v1/topics/t/groups/other/events", ""),
        json("receive_group", "GET", "/v1/topics/t/groups/b/events?member=m", ""),
        json("fetch", "POST", "/v1/topics/t/groups/other/fetch", "{}"),
        json("fetch", "POST", "/v1/topics/t/groups/other/fetch", r#"{"member":"m"}"#),
        ("settle", "POST", "/v1/topics/held/groups/http/settle", JSON, settle),
        json("list_dead_letters", "GET", "/v1/topics/t/groups/g/dead-letters", ""),
        json("get_dead_letter", "GET", "/v1/topics/t/groups/g/dead-letters/1", ""),
        json("redrive_dead_letters", "POST", "/v1/topics/t/groups/g/dead-letters/redrive", r#"{"all":true}"#),
        json("purge_dead_letters", "POST", "/v1/topics/t/groups/g/dead-letters/purge", r#"{"numbers":[1]}"#),
        json("delete_group", "DELETE", "/v1/topics/t/groups/g", ""),
        json("delete_topic", "DELETE", "/v1/topics/t?force=true", ""),
    ]
}

const ATTRIBUTES: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "new"), ("ce-source", "/s"), ("ce-type", "t")];

pub(super) async fn tried(rig: &Rig, lease: &Value) -> Cells {
    let (mut cells, mut names) = (Cells::new(), BTreeSet::from(OPEN.map(str::to_owned)));
    for (operation, method, path, kind, body) in rows(lease) {
        names.insert(operation.to_owned());
        let attributes: &[_] = if kind == "text/plain" { &ATTRIBUTES } else { &[] };
        let mut http = rig.http().await;
        http.send(method, path, &[attributes, &[("content-type", kind)]].concat(), body.as_bytes()).await;
        let head = http.head().await;
        // A stream that has begun does not end.
        let said = if head.status == 200 { Said::Fine } else { said(&http.rest_of(head).await) };
        cells.push(cell(Door::Http, format!("{method} {path} {kind}"), said));
    }
    for (path, code) in [("/page.css", 200), ("/healthz", 200), ("/readyz", 200), ("/openapi.json", 200)] {
        assert_eq!(rig.get(path).await.status, code, "{path}");
    }
    let document = rig.get("/openapi.json").await.json();
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values().map(|of| of["operationId"].clone()));
    let documented: BTreeSet<String> = operations.map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!(documented, names, "each operation has a row");
    cells
}
