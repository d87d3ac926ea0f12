//! One HTTP connection: from its first bytes to the end of all that was begun in it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
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
use crate::ingress::{Accepted, BoxIo, Login, Shutdown, web};
use crate::mesh::{Connected, Counts, Refusal, Spoken};

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
    let served = Arc::new(Served {
        router,
        guests: Arc::clone(&config.guests),
        counts: Arc::clone(native.mesh().counts()),
        authenticated: principal.is_some(),
        activity: Arc::default(),
        parting: Parting::of(native.mesh()),
        connection: HttpConnection::of((native, calls), (peer, principal, login.clone()), shutdown.clone(), open),
        as_grpc: OnceLock::new(),
    });
    carry((stream, prefix), served, (&login, shutdown), (&config, window.as_ref())).await;
    // What was upgraded goes on without the connection, and has its place, if it needs one.
    drop(login);
    let _ = ended.recv().await;
}

/// Serves its requests until nothing more is to come.
async fn carry(
    (stream, prefix): (BoxIo, BytesMut),
    served: Arc<Served>,
    (login, shutdown): (&Login, watch::Receiver<Shutdown>),
    (config, window): (&HttpConfig, Option<&Window>),
) {
    let io = TokioIo::new(Answered::over(prefix, stream, Arc::clone(&served.counts), config.head_bytes));
    let (activity, requests) = (&served.activity, Arc::clone(&served));
    let builder = builder(config, window);
    let service = service_fn(move |request| requests.call(request));
    let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
    // Looked at only when one of them has something to say, and not with each request.
    let mut beside: FuturesUnordered<Beside<'_>> = FuturesUnordered::new();
    beside.push(Box::pin(async { News::MustGo(login.over(|| activity.has_begun()).await) }));
    beside.push(Box::pin(over(shutdown.clone(), (activity, config.idle_timeout))));
    beside.push(Box::pin(stops(shutdown)));
    let (mut stops, mut told) = (false, false);
    loop {
        tokio::select! {
            biased;
            ended = &mut serving => {
                if let Err(error) = ended {
                    tracing::debug!(peer = served.connection.caller.peer.map(display), %error, "HTTP connection lost");
                }
                return;
            }
            Some(news) = beside.next() => match news {
                News::MustGo(why) => {
                    tracing::debug!(peer = served.connection.caller.peer.map(display), "{}", why.message);
                    return;
                }
                News::Stops => stops = true,
                News::Over => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
            },
            () = served.may_go(), if stops && !told => {
                told = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What a connection is told beside its requests.
enum News {
    /// It ends at once.
    MustGo(Refusal),
    /// The gateway stops.
    Stops,
    /// Nothing is expected any more: there was no request for long, or the gateway closes.
    Over,
}

type Beside<'a> = Pin<Box<dyn Future<Output = News> + Send + 'a>>;

async fn over(mut shutdown: watch::Receiver<Shutdown>, (activity, idle): (&Activity, Duration)) -> News {
    tokio::select! {
        () = async { drop(shutdown.wait_for(|s| *s >= Shutdown::Closing).await) } => {}
        () = activity.over(idle) => {}
    }
    News::Over
}

async fn stops(mut shutdown: watch::Receiver<Shutdown>) -> News {
    drop(shutdown.wait_for(|stage| *stage != Shutdown::Running).await);
    News::Stops
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

/// What the requests of a connection share: one count of who holds it for each, which no other connection touches.
struct Served {
    router: Router,
    guests: Arc<Guests>,
    counts: Arc<Counts>,
    connection: Arc<HttpConnection>,
    /// Its certificate names somebody.
    authenticated: bool,
    activity: Arc<Activity>,
    parting: Parting,
    /// It counts as one of gRPC from its first call on.
    as_grpc: OnceLock<Connected>,
}

impl Served {
    /// A request that comes, and its answer. What is moved with each is kept small: no future is moved into another here.
    fn call(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answering>, Infallible>> + use<> {
        let door = Door::at_request(&self.connection, !self.activity.has_begun());
        let (active, may_part) = (self.activity.begin(), self.parting.sees(&request));
        if call::is_grpc(request.headers()) {
            let _ = self.as_grpc.get_or_init(|| self.counts.connected(Spoken::Grpc));
        }
        let served = Arc::clone(self);
        async move {
            let mut response = served.answer(request, door).await?;
            if may_part {
                served.parting.say(&mut response);
            }
            Ok(response.map(|body| Answering::new(body, active)))
        }
    }

    /// Ends once the connection may be sent elsewhere. Nothing wakes it: a request that begins wakes the task which this is a part of.
    async fn may_go(&self) {
        poll_fn(|_| if self.parting.may_go(&self.activity) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    async fn answer(&self, request: Request<Incoming>, door: Door) -> Result<Response<Body>, Infallible> {
        let (mut parts, body) = request.into_parts();
        let page = match self.guests.judge(&parts, self.authenticated) {
            Judged::Answered(response) => return Ok(counted(&self.counts, response)),
            Judged::Passes(page) => page,
        };
        if let Some(response) = credentials::refused(&parts.headers) {
            return Ok(counted(&self.counts, response));
        }
        let checked = head::check(&parts.headers, parts.uri.path());
        if checked.is_ok() && !begins_session(parts.uri.path()) {
            // Only now is there somebody who asks: who was refused has no place for good.
            door.login.place().logged_in();
        }
        let response = match checked {
            Ok(()) if publish::is_plain(&parts) => publish::plainly(door, parts, Body::new(body)).await,
            Ok(()) => {
                parts.extensions.insert(door);
                TowerToHyperService::new(self.router.clone()).call(Request::from_parts(parts, body)).await?
            }
            Err(problem) => problem.answer(&parts.headers),
        };
        let mut response = counted(&self.counts, head::with_code(response).await);
        if let Some(page) = page {
            origin::allow(response.headers_mut(), &page);
        }
        Ok(response)
    }
}

fn builder(config: &HttpConfig, window: Option<&Window>) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let window = window.map(Window::bytes);
    builder
        .http1()
        // No timer for each head: the first one has the time of the login, and behind a later one that does not come to its end the
        // connection is idle.
        .header_read_timeout(None)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_with_each_request_is_small() {
        fn size<F>(_: impl FnOnce(&Arc<Served>, Request<Incoming>) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Served::call);
        assert!(size <= 5000, "{size} bytes, where 14,640 took a seventh of the time of a request by HTTP/2");
    }
}
