//! `GET .../events`: deliveries as a stream, NDJSON or server-sent events.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use meshwire_proto::wire::admin;
use meshwire_proto::{ErrorKind, GroupKey, MemberName, UnixMillis, options};
use tokio::time::timeout;

use super::accept::wanted;
use super::deadline::{self, Deadline, TIMEOUT};
use super::names::{Named, group_key};
use super::query::Query;
use super::{Door, Problem, cloudevents, delivery, websocket};
use crate::ingress::calls::{Calls, Consumer, ConsumerRequest, Delivered, Start};
use crate::mesh::{Credit, Refusal};

/// Something is sent at least so often, so that nobody between takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A piece of the stream ends with the delivery that reaches this size.
const PIECE: usize = 64 * 1024;

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    NdJson,
    Sse,
}

const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";

impl Format {
    /// What the client wants.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        wanted(headers, &[(NDJSON, Self::NdJson), (SSE, Self::Sse)]).ok_or_else(|| {
            let text = format!("a stream is {NDJSON} or {SSE}, of which header accept takes none");
            Problem::new(ErrorKind::Unsupported, text).with(StatusCode::NOT_ACCEPTABLE)
        })
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::NdJson => NDJSON,
            Self::Sse => SSE,
        }
    }

    fn write(self, calls: &Calls, delivered: &Delivered, out: &mut String) {
        if self == Self::Sse {
            let _ = write!(out, "id: {}\ndata: ", delivered.position);
        }
        delivery::write_line(calls, delivered, out);
        out.push_str(if self == Self::Sse { "\n\n" } else { "\n" });
    }

    /// What a reader passes over.
    fn comment(self, text: &str) -> String {
        match self {
            Self::NdJson => "\n".to_owned(),
            Self::Sse => format!(": {text}\n\n"),
        }
    }

    /// That the gateway stops.
    fn stopping(self, calls: &Calls) -> String {
        let object = delivery::stopping(calls);
        match self {
            Self::NdJson => object + "\n",
            Self::Sse => format!("event: stopping\ndata: {object}\n\n"),
        }
    }

    /// Why nothing more comes, and counts that it was said.
    fn error(self, calls: &Calls, refusal: Refusal) -> String {
        calls.mesh().counts().told(refusal.kind);
        let problem = Problem::from(refusal).json();
        match self {
            Self::NdJson => format!("{{\"error\":{problem}}}\n"),
            Self::Sse => format!("event: error\ndata: {{\"error\":{problem}}}\n\n"),
        }
    }
}

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

pub(super) fn start(query: &Query) -> Result<Start, Problem> {
    query.get("start").map_or(Ok(Start::Default), place)
}

/// A place in a topic.
pub(super) fn place(text: &str) -> Result<Start, Problem> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Ok(position) = text.parse() {
        return Ok(Start::Position(position));
    }
    text.parse::<UnixMillis>().map(Start::Time).map_err(|_| {
        invalid(format!(
            "start is {text:?}; earliest, latest, a position, and a time such as 2026-11-28T06:30:00Z are accepted"
        ))
    })
}

/// Behind the event that a reader saw last.
fn resumed(parts: &Parts) -> Result<Option<Start>, Problem> {
    let Some(value) = parts.headers.get("last-event-id") else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let behind = |position: u64| Some(Start::Position(position.saturating_add(1)));
    position
        .map(behind)
        .ok_or_else(|| invalid("header last-event-id is no position: send the id of an event of this stream"))
}

/// Unnamed: everybody who asks gets everything.
pub(super) async fn broadcast(
    Extension(door): Extension<Door>,
    Named(topic): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    if websocket::is_asked(&parts.headers) {
        return Ok(cloudevents::upgrade(door, topic, &mut parts).await.into_response());
    }
    let query = Query::read(&parts.uri, &["start", TIMEOUT])?;
    let start = resumed(&parts)?.map_or_else(|| start(&query), Ok)?;
    stream_of(door, &parts, &topic, broadcast_request(start)).await
}

/// An unnamed broadcast subscription.
pub(super) fn broadcast_request(start: Start) -> ConsumerRequest {
    asked(None, start, u32::try_from(options::PREFETCH_EVENTS.default).unwrap_or(u32::MAX))
}

/// As a member of a group, with leases. Who hangs up was lost with them: HTTP has no word for leaving.
pub(super) async fn group(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let query = Query::read(&parts.uri, &["max_unsettled", "member", "start", TIMEOUT])?;
    let most = query.number("max_unsettled", (1, options::PREFETCH_EVENTS.max))?;
    let most = most.unwrap_or(options::PREFETCH_EVENTS.default);
    let member = query.get("member").map(MemberName::parse).transpose().map_err(|e| invalid(e.to_string()))?;
    let group = GroupKey { member, ..group_key(&group)? };
    let asked = asked(Some(group), start(&query)?, u32::try_from(most).unwrap_or(u32::MAX));
    stream_of(door, &parts, &topic, asked).await
}

