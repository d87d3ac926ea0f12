//! Health and reflection.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tonic::{Code, Request, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use meshwire_proto::ErrorKind;

use super::{Raw, Stub, is};
use crate::rig::{PATIENCE, Rig};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test]
async fn the_gateway_and_each_service_are_serving_until_it_drains() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let path = "/grpc.health.v1.Health/Check";
    for service in ["", "meshwire.v1.Mesh", "meshwire.v1.Admin", "meshwire.session.v1.Session"] {
        let answer: HealthCheckResponse = stub.call(path, of(service)).await.unwrap();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let status = stub.call::<_, HealthCheckResponse>(path, of("other.Service")).await.unwrap_err();
    is(&status, Code::NotFound, ErrorKind::NotFound);

    let watch = Request::new(of(""));
    let mut states: Streaming<HealthCheckResponse> = stub.stream("/grpc.health.v1.Health/Watch", watch).await.unwrap();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let stopping = tokio::spawn(rig.stop());
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(states.message().await.unwrap(), None);
    stopping.await.unwrap();
}

async fn reflect(stub: &Stub, version: &str, asked: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { message_request: Some(asked), ..ServerReflectionRequest::default() };
    let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo").parse().unwrap();
    let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
    let request = Request::new(futures_util::stream::iter([request]));
    let mut answers = stub.grpc().await.streaming(request, path, codec).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_the_services_and_has_their_schemas() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    for version in ["v1", "v1alpha"] {
        let MessageResponse::ListServicesResponse(list) =
            reflect(&stub, version, MessageRequest::ListServices(String::new())).await
        else {
            panic!("no list");
        };
        let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
        for name in ["meshwire.v1.Mesh", "meshwire.v1.Admin", "meshwire.session.v1.Session", "grpc.health.v1.Health"] {
            assert!(names.contains(&name), "{version}: {names:?}");
        }
        for symbol in ["meshwire.v1.Mesh", "io.cloudevents.v1.CloudEvent", "meshwire.admin.v1.Topic"] {
            let asked = MessageRequest::FileContainingSymbol(symbol.to_owned());
            let answer = reflect(&stub, version, asked).await;
            assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{symbol}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_reflection_is_asked_in_vain_is_answered_in_the_stream_and_the_call_goes_on() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let symbol = |name: &str| Some(MessageRequest::FileContainingSymbol(name.to_owned()));
    let asked = [symbol("no.Such"), None, symbol("meshwire.v1.Mesh")];
    let asked = asked.map(|message_request| ServerReflectionRequest { host: "h".to_owned(), message_request });
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo").parse().unwrap();
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let request = Request::new(futures_util::stream::iter(asked.clone()));
        let mut answers = stub.grpc().await.streaming(request, path, codec).await.unwrap().into_inner();
        for (asked, code) in asked.iter().zip([Some(Code::NotFound), Some(Code::InvalidArgument), None]) {
            let answer = answers.message().await.unwrap().unwrap();
            assert_eq!((answer.valid_host.as_str(), answer.original_request.as_ref()), ("h", Some(asked)));
            let told = match answer.message_response {
                Some(MessageResponse::ErrorResponse(error)) => Some(Code::from(error.error_code)),
                Some(MessageResponse::FileDescriptorResponse(_)) => None,
                other => panic!("{version}: {other:?}"),
            };
            assert_eq!(told, code, "{version}");
        }
        assert_eq!(answers.message().await.unwrap(), None, "{version}: a good end");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_call_of_health_or_reflection_has_a_code_of_ours() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let paths = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", reflection];
    for path in paths {
        for (message, kind) in [(&b"\xff\xff"[..], ErrorKind::Invalid), (&[0; 65 << 10], ErrorKind::TooLarge)] {
            let request = Request::new(Bytes::copy_from_slice(message));
            let status = match stub.grpc().await.server_streaming(request, path.parse().unwrap(), Raw).await {
                Ok(answers) => answers.into_inner().message().await.unwrap_err(),
                Err(status) => status,
            };
            is(&status, Code::InvalidArgument, kind);
        }
    }
    let compressed = async |path: &str| {
        let mut request = Request::new(Bytes::new());
        request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
        stub.grpc().await.server_streaming(request, path.parse().unwrap(), Raw).await.map(drop)
    };
    for path in paths {
        is(&compressed(path).await.unwrap_err(), Code::Unimplemented, ErrorKind::Unsupported);
    }
    for path in ["/grpc.health.v1.Health/None", "/grpc.reflection.v1.ServerReflection/None"] {
        let status = stub.call::<_, HealthCheckResponse>(path, of("")).await.unwrap_err();
        is(&status, Code::Unimplemented, ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn health_reflection_and_sessions_end_at_the_deadline_of_their_call_and_take_none_that_is_malformed() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let paths = [
        ("/grpc.health.v1.Health/Watch", false),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true),
        ("/meshwire.session.v1.Session/Open", true),
    ];
    for (path, goes_on) in paths {
        for (time, code, kind) in
            [("100m", Code::DeadlineExceeded, ErrorKind::Timeout), ("soon", Code::InvalidArgument, ErrorKind::Invalid)]
        {
            let once = stream::iter([Bytes::new()]);
            let asked = if goes_on { once.chain(stream::pending()).boxed() } else { once.boxed() };
            let mut request = Request::new(asked);
            request.metadata_mut().insert("grpc-timeout", time.parse().unwrap());
            let ended = async {
                let mut answers = stub.grpc().await.streaming(request, path.parse().unwrap(), Raw).await?.into_inner();
                while answers.message().await?.is_some() {}
                Ok::<_, tonic::Status>(())
            };
            let ended = tokio::time::timeout(PATIENCE, ended).await.expect("an end in time");
            is(&ended.unwrap_err(), code, kind);
        }
    }
}
