//! Sessions of our own clients inside plain HTTP requests.
//!
//! The bytes are those of a session over TCP, preface first. What a client says comes in numbered batches, each of
//! which is taken once however often it is sent; what the gateway says is kept until it is acknowledged, and can be
//! asked for again from any byte on. So each request may be cut off anywhere.
//!
//! - `POST /v1/session`: the first bytes; answers with the id in `meshwire-session` and the gateway's first bytes;
//! - `POST /v1/session/{id}?batch=N[&after=B][&end=true]`: batch `N`, from 1; all before byte `B` has come;
//! - `GET /v1/session/{id}?after=B[&wait_ms=T]`: bytes from `B` on, as a stream, or what there is after at most `T`.
//!   204: there are no more, and will be none.

mod link;
mod output;
mod stream;
mod table;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::PREFACE;
use tokio::time::timeout;

use super::names::Named;
use super::query::Query;
use super::{Door, Problem, body};
use crate::ingress::native::{Coming, serve_stream};
use crate::ingress::receiving::Share;
use crate::ingress::{Login, Shutdown};
use crate::mesh::{Refusal, Spoken};
use link::{Link, Listening, Offer, Piece, Room, WINDOW};
use stream::Carried;
pub(super) use table::Carriers;
use table::Id;

/// Where a session begins.
pub(super) const PATH: &str = "/v1/session";

/// The header that names a carrier.
const SESSION: HeaderName = HeaderName::from_static("meshwire-session");

/// Longest that a request for output waits.
const MAX_WAIT_MS: u64 = 25_000;

/// How long what a session said last may be asked for after its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router {
    Router::new()
        .route(PATH, post(begin))
        .route("/v1/session/{id}", get(listen).post(receive))
        .layer(Extension(Arc::new(Carriers::default())))
}

async fn begin(
    Extension(door): Extension<Door>,
    Extension(carriers): Extension<Arc<Carriers>>,
    request: Request,
) -> Result<Response, Problem> {
    Query::read(request.uri(), &[])?;
    let limit = u64::from(door.native.config.login_frame_bytes);
    let reading = body::read(&door.share, request.into_body(), limit, "login_frame_bytes");
    let first = door.login.within(reading).await.map_err(overdue)??;
    if !first.starts_with(&PREFACE) {
        let text = "the body does not begin with the preface of a Meshwire session";
        return Err(Problem::new(ErrorKind::Invalid, text));
    }
    let said_hello = first.len() > PREFACE.len();
    // It counts as a connection: the one that it was begun by may carry many, and end.
    let place = door.native.places.take()?;
    let link = Arc::new(Link::new(Room::of(&door.native), door.principal.clone(), &first));
    drop(first);
    let id = carriers.add(&*door.native.random, &link)?;
    let mut listening = link.listen(0).map_err(|_| Problem::new(ErrorKind::Internal, "a new carrier has output"))?;
    let (wait, login) = (door.login.left(), door.login.at(place));
    tokio::spawn(run((id, Arc::clone(&link)), carriers, door, login));
    // With a Hello the answer has the Welcome; without one, the preface is all there is to say.
    let enough = if said_hello { PREFACE.len() + 1 } else { PREFACE.len() };
    let mut said = BytesMut::new();
    let gather = async {
        while said.len() < enough {
            let Piece::Bytes(piece) = listening.next().await else { break };
            said.extend_from_slice(&piece);
        }
    };
    // What is late is asked for with GET.
    let _ = timeout(wait, gather).await;
    let id = HeaderValue::from_str(&table::text(&id)).map_err(|e| Problem::new(ErrorKind::Internal, e.to_string()))?;
    Ok((StatusCode::CREATED, [(SESSION, id)], bytes(Body::from(said.freeze()))).into_response())
}

/// What a beginning is told that is not whole in its time.
fn overdue(refusal: Refusal) -> Problem {
    let is_late = refusal.kind == ErrorKind::Timeout;
    let problem = Problem::from(refusal);
    if is_late { problem.with(StatusCode::REQUEST_TIMEOUT) } else { problem }
}

/// The session of a carrier, to its end.
async fn run((id, link): (Id, Arc<Link>), carriers: Arc<Carriers>, door: Door, login: Login) {
    let coming = Coming { caller: door.caller("http"), login, held: Some(door.share.hold()) };
    // The place of the request that began it is not its own.
    let (native, shutdown, open) = door.leave();
    let _counted = native.mesh().counts().connected(Spoken::HttpSession);
    let (heartbeat, stopping) = (native.config.heartbeat, shutdown.clone());
    let carried = (Box::new(Carried(Arc::clone(&link))) as crate::ingress::BoxIo, BytesMut::new());
    let mut serving = Box::pin(serve_stream(native, carried, coming, shutdown));
    tokio::select! {
        biased;
        () = &mut serving => {}
        () = link.abandoned(heartbeat) => {
            link.lose();
            serving.await;
        }
    }
    link.over();
    // A client that is gone never hears of it.
    let last = || *stopping.borrow() != Shutdown::Running;
    let _ = timeout(LAST_WORDS, link.told(last)).await;
    carriers.remove(&id);
    // The gateway waits for it when it stops.
    drop(open);
}

