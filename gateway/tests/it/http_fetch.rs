//! Fetching: with and without a member's name, order of keys, clients that hang up.

use serde_json::{Value, json};

use crate::http_client::Http;
use crate::rig::{Rig, earliest, memory};

const FETCH: &str = "/v1/topics/t/groups/g/fetch";
const SETTLE: &str = "/v1/topics/t/groups/g/settle";

async fn fetch(http: &mut Http, asked: Value) -> Vec<Value> {
    let answer = http.post(FETCH, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["deliveries"].as_array().unwrap().clone()
}

fn ids(deliveries: &[Value]) -> Vec<&str> {
    deliveries.iter().map(|d| d["event"]["id"].as_str().unwrap()).collect()
}

async fn ack(http: &mut Http, deliveries: &[Value]) {
    let settlements: Vec<Value> = deliveries.iter().map(|d| json!({"lease": d["lease"], "kind": "ack"})).collect();
    let answer = http.post(SETTLE, &json!({"settlements": settlements})).await.json();
    assert!(answer["results"].as_array().unwrap().iter().all(|r| r["settled"] == true), "{answer}");
}

fn keyed(id: &str, key: &str) -> Value {
    json!({"specversion":"1.0","id":id,"source":"/s","type":"t","partitionkey":key})
}

/// A gateway that keeps its events on disk.
async fn on_disk(dir: &tempfile::TempDir) -> Rig {
    let mut config = memory();
    config.memory = false;
    config.data_dir = dir.path().into();
    Rig::with(config, std::sync::Arc::new(meshwire_gateway::mesh::AllowAll)).await
}

#[tokio::test]
async fn a_fetch_gives_what_is_there_up_to_its_bounds_each_with_lease_attempt_and_position() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2", "3"]).await;
    let mut http = rig.http().await;
    let first = fetch(&mut http, json!({"max_events": 2})).await;
    assert_eq!(ids(&first), ["1", "2"]);
    assert_eq!((&first[0]["attempt"], &first[1]["position"]), (&json!(1), &json!("2")));
    assert_eq!(first[0]["event"]["data"], "1");
    assert_eq!(ids(&fetch(&mut http, json!({"max_bytes": 1})).await), ["3"]);
    assert_eq!(fetch(&mut http, json!({})).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_acked_does_not_come_again_in_either_store() {
    let dir = tempfile::tempdir().unwrap();
    for rig in [Rig::start().await, on_disk(&dir).await] {
        rig.offer("t", &["1", "2"]).await;
        let mut http = rig.http().await;
        let fetched = fetch(&mut http, json!({"wait_ms": 5000})).await;
        ack(&mut http, &fetched).await;
        rig.offer("t", &["3"]).await;
        let next = fetch(&mut http, json!({"wait_ms": 5000})).await;
        assert_eq!(ids(&fetched).len() + ids(&next).len(), 3);
        assert_eq!(ids(&next).last(), Some(&"3"));
    }
}

#[tokio::test]
async fn a_fetch_waits_for_the_first_event() {
    let rig = Rig::start().await;
    let mut http = rig.http().await;
    http.send("POST", FETCH, &[("content-type", "application/json")], br#"{"wait_ms":20000}"#).await;
    rig.offer("t", &["1"]).await;
    let answer = http.answer().await.json();
    assert_eq!(answer["deliveries"][0]["event"]["id"], "1");
}

#[tokio::test]
async fn a_member_keeps_the_keys_of_what_it_holds_and_others_do_not_get_them() {
    let rig = Rig::start().await;
    rig.offer_events("t", &json!([keyed("1", "k")])).await;
    let (mut a, mut b) = (rig.http().await, rig.http().await);
    let first = fetch(&mut a, json!({"member": "a"})).await;
    assert_eq!(ids(&first), ["1"]);
    rig.offer_events("t", &json!([keyed("2", "k"), keyed("3", "other")])).await;
    assert_eq!(ids(&fetch(&mut b, json!({"member": "b"})).await), ["3"]);
    assert_eq!(ids(&fetch(&mut b, json!({})).await), Vec::<&str>::new());
    // Over another connection it is the same member.
    let second = fetch(&mut rig.http().await, json!({"member": "a"})).await;
    assert_eq!(ids(&second), ["2"]);
    ack(&mut b, &[first, second].concat()).await;
}

#[tokio::test]
async fn without_a_name_a_key_waits_until_its_events_are_settled() {
    let rig = Rig::start().await;
    rig.offer_events("t", &json!([keyed("1", "k"), keyed("2", "k")])).await;
    let mut http = rig.http().await;
    let first = fetch(&mut http, json!({"max_events": 1})).await;
    assert_eq!(ids(&first), ["1"]);
    assert_eq!(ids(&fetch(&mut http, json!({})).await), Vec::<&str>::new());
    ack(&mut http, &first).await;
    assert_eq!(ids(&fetch(&mut http, json!({})).await), ["2"]);
}

#[tokio::test]
async fn a_member_without_a_name_is_gone_once_all_it_held_is_settled() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let mut http = rig.http().await;
    let mut peer = rig.session().await;
    let fetched = fetch(&mut http, json!({})).await;
    assert_eq!(crate::http_receive::members(&mut peer, "t", "g").await, 1);
    ack(&mut http, &fetched).await;
    assert_eq!(crate::http_receive::members(&mut peer, "t", "g").await, 0);
}

#[tokio::test]
async fn what_nobody_took_when_a_client_hung_up_comes_to_the_next_as_if_never_delivered() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    for member in [json!({"wait_ms": 20000}), json!({"wait_ms": 20000, "member": "m"})] {
        let mut http = rig.http().await;
        let body = member.to_string();
        http.send("POST", FETCH, &[("content-type", "application/json")], body.as_bytes()).await;
        while crate::http_receive::members(&mut peer, "t", "g").await == 0 {}
        drop(http);
        if member["member"].is_null() {
            while crate::http_receive::members(&mut peer, "t", "g").await > 0 {}
        }
    }
    rig.offer("t", &["1"]).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    let runs = peer.deliveries(1).await;
    assert_eq!((runs[0].attempt, runs[0].first_position), (1, 1));
}

#[tokio::test]
async fn a_second_fetch_of_a_member_waits_for_the_first_and_then_has_nothing() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let mut first = rig.http().await;
    let headers = [("content-type", "application/json")];
    first.send("POST", FETCH, &headers, br#"{"wait_ms":20000,"member":"m"}"#).await;
    while crate::http_receive::members(&mut peer, "t", "g").await == 0 {}
    assert_eq!(ids(&fetch(&mut rig.http().await, json!({"member": "m", "wait_ms": 50})).await), Vec::<&str>::new());
    rig.offer("t", &["1"]).await;
    assert_eq!(first.answer().await.json()["deliveries"][0]["event"]["id"], "1");
}

#[tokio::test]
async fn over_the_bound_of_members_a_fetch_is_busy() {
    let mut config = memory();
    config.max_fetch_members = 1;
    let rig = Rig::with(config, std::sync::Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    rig.offer("t", &["1"]).await;
    let mut http = rig.http().await;
    let held = fetch(&mut http, json!({})).await;
    let busy = http.post(FETCH, &json!({})).await;
    assert_eq!(busy.problem(), (429, "BUSY".into()));
    assert_eq!(busy.header("retry-after"), Some("1"));
    ack(&mut http, &held).await;
    assert_eq!(ids(&fetch(&mut http, json!({})).await), Vec::<&str>::new());
}

#[tokio::test]
async fn a_broadcast_group_is_not_fetched_from() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let broadcast = meshwire_proto::wire::session::Subscribe {
        mode: meshwire_proto::wire::session::GroupMode::Broadcast.into(),
        start: None,
        ..earliest(1, "t", "g")
    };
    peer.subscribe(broadcast).await;
    assert_eq!(rig.post(FETCH, &json!({})).await.problem(), (501, "UNSUPPORTED".into()));
}

#[tokio::test]
async fn a_member_whose_topic_was_deleted_fetches_from_the_new_one() {
    use meshwire_proto::wire::admin::{Command, DeleteTopic, command};
    use prost::Message as _;
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let mut http = rig.http().await;
    let held = fetch(&mut http, json!({"member": "m"})).await;
    let mut peer = rig.session().await;
    let delete = command::Command::DeleteTopic(DeleteTopic { name: "t".into(), force: true });
    let command = Command { command: Some(delete) }.encode_to_vec().into();
    let admin = meshwire_proto::wire::session::Admin { number: 1, command };
    peer.send(meshwire_proto::frame::ClientFrame::Admin(admin)).await;
    let code = peer.find(|f| if let meshwire_proto::frame::ServerFrame::Admin(a) = f { Some(a.code) } else { None });
    assert_eq!(code.await, 0);
    rig.offer("t", &["2"]).await;
    assert_eq!(ids(&fetch(&mut http, json!({"member": "m"})).await), ["2"]);
    let settlements = json!({"settlements": [{"lease": held[0]["lease"], "kind": "ack"}]});
    assert_eq!(http.post(SETTLE, &settlements).await.json()["results"][0]["code"], "LEASE_LOST");
}

#[tokio::test]
async fn what_kills_whoever_fetches_it_is_a_dead_letter_and_what_was_fetched_beside_it_is_handled_once() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "poison", "2", "3"]).await;
    let settings = r#"{"ack_wait_ms":1000,"max_failures":3,"start":"earliest"}"#;
    assert_eq!(rig.ask("PUT", "/v1/topics/t/groups/g", settings).await.status, 200);
    let (mut http, mut handled) = (rig.http().await, Vec::new());
    for _ in 0..20 {
        let fetched = fetch(&mut http, json!({"wait_ms": 5000})).await;
        // There the program falls, and begins anew.
        for delivery in fetched.iter().take_while(|d| d["event"]["id"] != "poison") {
            ack(&mut http, std::slice::from_ref(delivery)).await;
            handled.push(delivery["event"]["id"].as_str().unwrap().to_owned());
        }
        if handled.len() == 3 {
            break;
        }
    }
    assert_eq!(handled, ["1", "2", "3"]);
    let letters = rig.get("/v1/topics/t/groups/g/dead-letters").await.json()["items"].as_array().unwrap().clone();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((&letters[0]["position"], &letters[0]["failures"]), (&json!("2"), &json!(3)));
    assert_eq!(letters[0]["error"], "the ack wait ended");
}
