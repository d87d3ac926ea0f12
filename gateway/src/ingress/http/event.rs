//! CloudEvents in requests: binary, structured or batched.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use meshwire_proto::codec::{http, json};
use meshwire_proto::{ErrorKind, EventError, EventParts, excerpt};

use super::body::{Received, Upload, read, read_within};
use super::fields::SHOWN;
use super::{Door, Problem};
use crate::ingress::calls::MAX_BATCH;

/// How the events of a request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One, its attributes in headers.
    Binary,
    /// One, as JSON.
    Structured,
    /// A JSON array of them.
    Batch,
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| Problem::new(ErrorKind::Invalid, "header content-type is not ASCII text"))
}

/// The media type without its parameters, in lower case.
pub(super) fn essence(headers: &HeaderMap) -> Result<String, Problem> {
    let content_type = content_type(headers)?.unwrap_or_default();
    Ok(content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// JSON is UTF-8, whatever a parameter of the media type says.
fn is_utf8(headers: &HeaderMap) -> Result<bool, Problem> {
    let parameters = content_type(headers)?.unwrap_or_default().split(';').skip(1);
    let mut charsets = parameters
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    Ok(charsets
        .all(|(_, value)| ["utf-8", "us-ascii"].contains(&&*value.trim().trim_matches('"').to_ascii_lowercase())))
}

impl Mode {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match essence(headers)?.as_str() {
            kind if kind.starts_with("application/cloudevents") && !is_utf8(headers)? => {
                let text = "events in JSON are UTF-8: leave the charset out of content-type";
                Err(Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UNSUPPORTED_MEDIA_TYPE))
            }
            "application/cloudevents+json" => Ok(Self::Structured),
            "application/cloudevents-batch+json" => Ok(Self::Batch),
            other if other.starts_with("application/cloudevents") => {
                let text = format!(
                    "content type {} is not supported; application/cloudevents+json and application/cloudevents-batch+json are",
                    excerpt(other, SHOWN)
                );
                Err(Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UNSUPPORTED_MEDIA_TYPE))
            }
            _ if headers.keys().any(|name| name.as_str().starts_with(http::PREFIX)) => Ok(Self::Binary),
            _ => {
                let text = "this is no CloudEvent: send attributes as headers (ce-specversion: 1.0, ce-id, ce-source, ce-type) with the \
                    data as the body, or an event as JSON with content-type: application/cloudevents+json";
                Err(Problem::new(ErrorKind::Invalid, text))
            }
        }
    }
}

pub(super) fn invalid(error: &EventError) -> Problem {
    Problem::new(error.kind(), error.to_string())
}

/// Attributes of headers.
fn binary<'a>(
    headers: &'a HeaderMap,
    content_type: Option<&'a str>,
    body: Bytes,
) -> Result<EventParts<'a>, EventError> {
    let attributes = headers
        .iter()
        .filter_map(|(name, value)| name.as_str().strip_prefix(http::PREFIX).map(|name| (name, value.as_bytes())));
    http::parse(attributes, content_type, body)
}

pub(super) fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body)
        .map_err(|e| Problem::new(ErrorKind::Invalid, format!("the body is not UTF-8 behind byte {}", e.valid_up_to())))
}

async fn whole(door: &Door, mode: Mode, body: Upload) -> Result<Received, Problem> {
    let limits = door.native.mesh().limits();
    let (event, option) = (u64::from(limits.max_event_bytes), "max_event_bytes");
    let frame = door.native.max_frame_bytes();
    match mode {
        Mode::Binary => read(&door.share, body, event, option).await,
        // JSON escapes at most six bytes for one; base64 is less.
        Mode::Structured if event * 2 > frame => {
            let over = || format!("the body is over {} bytes (twice option max_event_bytes)", event * 2);
            read_within(&door.share, body, event * 2, over).await
        }
        Mode::Structured | Mode::Batch => read(&door.share, body, frame, "max_frame_bytes").await,
    }
}

/// How the events of a request are written, and its body.
///
/// # Errors
/// What is wrong with the request.
pub(super) async fn body(door: &Door, parts: &Parts, body: Body) -> Result<(Mode, Received), Problem> {
    let mode = Mode::of(&parts.headers)?;
    Ok((mode, whole(door, mode, Upload::of(&parts.headers, body)).await?))
}

/// The events of a request, one by one; what is wrong with one is in its place. Of a batch over [`MAX_BATCH`] those beyond it are only
/// counted. Gives how many there are.
///
/// # Errors
/// The body is not what its type says, and the events do not count.
pub(super) fn parse<'a>(
    mode: Mode,
    parts: &'a Parts,
    body: &'a Bytes,
    each: impl FnMut(Result<&EventParts<'a>, EventError>),
) -> Result<usize, Problem> {
    match mode {
        Mode::Batch => return json::parse_batch(text(body)?, MAX_BATCH, each).map_err(|e| invalid(&e)),
        Mode::Binary => one(binary(&parts.headers, content_type(&parts.headers)?, body.clone()), each),
        Mode::Structured => one(json::read(text(body)?), each),
    }
    Ok(1)
}

fn one<'a>(event: Result<EventParts<'a>, EventError>, mut each: impl FnMut(Result<&EventParts<'a>, EventError>)) {
    match event {
        Ok(event) => each(Ok(&event)),
        Err(error) => each(Err(error)),
    }
}
