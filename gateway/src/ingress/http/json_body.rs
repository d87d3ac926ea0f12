//! Bodies of JSON: said to be JSON, and not too long.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::json;

use super::body::{self, Received, Upload};
use super::event::essence;
use super::{Door, Problem};

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
    let over = || format!("the body is over {limit} bytes {what}");
    let bytes = body::read_within(&door.share, Upload::of(headers, body), limit, over).await?;
    let essence = essence(headers)?;
    let nothing = bytes.is_empty() && essence.is_empty();
    if !nothing && !json::is_json(&essence) {
        let text = format!("content type {essence:?} is not taken here; send content-type: application/json");
        return Err(Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(bytes)
}

/// As long as a frame may be.
///
/// # Errors
/// As [`bytes()`].
pub(super) async fn read(door: &Door, headers: &HeaderMap, body: Body) -> Result<Received, Problem> {
    bytes(door, headers, body, door.native.max_frame_bytes(), "(option max_frame_bytes)").await
}
