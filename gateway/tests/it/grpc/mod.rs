//! gRPC from outside: calls by another implementation, with messages as the published schemas have them.

mod admin;
mod calls;
mod errors;
mod services;
mod session;
mod subscribe;
mod told;

use bytes::{Buf as _, BufMut as _, Bytes};
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

    pub(crate) async fn stream<A, B>(&self, path: &str, request: Request<A>) -> Result<Streaming<B>, Status>
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
