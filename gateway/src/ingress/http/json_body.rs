//! Bodies of JSON: said to be JSON, UTF-8, and not too long.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::json;
use serde::de::DeserializeOwned;

use super::body::Received;
use super::event::{essence, text};
use super::{Door, Problem, body};

/// The bytes of a body; empty: there is none.
///
/// # Errors
/// `TOO_LARGE` over `limit` bytes, which stands for `what`; `UNSUPPORTED` with status 415: it is not said to be JSON.
pub(super) async fn bytes(
    door: &Door,
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    what: &str,
) -> Result<Received, Problem> {
    let bytes = body::read_within(&door.share, body, limit, what).await?;
    let essence = essence(headers)?;
    let nothing = bytes.is_empty() && essence.is_empty();
    if !nothing && !json::is_json(&essence) {
        let text = format!("content type {essence:?} is not taken here; send content-type: application/json");
        return Err(Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(bytes)
}

/// A body as a type of its own; `None`: there is none.
///
/// # Errors
/// As [`bytes()`]; `INVALID`: not JSON, or other members than it has.
pub(super) async fn read<T: DeserializeOwned>(
    door: &Door,
    headers: &HeaderMap,
    body: Body,
) -> Result<Option<T>, Problem> {
    let bytes = bytes(door, headers, body, door.native.max_frame_bytes(), "(option max_frame_bytes)").await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let wrong = |e: serde_json::Error| Problem::new(ErrorKind::Invalid, format!("the body: {e}"));
    serde_json::from_str(text(&bytes)?).map(Some).map_err(wrong)
}
