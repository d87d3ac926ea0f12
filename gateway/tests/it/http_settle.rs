//! Settling by lease tokens: every settlement, over any connection, by the same caller, in this life of the gateway.

use std::sync::Arc;

use futures_util::SinkExt as _;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::mesh as wire;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::rig::{Rig, earliest, memory};

const FETCH: &str = "/v1/topics/t/groups/g/fetch";
const SETTLE: &str = "/v1/topics/t/groups/g/settle";

impl Rig {
    pub(crate) async fn fetched(&self, asked: Value) -> Vec<Value> {
        self.post(FETCH, &asked).await.json()["deliveries"].as_array().unwrap().clone()
    }

    /// `OK` or the code of each.
    async fn settled(&self, settlements: Value) -> Vec<String> {
        let answer = self.post(SETTLE, &json!({"settlements": settlements})).await.json();
        let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let code =
            |r: &Value| if r["settled"] == true { "OK".to_owned() } else { r["code"].as_str().unwrap().to_owned() };
        results.iter().map(code).collect()
    }
}

fn with(delivery: &Value, kind: &str) -> Value {
    json!({"lease": delivery["lease"], "kind": kind})
}

#[tokio::test]
async fn each_settlement_does_what_it_says() {
    let rig = Rig::start().await;
    rig.offer("t", &["ack", "nack", "reject", "extend", "release"]).await;
    let held = rig.fetched(json!({})).await;
    let settlements = json!([
        with(&held[0], "ack"),
        {"lease": held[1]["lease"], "kind": "nack", "delay_ms": 0, "reason": "again"},
        {"lease": held[2]["lease"], "kind": "reject", "reason": "never"},
        with(&held[3], "extend"),
        with(&held[4], "release"),
    ]);
    assert_eq!(rig.settled(settlements).await, ["OK"; 5]);
    let again = rig.fetched(json!({"wait_ms": 5000})).await;
    let mut seen: Vec<(String, Value)> =
        again.iter().map(|d| (d["event"]["id"].as_str().unwrap().to_owned(), d["attempt"].clone())).collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(seen.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["nack", "release"]);
    assert_eq!(rig.settled(json!([with(&held[3], "ack")])).await, ["OK"]);
}

#[tokio::test]
async fn the_first_settlement_wins_and_the_same_again_is_fine() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let held = rig.fetched(json!({"member": "m"})).await;
    assert_eq!(rig.settled(json!([with(&held[0], "ack"), with(&held[0], "ack")])).await, ["OK", "OK"]);
    assert_eq!(rig.settled(json!([with(&held[0], "ack"), with(&held[0], "reject")])).await, ["OK", "LEASE_LOST"]);
}

#[tokio::test]
async fn who_heard_no_answer_says_the_same_again_also_when_the_member_or_the_stream_has_gone() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2"]).await;
    let held = rig.fetched(json!({"max_events": 1})).await;
    assert_eq!(rig.settled(json!([with(&held[0], "ack")])).await, ["OK"]);
    assert_eq!(rig.settled(json!([with(&held[0], "ack"), with(&held[0], "nack")])).await, ["OK", "LEASE_LOST"]);
    let mut stream = rig.http().await;
    stream.stream("/v1/topics/t/groups/g/events", &[]).await;
    let delivery = stream.delivery().await;
    assert_eq!(rig.settled(json!([with(&delivery, "ack")])).await, ["OK"]);
    drop(stream);
    let mut peer = rig.session().await;
    while crate::http_receive::members(&mut peer, "t", "g").await > 0 {}
    assert_eq!(rig.settled(json!([with(&delivery, "ack"), with(&delivery, "reject")])).await, ["OK", "LEASE_LOST"]);
    let settlements = json!({"settlements": [with(&delivery, "ack")]});
    let other = rig.post("/v1/topics/t/groups/other/settle", &settlements).await.json();
    assert_eq!(other["results"][0]["code"], "INVALID", "{other}");
    assert_eq!(rig.fetched(json!({})).await, Vec::<Value>::new());
}

