//! Which errors calls of gRPC are told: counted where the statuses leave, at the head of an answer or behind its body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use meshwire_proto::ErrorKind;
use tonic::{Code, Status};

use super::call::is_grpc;
use super::status;
use crate::mesh::Counts;

/// The error of a status among headers or trailers.
fn error(headers: &HeaderMap) -> Option<ErrorKind> {
    let found = Status::from_header_map(headers).filter(|found| found.code() != Code::Ok)?;
    // One that a layer between has made has no code.
    let other = match found.code() {
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::InvalidArgument => ErrorKind::Invalid,
        Code::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    Some(status::kind(&found).unwrap_or(other))
}

/// Counts the error of an answer, or sees to it that one behind its body is.
pub(in crate::ingress) fn counted(counts: &Arc<Counts>, response: Response<Body>) -> Response<Body> {
    if !is_grpc(response.headers()) {
        return response;
    }
    if let Some(kind) = error(response.headers()) {
        counts.told(kind);
        return response;
    }
    let counts = Arc::clone(counts);
    response.map(|body| Body::new(Counted { body, counts }))
}

/// A body that is looked at for what stands behind it.
struct Counted {
    body: Body,
    counts: Arc<Counts>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(kind) = frame.as_ref().and_then(|frame| error(frame.as_ref().ok()?.trailers_ref()?)) {
            self.counts.told(kind);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
