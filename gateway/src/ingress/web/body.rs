//! Reading a request's body: so many bytes at most, no slower than a floor, and in memory only what there is room for.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::header::EXPECT;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use meshwire_proto::ErrorKind;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::Problem;
use crate::ingress::receiving::{Held, RETRY_MS, Share};
use crate::mesh::Refusal;

/// A body comes with at least so many bytes in each period, or it is given up.
const PERIOD: Duration = Duration::from_secs(10);
const LEAST: usize = 10 * 1024;

/// What of a body that is too large is read all the same: most clients look at the answer only once they have sent it, and one
/// that is cut off before sees a lost connection in place of the error.
const DISCARDED: usize = 16 << 20;
const DISCARD_PERIOD: Duration = Duration::from_secs(5);

/// How long a body may hold memory that others wait for: as long as a session may be silent.
const PATIENCE: Duration = Duration::from_secs(25);

/// A client that was refused for want of room, and that sends nothing for so long, waits for the answer.
const SILENCE: Duration = Duration::from_millis(200);

/// What is said of a body that nothing more comes of.
const BROKEN: &str = "the body ended before its length, or its chunks are not as RFC 9112 says";

/// So many pieces may come without a timer: one that comes in more may be slow.
const QUICK_PIECES: u8 = 8;

/// Least by which the place for a body grows.
const STEP: usize = 16 * 1024;

/// A body, and its leave to be in memory.
#[derive(Debug)]
pub(in crate::ingress) struct Received {
    bytes: Bytes,
    held: Held,
}

