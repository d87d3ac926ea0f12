//! HTTP/1.1 and HTTP/2, and what travels inside them.
//!
//! - [`connection`]: one connection: limits before its first request is whole, shutdown;
//! - [`head`]: what is refused for its head alone, on every path;
//! - [`websocket`]: upgrades and their connections, whatever is said in them; native sessions as binary messages;
//! - [`publish`], [`request`], [`receive`], [`fetch`], [`settle`]: events for programs without our client; [`event`], [`delivery`]: how they
//!   are written;
//! - [`session`]: sessions inside requests, for where nothing else gets through;
//! - [`deadline`]: how long a request may take;
//! - [`accept`]: what an answer is to be;
//! - [`origin`]: who is let in: no foreign web page;
//! - [`fields`]: what objects of JSON in requests may have;
//! - [`admin`]: the commands of administration;
//! - [`health`], [`metrics`], [`page`]: for those who watch a gateway;
//! - [`cloudevents`], [`pages`]: the same as messages of WebSocket;
//! - [`activity`]: connections without requests end;
//! - [`parting`]: who is sent elsewhere when the gateway stops;
//! - [`window`]: what HTTP/2 may send that is not read;
//! - [`credentials`]: what cannot be verified is refused;
//! - [`turned`]: HTTP/2 that is not served;
//! - [`unreadable`]: errors as problem details also for heads that cannot be read.

mod accept;
mod activity;
mod admin;
mod authority;
mod cloudevents;
mod connection;
mod credentials;
mod deadline;
mod delivery;
mod event;
mod fetch;
mod fields;
mod head;
mod health;
mod json_body;
mod metrics;
mod names;
mod openapi;
mod origin;
mod page;
mod pages;
mod parting;
mod publish;
mod query;
mod receive;
mod request;
mod session;
mod settle;
mod turned;
mod unreadable;
mod websocket;
mod window;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::BytesMut;
use tokio::sync::watch;

use super::calls::Calls;
use super::io::Prefixed;
use super::native::Native;
use super::web::{Door, Problem, ProblemKind, body, call};
use super::{Accepted, BoxIo, Ingress, Shutdown, Sniff, Turned, say};
use crate::mesh::{Refusal, Spoken};
pub use origin::Guests;
use window::Windows;

/// Longest name of a method.
const LONGEST_METHOD: usize = 16;

/// Limits of HTTP connections.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// How long a connection may be without a request, and how long the head of each but the first may take to come.
    pub idle_timeout: Duration,
    /// Silence after which an HTTP/2 connection is pinged; it is dead after two and a half of them.
    pub heartbeat: Duration,
    /// Most bytes of a request's head.
    pub head_bytes: usize,
    /// Web pages and names that are let in.
    pub guests: Arc<Guests>,
    /// Bytes that HTTP/2 connections may have sent and not read, over all of them, beyond 64 KiB of each.
    pub window_bytes: u64,
}

/// HTTP behind the listener.
pub struct HttpIngress {
    native: Arc<Native>,
    calls: Arc<Calls>,
    config: HttpConfig,
    windows: Arc<Windows>,
    router: Router,
}

impl HttpIngress {
    /// HTTP over these calls, and the sessions of `native`; with the paths of another door that travels in requests too.
    #[must_use]
    pub fn new(native: Arc<Native>, calls: Arc<Calls>, config: HttpConfig, others: Router) -> Self {
        let timed = Router::new()
            .route("/v1/topics/{topic}/events", post(publish::publish).get(receive::broadcast))
            .route("/v1/topics/{topic}/requests", post(request::request))
            .route("/v1/topics/{topic}/groups/{group}/events", get(receive::group))
            .route("/v1/topics/{topic}/groups/{group}/fetch", post(fetch::fetch))
            .route("/v1/topics/{topic}/groups/{group}/settle", post(settle::settle))
            .merge(admin::routes())
            .route_layer(from_fn(deadline::keep));
        let router = Router::new()
            .route(websocket::PATH, get(websocket::upgrade))
            .merge(session::routes())
            .merge(timed)
            .merge(page::routes())
            .route("/healthz", get(health::lives))
            .route("/readyz", get(health::ready))
            .route("/metrics", get(metrics::metrics))
            .merge(others)
            .route("/openapi.json", get(openapi::openapi))
            .fallback(nothing_here)
            .method_not_allowed_fallback(|method: Method, uri: Uri, headers: HeaderMap| async move {
                // To gRPC a path that others ask for is as little a method as one that nobody does.
                if method == Method::POST && call::is_grpc(&headers) {
                    return call::unknown(uri.path());
                }
                head::wrong_method(method, uri)
            });
        let windows = Windows::new(config.window_bytes);
        Self { native, calls, config, windows, router }
    }
}

/// In the words of who asks.
async fn nothing_here(uri: Uri, headers: HeaderMap) -> Response {
    if call::is_grpc(&headers) { call::unknown(uri.path()) } else { Problem::no_path(uri.path()).into_response() }
}

impl Ingress for HttpIngress {
    fn name(&self) -> &'static str {
        "http"
    }

    fn spoken(&self) -> Option<Spoken> {
        Some(Spoken::Http)
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        begins(prefix)
    }

    fn turn_away(&self, stream: BoxIo, prefix: BytesMut, refusal: Refusal) -> Turned {
        self.native.mesh().counts().told(refusal.kind);
        if prefix.starts_with(H2_PREFACE) {
            return Box::pin(turned::answer_each(Prefixed::new(prefix, stream), refusal, self.config.head_bytes));
        }
        Box::pin(say(stream, Problem::from(refusal).into_bytes()))
    }

    fn serve(
        &self,
        accepted: Accepted,
        shutdown: watch::Receiver<Shutdown>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let parts = (self.router.clone(), (self.native.clone(), self.calls.clone()), self.config.clone());
        let window = accepted.prefix.starts_with(H2_PREFACE).then(|| self.windows.open());
        Box::pin(connection::serve(parts, window, accepted, shutdown))
    }
}

/// How HTTP/2 begins, as far as it is read to tell it.
const H2_PREFACE: &[u8] = b"PRI ";

/// An answer of JSON.
fn answer_json(value: &serde_json::Value) -> Response {
    written(value.to_string())
}

/// An answer of JSON that is written already.
fn written(json: impl Into<axum::body::Body>) -> Response {
    ([(CONTENT_TYPE, "application/json")], json.into()).into_response()
}

/// A method and a space, or the HTTP/2 preface, which begins like one.
fn begins(prefix: &[u8]) -> Sniff {
    let method = prefix.iter().take(LONGEST_METHOD).take_while(|b| b.is_ascii_uppercase()).count();
    match prefix.get(method) {
        Some(b' ') if method > 0 => Sniff::Yes,
        None if method < LONGEST_METHOD => Sniff::NeedMore,
        _ => Sniff::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_and_a_space_are_http_and_what_cannot_become_one_is_not() {
        let cases: [(&[u8], Sniff); 9] = [
            (b"", Sniff::NeedMore),
            (b"GE", Sniff::NeedMore),
            (b"GET ", Sniff::Yes),
            (b"POST /v1", Sniff::Yes),
            (b"PRI * HTTP/2.0", Sniff::Yes),
            (b"get /", Sniff::No),
            (b" GET", Sniff::No),
            (b"GET/", Sniff::No),
            (b"AAAAAAAAAAAAAAAA", Sniff::No),
        ];
        for (prefix, expected) in cases {
            assert_eq!(begins(prefix), expected, "{}", prefix.escape_ascii());
        }
    }
}
