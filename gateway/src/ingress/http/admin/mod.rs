//! Administration: each operation makes one command of `meshwire.admin.v1`, and shows its answer as JSON.
//!
//! - [`paging`], [`body`]: what a request says;
//! - [`topics`], [`groups`], [`dead_letters`], [`limits`]: the operations;
//! - [`show`]: the answers, with the names that `meshwire --json` has.

mod body;
mod dead_letters;
mod groups;
mod limits;
pub(super) mod paging;
pub(super) mod show;
mod topics;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin::{answer, command};
use serde_json::Value;

use super::{Door, Problem, answer_json as json, written};

pub(super) fn routes() -> Router {
    Router::new()
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{topic}", get(topics::one).put(topics::put).patch(topics::change).delete(topics::delete))
        .route("/v1/topics/{topic}/groups", get(groups::list))
        .route(
            "/v1/topics/{topic}/groups/{group}",
            get(groups::one).put(groups::put).patch(groups::change).delete(groups::delete),
        )
        .route("/v1/topics/{topic}/groups/{group}/seek", post(groups::seek))
        .route("/v1/topics/{topic}/groups/{group}/dead-letters", get(dead_letters::list))
        .route("/v1/topics/{topic}/groups/{group}/dead-letters/{number}", get(dead_letters::one))
        .route("/v1/topics/{topic}/groups/{group}/dead-letters/redrive", post(dead_letters::redrive))
        .route("/v1/topics/{topic}/groups/{group}/dead-letters/purge", post(dead_letters::purge))
        .route("/v1/limits", get(limits::show).patch(limits::change))
}

/// What an operation answers.
type Shown = Result<Response, Problem>;

/// Carries a command out, and waits until it is kept.
pub(super) async fn carry_out(door: &Door, command: command::Command) -> Result<answer::Answer, Problem> {
    door.calls.admin(&door.caller("http"), command).await?.ok_or_else(unexpected)
}

/// An answer that does not belong to its command.
fn unexpected() -> Problem {
    Problem::new(ErrorKind::Internal, "another answer than that of the command")
}

/// A page of a list. `next` is the cursor of the next one, and absent on the last.
fn page(items: impl Iterator<Item = String>, next: Option<String>) -> Response {
    let items: Vec<String> = items.collect();
    let next = next.map(|next| format!(",\"next\":{}", Value::from(next))).unwrap_or_default();
    written(format!("{{\"items\":[{}]{next}}}", items.join(",")))
}