async fn receive(
    Extension(door): Extension<Door>,
    Extension(carriers): Extension<Arc<Carriers>>,
    Named(id): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let query = Query::read(request.uri(), &["batch", "after", "end"])?;
    let link = carriers.find(&id, door.principal.as_ref())?;
    let number = query.number("batch", (1, u64::MAX))?;
    let number = number.ok_or_else(|| invalid("batch=N is missing: batches are numbered from 1"))?;
    let end = query.flag("end")?;
    if let Some(through) = query.number("after", (0, u64::MAX))? {
        link.acknowledge(through).map_err(|range| outside(through, range))?;
    }
    let turn = link.receive();
    // As of a session over TCP so much needs no leave: the frame that the batch is a part of may have all the leave there is.
    let share = Share::with(Arc::clone(&door.native.receiving), WINDOW as u64);
    let reading = body::read(&share, request.into_body(), WINDOW as u64, "none: send smaller batches");
    let batch = tokio::select! {
        batch = reading => batch?,
        () = superseded(&link, turn) => return Err(late()),
    };
    loop {
        let mut read = std::pin::pin!(link.read.notified());
        read.as_mut().enable();
        match link.offer(turn, number, &batch, end) {
            Offer::Taken => return Ok(StatusCode::NO_CONTENT.into_response()),
            Offer::Full => read.await,
            Offer::Gap(expected) => {
                let text = format!("batch {number} came where {expected} was expected");
                return Err(Problem::new(ErrorKind::Invalid, text).with(StatusCode::CONFLICT));
            }
            Offer::Superseded => return Err(late()),
            Offer::Over => return Err(Problem::new(ErrorKind::NotFound, "the session has ended")),
        }
    }
}

async fn superseded(link: &Link, turn: u64) {
    loop {
        let mut read = std::pin::pin!(link.read.notified());
        read.as_mut().enable();
        if !link.receives(turn) {
            return;
        }
        read.await;
    }
}

async fn listen(
    Extension(door): Extension<Door>,
    Extension(carriers): Extension<Arc<Carriers>>,
    Named(id): Named<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["after", "wait_ms"])?;
    let link = carriers.find(&id, door.principal.as_ref())?;
    let after = query.number("after", (0, u64::MAX))?.unwrap_or_default();
    let wait = query.number("wait_ms", (0, MAX_WAIT_MS))?;
    link.acknowledge(after).map_err(|range| outside(after, range))?;
    let mut listening = link.listen(after).map_err(|range| outside(after, range))?;
    match listening.piece() {
        Piece::End => Ok(StatusCode::NO_CONTENT.into_response()),
        Piece::Bytes(piece) if wait.is_some() => Ok(bytes(Body::from(piece)).into_response()),
        Piece::Bytes(piece) => Ok(bytes(streamed(piece, listening)).into_response()),
        Piece::Superseded => Err(late()),
        Piece::None => match wait {
            None => Ok(bytes(streamed(Bytes::new(), listening)).into_response()),
            Some(wait) => match timeout(Duration::from_millis(wait), listening.next()).await {
                Ok(Piece::Bytes(piece)) => Ok(bytes(Body::from(piece)).into_response()),
                Ok(Piece::End) => Ok(StatusCode::NO_CONTENT.into_response()),
                Ok(Piece::Superseded) => Err(late()),
                Ok(Piece::None) | Err(_) => Ok(bytes(Body::empty()).into_response()),
            },
        },
    }
}

/// All that follows, until the session ends or a later request takes its place.
fn streamed(first: Bytes, listening: Listening) -> Body {
    let pieces = unfold((Some(first), listening), |(first, mut listening)| async move {
        let piece = match first.filter(|first| !first.is_empty()) {
            Some(first) => first,
            None => match listening.next().await {
                Piece::Bytes(piece) => piece,
                _ => return None,
            },
        };
        Some((Ok::<_, Infallible>(piece), (None, listening)))
    });
    Body::from_stream(pieces)
}

/// Bytes that nothing between here and the client may keep or change.
fn bytes(body: Body) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "no-store, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body)
}

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

fn late() -> Problem {
    Problem::new(ErrorKind::Cancelled, "a later request has taken the place of this one").with(StatusCode::CONFLICT)
}

fn outside(after: u64, (first, last): (u64, u64)) -> Problem {
    invalid(format!("after={after} is not in what is kept of the session's bytes: {first} to {last}"))
}
