//! The access log: calls over HTTP leave the same records as those of sessions, with the fields that docs/metrics.md lists.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures_util::SinkExt as _;
use meshwire_gateway::mesh::{Action, Authorize, Caller};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::{mesh, session};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::doors::{Ask, Door};
use crate::rig::{Rig, earliest, event, memory, run_of};

type Fields = BTreeMap<String, String>;

/// Keeps what goes to one target and nothing else.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Vec<Fields>>>, &'static str);

struct Reading<'a>(&'a mut Fields);

impl Visit for Reading<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == self.1
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Reading(&mut fields));
        self.0.lock().unwrap().push(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What stands behind `of` in the log, of these fields.
pub(crate) fn said<const N: usize>(log: &Log, of: [&str; N]) -> Vec<[String; N]> {
    log.0.lock().unwrap().iter().map(|fields| of.map(|name| fields[name].clone())).collect()
}

/// The fields that are documented.
fn documented() -> Vec<String> {
    let docs = include_str!("../../../docs/metrics.md");
    let (_, table) = docs.split_once("## Access log").unwrap();
    let named = table.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| line.split(" | ").next());
    let mut names: Vec<String> = named.flat_map(|names| names.split(", ")).map(|name| name.replace('`', "")).collect();
    names.sort_unstable();
    names
}

fn listen() -> (Log, tracing::Dispatch, tracing::subscriber::DefaultGuard) {
    listen_to("meshwire::access")
}

/// A log of this test alone, as long as the guards live.
pub(crate) fn listen_to(target: &'static str) -> (Log, tracing::Dispatch, tracing::subscriber::DefaultGuard) {
    let log = Log(Arc::default(), target);
    // With one subscriber alone, what another test's thread logs first is off everywhere: that thread has none.
    let other = tracing::Dispatch::new(Log(Arc::default(), target));
    let guard = tracing::subscriber::set_default(log.clone());
    (log, other, guard)
}

#[tokio::test]
async fn calls_over_http_leave_records_with_the_fields_that_are_documented() {
    let (log, _other, _guard) = listen();
    let rig = Rig::start().await;
    rig.ask("PUT", "/v1/topics/orders", "").await;
    rig.ask("PUT", "/v1/topics/orders/groups/billing", "").await;
    rig.ask("GET", "/v1/topics/none/groups/billing", "").await;
    rig.offer("orders", &["1", "2"]).await;
    let fetched = rig.post("/v1/topics/orders/groups/billing/fetch", &json!({})).await.json();
    let settle = async |lease: &Value| {
        let settlements = json!({"settlements": [{"lease": lease, "kind": "ack"}]});
        rig.post("/v1/topics/orders/groups/billing/settle", &settlements).await
    };
    settle(&fetched["deliveries"][0]["lease"]).await;
    settle(&json!("AAAA")).await;
    assert_eq!(
        rig.post("/v1/topics/orders/groups/billing/fetch?timeout_ms=1", &json!({"wait_ms": 9000})).await.status,
        504
    );
    let expected = [
        ["create_topic", "orders", "", "0", "OK"],
        ["create_group", "orders", "billing", "0", "OK"],
        ["get_group", "none", "billing", "0", "TOPIC_NOT_FOUND"],
        ["publish", "orders", "", "2", "OK"],
        ["fetch", "orders", "billing", "2", "OK"],
        ["settle", "orders", "billing", "1", "OK"],
        ["settle", "orders", "billing", "1", "INVALID"],
        ["fetch", "orders", "billing", "0", "TIMEOUT"],
    ];
    assert_eq!(
        said(&log, ["operation", "topic", "group", "events", "code"]),
        expected.map(|row| row.map(str::to_owned))
    );
    for record in log.0.lock().unwrap().iter() {
        let mut fields: Vec<&str> = record.keys().map(String::as_str).filter(|name| *name != "message").collect();
        fields.sort_unstable();
        assert_eq!(fields, documented());
    }
}

#[tokio::test]
async fn a_refused_settle_leaves_a_record_too() {
    let (log, _other, _guard) = listen();
    let rig = Rig::with(memory(), Arc::new(NoSubscribing)).await;
    rig.post("/v1/topics/t/groups/g/settle", &json!({"settlements": [{"lease": "x", "kind": "ack"}]})).await;
    let many = vec![json!({"lease": "x", "kind": "ack"}); 10_001];
    rig.post("/v1/topics/t/groups/g/settle", &json!({"settlements": many})).await;
    let expected = [["settle", "t", "g", "1", "DENIED"], ["settle", "t", "g", "10001", "TOO_LARGE"]];
    assert_eq!(
        said(&log, ["operation", "topic", "group", "events", "code"]),
        expected.map(|row| row.map(str::to_owned))
    );
}

struct NoSubscribing;

impl Authorize for NoSubscribing {
    fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
        action != Action::Subscribe
    }
}

