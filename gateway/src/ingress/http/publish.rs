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
    let timing = timing(&query)?;
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
fn item(taken: Taken) -> serde_json::Value {
    match taken {
        Ok(Stored { position: None, duplicate }) => serde_json::json!({ "duplicate": duplicate }),
        Ok(Stored { position: Some(position), duplicate }) => {
            serde_json::json!({ "position": position.to_string(), "duplicate": duplicate })
        }
        Err(refusal) => Problem::from(refusal).json(),
    }
}
