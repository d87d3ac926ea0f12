//! A gateway that denies everything: every operation is refused.

use std::sync::Arc;

use meshwire_gateway::mesh::{Action, Authorize, Caller};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::admin::{
    Command, CreateTopic, DeleteTopic, GetGroup, GetLimits, ListTopics, SetLimits, command,
};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::rig::{Peer, Rig, earliest, event, hello, memory, run_of};

/// Denies all but these.
struct Only(&'static [Action]);

impl Authorize for Only {
    fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
        self.0.contains(&action)
    }
}

const DENIED: u32 = ErrorKind::Denied.number();

async fn admin(peer: &mut Peer, command: command::Command) -> u32 {
    let command = Command { command: Some(command) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a.code) } else { None }).await
}

#[tokio::test]
async fn every_operation_is_refused_to_who_may_nothing() {
    let rig = Rig::with(memory(), Arc::new(Only(&[]))).await;
    let mut peer = rig.peer().await;
    peer.send(ClientFrame::Hello(hello())).await;
    assert_eq!(peer.error().await.code, DENIED);

    let rig = Rig::with(memory(), Arc::new(Only(&[Action::Connect]))).await;
    let mut peer = rig.session().await;
    assert_eq!(peer.publish("t", run_of(&[event("1")])).await[0].code, DENIED);
    peer.send(ClientFrame::Subscribe(earliest(1, "t", "g"))).await;
    assert_eq!(peer.error().await.code, DENIED);
    peer.send(ClientFrame::Subscribe(wire::Subscribe { serve: true, start: None, ..earliest(2, "t", "g") })).await;
    assert_eq!(peer.error().await.code, DENIED);
    peer.send(ClientFrame::Request(wire::Request { number: 1, topic: "t".into(), ..wire::Request::default() })).await;
    assert_eq!(peer.find(|f| if let ServerFrame::Reply(r) = f { Some(r.code) } else { None }).await, DENIED);
    assert_eq!(
        admin(&mut peer, command::Command::CreateTopic(CreateTopic { name: "t".into(), ..CreateTopic::default() }))
            .await,
        DENIED
    );
    assert_eq!(admin(&mut peer, command::Command::ListTopics(ListTopics::default())).await, DENIED);
    let get = GetGroup { topic: "t".into(), group: "g".into() };
    assert_eq!(admin(&mut peer, command::Command::GetGroup(get)).await, DENIED);
    assert_eq!(admin(&mut peer, command::Command::GetLimits(GetLimits {})).await, DENIED);
    assert_eq!(admin(&mut peer, command::Command::SetLimits(SetLimits::default())).await, DENIED);
    let delete = DeleteTopic { name: "t".into(), force: true };
    assert_eq!(admin(&mut peer, command::Command::DeleteTopic(delete)).await, DENIED);
}

#[tokio::test]
async fn every_call_of_grpc_is_refused_to_who_may_nothing() {
    let codes = crate::grpc::codes(Arc::new(Only(&[]))).await;
    for (path, code) in &codes {
        assert_eq!(code, "DENIED", "{path}");
    }
    assert_eq!(codes.len(), 18);
    // Who may everything hears other things, so that the cells above show what they are for.
    let allowed = crate::grpc::codes(Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    assert!(allowed.iter().all(|(_, code)| code != "DENIED"), "{allowed:?}");
}

#[tokio::test]
async fn creating_a_topic_by_its_first_use_needs_leave_to_create() {
    let rig = Rig::with(memory(), Arc::new(Only(&[Action::Connect, Action::Publish, Action::Subscribe]))).await;
    let mut peer = rig.session().await;
    assert_eq!(peer.publish("t", run_of(&[event("1")])).await[0].code, DENIED);
    peer.send(ClientFrame::Subscribe(earliest(1, "t", "g"))).await;
    assert_eq!(peer.error().await.code, DENIED);
}

#[tokio::test]
async fn settling_and_credit_need_leave_to_subscribe() {
    use std::sync::atomic::{AtomicBool, Ordering};
    struct Until(AtomicBool);
    impl Authorize for Until {
        fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
            action != Action::Subscribe || self.0.load(Ordering::Relaxed)
        }
    }
    let judge = Arc::new(Until(AtomicBool::new(true)));
    let rig = Rig::with(memory(), judge.clone()).await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.publish("t", run_of(&[event("1")])).await;
    judge.0.store(false, Ordering::Relaxed);
    let results = peer.settle(1, 1, 1, meshwire_proto::frame::SettleKind::Ack).await;
    assert_eq!(results, [(1, 1, DENIED)]);
    peer.send(ClientFrame::Credit(wire::Credit { subscription: 1, max_events: 1, max_bytes: 1 })).await;
    assert_eq!(peer.error().await.code, DENIED);
}

