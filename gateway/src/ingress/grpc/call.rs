//! What all calls with one message from the client have in common: the message is whole, in time and not too large; every error
//! says its code.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::grpc;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use super::{SMALL, fields};
use crate::ingress::access;
use crate::ingress::web::body::{Received, read_within};
use crate::ingress::web::call::{is_grpc, timeout, unknown};
use crate::ingress::web::{Door, Problem, status};
use crate::mesh::Refusal;

/// Flag and length before a message.
const PREFIX: u64 = 5;

/// The call that may wait for hours, and holds nothing of its message meanwhile.
const WAITS: &str = "/meshwire.v1.Mesh/Request";

/// When a call ends whatever comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Option<Instant>);

impl Deadline {
    /// Of a call with these headers.
    ///
    /// # Errors
    /// `INVALID`: what is wrong with the header.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        // A time that cannot be reached is no deadline.
        Ok(Self(timeout(headers)?.and_then(|timeout| Instant::now().checked_add(timeout))))
    }

    /// What is left until then; `None`: there is none.
    pub(super) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Carries out a step of a call that has many. None is begun behind its time, however much there is to say.
    ///
    /// # Errors
    /// `TIMEOUT`: the time is over.
    pub(super) async fn within<T>(self, step: impl Future<Output = T>) -> Result<T, Refusal> {
        match self.0 {
            None => Ok(step.await),
            Some(at) if at <= Instant::now() => Err(late()),
            Some(at) => timeout_at(at, step).await.map_err(|_| late()),
        }
    }
}

/// What a call is told that goes on behind its time.
fn late() -> Refusal {
    Refusal::new(ErrorKind::Timeout, "the deadline of the call has passed")
}

/// The answer to what no call may have.
pub(super) fn refused(method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    if method != Method::POST {
        return Some(Problem::wrong_method(method, path, HeaderValue::from_static("POST")));
    }
    if !is_grpc(headers) {
        let text = format!("{path} is called by gRPC: send content-type: application/grpc over HTTP/2");
        let problem = Problem::new(ErrorKind::Unsupported, text);
        return Some(problem.with(axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE).into_response());
    }
    if headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
        return Some(status::refuse(ErrorKind::Unsupported, grpc::Compressed.to_string()));
    }
    None
}

/// Carries a call out whose message may hold events.
pub(super) async fn run(Extension(door): Extension<Door>, request: Request, next: Next) -> Response {
    let limit = door.native.max_frame_bytes();
    carry(&door, request, (limit, "(option max_frame_bytes)"), next).await
}

/// Carries a call out to a service whose messages hold no events.
pub(super) async fn run_small(Extension(door): Extension<Door>, request: Request, next: Next) -> Response {
    carry(&door, request, (SMALL as u64, "that this service takes"), next).await
}

async fn carry(door: &Door, request: Request, limit: (u64, &str), next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if let Some(refused) = refused(&parts.method, &path, &parts.headers) {
        return refused;
    }
    let deadline = match Deadline::of(&parts.headers) {
        Ok(deadline) => deadline,
        Err(refusal) => return status::answer(refusal),
    };
    parts.extensions.insert(deadline);
    let carried = async {
        match message(door, body, limit).await {
            Ok(message) => {
                // What is made of the message is as much, until the call is over; who waits for a reply lets go of it before.
                let (body, held) = message.split();
                let _held = if path == WAITS {
                    parts.extensions.insert(Arc::new(held));
                    None
                } else {
                    Some(held)
                };
                next.run(Request::from_parts(parts, Body::from(body))).await
            }
            Err(refusal) => status::answer(refusal),
        }
    };
    let response = match deadline.0 {
        None => carried.await,
        Some(at) => match access::within(at, carried).await {
            Ok(response) => response,
            Err(_) => status::refuse(ErrorKind::Timeout, "the deadline of the call passed before it was answered"),
        },
    };
    with_code(response, &path)
}

/// The one message of a call, as it came.
async fn message(door: &Door, body: Body, (limit, what): (u64, &str)) -> Result<Received, Refusal> {
    let body = read_within(&door.share, body, limit.saturating_add(PREFIX), what).await?;
    let invalid = |text| Refusal::new(ErrorKind::Invalid, text);
    let Some((flag, rest)) = body.split_first() else { return Err(invalid("the call has no message")) };
    if *flag != 0 {
        return Err(Refusal::new(ErrorKind::Unsupported, grpc::Compressed.to_string()));
    }
    let Some((length, message)) = rest.split_first_chunk::<4>() else {
        return Err(invalid("the call's message breaks off"));
    };
    if u64::from(u32::from_be_bytes(*length)) != message.len() as u64 {
        return Err(invalid("the call has more than one message, or less"));
    }
    fields::check(message)?;
    Ok(body)
}

/// Errors of the layers between have a code of ours too.
fn with_code(response: Response, path: &str) -> Response {
    let Some(found) = Status::from_header_map(response.headers()) else { return response };
    if found.code() == Code::Ok || !found.details().is_empty() {
        return response;
    }
    match found.code() {
        Code::Unimplemented => unknown(path),
        // Of a message that was read whole that is all that can be wrong.
        _ => {
            let why = undecoded(found.message());
            let text = format!(
                "the message is not what {path} takes: {why}; compare it with the proto that this gateway's reflection has"
            );
            status::refuse(ErrorKind::Invalid, text)
        }
    }
}

/// Why a message cannot be decoded, of what the decoder says, which has no codes for it: the fields that it was in, the outermost first,
/// and what it met there.
fn undecoded(said: &str) -> String {
    let mut why = said.strip_prefix("failed to decode Protobuf message: ").unwrap_or(said);
    let mut place = None;
    while let Some((field, rest)) = why.split_once(": ")
        && field.contains('.')
        && !field.contains(' ')
    {
        (place, why) = (Some(field), rest);
    }
    let why = match why {
        text if text.contains("UTF-8") => "is text that is not UTF-8",
        text if text.starts_with("invalid wire type: ") => "has another type",
        text if text.starts_with("recursion") => "is nested too deep",
        "buffer underflow" | "delimited length exceeded" => "breaks off",
        _ => "is no protobuf",
    };
    place.map_or_else(|| format!("it {why}"), |field| format!("field {field} {why}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meshwire_proto::wire::mesh::PublishRequest;
    use prost::Message as _;

    use super::undecoded;

    #[test]
    fn what_cannot_be_decoded_is_told_by_its_field_and_in_words() {
        for (message, told) in [
            (&b"\x0a\x01\xff"[..], "field PublishRequest.topic is text that is not UTF-8"),
            (b"\x08\x01", "field PublishRequest.topic has another type"),
            (b"\x0a\x7f", "field PublishRequest.topic breaks off"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "it is no protobuf"),
        ] {
            let said = PublishRequest::decode(Bytes::from_static(message)).err().map(|error| error.to_string());
            assert_eq!(said.map(|said| undecoded(&said)).as_deref(), Some(told), "{message:?}");
        }
    }
}