#[tokio::test]
async fn the_same_operations_over_every_door_leave_the_same_records() {
    let (log, _other, _guard) = listen();
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&[event("1")])).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.deliveries(1).await;
    peer.settle(1, 1, 1, SettleKind::Ack).await;
    peer.settle(1, 1, 1, SettleKind::Reject).await;
    rig.offer("t", &["2"]).await;
    let stub = crate::grpc::Stub::of(&rig).await;
    let asked = mesh::PublishRequest {
        topic: "t".into(),
        event: event("3").encode().unwrap(),
        ..mesh::PublishRequest::default()
    };
    stub.call::<_, mesh::PublishResponse>("/meshwire.v1.Mesh/Publish", asked).await.unwrap();
    let mut page = crate::http_websocket::ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let event = json!({"specversion":"1.0","id":"4","source":"/s","type":"t"});
    let call = json!({"id": 1, "op": "publish", "topic": "t", "event": event});
    page.send(Message::text(call.to_string())).await.unwrap();
    crate::http_websocket::next_json(&mut page).await;
    let expected = [
        ["native", "login", "", "", "OK"],
        ["native", "publish", "t", "", "OK"],
        ["native", "subscribe", "t", "g", "OK"],
        ["native", "settle", "t", "g", "OK"],
        ["native", "settle", "t", "g", "LEASE_LOST"],
        ["http", "publish", "t", "", "OK"],
        ["grpc", "publish", "t", "", "OK"],
        ["websocket", "publish", "t", "", "OK"],
    ];
    assert_eq!(
        said(&log, ["protocol", "operation", "topic", "group", "code"]),
        expected.map(|row| row.map(str::to_owned))
    );
}

/// A peer that serves topic `silent` and says nothing.
async fn silent(rig: &Rig) -> crate::rig::Peer {
    let mut peer = rig.session().await;
    let asked = session::Subscribe { subscription: 1, topic: "silent".into(), ..session::Subscribe::default() };
    peer.subscribe(session::Subscribe { serve: true, max_events: 64, max_bytes: 1 << 20, ..asked }).await;
    peer
}

#[tokio::test]
async fn a_request_leaves_its_record_when_it_is_answered_with_what_it_was_told() {
    let (log, _other, _guard) = listen();
    let rig = Rig::start().await;
    let _silent = silent(&rig).await;
    let code = ErrorKind::ResponderFailed.number();
    let event = event("r").encode().unwrap();
    let failed = session::Reply { code, message: "no".into(), ..session::Reply::default() };
    let _failing = crate::codes::responder(&rig, "failing", failed).await;
    let _serving =
        crate::codes::responder(&rig, "serving", session::Reply { event, ..session::Reply::default() }).await;
    for door in [Door::Http, Door::Grpc, Door::Page, Door::Session] {
        log.0.lock().unwrap().clear();
        for topic in ["silent", "failing", "serving", "nobody"] {
            let timeout_ms = if topic == "silent" { 20 } else { 10_000 };
            door.ask(&rig, &Ask::Request { topic, timeout_ms }).await.unwrap();
        }
        let codes =
            [("silent", "TIMEOUT"), ("failing", "RESPONDER_FAILED"), ("serving", "OK"), ("nobody", "NO_RESPONDERS")];
        let expected = codes.map(|(topic, code)| ["request", topic, "1", code].map(str::to_owned));
        // A session has logged in before each.
        log.0.lock().unwrap().retain(|fields| fields["operation"] == "request");
        assert_eq!(said(&log, ["operation", "topic", "events", "code"]), expected, "{door:?}");
        let micros: u64 = said(&log, ["micros"])[0][0].parse().unwrap();
        assert!(micros >= 10_000, "{door:?}: {micros} us, and it had 20 ms");
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_cancelled_and_one_without_time_is_late() {
    let (log, _other, _guard) = listen();
    let rig = Rig::start().await;
    let mut peer = silent(&rig).await;
    let asked = async |peer: &mut crate::rig::Peer| {
        peer.find(|f| if let meshwire_proto::frame::ServerFrame::Request(r) = f { Some(r) } else { None }).await
    };
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    log.0.lock().unwrap().clear();
    let mut http = rig.http().await;
    http.send("POST", "/v1/topics/silent/requests?timeout_ms=600000", &headers, b"?").await;
    asked(&mut peer).await;
    drop(http);
    peer.find(|f| if let meshwire_proto::frame::ServerFrame::Cancel(c) = f { Some(c) } else { None }).await;
    assert_eq!(said(&log, ["operation", "code"]), [["request", "CANCELLED"].map(str::to_owned)]);
    log.0.lock().unwrap().clear();
    let late = [&headers[..], &[("grpc-timeout", "20m")]].concat();
    assert_eq!(rig.http().await.call("POST", "/v1/topics/silent/requests", &late, b"?").await.status, 504);
    assert_eq!(said(&log, ["operation", "code"]), [["request", "TIMEOUT"].map(str::to_owned)]);
}

#[tokio::test]
async fn a_request_of_a_session_leaves_its_record_when_it_is_called_off_or_its_connection_ends() {
    use meshwire_proto::frame::{ClientFrame, ServerFrame};
    let (log, _other, _guard) = listen();
    let rig = Rig::start().await;
    let mut responder = silent(&rig).await;
    let mut peer = rig.session().await;
    log.0.lock().unwrap().clear();
    for number in [1, 2] {
        let event = event("r").encode().unwrap();
        let asked =
            session::Request { number, topic: "silent".into(), timeout_ms: 600_000, event, ..Default::default() };
        peer.send(ClientFrame::Request(asked)).await;
        responder.find(|f| matches!(f, ServerFrame::Request(_)).then_some(())).await;
    }
    assert!(log.0.lock().unwrap().is_empty(), "they wait for their replies");
    peer.send(ClientFrame::Cancel(session::Cancel { number: 1 })).await;
    responder.find(|f| matches!(f, ServerFrame::Cancel(_)).then_some(())).await;
    assert_eq!(said(&log, ["operation", "code"]), [["request", "CANCELLED"].map(str::to_owned)]);
    drop(peer);
    responder.find(|f| matches!(f, ServerFrame::Cancel(_)).then_some(())).await;
    assert_eq!(
        said(&log, ["operation", "topic", "code"])[1..],
        [["request", "silent", "CANCELLED"].map(str::to_owned)]
    );
}