impl Deref for Received {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl Received {
    /// The body, and what to keep until nothing is left of it, nor of what was made of it.
    pub(in crate::ingress) fn split(self) -> (Bytes, Held) {
        (self.bytes, self.held)
    }
}

/// A body that has not been read from.
#[derive(Debug)]
pub(in crate::ingress) struct Upload {
    body: Body,
    /// Its client waits for leave to send it (`expect: 100-continue`), which the first read gives.
    waits: bool,
}

impl From<Body> for Upload {
    fn from(body: Body) -> Self {
        Self { body, waits: false }
    }
}

impl Upload {
    /// Of a request with these headers.
    pub(in crate::ingress) fn of(headers: &HeaderMap, body: Body) -> Self {
        let expects = headers.get(EXPECT).map(HeaderValue::as_bytes);
        Self { body, waits: expects.is_some_and(|what| what.eq_ignore_ascii_case(b"100-continue")) }
    }
}

/// The whole body. Of one that is over the limit some more is read and dropped before the error is given, unless its client waits for
/// leave to send it.
///
/// # Errors
/// `TOO_LARGE`, naming the option that sets the limit; `TIMEOUT` with status 408 when it comes too slowly; `INVALID` when it breaks off;
/// `BUSY`: there is no room for it now.
pub(in crate::ingress) async fn read(
    share: &Arc<Share>,
    body: impl Into<Upload>,
    limit: u64,
    option: &str,
) -> Result<Received, Problem> {
    read_within(share, body, limit, || format!("the body is over {limit} bytes (option {option})")).await
}

/// The same; `over` says what is over which limit.
pub(in crate::ingress) async fn read_within(
    share: &Arc<Share>,
    body: impl Into<Upload>,
    limit: u64,
    over: impl Fn() -> String,
) -> Result<Received, Problem> {
    let Upload { mut body, waits } = body.into();
    let is_announced = body.size_hint().lower() > limit;
    let read = Reading::new(share.hold()).read(&mut body, limit, over).await;
    match read.as_ref().map_err(Problem::kind) {
        Err(ErrorKind::TooLarge) if is_announced && waits => {}
        Err(ErrorKind::TooLarge) => discard(body, DISCARD_PERIOD).await,
        Err(ErrorKind::Busy) => discard(body, SILENCE).await,
        _ => {}
    }
    read
}

type Piece = Option<Result<Frame<Bytes>, axum::Error>>;

/// The next piece of a body, if it is there at the first look, which asks for it, or at a second one a turn later: most bodies come with
/// their heads. These need no timer.
async fn soon(body: &mut Body) -> Option<Piece> {
    let mut asked = false;
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(piece) => Poll::Ready(Some(piece)),
        Poll::Pending if asked => Poll::Ready(None),
        Poll::Pending => {
            asked = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// How long a body is waited for that does not come at once.
struct Patience {
    began: Instant,
    /// What was there when the period began; of the first one all counts.
    before: usize,
    period: Pin<Box<Sleep>>,
}

impl Patience {
    fn begin() -> Self {
        Self { began: Instant::now(), before: 0, period: Box::pin(sleep(PERIOD)) }
    }

    /// Another period, behind so many bytes.
    fn go_on(&mut self, before: usize) {
        self.before = before;
        self.period.as_mut().reset(Instant::now() + PERIOD);
    }
}

/// What has come of a body.
struct Reading {
    held: Held,
    /// Data that comes in one piece is not copied.
    first: Bytes,
    more: Vec<u8>,
}

impl Reading {
    const fn new(held: Held) -> Self {
        Self { held, first: Bytes::new(), more: Vec::new() }
    }

    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    async fn read(mut self, body: &mut Body, limit: u64, over: impl Fn() -> String) -> Result<Received, Problem> {
        let broken = || Problem::new(ErrorKind::Invalid, BROKEN);
        let too_large = || Problem::new(ErrorKind::TooLarge, over());
        if body.size_hint().lower() > limit {
            return Err(too_large());
        }
        let (mut patience, mut quick): (Option<Patience>, _) = (None, QUICK_PIECES);
        loop {
            let at_once = if quick > 0 { soon(body).await } else { None };
            quick = if at_once.is_some() { quick - 1 } else { 0 };
            let frame = match at_once {
                Some(frame) => frame,
                None => {
                    let waiting = patience.get_or_insert_with(Patience::begin);
                    // Only the peer is waited for here: what was taken off the body is kept before anything else may end a period.
                    tokio::select! {
                        biased;
                        frame = body.frame() => frame,
                        () = &mut waiting.period => {
                            self.judge(waiting.before, waiting.began)?;
                            waiting.go_on(self.len());
                            continue;
                        }
                    }
                }
            };
            let Some(frame) = frame else {
                let bytes = if self.more.is_empty() { self.first } else { self.more.into() };
                return Ok(Received { bytes, held: self.held });
            };
            let Ok(data) = frame.map_err(|_| broken())?.into_data() else { continue };
            if (self.len() + data.len()) as u64 > limit {
                return Err(too_large());
            }
            self.add(&data, body.size_hint().exact()).await?;
        }
    }

    /// Whether it may go on behind a period that began with so many bytes.
    fn judge(&mut self, before: usize, began: Instant) -> Result<(), Problem> {
        if self.len() - before < LEAST {
            let text = format!("less than {LEAST} bytes of the body came in {} s", PERIOD.as_secs());
            return Err(Problem::new(ErrorKind::Timeout, text).with(StatusCode::REQUEST_TIMEOUT));
        }
        if self.held.is_wanted() && began.elapsed() > PATIENCE {
            let text = "the body came too slowly, and others wait for the memory that it takes";
            return Err(Refusal::new(ErrorKind::Busy, text).after(RETRY_MS).into());
        }
        Ok(())
    }

    /// Takes a piece, behind which so much is said to be left.
    async fn add(&mut self, data: &Bytes, left: Option<u64>) -> Result<(), Problem> {
        if self.len() == 0 {
            self.held.wait_for(data.len() as u64).await?;
            self.first = data.clone();
            return Ok(());
        }
        let len = self.len() + data.len();
        if len > self.more.capacity() {
            // What is said to be left may never come: the place grows with what does.
            let left = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
            let capacity = len + left.min((len / 4).max(STEP));
            self.held.wait_for(capacity as u64).await?;
            self.more.reserve_exact(capacity - self.more.len());
            self.more.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(data);
        Ok(())
    }
}

/// Reads on and drops what comes, until nothing does for so long.
async fn discard(mut body: Body, silence: Duration) {
    let mut left = DISCARDED;
    let reading = async {
        while let Ok(Some(Ok(frame))) = timeout(silence, body.frame()).await {
            let read = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whether it came to its end does not matter.
    let _ = timeout(DISCARD_PERIOD, reading).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::ingress::receiving::Receiving;

    /// Of a connection that has so much for all its bodies.
    fn share(bytes: u64) -> Arc<Share> {
        Share::new(Receiving::new(bytes))
    }

    const CHUNK: &[u8] = &[0; 1 << 16];

    /// A body of so many chunks, and how many of them were taken.
    fn body(chunks: usize) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let stream = futures_util::stream::iter(0..chunks).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from_static(CHUNK))
        });
        (Body::from_stream(stream), taken)
    }

    #[tokio::test]
    async fn a_body_within_its_limit_is_whole() {
        let (body, _) = body(3);
        let bytes = read(&share(1 << 30), body, 3 * CHUNK.len() as u64, "max_event_bytes").await;
        assert_eq!(bytes.map(|bytes| bytes.len()).ok(), Some(3 * CHUNK.len()));
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_read_to_its_end_before_it_is_refused_and_an_endless_one_is_not() {
        for (chunks, expected) in [(40, 40), (usize::MAX, DISCARDED / CHUNK.len() + 3)] {
            let (body, taken) = body(chunks);
            let refused = read(&share(1 << 30), body, CHUNK.len() as u64, "max_event_bytes")
                .await
                .map(drop)
                .map_err(|p| p.kind());
            assert_eq!((refused, taken.load(Ordering::Relaxed)), (Err(ErrorKind::TooLarge), expected));
        }
    }

    /// Pieces of so many bytes, one each second, for as long as somebody asks.
    fn dripping(bytes: usize) -> Body {
        Body::from_stream(stream::repeat(Bytes::from(vec![0; bytes])).then(|piece| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, std::convert::Infallible>(piece)
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_or_stops_is_given_up_after_a_period_and_a_slow_one_is_read() {
        for body in [dripping(1), dripping(1000), Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())]
        {
            let began = tokio::time::Instant::now();
            assert_eq!(
                read(&share(1 << 30), body, 1 << 30, "x").await.err().map(|e| e.kind()),
                Some(ErrorKind::Timeout)
            );
            assert_eq!(began.elapsed().as_secs(), PERIOD.as_secs());
        }
        let over = read(&share(1 << 30), dripping(2000), 100_000, "x").await.err().map(|e| e.kind());
        assert_eq!(over, Some(ErrorKind::TooLarge), "it is read until it is over the limit");
    }

    #[tokio::test]
    async fn a_body_without_room_is_refused_once_nothing_more_of_it_comes_and_gives_back_what_it_had() {
        let receiving = Receiving::new(1 << 20);
        let mut others = Share::new(Arc::clone(&receiving)).hold();
        others.grow_to(1 << 20).unwrap();
        let used = receiving.used();
        let (endless, _) = body(40);
        let refused = read(&Share::new(Arc::clone(&receiving)), endless, 1 << 30, "x").await.map(drop);
        let refused: Refusal = refused.unwrap_err().into();
        assert_eq!((refused.kind, refused.retry_after_ms, receiving.used()), (ErrorKind::Busy, RETRY_MS, used));
        let (small, _) = body(1);
        let read = read(&Share::new(Arc::clone(&receiving)), small, 1 << 30, "x").await;
        assert_eq!(read.unwrap().len(), CHUNK.len(), "what is small needs no room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_ends_when_others_want_its_memory_and_only_then() {
        let receiving = Receiving::new(100_000);
        let slow = Share::new(Arc::clone(&receiving));
        let reading = tokio::spawn(async move { read(&slow, dripping(20_000), 10_000_000, "x").await.map(drop) });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!reading.is_finished(), "nobody wants it");
        let began = Instant::now();
        while !reading.is_finished() {
            let mut other = Share::new(Arc::clone(&receiving)).hold();
            assert!(other.grow_to(1 << 20).is_err());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(reading.await.unwrap().map_err(|e| e.kind()), Err(ErrorKind::Busy));
        assert!(began.elapsed() <= PERIOD * 2, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_waits_for_memory_over_the_end_of_a_period_is_not_lost() {
        let receiving = Receiving::new(1 << 20);
        let mut other = Share::new(Arc::clone(&receiving)).hold();
        // With what needs no asking.
        other.grow_to((1 << 20) + (64 << 10)).unwrap();
        let pieces: Vec<Bytes> = (0..4).map(|n| Bytes::from(vec![n; 40_000])).collect();
        let whole = pieces.concat();
        // The second piece comes just before the period ends, and finds room just behind that.
        let at = [0, PERIOD.as_millis() as u64 - 100, 0, 0];
        let sent = stream::iter(pieces.into_iter().zip(at)).then(|(piece, wait)| async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            Ok::<_, Infallible>(piece)
        });
        let share = Share::new(Arc::clone(&receiving));
        let began = Instant::now();
        let ending = async {
            tokio::time::sleep(PERIOD + Duration::from_millis(100)).await;
            drop(other);
        };
        let (read, ()) = tokio::join!(read(&share, Body::from_stream(sent), 1 << 20, "x"), ending);
        let read = read.unwrap();
        assert!(began.elapsed() > PERIOD, "it waited: {:?}", began.elapsed());
        assert_eq!(read.len(), whole.len());
        assert!(read[..] == whole[..], "every piece is in its place");
    }
}
