//! `GET .../events`: deliveries as a stream, NDJSON or server-sent events.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use meshwire_proto::wire::admin;
use meshwire_proto::{ErrorKind, GroupKey, MemberName, UnixMillis, options};
use tokio::time::timeout;

use super::fetch::group_key;
use super::query::{Named, Query};
use super::{Door, Problem, delivery};
use crate::ingress::calls::{Consumer, ConsumerRequest, Delivered, Start};
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
    /// The first in `Accept` that there is.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut any = false;
        for value in headers.get_all(ACCEPT) {
            for part in value.to_str().unwrap_or_default().split(',') {
                any = true;
                match part.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                    NDJSON | "application/*" | "*/*" => return Ok(Self::NdJson),
                    SSE | "text/*" => return Ok(Self::Sse),
                    _ => {}
                }
            }
        }
        if any {
            let text = format!("a stream is {NDJSON} or {SSE}, of which header accept names none");
            return Err(Problem::new(ErrorKind::Unsupported, text).with(StatusCode::NOT_ACCEPTABLE));
        }
        Ok(Self::NdJson)
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::NdJson => NDJSON,
            Self::Sse => SSE,
        }
    }

    fn write(self, door: &Door, delivered: &Delivered, out: &mut String) {
        if self == Self::Sse {
            let _ = write!(out, "id: {}\ndata: ", delivered.position);
        }
        delivery::write(&door.calls, delivered, out);
        out.push_str(if self == Self::Sse { "\n\n" } else { "\n" });
    }

    /// What a reader passes over.
    fn comment(self, text: &str) -> String {
        match self {
            Self::NdJson => "\n".to_owned(),
            Self::Sse => format!(": {text}\n\n"),
        }
    }

    /// Why nothing more comes.
    fn error(self, refusal: Refusal) -> String {
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

fn start(query: &Query) -> Result<Start, Problem> {
    let Some(text) = query.get("start") else { return Ok(Start::Default) };
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
            "parameter start is {text:?}; earliest, latest, a position, and a time such as 2026-11-28T06:30:00Z are accepted"
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
    let (parts, _) = request.into_parts();
    let query = Query::read(&parts.uri, &["start"])?;
    let start = resumed(&parts)?.map_or_else(|| start(&query), Ok)?;
    let events = u32::try_from(options::PREFETCH_EVENTS.default).unwrap_or(u32::MAX);
    stream_of(door, &parts, &topic, asked(None, start, events)).await
}

/// As a member of a group, with leases. The end of the stream gives them back.
pub(super) async fn group(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let query = Query::read(&parts.uri, &["max_unsettled", "member", "start"])?;
    let most = query.number("max_unsettled", (1, options::PREFETCH_EVENTS.max))?;
    let most = most.unwrap_or(options::PREFETCH_EVENTS.default);
    let member = query.get("member").map(MemberName::parse).transpose().map_err(|e| invalid(e.to_string()))?;
    let group = GroupKey { member, ..group_key(&group)? };
    let asked = asked(Some(group), start(&query)?, u32::try_from(most).unwrap_or(u32::MAX));
    stream_of(door, &parts, &topic, asked).await
}

fn asked(group: Option<GroupKey>, start: Start, events: u32) -> ConsumerRequest {
    let mode = group.as_ref().and_then(|key| key.member.as_ref()).map(|_| admin::GroupMode::Broadcast.into());
    let settings = admin::GroupSettings { mode, ..admin::GroupSettings::default() };
    ConsumerRequest { group, start, settings, credit: Credit { events, bytes: options::PREFETCH_BYTES.default } }
}

async fn stream_of(door: Door, parts: &Parts, topic: &str, asked: ConsumerRequest) -> Result<Response, Problem> {
    let format = Format::of(&parts.headers)?;
    let consumer = door.calls.consume(&door.caller("http"), topic, asked).await?;
    let headers = [
        (CONTENT_TYPE.as_str(), format.content_type()),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-accel-buffering", "no"),
    ];
    let pieces = stream::unfold(Some((door, consumer)), move |state| async move {
        let (door, mut consumer) = state?;
        let (piece, goes_on) = piece(&door, &mut consumer, format).await;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), goes_on.then_some((door, consumer))))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// The next piece, and whether more may come.
async fn piece(door: &Door, consumer: &mut Consumer, format: Format) -> (String, bool) {
    let mut piece = String::new();
    let mut next = match timeout(KEEP_ALIVE, consumer.next()).await {
        Err(_) => return (format.comment("still here"), true),
        Ok(next) => match next {
            Ok(None) => return (format.comment("the gateway is stopping"), false),
            next => next,
        },
    };
    loop {
        match next {
            Ok(Some(delivered)) => format.write(door, &delivered, &mut piece),
            Ok(None) => return (piece, true),
            Err(refusal) => return (piece + &format.error(refusal), false),
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

    #[test]
    fn accept_picks_the_first_that_there_is() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Format::of(&headers).ok()
        };
        assert_eq!(of("text/html, text/event-stream;q=0.9"), Some(Format::Sse));
        assert_eq!(of("application/x-ndjson, text/event-stream"), Some(Format::NdJson));
        assert_eq!(of("*/*"), Some(Format::NdJson));
        assert_eq!(of("image/png"), None);
        assert_eq!(Format::of(&HeaderMap::new()).ok(), Some(Format::NdJson));
    }
}
