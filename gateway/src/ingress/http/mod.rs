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
//! - [`window`]: what HTTP/2 may send that is not read;
//! - [`credentials`]: what cannot be verified is refused;
//! - [`full`]: HTTP/2 for which there is no place;
//! - [`problem`]: errors as RFC 9457 problem details; [`unreadable`]: also for heads that cannot be read.

mod accept;
mod activity;
mod admin;
mod authority;
mod body;
mod cloudevents;
mod connection;
mod credentials;
mod deadline;
mod delivery;
mod event;
mod fetch;
mod fields;
mod full;
mod head;
mod health;
mod json_body;
mod metrics;
mod names;
mod openapi;
mod origin;
mod page;
mod pages;
mod problem;
mod publish;
mod query;
mod receive;
mod request;
mod session;
mod settle;
mod unreadable;
mod websocket;
mod window;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use meshwire_proto::ErrorKind;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::calls::Calls;
use super::grpc;
use super::io::Prefixed;
use super::native::Native;
use super::receiving::Share;
use super::{Accepted, BoxIo, Ingress, Place, Shutdown, Sniff, Turned, say};
use crate::mesh::{Caller, Refusal, Spoken};
pub(super) use body::{Received, read_within as read_body};
pub use origin::Guests;
pub(super) use problem::Problem;
use problem::Refused;
use window::Windows;

/// Longest name of a method.
const LONGEST_METHOD: usize = 16;

/// Limits of HTTP connections.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// How long a connection may take from accept to the end of its first request's head; each later head has
    /// `idle_timeout`.
    pub login_timeout: Duration,
    /// How long a connection may be without a request.
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

/// What a handler knows of the connection that a request came by.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) native: Arc<Native>,
    calls: Arc<Calls>,
    /// Who asks by this connection, whatever it speaks.
    caller: Caller,
    /// Whom its certificate names, if it has shown one.
    principal: Option<Arc<str>>,
    pub(super) shutdown: watch::Receiver<Shutdown>,
    /// The connection ends when the last of these is dropped: what goes on after an upgrade holds one.
    pub(super) open: mpsc::Sender<()>,
    /// What bodies of its requests may hold in memory.
    pub(super) share: Arc<Share>,
    /// The place of the connection.
    pub(super) place: Arc<Place>,
    /// Whether a session in a stream of its own has that place.
    seated: Arc<AtomicBool>,
    /// From when on a login counts that this request begins: of the first one, since the connection was accepted.
    since: Instant,
    /// Whether requests of sessions came by it: those go on while the gateway drains.
    carries: Arc<AtomicBool>,
}

impl Door {
    /// Who asks, in the words of `protocol`.
    pub(super) fn caller(&self, protocol: &'static str) -> Caller {
        Caller { protocol, ..self.caller.clone() }
    }

    /// How much of the time for a login has gone by.
    pub(super) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// The place of a session that has a stream of the connection: the first has that of the connection.
    ///
    /// # Errors
    /// `BUSY`: all places are taken, and logged in.
    pub(super) fn seat(&self) -> Result<Arc<Place>, Refusal> {
        if self.seated.swap(true, Ordering::Relaxed) {
            return self.native.places.take_within(&self.place);
        }
        Ok(Arc::clone(&self.place))
    }
}

impl HttpIngress {
    /// HTTP over these calls, and the sessions of `native`.
    #[must_use]
    pub fn new(native: Arc<Native>, calls: Arc<Calls>, config: HttpConfig) -> Self {
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
            .merge(grpc::router(&calls))
            .route("/openapi.json", get(openapi::openapi))
            .fallback(nothing_here)
            .method_not_allowed_fallback(|method: Method, uri: Uri, headers: HeaderMap| async move {
                // To gRPC a path that others ask for is as little a method as one that nobody does.
                if method == Method::POST && grpc::is_grpc(&headers) {
                    return grpc::unknown(uri.path());
                }
                Problem::wrong_method(&method, uri.path())
            });
        let windows = Windows::new(config.window_bytes);
        Self { native, calls, config, windows, router }
    }
}

/// In the words of who asks.
async fn nothing_here(uri: Uri, headers: HeaderMap) -> Response {
    if grpc::is_grpc(&headers) { grpc::unknown(uri.path()) } else { Problem::no_path(uri.path()).into_response() }
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

    fn refuse(&self, prefix: &[u8], refusal: Refusal) -> Bytes {
        self.native.mesh().counts().told(refusal.kind);
        if prefix.starts_with(H2_PREFACE) { goaway(&refusal) } else { Problem::from(refusal).into_bytes() }
    }

    fn turn_away(&self, stream: BoxIo, prefix: BytesMut, refusal: Refusal) -> Turned {
        if !prefix.starts_with(H2_PREFACE) {
            return Box::pin(say(stream, self.refuse(&prefix, refusal)));
        }
        self.native.mesh().counts().told(refusal.kind);
        Box::pin(full::answer_each(Prefixed::new(prefix, stream), refusal, self.config.head_bytes))
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

/// The end of an HTTP/2 connection before any request: empty settings, and GOAWAY with `INADEQUATE_SECURITY` or `ENHANCE_YOUR_CALM`, the
/// code and the reason (RFC 9113 6.8, 7).
fn goaway(refusal: &Refusal) -> Bytes {
    let error = if refusal.kind == ErrorKind::TlsRequired { 0xc } else { 0xb };
    let text = format!("{}: {}", refusal.kind.code(), refusal.message);
    let length = u8::try_from(8 + text.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    bytes.extend([0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, error]);
    bytes.extend(text.bytes().take(usize::from(length) - 8));
    bytes.into()
}

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
