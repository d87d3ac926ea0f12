//! `/healthz`: the process lives. `/readyz`: it does what it is there for. Nothing is said of what it holds: everybody may ask.

use axum::Extension;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use meshwire_proto::ErrorKind;

use super::query::Query;
use super::{Door, Problem};
use crate::ingress::Shutdown;
use crate::mesh::{Refusal, stopping};

/// Both.
pub(super) const PATHS: [&str; 2] = ["/healthz", "/readyz"];

fn ok() -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], r#"{"status":"ok"}"#).into_response()
}

pub(super) async fn lives(request: Request) -> Result<Response, Problem> {
    Query::read(request.uri(), &[]).map(|_| ok())
}

pub(super) async fn ready(Extension(door): Extension<Door>, request: Request) -> Result<Response, Problem> {
    Query::read(request.uri(), &[])?;
    let failed = *door.native.mesh().failed().borrow();
    let shutdown = *door.shutdown.borrow();
    let reasons = reasons(shutdown, failed);
    if reasons.is_empty() {
        return Ok(ok());
    }
    let text = reasons.join("; ");
    Err(if failed {
        Problem::new(ErrorKind::StoreFailed, text)
    } else {
        Refusal { message: text, ..stopping() }.into()
    })
}

/// Why nobody should be sent here.
pub(super) fn reasons(shutdown: Shutdown, failed: bool) -> Vec<&'static str> {
    let stops = "the gateway stops: it takes settlements of what its members hold, and nothing new";
    let lost = "a write or sync of the log failed: nothing can be published until the gateway is started again";
    [(shutdown != Shutdown::Running, stops), (failed, lost)]
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, why)| why)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stops_or_has_lost_the_log_is_not_ready_and_says_why() {
        assert!(reasons(Shutdown::Running, false).is_empty());
        assert!(reasons(Shutdown::Draining, false).concat().contains("stops"));
        assert!(reasons(Shutdown::Running, true).concat().contains("log failed"));
        assert_eq!(reasons(Shutdown::Closing, true).len(), 2);
    }
}