pub(super) fn asked(group: Option<GroupKey>, start: Start, events: u32) -> ConsumerRequest {
    let mode = group.as_ref().and_then(|key| key.member.as_ref()).map(|_| admin::GroupMode::Broadcast.into());
    let settings = admin::GroupSettings { mode, ..admin::GroupSettings::default() };
    ConsumerRequest { group, start, settings, credit: Credit { events, bytes: options::PREFETCH_BYTES.default } }
}

async fn stream_of(door: Door, parts: &Parts, topic: &str, asked: ConsumerRequest) -> Result<Response, Problem> {
    let (format, deadline) = (Format::of(&parts.headers)?, Deadline::of(parts));
    let mut consumer = door.calls.consume(&door.caller("http"), topic, asked).await?;
    if let Some(deadline) = deadline {
        consumer.ends_at(deadline.end());
    }
    let headers = [
        (CONTENT_TYPE.as_str(), format.content_type()),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-accel-buffering", "no"),
    ];
    let pieces = stream::unfold(Some((door.calls.clone(), consumer)), move |state| async move {
        let (calls, mut consumer) = state?;
        let (piece, goes_on) = piece(&calls, &mut consumer, format, deadline).await;
        let rest = if goes_on {
            Some((calls, consumer))
        } else {
            consumer.leave();
            None
        };
        Some((Ok::<_, Infallible>(Bytes::from(piece)), rest))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// The next piece, and whether more may come.
async fn piece(calls: &Calls, consumer: &mut Consumer, format: Format, deadline: Option<Deadline>) -> (String, bool) {
    let mut piece = String::new();
    let left = deadline.map_or(Duration::MAX, Deadline::left);
    if left.is_zero() {
        return (format.error(calls, deadline::late()), false);
    }
    let was_told = consumer.is_told();
    let mut next = match timeout(KEEP_ALIVE.min(left), consumer.next()).await {
        Err(_) if left <= KEEP_ALIVE => return (format.error(calls, deadline::late()), false),
        Err(_) => return (format.comment("still here"), true),
        Ok(next) => match next {
            // It stays until the gateway closes: what was delivered may be settled.
            Ok(None) if !was_told => return (format.stopping(calls), true),
            Ok(None) => return (piece, false),
            next => next,
        },
    };
    loop {
        match next {
            Ok(Some(delivered)) => format.write(calls, &delivered, &mut piece),
            Ok(None) => return (piece, true),
            Err(refusal) => return (piece + &format.error(calls, refusal), false),
        }
        if piece.len() >= PIECE {
            return (piece, true);
        }
        next = consumer.ready();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::ingress::calls::testing::{calls, publish};
    use crate::mesh::Caller;

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_sends_something_every_15_s() {
        let (calls, began) = (calls(), tokio::time::Instant::now());
        let asked = asked(None, Start::Latest, 1);
        let mut consumer = calls.consume(&Caller::anonymous("test", None), "t", asked).await.unwrap();
        assert_eq!(piece(&calls, &mut consumer, Format::NdJson, None).await, ("\n".to_owned(), true));
        assert_eq!(piece(&calls, &mut consumer, Format::Sse, None).await, (": still here\n\n".to_owned(), true));
        assert_eq!(began.elapsed(), 2 * KEEP_ALIVE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_with_a_deadline_ends_there_with_the_reason_and_is_counted() {
        let (calls, began) = (calls(), tokio::time::Instant::now());
        let asked = asked(None, Start::Latest, 1);
        let mut consumer = calls.consume(&Caller::anonymous("test", None), "t", asked).await.unwrap();
        let deadline = Some(Deadline::after(KEEP_ALIVE + Duration::from_secs(1)));
        assert_eq!(piece(&calls, &mut consumer, Format::NdJson, deadline).await, ("\n".to_owned(), true));
        let (last, goes_on) = piece(&calls, &mut consumer, Format::NdJson, deadline).await;
        assert!(last.starts_with("{\"error\":{\"code\":\"TIMEOUT\"") && !goes_on, "{last}");
        assert_eq!(began.elapsed(), KEEP_ALIVE + Duration::from_secs(1));
        assert_eq!(calls.mesh().counts().errors(ErrorKind::Timeout), 1);
        publish(&calls, 0..1).await;
        let (late, goes_on) = piece(&calls, &mut consumer, Format::Sse, deadline).await;
        assert!(late.starts_with("event: error\n") && !goes_on, "what comes behind it is not sent: {late}");
    }

    #[tokio::test]
    async fn who_falls_behind_a_ring_is_told_how_many_events_are_missing() {
        let calls = calls();
        publish(&calls, 0..1).await;
        let asked = asked(None, Start::Earliest, 1);
        let mut consumer = calls.consume(&Caller::anonymous("test", None), "t", asked).await.unwrap();
        for id in 1..40 {
            publish(&calls, id..id + 1).await;
        }
        let (mut seen, mut missing) = (0, 0);
        while seen + missing < 40 {
            let (text, goes_on) = piece(&calls, &mut consumer, Format::NdJson, None).await;
            assert!(goes_on);
            for line in text.lines() {
                let object: serde_json::Value = serde_json::from_str(line).unwrap();
                seen += 1;
                missing += object.get("gap").map_or(0, |gap| gap.as_u64().unwrap());
            }
        }
        assert!(missing > 0 && seen + missing == 40, "{seen} {missing}");
    }
}