#[tokio::test]
async fn results_stand_in_the_order_of_the_settlements_however_mixed_they_are() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2", "3", "4"]).await;
    let (a, b) = (rig.fetched(json!({"max_events": 2})).await, rig.fetched(json!({"max_events": 2})).await);
    let forged = json!({"lease": "AAAA", "kind": "ack"});
    let settlements = json!([with(&b[1], "ack"), forged, with(&a[0], "ack"), with(&a[1], "ack"), with(&b[0], "ack")]);
    assert_eq!(rig.settled(settlements).await, ["OK", "INVALID", "OK", "OK", "OK"]);
}

#[tokio::test]
async fn a_lease_of_a_stream_is_settled_over_another_connection_and_lost_when_the_stream_ends() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2"]).await;
    let mut stream = rig.http().await;
    stream.stream("/v1/topics/t/groups/g/events", &[]).await;
    let held = [stream.delivery().await, stream.delivery().await];
    assert_eq!(rig.settled(json!([with(&held[0], "ack")])).await, ["OK"]);
    drop(stream);
    let again = rig.fetched(json!({"wait_ms": 20000})).await;
    assert_eq!(again[0]["event"]["id"], "2");
    assert_eq!(rig.settled(json!([with(&held[1], "ack")])).await, ["LEASE_LOST"]);
}

#[tokio::test]
async fn a_forged_cut_or_misplaced_lease_is_invalid() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let held = rig.fetched(json!({})).await;
    let lease = held[0]["lease"].as_str().unwrap();
    let forged = format!("{}AAAA", &lease[..lease.len() - 4]);
    for wrong in [forged.as_str(), &lease[..lease.len() - 1], &lease[1..], "", "not base64!"] {
        assert_eq!(rig.settled(json!([{"lease": wrong, "kind": "ack"}])).await, ["INVALID"], "{wrong}");
    }
    let settlements = json!({"settlements": [with(&held[0], "ack")]});
    for path in ["/v1/topics/t/groups/other/settle", "/v1/topics/other/groups/g/settle"] {
        assert_eq!(rig.post(path, &settlements).await.json()["results"][0]["code"], "INVALID", "{path}");
    }
    assert_eq!(rig.settled(json!([with(&held[0], "ack")])).await, ["OK"]);
}

#[tokio::test]
async fn a_lease_of_one_protocol_is_settled_by_another() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2"]).await;
    let held = rig.fetched(json!({})).await;
    let leases = held.iter().map(|delivery| delivery["lease"].as_str().unwrap());
    let ack =
        |lease: &str| wire::Settlement { lease: lease.into(), r#as: wire::SettleAs::Ack.into(), ..Default::default() };
    let settlements = leases.clone().take(1).map(ack).collect();
    let asked = wire::SettleRequest { topic: "t".into(), group: "g".into(), confirm: true, settlements };
    let stub = crate::grpc::Stub::of(&rig).await;
    let answer: wire::SettleResponse = stub.call("/meshwire.v1.Mesh/Settle", asked).await.unwrap();
    assert_eq!(answer.results, [wire::SettleResult { error: None }]);
    let mut page = crate::http_websocket::ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    let settlements = json!([with(&held[1], "ack")]);
    let call = json!({"id": 1, "op": "settle", "topic": "t", "group": "g", "settlements": settlements});
    page.send(Message::text(call.to_string())).await.unwrap();
    let answer = crate::http_websocket::next_json(&mut page).await;
    assert_eq!(answer["ok"]["results"], json!([{"settled": true}]), "{answer}");
    // Whoever held them has gone with the last of its leases; what was said of them is known.
    assert_eq!(rig.settled(json!([with(&held[0], "ack"), with(&held[1], "reject")])).await, ["OK", "LEASE_LOST"]);
}

