//! Streams of deliveries: NDJSON and server-sent events.

use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::admin::{Command, GetGroup, answer, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;
use serde_json::{Value, json};

use crate::rig::{Peer, Rig};
use crate::stopping::timeless;

/// Members of a group now; 0 when it is not there.
pub(crate) async fn members(peer: &mut Peer, topic: &str, group: &str) -> u32 {
    let get = command::Command::GetGroup(GetGroup { topic: topic.into(), group: group.into() });
    let command = Command { command: Some(get) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    let answered = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    let answered = meshwire_proto::wire::admin::Answer::decode(&answered.answer[..]).unwrap();
    match answered.answer {
        Some(answer::Answer::Group(group)) => group.members,
        _ => 0,
    }
}

const EVENTS: &str = "/v1/topics/t/events";

#[tokio::test]
async fn an_unnamed_stream_gives_every_event_from_its_start_without_leases() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2"]).await;
    let (mut a, mut b) = (rig.http().await, rig.http().await);
    let head = a.stream(&format!("{EVENTS}?start=earliest"), &[]).await;
    assert_eq!(head.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    b.stream(&format!("{EVENTS}?start=2"), &[]).await;
    let first = a.delivery().await;
    assert_eq!(first.as_object().unwrap().keys().collect::<Vec<_>>(), ["attempt", "event", "position"]);
    assert_eq!(a.delivery().await, b.delivery().await);
    let mut late = rig.http().await;
    late.stream(&format!("{EVENTS}?start=latest"), &[]).await;
    rig.offer("t", &["3"]).await;
    for stream in [&mut a, &mut b, &mut late] {
        assert_eq!(stream.delivery().await["event"]["id"], "3");
    }
}

#[tokio::test]
async fn a_stream_starts_at_a_time() {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let mut http = rig.http().await;
    http.stream(&format!("{EVENTS}?start=2020-01-01T00:00:00Z"), &[]).await;
    assert_eq!(http.delivery().await["position"], "1");
}

#[tokio::test]
async fn server_sent_events_have_positions_as_ids_and_go_on_behind_the_last_one() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2", "3"]).await;
    let mut http = rig.http().await;
    let accept = ("accept", "text/event-stream");
    let head = http.stream(&format!("{EVENTS}?start=earliest"), &[accept]).await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(http.line().await.unwrap(), "id: 1");
    let data: Value = serde_json::from_str(http.line().await.unwrap().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["event"]["id"], "1");
    let mut http = rig.http().await;
    http.stream(EVENTS, &[accept, ("last-event-id", "2")]).await;
    assert_eq!(http.line().await.unwrap(), "id: 3");
}

#[tokio::test]
async fn more_events_than_any_credit_come_through_an_unnamed_stream() {
    let rig = Rig::start().await;
    let ids: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    rig.offer("t", &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut http = rig.http().await;
    http.stream(&format!("{EVENTS}?start=earliest"), &[]).await;
    for id in ids {
        assert_eq!(http.delivery().await["event"]["id"], id.as_str());
    }
}

#[tokio::test]
async fn a_group_stream_holds_no_more_than_max_unsettled_and_its_end_gives_back_all_it_held() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2", "3"]).await;
    let mut a = rig.http().await;
    a.stream("/v1/topics/t/groups/g/events?max_unsettled=2", &[]).await;
    let held = [a.delivery().await, a.delivery().await];
    let mut b = rig.http().await;
    b.stream("/v1/topics/t/groups/g/events", &[]).await;
    assert_eq!(b.delivery().await["event"]["id"], "3");
    rig.offer("t", &["4"]).await;
    assert_eq!(b.delivery().await["event"]["id"], "4");
    let settle = json!({"settlements": [{"lease": held[0]["lease"], "kind": "ack"}]});
    let settled = rig.post("/v1/topics/t/groups/g/settle", &settle).await;
    assert_eq!(settled.json()["results"][0]["settled"], true);
    drop(a);
    let again = b.delivery().await;
    assert_eq!((&again["event"]["id"], &again["attempt"]), (&json!("2"), &json!(2)));
}

#[tokio::test]
async fn a_durable_member_of_a_broadcast_group_goes_on_where_it_was() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2"]).await;
    let mut peer = rig.session().await;
    for id in ["1", "2"] {
        let mut http = rig.http().await;
        http.stream("/v1/topics/t/groups/g/events?member=m&max_unsettled=1", &[]).await;
        let held = http.delivery().await;
        assert_eq!(held["event"]["id"], id);
        let settle = json!({"settlements": [{"lease": held["lease"], "kind": "ack"}]});
        let settled = rig.post("/v1/topics/t/groups/g/settle", &settle).await;
        assert_eq!(settled.json()["results"][0]["settled"], true);
        drop(http);
        while members(&mut peer, "t", "g").await > 0 {}
    }
}

