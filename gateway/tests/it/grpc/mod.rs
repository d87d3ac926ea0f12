//! gRPC from outside: calls by another implementation, with messages as the published schemas have them.

mod calls;
mod errors;
mod services;
mod session;
mod subscribe;
mod told;

use bytes::{Buf as _, BufMut as _, Bytes};
use meshwire_gateway::mesh::Authorize;
use meshwire_proto::ErrorKind;
use meshwire_proto::wire::mesh as wire;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::rig::{Rig, event};

/// `google.rpc.Status`, `ErrorInfo` and `RetryInfo`, as others declare them.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) delay: Option<prost_types::Duration>,
}

pub(crate) fn detail<T: Message + Default>(status: &Status, name: &str) -> Option<T> {
    let details = RpcStatus::decode(status.details()).expect("details").details;
    let url = format!("type.googleapis.com/google.rpc.{name}");
    details.iter().find(|any| any.type_url == url).map(|any| T::decode(&*any.value).unwrap())
}

/// The code of the catalogue that a status carries.
pub(crate) fn reason(status: &Status) -> String {
    let info: ErrorInfo = detail(status, "ErrorInfo").unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "meshwire");
    info.reason
}

fn is(status: &Status, code: Code, kind: ErrorKind) {
    assert_eq!((status.code(), reason(status).as_str()), (code, kind.code()), "{status:?}");
}

/// Messages as they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

/// A client.
#[derive(Clone)]
pub(crate) struct Stub(Channel);

impl Stub {
    pub(crate) async fn of(rig: &Rig) -> Self {
        Self::with(rig, |endpoint| endpoint).await
    }

    async fn with(rig: &Rig, change: impl Fn(Endpoint) -> Endpoint) -> Self {
        let endpoint = change(Channel::from_shared(format!("http://{}", rig.address)).unwrap());
        Self(endpoint.connect().await.unwrap())
    }

    pub(crate) async fn grpc(&self) -> tonic::client::Grpc<Channel> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.unwrap();
        grpc
    }

    pub(crate) async fn ask<A, B>(&self, path: &str, request: Request<A>) -> Result<B, Status>
    where
        A: Message + Send + Sync + 'static,
        B: Message + Default + Send + Sync + 'static,
    {
        let path: PathAndQuery = path.parse().unwrap();
        let answered = self.grpc().await.unary(request, path, ProstCodec::<A, B>::default()).await;
        answered.map(tonic::Response::into_inner)
    }

    pub(crate) async fn call<A, B>(&self, path: &str, message: A) -> Result<B, Status>
    where
        A: Message + Send + Sync + 'static,
        B: Message + Default + Send + Sync + 'static,
    {
        self.ask(path, Request::new(message)).await
    }

    pub(crate) async fn publish(&self, request: wire::PublishRequest) -> Result<wire::PublishResponse, Status> {
        self.call("/meshwire.v1.Mesh/Publish", request).await
    }

    pub(crate) async fn settle(&self, request: wire::SettleRequest) -> Result<wire::SettleResponse, Status> {
        self.call("/meshwire.v1.Mesh/Settle", request).await
    }

    async fn stream<A, B>(&self, path: &str, request: Request<A>) -> Result<Streaming<B>, Status>
    where
        A: Message + Send + Sync + 'static,
        B: Message + Default + Send + Sync + 'static,
    {
        let path: PathAndQuery = path.parse().unwrap();
        let answered = self.grpc().await.server_streaming(request, path, ProstCodec::<A, B>::default()).await;
        answered.map(tonic::Response::into_inner)
    }

    pub(crate) async fn subscribe(
        &self,
        request: wire::SubscribeRequest,
    ) -> Result<Streaming<wire::Deliveries>, Status> {
        self.stream("/meshwire.v1.Mesh/Subscribe", Request::new(request)).await
    }
}

fn publishing(topic: &str, id: &str) -> wire::PublishRequest {
    let event = event(id).encode().unwrap();
    wire::PublishRequest { topic: topic.into(), event, ..wire::PublishRequest::default() }
}

fn subscribing(topic: &str, group: &str) -> wire::SubscribeRequest {
    wire::SubscribeRequest { topic: topic.into(), group: group.into(), ..wire::SubscribeRequest::default() }
}

/// The codes of every call, to who may do so much.
pub(crate) async fn codes(judge: std::sync::Arc<dyn Authorize>) -> Vec<(&'static str, String)> {
    use meshwire_proto::wire::admin;
    let rig = Rig::with(crate::rig::memory(), judge).await;
    let stub = Stub::of(&rig).await;
    let mut codes = Vec::new();
    macro_rules! calls {
        ($($service:literal $name:literal $message:expr => $answer:ty;)+) => {
            $(let path = concat!("/meshwire.v1.", $service, "/", $name);
            let answered: Result<$answer, Status> = stub.call(path, $message).await;
            codes.push((path, answered.map_or_else(|status| reason(&status), |_| "OK".to_owned())));)+
        };
    }
    let topic = || "t".to_owned();
    let group = || "g".to_owned();
    calls! {
        "Mesh" "Publish" publishing("t", "1") => wire::PublishResponse;
        "Mesh" "PublishBatch" wire::PublishBatchRequest { topic: topic(), ..Default::default() } => wire::PublishBatchResponse;
        "Mesh" "Request" wire::RequestRequest { topic: topic(), event: event("1").encode().unwrap(), timeout_ms: 1 } => wire::RequestResponse;
        "Admin" "CreateTopic" admin::CreateTopic { name: topic(), ..Default::default() } => admin::Topic;
        "Admin" "ListTopics" admin::ListTopics::default() => admin::TopicList;
        "Admin" "UpdateTopic" admin::UpdateTopic { name: topic(), ..Default::default() } => admin::Topic;
        "Admin" "CreateGroup" admin::CreateGroup { topic: topic(), group: group(), ..Default::default() } => admin::GroupSummary;
        "Admin" "GetGroup" admin::GetGroup { topic: topic(), group: group() } => admin::GroupSummary;
        "Admin" "UpdateGroup" admin::UpdateGroup { topic: topic(), group: group(), settings: None } => admin::GroupSummary;
        "Admin" "SeekGroup" admin::SeekGroup { topic: topic(), group: group(), ..Default::default() } => admin::GroupSummary;
        "Admin" "DeleteGroup" admin::DeleteGroup { topic: topic(), group: group() } => admin::GroupSummary;
        "Admin" "ListDeadLetters" admin::ListDeadLetters { topic: topic(), ..Default::default() } => admin::DeadLetterList;
        "Admin" "RedriveDeadLetters" admin::RedriveDeadLetters { topic: topic(), ..Default::default() } => admin::DeadLettersChanged;
        "Admin" "PurgeDeadLetters" admin::PurgeDeadLetters { topic: topic(), ..Default::default() } => admin::DeadLettersChanged;
        "Admin" "GetLimits" admin::GetLimits {} => admin::LimitsInForce;
        "Admin" "SetLimits" admin::SetLimits::default() => admin::LimitsInForce;
        "Admin" "DeleteTopic" admin::DeleteTopic { name: topic(), force: true } => admin::Topic;
    }
    let subscribed = stub.subscribe(subscribing("t", "g")).await;
    let code = subscribed.map_or_else(|status| reason(&status), |_| "OK".to_owned());
    codes.push(("/meshwire.v1.Mesh/Subscribe", code));
    codes
}