#[tokio::test]
async fn every_call_over_http_is_refused_to_who_may_nothing() {
    let rig = Rig::with(memory(), Arc::new(Only(&[]))).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let (structured, batch) = ("application/cloudevents+json", "application/cloudevents-batch+json");
    let cells = [
        ("POST", "/v1/topics/t/events", structured, event.to_owned()),
        ("POST", "/v1/topics/t/events", batch, format!("[{event}]")),
        ("POST", "/v1/topics/t/requests", structured, event.to_owned()),
        ("GET", "/v1/topics/t/events", structured, String::new()),
        ("GET", "/v1/topics/t/groups/g/events", structured, String::new()),
        ("GET", "/v1/topics/t/groups/g/events?member=m", structured, String::new()),
        ("POST", "/v1/topics/t/groups/g/fetch", "application/json", "{}".to_owned()),
        ("POST", "/v1/topics/t/groups/g/fetch", "application/json", r#"{"member":"m"}"#.to_owned()),
    ];
    for (method, path, kind, body) in cells {
        let answer = rig.http().await.call(method, path, &[("content-type", kind)], body.as_bytes()).await;
        assert_eq!(answer.problem(), (403, "DENIED".into()), "{method} {path}");
    }
    // Nobody can have been given a lease; and none tells whether there is one.
    let settle = serde_json::json!({"settlements": [{"lease": "AAAA", "kind": "ack"}]});
    let answer = rig.post("/v1/topics/t/groups/g/settle", &settle).await;
    assert_eq!(answer.problem(), (403, "DENIED".into()));
}

#[tokio::test]
async fn settling_over_http_needs_leave_to_subscribe() {
    use std::sync::atomic::{AtomicBool, Ordering};
    struct Until(AtomicBool);
    impl Authorize for Until {
        fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
            action != Action::Subscribe || self.0.load(Ordering::Relaxed)
        }
    }
    let judge = Arc::new(Until(AtomicBool::new(true)));
    let rig = Rig::with(memory(), judge.clone()).await;
    rig.offer("t", &["1"]).await;
    let fetched = rig.post("/v1/topics/t/groups/g/fetch", &serde_json::json!({})).await.json();
    judge.0.store(false, Ordering::Relaxed);
    let settle = serde_json::json!({"settlements": [{"lease": fetched["deliveries"][0]["lease"], "kind": "ack"}]});
    let answer = rig.post("/v1/topics/t/groups/g/settle", &settle).await;
    assert_eq!(answer.problem(), (403, "DENIED".into()));
}

#[tokio::test]
async fn every_call_of_a_page_is_refused_to_who_may_nothing() {
    use futures_util::SinkExt as _;
    use serde_json::json;
    use tokio_tungstenite::tungstenite::Message;
    let rig = Rig::with(memory(), Arc::new(Only(&[]))).await;
    let mut page = crate::http_websocket::ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let event = json!({"specversion":"1.0","id":"1","source":"/s","type":"t"});
    for call in [
        json!({"id": 1, "op": "publish", "topic": "t", "event": event}),
        json!({"id": 2, "op": "request", "topic": "t", "event": event}),
        json!({"id": 3, "op": "subscribe", "topic": "t"}),
        json!({"id": 4, "op": "subscribe", "topic": "t", "group": "g"}),
        json!({"id": 5, "op": "settle", "topic": "t", "group": "g", "settlements": []}),
    ] {
        page.send(Message::text(call.to_string())).await.unwrap();
        let answer = crate::http_websocket::next_json(&mut page).await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&call["id"], &json!("DENIED")), "{answer}");
    }
}

#[tokio::test]
async fn administration_over_http_is_refused_to_who_may_nothing() {
    let rig = Rig::with(memory(), Arc::new(Only(&[]))).await;
    let (topic, group) = ("/v1/topics/t", "/v1/topics/t/groups/g");
    let letters = format!("{group}/dead-letters");
    for (method, path, body) in [
        ("GET", "/", ""),
        ("GET", "/metrics", ""),
        ("GET", "/v1/topics", ""),
        ("GET", topic, ""),
        ("PUT", topic, "{}"),
        ("PATCH", topic, r#"{"lagging":"drop"}"#),
        ("DELETE", topic, ""),
        ("GET", &format!("{topic}/groups"), ""),
        ("GET", group, ""),
        ("PUT", group, "{}"),
        ("PATCH", group, r#"{"max_rate":1}"#),
        ("DELETE", group, ""),
        ("POST", &format!("{group}/seek"), r#"{"to":"1"}"#),
        ("GET", &letters, ""),
        ("GET", &format!("{letters}/1"), ""),
        ("POST", &format!("{letters}/redrive"), r#"{"all":true}"#),
        ("POST", &format!("{letters}/purge"), r#"{"numbers":[1]}"#),
        ("GET", "/v1/limits", ""),
        ("PATCH", "/v1/limits", r#"{"deliver_rate":1}"#),
    ] {
        let answer = rig.ask(method, path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"), "{method} {path}");
    }
    // They tell nothing of what the gateway holds.
    for path in ["/healthz", "/readyz", "/openapi.json", "/page.css"] {
        assert_eq!(rig.look(path).await.status, 200, "{path}");
    }
}
