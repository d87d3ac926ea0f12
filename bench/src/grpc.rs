//! gRPC as any client speaks it: unary calls to our gateway, and the streams of the bare server.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use meshwire_proto::wire::mesh::{PublishBatchRequest, PublishBatchResponse, PublishRequest, PublishResponse};
use meshwire_proto::{Defaults, Event, UnixMillis};
use prost::Message;
use tokio::sync::watch;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use crate::flow::{Admission, Arrivals};
use crate::http::{OneByOne, SOURCE, id};
use crate::ours::TOPIC;
use crate::payload::Payloads;
use crate::peers::bare::{Answer, PUBLISH, Payload, SUBSCRIBE};

const ONE: &str = "/meshwire.v1.Mesh/Publish";
const BATCH: &str = "/meshwire.v1.Mesh/PublishBatch";
/// What one connection and each of its streams may have been sent and not read.
const WINDOW: u32 = 1 << 20;
/// Of every event, the time that a client fills in.
const TIME: UnixMillis = UnixMillis(1_795_867_200_123);

/// One of the calls in flight of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Unary(Channel);

/// A new connection.
///
/// # Errors
/// The server cannot be reached.
async fn dial(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    endpoint.connect().await.context("the server cannot be reached")
}

fn event(publisher: u32, payloads: &mut Payloads) -> anyhow::Result<Bytes> {
    let id = id(publisher, payloads.made());
    let mut event = BytesMut::with_capacity(512);
    let defaults = Defaults { id: &id, source: SOURCE, kind: TOPIC, time: Some(TIME) };
    Event::bytes("", payloads.next()).encode_with(defaults, &mut event)?;
    Ok(event.freeze())
}

impl Unary {
    /// So many calls at once over one new connection.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn open(address: SocketAddr, calls: u32) -> anyhow::Result<Vec<Self>> {
        let channel = dial(address).await?;
        Ok((0..calls).map(|_| Self(channel.clone())).collect())
    }

    async fn call<A, B>(&self, path: &'static str, message: A) -> anyhow::Result<B>
    where
        A: Message + 'static,
        B: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<A, B>::default();
        Ok(grpc.unary(Request::new(message), PathAndQuery::from_static(path), codec).await?.into_inner())
    }
}

impl OneByOne for Unary {
    async fn publish(&mut self, publisher: u32, payloads: &mut Payloads) -> anyhow::Result<()> {
        let event = event(publisher, payloads)?;
        let request = PublishRequest { topic: TOPIC.to_owned(), event, ..PublishRequest::default() };
        self.call::<_, PublishResponse>(ONE, request).await.map(drop)
    }

    async fn publish_batch(&mut self, publisher: u32, payloads: &mut Payloads, count: u64) -> anyhow::Result<()> {
        let events = (0..count).map(|_| event(publisher, payloads)).collect::<anyhow::Result<_>>()?;
        let request = PublishBatchRequest { topic: TOPIC.to_owned(), events, ..PublishBatchRequest::default() };
        let answer: PublishBatchResponse = self.call(BATCH, request).await?;
        ensure!(answer.results.len() as u64 == count, "{} results for {count} events came", answer.results.len());
        Ok(())
    }
}

/// Publishes to the bare server until the flow is stopped, each payload a message; gives how many were answered.
///
/// # Errors
/// The connection is lost, or not all was answered.
pub(crate) async fn publish_bare(address: SocketAddr, admission: Admission) -> anyhow::Result<u64> {
    let mut grpc = Grpc::new(dial(address).await?);
    grpc.ready().await?;
    let (sent, all) = watch::channel(0);
    let state = (admission, Payloads::new(0), sent);
    let payloads = stream::unfold(state, |(mut admission, mut payloads, sent)| async move {
        let goes_on = admission.admit().await;
        sent.send_replace(admission.sent());
        goes_on.then(|| (Payload { data: payloads.next() }, (admission, payloads, sent)))
    });
    let path = PathAndQuery::from_static(PUBLISH);
    let codec = ProstCodec::<Payload, Answer>::default();
    let mut answers = grpc.streaming(Request::new(payloads), path, codec).await?.into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.message().await? {
        answered = answer.through;
    }
    let sent = *all.borrow();
    // What came with the end of the stream has no answer of its own.
    ensure!(answered <= sent, "{answered} payloads were answered, {sent} sent");
    Ok(sent)
}

/// A stream of the bare server's payloads, and where it is answered.
#[derive(Debug)]
pub(crate) struct Subscription {
    payloads: Streaming<Payload>,
    through: watch::Sender<u64>,
}

/// Subscribes to the bare server.
///
/// # Errors
/// It cannot be reached, or has a subscriber.
pub(crate) async fn subscribe_bare(address: SocketAddr) -> anyhow::Result<Subscription> {
    let mut grpc = Grpc::new(dial(address).await?);
    grpc.ready().await?;
    let (through, told) = watch::channel(0);
    let answers = stream::unfold(told, |mut told| async move {
        told.changed().await.ok()?;
        let through = *told.borrow_and_update();
        Some((Answer { through }, told))
    });
    let path = PathAndQuery::from_static(SUBSCRIBE);
    let codec = ProstCodec::<Answer, Payload>::default();
    let payloads = grpc.streaming(Request::new(answers), path, codec).await?.into_inner();
    Ok(Subscription { payloads, through })
}

/// Payloads that are answered by one answer.
const ANSWERED: u64 = 256;

/// Verifies each payload and answers them in ranges, until it is aborted.
///
/// # Errors
/// The first that is not right; a lost connection.
pub(crate) async fn receive_bare(subscription: Subscription, mut arrivals: Arrivals) -> anyhow::Result<()> {
    let Subscription { mut payloads, through } = subscription;
    let mut count = 0;
    while let Some(payload) = payloads.message().await? {
        arrivals.take(&payload.data)?;
        count += 1;
        if count % ANSWERED == 0 {
            through.send_replace(count);
        }
    }
    Ok(())
}
