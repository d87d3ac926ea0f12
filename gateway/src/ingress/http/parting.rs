//! Who is sent elsewhere when the gateway stops: every connection by which nothing was leased or settled, and no session goes. Those
//! stay, so that what is held can be settled here, also through a proxy that sends new connections to another gateway.
//!
//! HTTP/1.1 has `connection: close` with an answer, and a connection that waits ends at once; HTTP/2 has GOAWAY. What was begun is
//! still answered.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderValue, Request, Response, Version};

use super::activity::Activity;
use super::session;
use crate::mesh::Mesh;

/// Calls of gRPC that lease and settle.
const LEASING: [&str; 2] = ["/meshwire.v1.Mesh/Subscribe", "/meshwire.v1.Mesh/Settle"];

/// Whether a request is about what its caller holds, now or later.
fn ties<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    path.contains("/groups/")
        || path.starts_with(session::PATH)
        || LEASING.contains(&path)
        || path == meshwire_proto::codec::grpc::SESSION_PATH
        || request.headers().contains_key(UPGRADE)
}

/// Whether a connection may be sent elsewhere.
pub(super) struct Parting {
    mesh: Mesh,
    tied: AtomicBool,
}

impl Parting {
    pub(super) fn of(mesh: &Mesh) -> Self {
        Self { mesh: mesh.clone(), tied: AtomicBool::new(false) }
    }

    /// Looks at a request that comes; whether its answer can say that the connection ends.
    pub(super) fn sees<B>(&self, request: &Request<B>) -> bool {
        if ties(request) {
            self.tied.store(true, Ordering::Relaxed);
        }
        request.version() <= Version::HTTP_11
    }

    /// Says it if the gateway stops and the connection may go.
    pub(super) fn say<B>(&self, response: &mut Response<B>) {
        if self.mesh.is_stopping() && !self.is_tied() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    fn is_tied(&self) -> bool {
        self.tied.load(Ordering::Relaxed)
    }

    /// Whether the connection may go, once the gateway stops: not before its first request, which may be about a lease.
    pub(super) fn may_go(&self, activity: &Activity) -> bool {
        activity.has_begun() && !self.is_tied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn what_is_leased_ties_a_caller_to_its_connection_and_nothing_else_does() {
        let is_tied = |path: &str, upgrade: bool| {
            let request = Request::get(format!("http://localhost{path}"));
            let request = if upgrade { request.header(UPGRADE, "websocket") } else { request };
            ties(&request.body(()).unwrap())
        };
        for path in [
            "/v1/topics/t/groups/g/fetch",
            "/v1/topics/t/groups/g/events",
            "/v1/session",
            "/v1/session/1f",
            "/meshwire.v1.Mesh/Subscribe",
            "/meshwire.v1.Mesh/Settle",
            meshwire_proto::codec::grpc::SESSION_PATH,
        ] {
            assert!(is_tied(path, false), "{path}");
        }
        assert!(is_tied("/v1/ws", true));
        for path in ["/v1/topics/t/events", "/v1/topics/t/groups", "/meshwire.v1.Mesh/Publish", "/readyz", "/"] {
            assert!(!is_tied(path, false), "{path}");
        }
    }
}
