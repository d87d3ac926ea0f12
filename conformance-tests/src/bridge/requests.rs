//! A session that travels in HTTP requests: batches go to the script in the order of their numbers, and what it says
//! can be asked for from any byte on.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{READ, script};

/// Where sessions begin.
const PATH: &str = "/v1/session";

/// The header that names one.
const SESSION: &str = "meshwire-session";

/// A client that asks for nothing for so long is gone.
const GONE: Duration = Duration::from_secs(5);

type Pieces = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
type Body = Either<Full<Bytes>, StreamBody<Pieces>>;

/// The sessions of one bridge, by number.
#[derive(Default)]
pub(super) struct Carriers(Mutex<HashMap<u64, Arc<Carrier>>>);

/// One of them. A case is short: all that its script said is kept.
struct Carrier {
    up: tokio::sync::Mutex<Up>,
    down: watch::Sender<Said>,
}

/// To the script.
struct Up {
    /// The number that the next batch must have.
    next: u64,
    script: OwnedWriteHalf,
}

#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    over: bool,
}

impl Carriers {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Arc<Carrier>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests of one connection.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    carriers: Arc<Carriers>,
) -> io::Result<()> {
    let service = service_fn(|request| {
        let carriers = Arc::clone(&carriers);
        // A connection that is cut takes no batch back that is half written.
        async move { tokio::spawn(answer(request, peer, carriers)).await.map_err(io::Error::other)? }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

async fn answer(request: Request<Incoming>, peer: SocketAddr, carriers: Arc<Carriers>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let parameter = |name: &str| {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
    };
    let number = |name: &str| parameter(name).and_then(|value| value.parse::<u64>().ok());
    let rest = parts.uri.path().strip_prefix(PATH).unwrap_or("?");
    if rest.is_empty() && parts.method == Method::POST {
        let first = body.collect().await.map_err(io::Error::other)?.to_bytes();
        return begin(&first, peer, &carriers).await;
    }
    let id = rest.strip_prefix('/').and_then(|id| id.parse().ok());
    let carrier = id.and_then(|id: u64| carriers.all().get(&id).cloned());
    match (carrier, parts.method) {
        (Some(carrier), Method::POST) => {
            let batch = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let status = carrier.take(number("batch").unwrap_or_default(), &batch, parameter("end") == Some("true"));
            status_alone(status.await)
        }
        (Some(carrier), Method::GET) => {
            let after = usize::try_from(number("after").unwrap_or_default()).unwrap_or(usize::MAX);
            carrier.tell(after, number("wait_ms").map(Duration::from_millis)).await
        }
        _ => status_alone(StatusCode::NOT_FOUND),
    }
}

async fn begin(first: &[u8], peer: SocketAddr, carriers: &Carriers) -> io::Result<Response<Body>> {
    let (read, mut write) = script(peer).await?.into_split();
    write.write_all(first).await?;
    let carrier = Arc::new(Carrier {
        up: tokio::sync::Mutex::new(Up { next: 1, script: write }),
        down: watch::channel(Said::default()).0,
    });
    tokio::spawn(hear(Arc::clone(&carrier), read));
    let mut all = carriers.all();
    let id = all.len() as u64 + 1;
    all.insert(id, carrier);
    drop(all);
    let answer = Response::builder().status(StatusCode::CREATED).header(SESSION, id);
    answer.body(Either::Left(Full::default())).map_err(io::Error::other)
}

fn status_alone(status: StatusCode) -> io::Result<Response<Body>> {
    Response::builder().status(status).body(Either::Left(Full::default())).map_err(io::Error::other)
}

/// What the script says, until it ends or its client is gone.
async fn hear(carrier: Arc<Carrier>, mut script: OwnedReadHalf) {
    let mut buffer = vec![0; READ];
    let gone = carrier.abandoned();
    let mut gone = std::pin::pin!(gone);
    loop {
        let count = tokio::select! {
            count = script.read(&mut buffer) => count.unwrap_or(0),
            () = &mut gone => 0,
        };
        carrier.down.send_modify(|said| {
            said.bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
            said.over = count == 0;
        });
        if count == 0 {
            // The script may have ended first.
            let _ = carrier.up.lock().await.script.shutdown().await;
            return;
        }
    }
}

impl Carrier {
    /// Ends when nobody has asked for anything for so long.
    async fn abandoned(&self) {
        loop {
            self.down.closed().await;
            sleep(GONE).await;
            if self.down.receiver_count() == 0 {
                return;
            }
        }
    }

    /// Hands a batch on, once however often it comes.
    async fn take(&self, number: u64, batch: &[u8], end: bool) -> StatusCode {
        let mut up = self.up.lock().await;
        match number {
            number if number < up.next => return StatusCode::NO_CONTENT,
            number if number > up.next => return StatusCode::CONFLICT,
            _ if self.down.borrow().over => return StatusCode::NOT_FOUND,
            _ => up.next += 1,
        }
        let mut written = up.script.write_all(batch).await;
        if end {
            written = written.and(up.script.shutdown().await);
        }
        if written.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
    }

    /// What was said from a byte on: as it is said, or what there is in time.
    async fn tell(&self, mut after: usize, wait: Option<Duration>) -> io::Result<Response<Body>> {
        let mut down = self.down.subscribe();
        if after > down.borrow().bytes.len() {
            return status_alone(StatusCode::BAD_REQUEST);
        }
        if let Some(wait) = wait {
            let piece = timeout(wait, next(&mut down, &mut after)).await.unwrap_or_else(|_| Some(Bytes::new()));
            return match piece {
                Some(piece) => Ok(Response::new(Either::Left(Full::new(piece)))),
                None => status_alone(StatusCode::NO_CONTENT),
            };
        }
        let over = {
            let said = down.borrow();
            said.over && said.bytes.len() == after
        };
        if over {
            return status_alone(StatusCode::NO_CONTENT);
        }
        let pieces = unfold((down, after), |(mut down, mut after)| async move {
            let piece = next(&mut down, &mut after).await?;
            Some((Ok(Frame::data(piece)), (down, after)))
        });
        Ok(Response::new(Either::Right(StreamBody::new(Box::pin(pieces)))))
    }
}

/// The next bytes behind `after`; `None`: there will be no more.
async fn next(down: &mut watch::Receiver<Said>, after: &mut usize) -> Option<Bytes> {
    let said = down.wait_for(|said| said.over || said.bytes.len() > *after).await.ok()?;
    let piece = Bytes::copy_from_slice(said.bytes.get(*after..).unwrap_or_default());
    *after += piece.len();
    (!piece.is_empty()).then_some(piece)
}
