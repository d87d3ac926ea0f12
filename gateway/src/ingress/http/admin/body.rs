//! The body of a command.

use axum::extract::Request;
use meshwire_proto::ErrorKind;

use super::super::deadline::TIMEOUT;
use super::super::event::text;
use super::super::query::Query;
use super::super::{Door, Problem, json_body};

/// Most bytes of a command.
const MOST: u64 = 64 << 10;

/// What a request says that takes no other parameter than its deadline; no body is an object without fields.
///
/// # Errors
/// `UNSUPPORTED` with status 415: it is not said to be JSON; `TOO_LARGE`.
pub(super) async fn read(request: Request) -> Result<String, Problem> {
    let (parts, body) = request.into_parts();
    Query::read(&parts.uri, &[TIMEOUT])?;
    let door = parts.extensions.get::<Door>();
    let door = door.ok_or_else(|| Problem::new(ErrorKind::Internal, "a request without a connection"))?;
    let bytes = json_body::bytes(door, &parts.headers, body, MOST, "(most of a command)").await?;
    Ok(if bytes.is_empty() { "{}".to_owned() } else { text(&bytes)?.to_owned() })
}
