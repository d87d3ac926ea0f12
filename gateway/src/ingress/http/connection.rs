//! One HTTP connection: from its first bytes to the end of all that was begun in it.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{mpsc, watch};

use super::activity::{Activity, Answering};
use super::credentials;
use super::head::{self, MAX_HEADERS};
use super::origin::{self, Judged};
use super::parting::Parting;
use super::unreadable::Answered;
use super::window::Window;
use super::{Door, Guests, HttpConfig, ProblemKind, call, publish, session, websocket};
use crate::ingress::calls::Calls;
use crate::ingress::native::Native;
use crate::ingress::web::HttpConnection;
use crate::ingress::{Accepted, Shutdown, web};
use crate::mesh::{Counts, Spoken};

/// Least that the server takes as a bound of a head.
const LEAST_BUFFER: usize = 8192;

/// Most requests at once of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// Most bytes of an HTTP/2 frame: a batch is one or two then, and not five. What HTTP/2 begins with is 16,384.
const MAX_FRAME: u32 = 64 * 1024;

pub(super) async fn serve(
    (router, (native, calls), config): (Router, (Arc<Native>, Arc<Calls>), HttpConfig),
    window: Option<Window>,
    accepted: Accepted,
    shutdown: watch::Receiver<Shutdown>,
) {
    let Accepted { stream, prefix, peer, principal, login } = accepted;
    let (open, mut ended) = mpsc::channel(1);
    let (authenticated, guests) = (principal.is_some(), Arc::clone(&config.guests));
    let (counts, answers) = (Arc::clone(native.mesh().counts()), Arc::clone(native.mesh().counts()));
    let (activity, parting) = (Arc::new(Activity::default()), Parting::of(native.mesh()));
    let connection = HttpConnection::of((native, calls), (peer, principal, login.clone()), shutdown.clone(), open);
    let (seen, looked_at, as_grpc) = (Arc::clone(&activity), Arc::clone(&parting), OnceLock::new());
    let service = service_fn(move |request: Request<Incoming>| {
        let door = Door::at_request(&connection, !seen.has_begun());
        let (active, parting) = (seen.begin(), looked_at.seen(&request));
        if call::is_grpc(request.headers()) {
            let _ = as_grpc.get_or_init(|| counts.connected(Spoken::Grpc));
        }
        let judges = (Arc::clone(&guests), Arc::clone(&counts));
        let answered = answer(router.clone(), judges, request, (door, authenticated));
        async move {
            let response = Parting::say(parting, answered.await?);
            Ok::<_, Infallible>(response.map(|body| Answering::new(body, active)))
        }
    });
    let builder = builder(&config, window.as_ref());
    {
        let io = TokioIo::new(Answered::over(prefix, stream, answers, config.head_bytes));
        let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
        let mut must_go = pin!(login.over(|| activity.has_begun()));
        let mut over = pin!(over(shutdown, (&activity, config.idle_timeout), &parting));
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                served = &mut serving => {
                    if let Err(error) = served {
                        tracing::debug!(%peer, %error, "HTTP connection lost");
                    }
                    break;
                }
                why = &mut must_go => {
                    tracing::debug!(%peer, "{}", why.message);
                    break;
                }
                () = &mut over, if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
    // What was upgraded goes on without the connection, and has its place, if it needs one.
    drop(login);
    let _ = ended.recv().await;
}

/// Ends when nothing is expected any more: there was no request for long, or the gateway closes, or it stops and nobody has anything to
/// settle by this connection.
async fn over(mut shutdown: watch::Receiver<Shutdown>, (activity, idle): (&Activity, Duration), parting: &Parting) {
    let goes = parting.goes(shutdown.clone(), activity);
    tokio::select! {
        () = async { drop(shutdown.wait_for(|s| *s >= Shutdown::Closing).await) } => {}
        () = activity.over(idle) => {}
        () = goes => {}
    }
}

/// Whether it is for the beginning of a session: only that logs in.
fn begins_session(path: &str) -> bool {
    matches!(path, websocket::PATH | session::PATH | meshwire_proto::codec::grpc::SESSION_PATH)
}

/// The one place that counts what HTTP and gRPC answer; streams count what ends them.
fn counted(counts: &Arc<Counts>, response: Response<Body>) -> Response<Body> {
    let Some(ProblemKind(kind)) = response.extensions().get() else { return web::counted(counts, response) };
    counts.told(*kind);
    response
}

async fn answer(
    router: Router,
    (guests, counts): (Arc<Guests>, Arc<Counts>),
    request: Request<Incoming>,
    (door, authenticated): (Door, bool),
) -> Result<Response<Body>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let page = match guests.judge(&parts, authenticated) {
        Judged::Answered(response) => return Ok(counted(&counts, response)),
        Judged::Passes(page) => page,
    };
    if let Some(response) = credentials::refused(&parts.headers) {
        return Ok(counted(&counts, response));
    }
    let checked = head::check(&parts.headers, parts.uri.path());
    if checked.is_ok() && !begins_session(parts.uri.path()) {
        // Only now is there somebody who asks: who was refused has no place for good.
        door.login.place().logged_in();
    }
    parts.extensions.insert(door);
    let response = match checked {
        Ok(()) if publish::is_plain(&parts) => publish::plainly(Request::from_parts(parts, Body::new(body))).await,
        Ok(()) => TowerToHyperService::new(router).call(Request::from_parts(parts, body)).await?,
        Err(problem) => problem.answer(&parts.headers),
    };
    let mut response = counted(&counts, head::with_code(response).await);
    if let Some(page) = page {
        origin::allow(response.headers_mut(), &page);
    }
    Ok(response)
}

fn builder(config: &HttpConfig, window: Option<&Window>) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let window = window.map(Window::bytes);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(config.head_bytes.max(LEAST_BUFFER))
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(config.heartbeat)
        .keep_alive_timeout(config.heartbeat * 3 / 2)
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .max_frame_size(MAX_FRAME)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window);
    builder
}
