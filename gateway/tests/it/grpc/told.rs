//! Errors of calls are counted, at the head of an answer, behind its body, and of services that are not ours.

use tonic::Code;

use super::{Stub, publishing, subscribing};
use crate::rig::Rig;
use crate::told::told;

#[tokio::test]
async fn errors_of_calls_are_counted_and_those_behind_a_stream_too() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    stub.publish(publishing("a/b", "1")).await.unwrap_err();
    assert_eq!(told(&rig, "INVALID").await, 1);
    let refused = stub.call::<_, ()>("/meshwire.v1.Mesh/Nothing", publishing("t", "1")).await.unwrap_err();
    assert_eq!((refused.code(), told(&rig, "UNSUPPORTED").await), (Code::Unimplemented, 1));
    let check = HealthCheck { service: "nothing".to_owned() };
    let refused = stub.call::<_, ()>("/grpc.health.v1.Health/Check", check).await.unwrap_err();
    assert_eq!((refused.code(), told(&rig, "NOT_FOUND").await), (Code::NotFound, 1));

    let mut stream = stub.subscribe(subscribing("t", "g")).await.unwrap();
    assert_eq!(rig.ask("DELETE", "/v1/topics/t?force=true", "").await.status, 200);
    assert_eq!(stream.message().await.unwrap_err().code(), Code::NotFound);
    assert_eq!(told(&rig, "TOPIC_NOT_FOUND").await, 1);
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheck {
    #[prost(string, tag = "1")]
    service: String,
}
