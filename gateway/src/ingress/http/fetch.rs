//! `POST /v1/topics/{topic}/groups/{group}/fetch`: so many deliveries at once, with leases.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use meshwire_proto::{ErrorKind, GroupKey, GroupName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::event::{essence, text};
use super::names::Named;
use super::query::Query;
use super::{Door, Problem, body, delivery};
use crate::ingress::calls::{FetchRequest, Fetched};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    max_events: u32,
    max_bytes: u64,
    wait_ms: u64,
    member: Option<String>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { max_events: 64, max_bytes: 1 << 20, wait_ms: 0, member: None }
    }
}

/// A JSON body as a type of its own; without a body its default.
///
/// # Errors
/// `INVALID`: not JSON, or other members than it has; 415 without a JSON content type.
pub(super) async fn read_json<T: DeserializeOwned>(
    door: &Door,
    parts: &Parts,
    body: Body,
) -> Result<Option<T>, Problem> {
    let body = body::read(&door.share, body, door.native.max_frame_bytes(), "max_frame_bytes").await?;
    if body.is_empty() {
        return Ok(None);
    }
    let essence = essence(&parts.headers)?;
    if !meshwire_proto::codec::json::is_json(&essence) {
        let text = format!("the content type is {essence:?}; JSON needs content-type: application/json");
        return Err(Problem::new(ErrorKind::Invalid, text).with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let wrong = |e: serde_json::Error| Problem::new(ErrorKind::Invalid, format!("the body: {e}"));
    serde_json::from_str(text(&body)?).map(Some).map_err(wrong)
}

/// The group of a path.
///
/// # Errors
/// `INVALID`: its name.
pub(super) fn group_key(name: &str) -> Result<GroupKey, Problem> {
    let group = GroupName::parse(name).map_err(|e| Problem::new(ErrorKind::Invalid, e.to_string()))?;
    Ok(GroupKey { group, member: None })
}

pub(super) async fn fetch(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Query::read(&parts.uri, &[])?;
    let asked: Asked = read_json(&door, &parts, body).await?.unwrap_or_default();
    let group = group_key(&group)?;
    let request = FetchRequest {
        topic: &topic,
        group: &group,
        member: asked.member.as_deref(),
        max_events: asked.max_events,
        max_bytes: asked.max_bytes,
        wait: Duration::from_millis(asked.wait_ms),
    };
    let fetched = door.calls.fetch(&door.caller("http"), request).await?;
    let mut text = String::from("{\"deliveries\":[");
    for (n, delivered) in fetched.deliveries().iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        delivery::write(&door.calls, delivered, &mut text);
    }
    text.push_str("]}");
    let headers = [("content-type", "application/json"), (CACHE_CONTROL.as_str(), "no-store")];
    Ok((headers, once_taken(Bytes::from(text), fetched)).into_response())
}

/// A body in one piece. If nobody takes it, nothing was handed out.
fn once_taken(bytes: Bytes, fetched: Fetched) -> Body {
    Body::from_stream(stream::unfold(Some((bytes, fetched)), |state| async {
        let (bytes, mut fetched) = state?;
        fetched.handed_out();
        Some((Ok::<_, std::convert::Infallible>(bytes), None))
    }))
}
