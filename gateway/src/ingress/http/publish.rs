//! `POST /v1/topics/{topic}/events`: publishing.

use axum::Extension;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use meshwire_proto::{ErrorKind, Timing, UnixMillis, options};

use super::event::{self, Mode};
use super::names::Named;
use super::query::Query;
use super::{Door, Problem, in_time};
use crate::ingress::calls::{Offer, Stored, Taken};

pub(super) async fn publish(
    Extension(door): Extension<Door>,
    Named(topic): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let query = Query::read(&parts.uri, &["deliver_at", "expires_in_ms", "timeout_ms"])?;
    let timing = timing(&query)?;
    let timeout = query.timeout(&options::REQUEST_TIMEOUT)?;
    let publishing = async {
        let (mode, body) = event::body(&door, &parts, body).await?;
        let mut offer = Offer::about(if mode == Mode::Batch { body.len() } else { 0 });
        event::parse(mode, &parts, &body)?.into_iter().for_each(|event| offer.event(event));
        let results = door.calls.publish(&door.caller("http"), &topic, offer, timing).await?;
        if mode == Mode::Batch {
            return Ok(answer(batch(results)));
        }
        match results.into_iter().next() {
            Some(result) => Ok(answer(item(Ok(result?)))),
            None => Err(Problem::new(ErrorKind::Internal, "no answer for the event")),
        }
    };
    in_time(timeout, publishing).await
}

fn timing(query: &Query) -> Result<Timing, Problem> {
    let deliver_at = match query.get("deliver_at") {
        None => UnixMillis(0),
        Some(text) => text
            .parse::<UnixMillis>()
            .map_err(|e| Problem::new(ErrorKind::Invalid, format!("parameter deliver_at: {e}")))?,
    };
    // Before 1970 is in the past.
    let deliver_at = if query.get("deliver_at").is_some() { UnixMillis(deliver_at.0.max(1)) } else { deliver_at };
    let expires_in_ms = query.number("expires_in_ms", (1, u64::MAX))?.unwrap_or(0);
    Ok(Timing { deliver_at, expires_in_ms })
}

/// One result as JSON.
fn item(taken: Taken) -> String {
    match taken {
        Ok(Stored { position: None, duplicate }) => format!(r#"{{"duplicate":{duplicate}}}"#),
        Ok(Stored { position: Some(position), duplicate }) => {
            format!(r#"{{"position":"{position}","duplicate":{duplicate}}}"#)
        }
        Err(refusal) => Problem::from(refusal).json().to_string(),
    }
}

/// All results, in the order of the events.
fn batch(results: Vec<Taken>) -> String {
    let mut text = String::with_capacity(16 + ITEM * results.len());
    text.push_str(r#"{"results":["#);
    for (n, taken) in results.into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&item(taken));
    }
    text.push_str("]}");
    text
}

/// About how long the result of an event is that was taken.
const ITEM: usize = 48;

fn answer(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
