//! `POST /v1/topics/{topic}/events`: publishing.

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use meshwire_proto::{ErrorKind, Timing, UnixMillis, options};

use super::event::{self, Mode};
use super::query::{Named, Query};
use super::{Door, Problem, answer_json, in_time};
use crate::ingress::calls::{Offer, Stored, Taken};

pub(super) async fn publish(
    Extension(door): Extension<Door>,
    Named(topic): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let query = Query::read(&parts.uri, &["deliver_at", "expires_in_ms", "timeout_ms"])?;
    let expires_in_ms = query.number("expires_in_ms", (1, u64::MAX))?;
    let timing = timing(query.get("deliver_at"), expires_in_ms)?;
    let timeout = query.timeout(&options::REQUEST_TIMEOUT)?;
    let publishing = async {
        let (mode, events) = event::read(&door, &parts, body).await?;
        let mut offer = Offer::default();
        events.into_iter().for_each(|event| offer.event(event));
        let results = door.calls.publish(&door.caller("http"), &topic, offer, timing).await?;
        if mode == Mode::Batch {
            let results: Vec<serde_json::Value> = results.into_iter().map(item).collect();
            return Ok(answer_json(&serde_json::json!({ "results": results })));
        }
        match results.into_iter().next() {
            Some(result) => Ok(answer_json(&item(Ok(result?)))),
            None => Err(Problem::new(ErrorKind::Internal, "no answer for the event")),
        }
    };
    in_time(timeout, publishing).await
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

/// One result as JSON.
pub(super) fn item(taken: Taken) -> serde_json::Value {
    match taken {
        Ok(Stored { position: None, duplicate }) => serde_json::json!({ "duplicate": duplicate }),
        Ok(Stored { position: Some(position), duplicate }) => {
            serde_json::json!({ "position": position.to_string(), "duplicate": duplicate })
        }
        Err(refusal) => Problem::from(refusal).json(),
    }
}
