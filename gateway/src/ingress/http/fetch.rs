//! `POST /v1/topics/{topic}/groups/{group}/fetch`: so many deliveries at once, with leases.

use std::borrow::Cow;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;

use super::deadline::TIMEOUT;
use super::event::text;
use super::fields::Fields;
use super::names::{Named, group_key};
use super::query::Query;
use super::{Door, Problem, delivery, json_body};
use crate::ingress::calls::{FetchRequest, Fetched, MAX_FETCH, MAX_WAIT};

struct FetchBody {
    max_events: u32,
    max_bytes: u64,
    wait_ms: u64,
    member: Option<String>,
}

impl FetchBody {
    /// Of a body; without one all is as it is unless said.
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let text = if body.is_empty() { "{}" } else { text(body)? };
        let fields = Fields::parse(text, "the body", &["max_events", "max_bytes", "wait_ms", "member"])?;
        let fields = fields.without_nulls(&["member"]);
        let events = fields.between("max_events", 1..=MAX_FETCH.into())?;
        let most = u64::try_from(MAX_WAIT.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            max_events: events.and_then(|events| u32::try_from(events).ok()).unwrap_or(64),
            max_bytes: fields.u64("max_bytes")?.unwrap_or(1 << 20),
            wait_ms: fields.between("wait_ms", 0..=most)?.unwrap_or(0),
            member: fields.text("member")?.map(Cow::into_owned),
        })
    }
}

pub(super) async fn fetch(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Query::read(&parts.uri, &[TIMEOUT])?;
    let asked = FetchBody::read(&json_body::read(&door, &parts.headers, body).await?)?;
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
