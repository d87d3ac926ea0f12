//! `POST /v1/topics/{topic}/events`: publishing.

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use meshwire_proto::{ErrorKind, Timing, UnixMillis};

use super::deadline::{self, TIMEOUT};
use super::event::{self, Mode};
use super::names::Named;
use super::query::Query;
use super::{Door, Problem};
use crate::ingress::calls::{MAX_BATCH, Offer, Stored, Taken};

/// What stands before and behind the topic in the path.
const PATH: (&str, &str) = ("/v1/topics/", "/events");

/// The topic of a path that needs no decoding.
fn topic(path: &str) -> Option<&str> {
    path.strip_prefix(PATH.0)?.strip_suffix(PATH.1).filter(|topic| !topic.is_empty() && !topic.contains(['/', '%']))
}

/// Whether a request publishes and is written as most are: it need not go through the router, whose layers would cost it a tenth of its
/// time. All others come to [`publish`] by its route.
pub(super) fn is_plain(parts: &Parts) -> bool {
    parts.method == Method::POST && topic(parts.uri.path()).is_some()
}

/// Answers such a request.
pub(super) async fn plainly(door: Door, parts: Parts, body: Body) -> Response {
    deadline::within(Request::from_parts(parts, body), async |request| {
        let topic = topic(request.uri().path()).unwrap_or_default().to_owned();
        publish(Extension(door), Named(topic), request).await.into_response()
    })
    .await
}

pub(super) async fn publish(
    Extension(door): Extension<Door>,
    Named(topic): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let query = Query::read(&parts.uri, &["deliver_at", "expires_in_ms", TIMEOUT])?;
    let expires_in_ms = query.number("expires_in_ms", (1, u64::MAX))?;
    let timing = timing(query.get("deliver_at"), expires_in_ms)?;
    let (mode, body) = event::body(&door, &parts, body).await?;
    let mut offer = Offer::about(if mode == Mode::Batch { body.len() } else { 0 });
    let count = event::parse(mode, &parts, &body, |event| offer.parts(event))?;
    if count > MAX_BATCH {
        return Err(door.calls.too_many_events(&door.caller, &topic, count).into());
    }
    // What was made of the body is as much as it was.
    let (_, _held) = body.split();
    let results = door.calls.publish(&door.caller, &topic, offer, timing).await?;
    if mode == Mode::Batch {
        return Ok(answer(batch(results)));
    }
    match results.into_iter().next() {
        Some(result) => {
            let mut text = String::with_capacity(ITEM);
            item(Ok(result?), &mut text);
            Ok(answer(text))
        }
        None => Err(Problem::new(ErrorKind::Internal, "no answer for the event")),
    }
}

/// When an event is delivered.
///
/// # Errors
/// `INVALID`: not a time, or no time at all.
pub(super) fn timing(deliver_at: Option<&str>, expires_in_ms: Option<u64>) -> Result<Timing, Problem> {
    let deliver_at = match deliver_at.map(str::parse::<UnixMillis>) {
        None => UnixMillis(0),
        // Before 1970 is in the past.
        Some(Ok(at)) => UnixMillis(at.0.max(1)),
        Some(Err(e)) => return Err(Problem::new(ErrorKind::Invalid, format!("deliver_at: {e}"))),
    };
    if expires_in_ms == Some(0) {
        return Err(Problem::new(ErrorKind::Invalid, "expires_in_ms is 0; 1 and more are accepted"));
    }
    Ok(Timing { deliver_at, expires_in_ms: expires_in_ms.unwrap_or(0) })
}

/// Appends one result as JSON.
pub(super) fn item(taken: Taken, text: &mut String) {
    let Stored { position, duplicate } = match taken {
        Ok(stored) => stored,
        Err(refusal) => return text.push_str(&Problem::from(refusal).json().to_string()),
    };
    text.push('{');
    if let Some(position) = position {
        text.push_str(r#""position":""#);
        // Without a formatter: each event of a batch has one.
        text.push_str(itoa::Buffer::new().format(position));
        text.push_str(r#"","#);
    }
    text.push_str(if duplicate { r#""duplicate":true}"# } else { r#""duplicate":false}"# });
}

/// All results, in the order of the events.
fn batch(results: Vec<Taken>) -> String {
    let mut text = String::with_capacity(16 + ITEM * results.len());
    text.push_str(r#"{"results":["#);
    for (n, taken) in results.into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        item(taken, &mut text);
    }
    text.push_str("]}");
    text
}

/// About how long the result of an event is that was taken.
const ITEM: usize = 48;

fn answer(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