#[tokio::test]
async fn a_lease_that_ended_settles_until_somebody_else_has_the_event_and_never_his() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let settings = r#"{"ack_wait_ms":1000,"start":"earliest"}"#;
    assert_eq!(rig.ask("PUT", "/v1/topics/t/groups/g", settings).await.status, 200);
    let first = rig.fetched(json!({"member": "a"})).await;
    // It comes when the lease of the first one has ended.
    let second = rig.fetched(json!({"member": "b", "wait_ms": 20000})).await;
    assert_eq!((&second[0]["event"]["id"], &second[0]["attempt"]), (&json!("1"), &json!(2)));
    assert_eq!(rig.settled(json!([with(&first[0], "reject")])).await, ["LEASE_LOST"]);
    assert_eq!(rig.settled(json!([with(&second[0], "ack")])).await, ["OK"]);
    assert_eq!(rig.settled(json!([with(&first[0], "ack")])).await, ["LEASE_LOST"]);
}

#[tokio::test]
async fn after_a_restart_leases_are_lost_acks_stand_and_the_rest_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = memory();
    config.memory = false;
    config.data_dir = dir.path().into();
    // One is never settled.
    config.stop_timeout = std::time::Duration::ZERO;
    let rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
    rig.offer("t", &["1", "2"]).await;
    let held = rig.fetched(json!({"wait_ms": 5000})).await;
    assert_eq!(held.len(), 2);
    assert_eq!(rig.settled(json!([with(&held[0], "ack")])).await, ["OK"]);
    rig.stop().await;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    assert_eq!(rig.settled(json!([with(&held[0], "ack"), with(&held[1], "ack")])).await, ["LEASE_LOST"; 2]);
    let again = rig.fetched(json!({"wait_ms": 20000})).await;
    assert_eq!(again.iter().map(|d| d["event"]["id"].as_str().unwrap()).collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn a_thousand_leases_are_settled_in_one_call() {
    let rig = Rig::start().await;
    let ids: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    rig.offer("t", &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut held = Vec::new();
    while held.len() < 1000 {
        held.extend(rig.fetched(json!({"max_events": 1024, "wait_ms": 5000})).await);
    }
    let settlements: Vec<Value> = held.iter().map(|d| with(d, "ack")).collect();
    assert_eq!(rig.settled(settlements.into()).await, ["OK"; 1000]);
}

type Kind = (&'static str, SettleKind, wire::SettleAs);

const ACK: Kind = ("ack", SettleKind::Ack, wire::SettleAs::Ack);
const REJECT: Kind = ("reject", SettleKind::Reject, wire::SettleAs::Reject);
const EXTEND: Kind = ("extend", SettleKind::Extend, wire::SettleAs::Extend);
const RELEASE: Kind = ("release", SettleKind::Release, wire::SettleAs::Release);

/// What a kind has not: a delay, or a reason.
const MISFITS: [(Kind, Option<u32>, &str); 8] = [
    (ACK, Some(0), ""),
    (REJECT, Some(1), ""),
    (REJECT, Some(1), "no"),
    (EXTEND, Some(60_000), ""),
    (RELEASE, Some(1), ""),
    (ACK, None, "done"),
    (EXTEND, None, "slow"),
    (RELEASE, None, "tired"),
];

#[tokio::test]
async fn what_its_kind_has_not_makes_a_settlement_invalid_over_every_door_and_only_that_one() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let held = rig.fetched(json!({})).await;
    let lease = held[0]["lease"].as_str().unwrap();
    let mut native = rig.session().await;
    native.subscribe(earliest(1, "t", "n")).await;
    native.deliveries(1).await;
    let stub = crate::grpc::Stub::of(&rig).await;
    let mut page = crate::http_websocket::ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap();
    for (sequence, ((name, kind, r#as), delay_ms, reason)) in (1..).zip(MISFITS) {
        let misfit = format!("{name} {delay_ms:?} {reason:?}");
        let settlements = json!([
            {"lease": lease, "kind": "extend"},
            {"lease": lease, "kind": name, "delay_ms": delay_ms, "reason": reason},
        ]);
        assert_eq!(rig.settled(settlements.clone()).await, ["OK", "INVALID"], "{misfit}");
        let call = json!({"id": 1, "op": "settle", "topic": "t", "group": "g", "settlements": settlements});
        page.send(Message::text(call.to_string())).await.unwrap();
        let results = crate::http_websocket::next_json(&mut page).await["ok"]["results"].clone();
        assert_eq!((&results[0]["settled"], &results[1]["code"]), (&json!(true), &json!("INVALID")), "{misfit}");
        let extend = wire::Settlement { lease: lease.into(), r#as: EXTEND.2.into(), ..Default::default() };
        let wrong = wire::Settlement { lease: lease.into(), r#as: r#as.into(), delay_ms, reason: reason.into() };
        let settlements = vec![extend, wrong];
        let asked = wire::SettleRequest { topic: "t".into(), group: "g".into(), confirm: true, settlements };
        let answer: wire::SettleResponse = stub.call("/meshwire.v1.Mesh/Settle", asked).await.unwrap();
        let codes = answer.results.into_iter().map(|result| result.error.map(|error| error.code));
        assert_eq!(codes.collect::<Vec<_>>(), [None, Some("INVALID".to_owned())], "{misfit}");
        let range = SettleRange { subscription: 1, first_delivery: 1, count: 1, kind, delay_ms, reason: reason.into() };
        native.send(ClientFrame::Settle(Settle { sequence, ranges: vec![range], confirm: true })).await;
        let results = native.find(|f| if let ServerFrame::Settled(s) = f { s.results.first().cloned() } else { None });
        assert_eq!(results.await.code, ErrorKind::Invalid.number(), "{misfit}");
    }
    assert_eq!(rig.settled(json!([with(&held[0], "ack")])).await, ["OK"]);
}

#[tokio::test]
async fn what_is_no_settlement_is_the_error_of_its_own_place_and_says_what_would_do() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2"]).await;
    let held = rig.fetched(json!({})).await;
    let wrong = [
        (json!({"lease": "x", "kind": "eat"}), "field kind is \"eat\"; one of \"ack\", \"nack\""),
        (json!({"lease": "x"}), "field kind is missing"),
        (json!({"kind": "ack"}), "field lease is missing"),
        (json!({"lease": 7, "kind": "ack"}), "field lease is 7; a string is accepted"),
        (json!({"lease": "x", "kind": "ack", "why": 1}), "no field \"why\" here; there is lease, kind"),
        (json!({"lease": "x", "kind": "nack", "delay_ms": 4_294_967_296_u64}), "field delay_ms is 4294967296; a whole"),
        (json!({"lease": "x", "kind": "ack", "delay_ms": 1}), "only a nack has a delay_ms"),
        (json!({"lease": "x", "kind": "ack", "reason": "y"}), "only a nack and a reject have a reason"),
        (json!(["x", "ack"]), "a settlement is an array; an object is accepted"),
        (Value::Null, "a settlement is null; an object is accepted"),
    ];
    let between = wrong.iter().map(|(settlement, _)| settlement.clone());
    let settlements: Vec<Value> =
        [with(&held[0], "ack")].into_iter().chain(between).chain([with(&held[1], "ack")]).collect();
    let answer = rig.post(SETTLE, &json!({"settlements": settlements})).await;
    let results = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!((results.len(), answer.status), (wrong.len() + 2, 200));
    assert!(results[0]["settled"] == true && results[wrong.len() + 1]["settled"] == true, "{results:?}");
    for (result, (settlement, says)) in results[1..].iter().zip(wrong) {
        assert_eq!(result["code"], "INVALID", "{settlement}");
        assert!(result["detail"].as_str().unwrap().contains(says), "{settlement}: {result}");
    }
    assert!(rig.fetched(json!({})).await.is_empty(), "those on both sides are settled");
}
