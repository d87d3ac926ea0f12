//! Calls in which a client asks on and on, as it does of reflection: each message is whole before the service sees it, in time, not too
//! large, and what is not whole yet counts as a body of its connection. What one message asks in vain is answered as such, and does not
//! end the call.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::grpc;
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ErrorResponse, ServerReflectionRequest, ServerReflectionResponse};

use super::{SMALL, call};
use crate::ingress::receiving::{Held, Share};
use crate::ingress::web::call::unknown;
use crate::ingress::web::{Door, status};
use crate::mesh::{Counts, Refusal};

/// Flag and length before a message.
const PREFIX: usize = 5;

/// How long a message may take from its first byte to its last. Between two of them a client may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// The one method of the service.
const METHOD: &str = "/ServerReflectionInfo";

/// Carries a call of reflection out.
pub(super) async fn run(Extension(door): Extension<Door>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if let Some(refused) = call::refused(&parts.method, path, &parts.headers) {
        return refused;
    }
    if !path.ends_with(METHOD) {
        return unknown(path);
    }
    let deadline = match call::Deadline::of(&parts.headers) {
        Ok(deadline) => deadline,
        Err(refusal) => return status::answer(refusal),
    };
    let (asked, counts) = (Questions::new(body, &door.share), Arc::clone(door.native.mesh().counts()));
    let answers = unfold(Some(Answering { asked, counts, parts, next }), move |state| async move {
        let mut answering = state?;
        let (frame, state) = match deadline.within(answering.answer()).await.flatten() {
            Ok(Some(answer)) => (Frame::data(answer), Some(answering)),
            Ok(None) => (end(&Status::ok("")), None),
            Err(refusal) => (end(&status::status(refusal)), None),
        };
        Some((Ok::<_, Infallible>(frame), state))
    });
    let mut response = Response::new(Body::new(StreamBody::new(answers)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

/// The end of a call.
fn end(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // A status that cannot be written leaves none, which clients take for a failure.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}

/// A call that is being answered.
struct Answering {
    asked: Questions,
    counts: Arc<Counts>,
    parts: Parts,
    next: Next,
}

impl Answering {
    /// The answer to the next message; `None` after the last one. The service ends a call with its first error, so each message is a call
    /// of its own to it.
    async fn answer(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some(message) = self.asked.message().await? else { return Ok(None) };
        let request = Request::from_parts(self.parts.clone(), Body::from(message.clone()));
        let (head, body) = self.next.clone().run(request).await.into_parts();
        let broken = |e| Refusal::new(ErrorKind::Internal, format!("an answer broke off: {e}"));
        let answer = body.collect().await.map_err(broken)?;
        let found = Status::from_header_map(answer.trailers().unwrap_or(&head.headers));
        Ok(Some(match found.filter(|found| found.code() != Code::Ok) {
            None => answer.to_bytes(),
            Some(found) => self.in_vain(&message, &found),
        }))
    }

    /// What is told of a message that asked for what there is not.
    fn in_vain(&self, message: &[u8], found: &Status) -> Bytes {
        self.counts.told(match found.code() {
            Code::InvalidArgument => ErrorKind::Invalid,
            Code::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        });
        // It was read before.
        let asked = ServerReflectionRequest::decode(message.get(PREFIX..).unwrap_or_default()).unwrap_or_default();
        let error = ErrorResponse { error_code: found.code().into(), error_message: found.message().to_owned() };
        let answer = ServerReflectionResponse {
            valid_host: asked.host.clone(),
            original_request: Some(asked),
            message_response: Some(MessageResponse::ErrorResponse(error)),
        };
        let mut framed = BytesMut::new();
        grpc::put_message(&[&answer.encode_to_vec()], &mut framed);
        framed.freeze()
    }
}

/// What a client asks.
struct Questions {
    body: Body,
    share: Arc<Share>,
    /// Of the message that comes now.
    came: BytesMut,
    held: Held,
    until: Instant,
}

impl Questions {
    fn new(body: Body, share: &Arc<Share>) -> Self {
        Self { body, share: Arc::clone(share), came: BytesMut::new(), held: share.hold(), until: Instant::now() }
    }

    /// The next whole message, as it came; `None` after the last one.
    async fn message(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(message) = self.whole()? {
                self.held = self.share.hold();
                self.until = Instant::now() + PATIENCE;
                return Ok(Some(message));
            }
            let is_between = self.came.is_empty();
            let frame = if is_between {
                self.body.frame().await
            } else {
                timeout_at(self.until, self.body.frame()).await.map_err(|_| slow())?
            };
            let Some(frame) = frame else {
                return if is_between { Ok(None) } else { Err(invalid("the call's message breaks off")) };
            };
            let broken = |e| invalid(format!("the call broke off: {e}"));
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if is_between {
                self.until = Instant::now() + PATIENCE;
            }
            self.held.wait_for((self.came.len() + data.len()) as u64).await?;
            self.came.extend_from_slice(&data);
        }
    }

    /// Takes a message off once it is whole.
    fn whole(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some((&[flag, ref length @ ..], _)) = self.came.split_first_chunk::<PREFIX>() else { return Ok(None) };
        if flag != 0 {
            return Err(Refusal::new(ErrorKind::Unsupported, grpc::Compressed.to_string()));
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > SMALL {
            let text = format!("a message of {length} bytes; to this service they have up to {SMALL}");
            return Err(Refusal::new(ErrorKind::TooLarge, text));
        }
        if self.came.len() < PREFIX + length {
            return Ok(None);
        }
        let message = self.came.split_to(PREFIX + length).freeze();
        // Both versions of the service have the same messages, and pass over what they cannot read.
        let read = ServerReflectionRequest::decode(message.get(PREFIX..).unwrap_or_default());
        read.map_err(|e| invalid(format!("the call's message is malformed: {e}")))?;
        Ok(Some(message))
    }
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::Invalid, text)
}

fn slow() -> Refusal {
    Refusal::new(ErrorKind::Timeout, format!("a message of the call was not whole within {} s", PATIENCE.as_secs()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::ingress::receiving::Receiving;

    /// A message of so many bytes.
    fn message(length: u32) -> Vec<u8> {
        // Field 15, which nobody knows.
        let rest = length - 4;
        let head = [0x7a, (rest & 0x7f) as u8 | 0x80, (rest >> 7 & 0x7f) as u8 | 0x80, (rest >> 14) as u8];
        [&[0][..], &length.to_be_bytes(), &head, &vec![0; rest as usize]].concat()
    }

    /// Who sends this in pieces of so many bytes, one each second, and then nothing more.
    fn sends(sent: &[u8], size: usize) -> Body {
        let pieces: Vec<_> = sent.chunks(size).map(Bytes::copy_from_slice).collect();
        Body::from_stream(
            stream::iter(pieces)
                .then(|piece| async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok::<_, Infallible>(piece)
                })
                .chain(stream::pending()),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_drips_ends_the_call_and_a_client_that_is_silent_between_two_does_not() {
        let share = Share::new(Receiving::new(1 << 20));
        let two = [message(1000), message(2000)].concat();
        let mut asked = Questions::new(sends(&two, 400), &share);
        assert_eq!(asked.message().await.unwrap().map(|m| m.len()), Some(1005));
        assert_eq!(asked.message().await.unwrap().map(|m| m.len()), Some(2005));
        let silent = tokio::time::timeout(Duration::from_secs(3600), asked.message()).await;
        assert!(silent.is_err(), "it goes on");
        let began = Instant::now();
        let slow = Questions::new(sends(&message(1000), 50), &share).message().await.map_err(|refusal| refusal.kind);
        assert_eq!((slow, began.elapsed().as_secs()), (Err(ErrorKind::Timeout), 1 + PATIENCE.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn halves_of_messages_share_what_their_connection_has_and_there_is_for_all() {
        let receiving = Receiving::new(60_000);
        let share = Share::new(receiving.clone());
        let mut half = message(60_000);
        half.truncate(50_000);
        let mut calls: Vec<Questions> = (0..3).map(|_| Questions::new(sends(&half, 50_000), &share)).collect();
        let told = futures_util::future::join_all(
            calls.iter_mut().map(|call| async { call.message().await.map_err(|refusal| refusal.kind) }),
        );
        let told = told.await;
        assert_eq!(told.iter().filter(|told| **told == Err(ErrorKind::Busy)).count(), 1, "{told:?}");
        assert_eq!(told.iter().filter(|told| **told == Err(ErrorKind::Timeout)).count(), 2, "{told:?}");
        drop(calls);
        assert_eq!(receiving.used().0, 0);
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_by_its_code() {
        let share = Share::new(Receiving::new(1 << 20));
        for (sent, kind) in [
            (&b"\x01\0\0\0\0"[..], ErrorKind::Unsupported),
            (b"\0\xff\xff\xff\xff", ErrorKind::TooLarge),
            (b"\0\0\0\0\x02\xff\xff", ErrorKind::Invalid),
            (b"\0\0\0", ErrorKind::Invalid),
        ] {
            let refused = Questions::new(Body::from(sent), &share).message().await.map_err(|refusal| refusal.kind);
            assert_eq!(refused, Err(kind), "{sent:?}");
        }
    }
}
