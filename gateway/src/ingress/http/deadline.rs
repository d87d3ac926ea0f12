//! Deadlines of requests: `timeout_ms` in the address, and `grpc-timeout`, which some programs and proxies send to whatever they call. The
//! earlier wins.
//!
//! *Invariant:* handlers only name the parameter as one that they take; what it does is here, the same for all. A handler is dropped when
//! the time is over: what it had begun may be done, what it had taken goes back.

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use meshwire_proto::{ErrorKind, options};
use tokio::time::Instant;

use super::query::Query;
use super::{Problem, call};
use crate::ingress::access;
use crate::mesh::Refusal;

/// The parameter: milliseconds, within the bounds of option `request_timeout`.
pub(super) const TIMEOUT: &str = "timeout_ms";

/// When a request ends whatever comes; with the request as it goes on to its handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// Of a request.
    pub(super) fn of(parts: &Parts) -> Option<Self> {
        parts.extensions.get().copied()
    }

    /// So much from now.
    #[cfg(test)]
    pub(super) fn after(time: std::time::Duration) -> Self {
        Self(Instant::now() + time)
    }

    pub(super) const fn end(self) -> Instant {
        self.0
    }

    /// What is left of it.
    pub(super) fn left(self) -> std::time::Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// What a request is told whose time is over.
pub(super) fn late() -> Refusal {
    let text =
        "no answer within the time that the request gave (timeout_ms, grpc-timeout); what was asked may have been done";
    Refusal::new(ErrorKind::Timeout, text)
}

/// The earlier of what the request says.
fn said(uri: &Uri, headers: &HeaderMap) -> Result<Option<Deadline>, Problem> {
    let (least, most) = (options::REQUEST_TIMEOUT.min, options::REQUEST_TIMEOUT.max);
    let own = Query::find(uri, TIMEOUT)?.map(|query| query.number(TIMEOUT, (least, most))).transpose()?.flatten();
    let own = own.map(std::time::Duration::from_millis);
    let least = own.into_iter().chain(call::timeout(headers)?).min();
    // A time that cannot be reached is none.
    Ok(least.and_then(|time| Instant::now().checked_add(time)).map(Deadline))
}

/// Carries a request out within its time.
pub(super) async fn keep(request: Request, next: Next) -> Response {
    within(request, |request| next.run(request)).await
}

/// The same by `answer`.
pub(super) async fn within(mut request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    match said(request.uri(), request.headers()) {
        Ok(None) => answer(request).await,
        Ok(Some(deadline)) => {
            request.extensions_mut().insert(deadline);
            // Of its own, as few have one: the others move with what is here for it.
            let answered = Box::pin(access::within(deadline.0, answer(request))).await;
            answered.unwrap_or_else(|_| Problem::from(late()).into_response())
        }
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn left(query: &str, grpc_timeout: Option<&str>) -> Result<Option<u128>, ErrorKind> {
        let headers = grpc_timeout.map(|value| (axum::http::HeaderName::from_static("grpc-timeout"), value));
        let headers = headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
        let said = said(&format!("/x{query}").parse().unwrap(), &headers).map_err(|problem| problem.kind())?;
        Ok(said.map(|deadline| deadline.left().as_millis()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_parameter_and_header_is_the_deadline() {
        assert_eq!(left("", None), Ok(None));
        assert_eq!(left("?a=1&timeout_ms=70&b", None), Ok(Some(70)));
        assert_eq!(left("?%74imeout_ms=70", None), Ok(Some(70)));
        assert_eq!(left("", Some("3S")), Ok(Some(3000)));
        assert_eq!(left("?timeout_ms=70", Some("3S")), Ok(Some(70)));
        assert_eq!(left("?timeout_ms=70", Some("69m")), Ok(Some(69)));
        assert_eq!(left("?timeout_ms=70", Some("0S")), Ok(Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_is_none_is_refused_and_not_passed_over() {
        for query in ["?timeout_ms=0", "?timeout_ms=", "?timeout_ms=1s", "?timeout_ms=-1", "?timeout_ms=43200001"] {
            assert_eq!(left(query, None), Err(ErrorKind::Invalid), "{query}");
        }
        assert_eq!(left("", Some("1s")), Err(ErrorKind::Invalid));
    }
}
