//! Calls with one answer.

use bytes::BytesMut;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::{admin, mesh as wire, session};
use prost::Message;
use tonic::Code;

use super::{Stub, is, publishing, subscribing};
use crate::rig::{PATIENCE, Rig, event};

#[tokio::test]
async fn an_event_has_its_position_once_and_is_a_duplicate_then() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    for (duplicate, _) in [(false, ()), (true, ())] {
        let answer = stub.publish(publishing("t", "1")).await.unwrap();
        assert_eq!(answer, wire::PublishResponse { position: 1, duplicate });
    }
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_own_result() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let encoded = |id| event(id).encode().unwrap();
    let events = vec![encoded("1"), b"no event".as_slice().into(), encoded("2"), encoded("1")];
    let batch = wire::PublishBatchRequest { topic: "t".into(), events, ..wire::PublishBatchRequest::default() };
    let answer: wire::PublishBatchResponse = stub.call("/meshwire.v1.Mesh/PublishBatch", batch).await.unwrap();
    let short = |r: &wire::PublishResult| (r.position, r.duplicate, r.error.as_ref().map(|e| e.code.clone()));
    let results: Vec<_> = answer.results.iter().map(short).collect();
    let invalid = Some("INVALID".to_owned());
    assert_eq!(results, [(1, false, None), (0, false, invalid), (2, false, None), (1, true, None)]);
}

#[tokio::test]
async fn an_event_of_a_mebibyte_comes_back_as_it_went() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let sent = meshwire_proto::Event::new("t").id("1").source("/rig").binary_data(vec![7; 1 << 20]).encode().unwrap();
    let request = wire::PublishRequest { topic: "t".into(), event: sent.clone(), ..wire::PublishRequest::default() };
    assert_eq!(stub.publish(request).await.unwrap().position, 1);
    let mut deliveries = stub.subscribe(subscribing("t", "g")).await.unwrap();
    let batch = deliveries.message().await.unwrap().unwrap();
    assert_eq!(batch.deliveries[0].event, sent);
}

#[tokio::test]
async fn a_request_is_answered_by_who_serves_and_else_says_why_not() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let path = "/meshwire.v1.Mesh/Request";
    let request = |timeout_ms| {
        let event = event("1").encode().unwrap();
        wire::RequestRequest { topic: "t".into(), event, timeout_ms }
    };
    let status = stub.call::<_, wire::RequestResponse>(path, request(0)).await.unwrap_err();
    is(&status, Code::FailedPrecondition, ErrorKind::NoResponders);

    let mut responder = rig.session().await;
    let serve = session::Subscribe { serve: true, max_events: 16, max_bytes: 1 << 20, ..session::Subscribe::default() };
    responder.subscribe(session::Subscribe { subscription: 1, topic: "t".into(), ..serve }).await;
    let asked = tokio::spawn({
        let (stub, request) = (stub.clone(), request(0));
        async move { stub.call::<_, wire::RequestResponse>(path, request).await }
    });
    let got = responder.find(|f| if let ServerFrame::Request(r) = f { Some(r) } else { None }).await;
    let event = event("reply").encode().unwrap();
    let reply = session::Reply {
        number: got.number,
        reply_to: got.reply_to,
        end: true,
        event: event.clone(),
        ..session::Reply::default()
    };
    responder.send(ClientFrame::Reply(reply)).await;
    assert_eq!(asked.await.unwrap().unwrap().event, event);

    // Nobody answers any more: the request's own time, or the call's, ends it.
    let status = stub.call::<_, wire::RequestResponse>(path, request(20)).await.unwrap_err();
    is(&status, Code::DeadlineExceeded, ErrorKind::Timeout);
    let event = event.to_vec().into();
    let message = wire::RequestRequest { topic: "t".into(), event, timeout_ms: 0 };
    assert_eq!(timed(&rig, path, "20m", message).await, "4");
}

/// The status of a call whose deadline only the gateway minds.
async fn timed(rig: &Rig, path: &str, time: &str, message: impl Message) -> String {
    let (client, connection) = h2::client::handshake(rig.socket().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{path}", rig.address));
    let request = request.header("content-type", "application/grpc").header("grpc-timeout", time).body(()).unwrap();
    let (response, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let mut framed = BytesMut::new();
    meshwire_proto::codec::grpc::put_message(&[&message.encode_to_vec()], &mut framed);
    body.send_data(framed.freeze(), true).unwrap();
    let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
    connection.abort();
    response.headers()["grpc-status"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn commands_are_calls_with_the_same_answers() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let create = admin::CreateTopic { name: "t".into(), retention_ms: 60_000, ..admin::CreateTopic::default() };
    let topic: admin::Topic = stub.call("/meshwire.v1.Admin/CreateTopic", create).await.unwrap();
    assert_eq!((topic.name.as_str(), topic.retention_ms), ("t", 60_000));
    stub.publish(publishing("t", "1")).await.unwrap();
    let group = admin::CreateGroup { topic: "t".into(), group: "g".into(), ..admin::CreateGroup::default() };
    let made: admin::GroupSummary = stub.call("/meshwire.v1.Admin/CreateGroup", group).await.unwrap();
    assert_eq!((made.name.as_str(), made.lag), ("g", 1));
    let list: admin::TopicList =
        stub.call("/meshwire.v1.Admin/ListTopics", admin::ListTopics::default()).await.unwrap();
    assert_eq!((list.topics.len(), list.topics[0].next_position), (1, 2));
    let delete = admin::DeleteTopic { name: "t".into(), force: true };
    let was: admin::Topic = stub.call("/meshwire.v1.Admin/DeleteTopic", delete).await.unwrap();
    assert_eq!(was.groups.len(), 1);
}