#[tokio::test]
async fn streams_end_with_the_gateway_and_with_their_topic() {
    let mut rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let mut sse = rig.http().await;
    sse.stream("/v1/topics/t/groups/g/events", &[("accept", "text/event-stream")]).await;
    assert_eq!(sse.line().await.unwrap(), "id: 1");
    let data: Value = serde_json::from_str(sse.line().await.unwrap().trim_start_matches("data: ")).unwrap();
    let mut waiting = rig.http().await;
    let headers = [("content-type", "application/json")];
    waiting.send("POST", "/v1/topics/t/groups/g/fetch", &headers, br#"{"wait_ms":30000}"#).await;
    let mut peer = rig.session().await;
    while members(&mut peer, "t", "g").await < 2 {}
    drop(peer);
    rig.begin_stop();
    assert_eq!(sse.line().await.unwrap(), "event: stopping");
    assert_eq!(timeless(&sse.line().await.unwrap()), "data: {\"stopping\":{\"deadline_ms\":N}}");
    assert_eq!(waiting.answer().await.json(), json!({"deliveries": []}));
    let settle = json!({"settlements": [{"lease": data["lease"], "kind": "ack"}]});
    assert_eq!(rig.post("/v1/topics/t/groups/g/settle", &settle).await.json()["results"][0]["settled"], true);
    assert_eq!(sse.line().await, None);
    rig.ended().await;

    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let mut http = rig.http().await;
    http.stream(&format!("{EVENTS}?start=latest"), &[]).await;
    let mut peer = rig.session().await;
    let delete = meshwire_proto::wire::admin::DeleteTopic { name: "t".into(), force: true };
    let command = Command { command: Some(command::Command::DeleteTopic(delete)) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    let end: Value = serde_json::from_str(&http.line().await.unwrap()).unwrap();
    assert_eq!(end["error"]["code"], "TOPIC_NOT_FOUND");
    assert_eq!(http.line().await, None);
}

#[tokio::test]
async fn protobuf_data_is_never_guessed_at_but_its_lease_can_be_settled() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let any = prost_types::Any { type_url: "type.example/x".into(), value: vec![1] };
    let event = meshwire_proto::wire::cloudevents::CloudEvent {
        id: "1".into(),
        source: "/s".into(),
        spec_version: "1.0".into(),
        r#type: "t".into(),
        data: Some(meshwire_proto::wire::cloudevents::cloud_event::Data::ProtoData(any)),
        ..Default::default()
    };
    let run = std::iter::once(bytes::Bytes::from(event.encode_to_vec())).collect();
    assert_eq!(peer.publish("t", run).await[0].code, 0);
    let fetched = rig.post("/v1/topics/t/groups/g/fetch", &json!({})).await.json();
    let delivery = &fetched["deliveries"][0];
    assert_eq!(delivery["error"]["code"], "UNSUPPORTED");
    assert!(delivery["event"].is_null());
    let settle = json!({"settlements": [{"lease": delivery["lease"], "kind": "release"}]});
    let settled = rig.post("/v1/topics/t/groups/g/settle", &settle).await;
    assert_eq!(settled.json()["results"][0]["settled"], true);
}
