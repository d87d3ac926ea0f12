//! What is refused, with the status and the code that it has over every protocol.

use std::sync::Arc;

use bytes::Bytes;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::wire::{admin, mesh as wire};
use meshwire_proto::{ErrorKind, Event};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Status};

use super::{ErrorInfo, Raw, RetryInfo, Stub, detail, is, publishing, subscribing};
use crate::rig::{Rig, event, memory};

/// Path, message, metadata; status and code.
type Case<'a> = (&'a str, Vec<u8>, &'a [(&'static str, &'a str)], Code, ErrorKind);

/// What a call is answered whose message is these bytes.
async fn answer(stub: &Stub, path: &str, message: Vec<u8>, metadata: &[(&'static str, &str)]) -> Result<Bytes, Status> {
    let mut request = Request::new(Bytes::from(message));
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    stub.grpc().await.unary(request, path.parse().unwrap(), Raw).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn every_bad_call_is_told_its_code_and_the_next_one_is_served() {
    let mut config = memory();
    (config.auto_create, config.limits.max_event_bytes, config.max_frame_bytes) = (false, 64 << 10, 1 << 20);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let stub = Stub::of(&rig).await;
    let create = admin::CreateTopic { name: "t".into(), ..admin::CreateTopic::default() };
    stub.call::<_, admin::Topic>("/meshwire.v1.Admin/CreateTopic", create.clone()).await.unwrap();
    let settings = Some(admin::GroupSettings { ack_wait_ms: Some(9_000), ..admin::GroupSettings::default() });
    let group = admin::CreateGroup { topic: "t".into(), group: "g".into(), settings, ..admin::CreateGroup::default() };
    stub.call::<_, admin::GroupSummary>("/meshwire.v1.Admin/CreateGroup", group).await.unwrap();
    let (publish, subscribe) = ("/meshwire.v1.Mesh/Publish", "/meshwire.v1.Mesh/Subscribe");
    let event_of = |event: &[u8]| wire::PublishRequest { event: event.to_vec().into(), ..publishing("t", "1") };
    let long = Event::new("t").id("1").source("/rig").binary_data(vec![0; 65 << 10]).encode().unwrap();
    let other = Some(admin::GroupSettings { ack_wait_ms: Some(8_000), ..admin::GroupSettings::default() });
    let good = publishing("t", "1").encode_to_vec();
    let written = admin::CreateTopic { retention_ms: 2000, ..create };
    let get = admin::GetGroup { topic: "t".into(), group: "none".into() };
    let conflict = wire::SubscribeRequest { settings: other, ..subscribing("t", "g") };
    let member = wire::SubscribeRequest { member: "m".into(), ..subscribing("t", "") };
    let cases: Vec<Case<'_>> = vec![
        (publish, publishing("a/b", "1").encode_to_vec(), &[], Code::InvalidArgument, ErrorKind::Invalid),
        (publish, event_of(b"").encode_to_vec(), &[], Code::InvalidArgument, ErrorKind::Invalid),
        (publish, event_of(b"\xff\xff").encode_to_vec(), &[], Code::InvalidArgument, ErrorKind::Invalid),
        (publish, event_of(&long).encode_to_vec(), &[], Code::InvalidArgument, ErrorKind::TooLarge),
        (publish, vec![0; 2 << 20], &[], Code::InvalidArgument, ErrorKind::TooLarge),
        (publish, b"\xff\xff\xff".to_vec(), &[], Code::InvalidArgument, ErrorKind::Invalid),
        (publish, publishing("none", "1").encode_to_vec(), &[], Code::NotFound, ErrorKind::TopicNotFound),
        (publish, good.clone(), &[("grpc-timeout", "soon")], Code::InvalidArgument, ErrorKind::Invalid),
        (publish, good.clone(), &[("authorization", "Bearer x")], Code::Unauthenticated, ErrorKind::Unauthenticated),
        (subscribe, subscribing("none", "g").encode_to_vec(), &[], Code::NotFound, ErrorKind::TopicNotFound),
        (subscribe, conflict.encode_to_vec(), &[], Code::FailedPrecondition, ErrorKind::GroupConflict),
        (subscribe, member.encode_to_vec(), &[], Code::InvalidArgument, ErrorKind::Invalid),
        (subscribe, subscribing("t", "a b").encode_to_vec(), &[], Code::InvalidArgument, ErrorKind::Invalid),
        ("/meshwire.v1.Admin/GetGroup", get.encode_to_vec(), &[], Code::NotFound, ErrorKind::NotFound),
        ("/meshwire.v1.Admin/CreateTopic", written.encode_to_vec(), &[], Code::AlreadyExists, ErrorKind::AlreadyExists),
        ("/meshwire.v1.Mesh/Unknown", vec![], &[], Code::Unimplemented, ErrorKind::Unsupported),
        ("/meshwire.v9.Mesh/Publish", vec![], &[], Code::Unimplemented, ErrorKind::Unsupported),
    ];
    for (path, message, metadata, code, kind) in cases {
        let what = format!("{path} {}", message.escape_ascii().to_string().get(..60).unwrap_or_default());
        let status = answer(&stub, path, message, metadata).await.expect_err(&what);
        assert!(!status.message().is_empty(), "{what}");
        is(&status, code, kind);
    }
    stub.publish(publishing("t", "1")).await.unwrap();
    let long = answer(&stub, publish, vec![0; 2 << 20], &[]).await.unwrap_err();
    assert_eq!(long.message(), "the message is over 1048576 bytes (option max_frame_bytes)");
}

#[tokio::test]
async fn compression_is_refused_and_no_message_comes_compressed() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let mut grpc = stub.grpc().await.accept_compressed(CompressionEncoding::Gzip);
    let codec = tonic_prost::ProstCodec::<_, wire::PublishResponse>::default();
    let path = || "/meshwire.v1.Mesh/Publish".parse().unwrap();
    let answer = grpc.unary(Request::new(publishing("t", "1")), path(), codec).await.unwrap();
    assert!(answer.metadata().get("grpc-encoding").is_none());
    let codec = tonic_prost::ProstCodec::<_, wire::PublishResponse>::default();
    let mut grpc = stub.grpc().await.send_compressed(CompressionEncoding::Gzip);
    let status = grpc.unary(Request::new(publishing("t", "2")), path(), codec).await.unwrap_err();
    is(&status, Code::Unimplemented, ErrorKind::Unsupported);
}

#[tokio::test]
async fn who_is_over_the_rate_is_told_when_to_try_again() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let limits = Some(admin::Limits { publish_bytes_rate: Some(1), ..admin::Limits::default() });
    let set = admin::SetLimits { limits };
    stub.call::<_, admin::LimitsInForce>("/meshwire.v1.Admin/SetLimits", set).await.unwrap();
    let events: Vec<Bytes> = (0..50).map(|id| event(&id.to_string()).encode().unwrap()).collect();
    let batch =
        |events| wire::PublishBatchRequest { topic: "t".into(), events, ..wire::PublishBatchRequest::default() };
    let path = "/meshwire.v1.Mesh/PublishBatch";
    // The first event comes in on credit, and those behind it would wait for longer than anybody is made to.
    let first = stub.call::<_, wire::PublishBatchResponse>(path, batch(events.clone())).await.unwrap();
    let refused = |result: &wire::PublishResult| result.error.as_ref().is_some_and(|error| error.code == "BUSY");
    assert_eq!(first.results.iter().filter(|result| refused(result)).count(), 49);
    let status = stub.call::<_, wire::PublishBatchResponse>(path, batch(events)).await.unwrap_err();
    is(&status, Code::ResourceExhausted, ErrorKind::Busy);
    let retry: RetryInfo = detail(&status, "RetryInfo").unwrap();
    let delay = retry.delay.unwrap();
    assert!(delay.seconds > 0 || delay.nanos > 0, "{delay:?}");
    assert!(detail::<ErrorInfo>(&status, "ErrorInfo").is_some());
}
