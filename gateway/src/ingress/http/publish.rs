//! `POST /v1/topics/{topic}/events`: CloudEvents in binary, structured or batched mode.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use meshwire_proto::codec::{http, json};
use meshwire_proto::{ErrorKind, Event, EventError, Timing};

use super::{Door, Problem, body};
use crate::ingress::calls::{Offer, Stored, Taken};
use crate::mesh::Refusal;

/// How the events of a request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
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

impl Mode {
    fn of(content_type: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        let essence =
            content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/cloudevents+json" => Ok(Self::Structured),
            "application/cloudevents-batch+json" => Ok(Self::Batch),
            other if other.starts_with("application/cloudevents") => {
                let text = format!(
                    "content type {other} is not supported; application/cloudevents+json and application/cloudevents-batch+json are"
                );
                Err(Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UNSUPPORTED_MEDIA_TYPE))
            }
            _ if headers.contains_key("ce-specversion") => Ok(Self::Binary),
            _ => {
                let text = "this is no CloudEvent: send attributes as headers (ce-specversion: 1.0, ce-id, ce-source, ce-type) with the \
                    data as the body, or an event as JSON with content-type: application/cloudevents+json";
                Err(Problem::new(ErrorKind::Invalid, text))
            }
        }
    }
}

fn invalid(error: &EventError) -> Refusal {
    Refusal::new(error.kind(), error.to_string())
}

/// Attributes of headers, as far as their values can be text.
fn binary(headers: &HeaderMap, content_type: Option<&str>, body: Bytes) -> Result<Event, EventError> {
    let attributes = headers
        .iter()
        .filter_map(|(name, value)| name.as_str().strip_prefix(http::PREFIX).map(|name| (name, value.as_bytes())));
    http::parse(attributes, content_type, body)
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|e| Problem::new(ErrorKind::Invalid, format!("the body is not UTF-8: {e}")))
}

pub(super) async fn publish(
    Extension(door): Extension<Door>,
    Path(topic): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    no_parameters(&parts.uri)?;
    let content_type = content_type(&parts.headers)?;
    let mode = Mode::of(content_type, &parts.headers)?;
    let body = whole(&door, mode, body).await?;
    let events = match mode {
        Mode::Binary => vec![binary(&parts.headers, content_type, body)],
        Mode::Structured => vec![json::parse(text(&body)?)],
        Mode::Batch => json::parse_batch(text(&body)?).map_err(|e| invalid(&e))?,
    };
    let mut offer = Offer::default();
    events.into_iter().for_each(|event| offer.event(event));
    let results = door.calls.publish(&door.caller("http"), &topic, offer, Timing::default()).await?;
    if mode == Mode::Batch {
        let results: Vec<serde_json::Value> = results.into_iter().map(item).collect();
        return Ok(json_response(&serde_json::json!({ "results": results })));
    }
    match results.into_iter().next() {
        Some(result) => Ok(json_response(&item(Ok(result?)))),
        None => Err(Problem::new(ErrorKind::Internal, "no answer for the event")),
    }
}

fn no_parameters(uri: &Uri) -> Result<(), Problem> {
    match uri.query().filter(|query| !query.is_empty()) {
        None => Ok(()),
        Some(query) => {
            let name = query.split(['=', '&']).next().unwrap_or_default();
            Err(Problem::new(ErrorKind::Invalid, format!("there is no parameter {name:?} here")))
        }
    }
}

async fn whole(door: &Door, mode: Mode, body: Body) -> Result<Bytes, Problem> {
    let limits = door.native.mesh().limits();
    let (event, option) = (u64::from(limits.max_event_bytes), "max_event_bytes");
    match mode {
        Mode::Binary => body::read(body, event, option).await,
        // JSON escapes at most six bytes for one; base64 is less.
        Mode::Structured => body::read(body, door.native.max_frame_bytes().max(event * 2), option).await,
        Mode::Batch => body::read(body, door.native.max_frame_bytes(), "max_frame_bytes").await,
    }
}

/// One result as JSON.
fn item(taken: Taken) -> serde_json::Value {
    match taken {
        Ok(Stored { position: None, duplicate }) => serde_json::json!({ "duplicate": duplicate }),
        Ok(Stored { position: Some(position), duplicate }) => {
            serde_json::json!({ "position": position.to_string(), "duplicate": duplicate })
        }
        Err(refusal) => Problem::from(refusal).json(),
    }
}

fn json_response(value: &serde_json::Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
