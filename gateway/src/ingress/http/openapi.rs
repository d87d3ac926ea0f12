//! `/openapi.json`: every operation of HTTP. A test compares it with the routes.

use axum::extract::Request;
use axum::response::Response;

use super::query::Query;
use super::{Problem, written};

/// What is at it. A WebSocket at `/v1/ws` and the carrier of sessions are no operations: only their own clients speak them.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn openapi(request: Request) -> Result<Response, Problem> {
    Query::read(request.uri(), &[]).map(|_| written(DOCUMENT))
}
