//! One HTTP connection: from its first bytes to the end of all that was begun in it.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{mpsc, watch};

use super::credentials;
use super::head::{self, MAX_HEADERS};
use super::origin::{self, Judged};
use super::{Door, Guests, HttpConfig, Refused};
use crate::ingress::calls::Calls;
use crate::ingress::io::Prefixed;
use crate::ingress::native::Native;
use crate::ingress::{Accepted, Shutdown};
use crate::mesh::{Caller, Counts};

/// Least that the server takes as a bound of a head.
const LEAST_BUFFER: usize = 8192;

/// Most requests at once of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// What one HTTP/2 connection may have sent and not read by its handlers, in all and of one stream.
const WINDOW: u32 = 1 << 20;

/// How long the head of a later request may take; a connection that is idle for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

pub(super) async fn serve(
    (router, (native, calls), config): (Router, (Arc<Native>, Arc<Calls>), HttpConfig),
    accepted: Accepted,
    mut shutdown: watch::Receiver<Shutdown>,
) {
    let Accepted { stream, prefix, peer, principal, waited } = accepted;
    let (open, mut ended) = mpsc::channel(1);
    let carries = Arc::new(AtomicBool::new(false));
    let (authenticated, guests) = (principal.is_some(), Arc::clone(&config.guests));
    let counts = Arc::clone(native.mesh().counts());
    // The one place where HTTP makes a caller: once a connection.
    let caller = Caller::known("http", Some(peer), principal.clone());
    let shutdown_of = shutdown.clone();
    let door = Door { native, calls, caller, principal, shutdown: shutdown_of, open, carries: Arc::clone(&carries) };
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(door.clone());
        answer(router.clone(), (Arc::clone(&guests), Arc::clone(&counts)), request, authenticated)
    });
    let builder = builder(&config);
    {
        let io = TokioIo::new(Prefixed::new(prefix, stream));
        let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
        let mut login = pin!(tokio::time::sleep(config.login_timeout.saturating_sub(waited)));
        let mut draining = pin!(async move {
            drop(shutdown.wait_for(|s| *s >= Shutdown::Draining).await);
            // Sessions may settle until the end.
            if carries.load(Ordering::Relaxed) {
                drop(shutdown.wait_for(|s| *s >= Shutdown::Closing).await);
            }
        });
        let (mut logged_in, mut told) = (false, false);
        loop {
            tokio::select! {
                biased;
                served = &mut serving => {
                    if let Err(error) = served {
                        tracing::debug!(%peer, %error, "HTTP connection lost");
                    }
                    break;
                }
                () = &mut login, if !logged_in => {
                    if !asked.load(Ordering::Relaxed) {
                        tracing::info!(%peer, "no HTTP request within the login timeout");
                        break;
                    }
                    logged_in = true;
                }
                () = &mut draining, if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
    // What was upgraded goes on without the connection.
    let _ = ended.recv().await;
}

fn counted(counts: &Counts, response: Response<Body>) -> Response<Body> {
    if let Some(Refused(kind)) = response.extensions().get() {
        counts.told(*kind);
    }
    response
}

async fn answer(
    router: Router,
    (guests, counts): (Arc<Guests>, Arc<Counts>),
    request: Request<Incoming>,
    authenticated: bool,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let page = match guests.judge(&parts, authenticated) {
        Judged::Answered(response) => return Ok(counted(&counts, response)),
        Judged::Passes(page) => page,
    };
    if let Some(response) = credentials::refused(&parts.headers) {
        return Ok(counted(&counts, response));
    }
    let response = match head::check(&parts.headers, parts.uri.path()) {
        Ok(()) => TowerToHyperService::new(router).call(Request::from_parts(parts, body)).await?,
        Err(problem) => problem.into_response(),
    };
    let mut response = counted(&counts, head::with_code(response).await);
    if let Some(page) = page {
        origin::allow(response.headers_mut(), &page);
    }
    Ok(response)
}

fn builder(config: &HttpConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(config.head_bytes.max(LEAST_BUFFER))
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    builder
}
