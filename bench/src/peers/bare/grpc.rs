//! The bare server's gRPC: a stream of payloads in, which is answered in ranges, and one out.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, stream};
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::http::Handed;

/// Where payloads come in.
pub(crate) const PUBLISH: &str = "/bare.Bare/Publish";
/// Where they go out.
pub(crate) const SUBSCRIBE: &str = "/bare.Bare/Subscribe";

/// One payload.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
}

/// All through this one are there.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(crate) through: u64,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct Publish(Arc<Handed>);

struct Subscribe(Arc<Handed>);

pub(super) async fn publish(State(handed): State<Arc<Handed>>, request: Request) -> Response {
    let mut grpc = Grpc::new(ProstCodec::<Answer, Payload>::default());
    grpc.streaming(Publish(handed), request).await.map(Body::new)
}

pub(super) async fn subscribe(State(handed): State<Arc<Handed>>, request: Request) -> Response {
    let mut grpc = Grpc::new(ProstCodec::<Payload, Answer>::default());
    grpc.streaming(Subscribe(handed), request).await.map(Body::new)
}

impl StreamingService<Payload> for Publish {
    type Response = Answer;
    type ResponseStream = Answers<Answer>;
    type Future = Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Payload>>) -> Self::Future {
        let state = (Arc::clone(&self.0), request.into_inner(), 0);
        let answers = stream::try_unfold(state, |(handed, mut payloads, mut through)| async move {
            let mut next = payloads.message().await?;
            while let Some(payload) = next {
                handed.queue.send(payload.data).await.map_err(|_| Status::unavailable("no subscriber"))?;
                through += 1;
                // One answer for all that is there.
                match payloads.message().now_or_never() {
                    Some(more) => next = more?,
                    None => return Ok(Some((Answer { through }, (handed, payloads, through)))),
                }
            }
            Ok(None)
        });
        ready(Ok(tonic::Response::new(Box::pin(answers))))
    }
}

impl StreamingService<Answer> for Subscribe {
    type Response = Payload;
    type ResponseStream = Answers<Payload>;
    type Future = Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Answer>>) -> Self::Future {
        let Some(taken) = self.0.take() else {
            return ready(Err(Status::already_exists("there is a subscriber")));
        };
        let (answering, mut answers) = (Arc::clone(&self.0), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(answer)) = answers.message().await {
                answering.answered(answer.through);
            }
        });
        let payloads = stream::unfold((Arc::clone(&self.0), taken, 0), |(handed, mut taken, sent)| async move {
            handed.room(sent).await;
            let data = taken.recv().await?;
            Some((Ok(Payload { data }), (handed, taken, sent + 1)))
        });
        ready(Ok(tonic::Response::new(Box::pin(payloads))))
    }
}
