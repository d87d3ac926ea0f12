//! Reading a request's body: so many bytes at most, and no slower than a floor.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use meshwire_proto::ErrorKind;
use tokio::time::timeout;

use super::Problem;

/// A body comes with at least so many bytes in each period, or it is given up.
const PERIOD: Duration = Duration::from_secs(10);
const LEAST: usize = 10 * 1024;

/// What of a body that is too large is read all the same: most clients look at the answer only once they have sent it, and one
/// that is cut off before sees a lost connection in place of the error.
const DISCARDED: usize = 16 << 20;
const DISCARD_PERIOD: Duration = Duration::from_secs(5);

/// The whole body. Of one that is over the limit some more is read and dropped before the error is given.
///
/// # Errors
/// `TOO_LARGE`, naming the option that sets the limit; `TIMEOUT` with status 408 when it comes too slowly; `INVALID` when it breaks off.
pub(in crate::ingress) async fn read(body: Body, limit: u64, option: &str) -> Result<Bytes, Problem> {
    read_within(body, limit, &format!("(option {option})")).await
}

/// The same, of a limit that stands for `what`.
pub(super) async fn read_within(mut body: Body, limit: u64, what: &str) -> Result<Bytes, Problem> {
    let read = within(&mut body, limit, what).await;
    if matches!(&read, Err(problem) if problem.kind() == ErrorKind::TooLarge) {
        discard(body).await;
    }
    read
}

async fn within(body: &mut Body, limit: u64, what: &str) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(ErrorKind::TooLarge, format!("the body is over {limit} bytes {what}"));
    if axum::body::HttpBody::size_hint(body).lower() > limit {
        return Err(too_large());
    }
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    loop {
        let before = first.len() + more.len();
        // Data that comes in one piece is not copied.
        let period = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| Problem::new(ErrorKind::Invalid, format!("the body broke off: {e}")))?;
                let Ok(data) = frame.into_data() else { continue };
                if first.is_empty() && more.is_empty() {
                    first = data;
                } else {
                    if more.is_empty() {
                        more.extend_from_slice(&first);
                        first = Bytes::new();
                    }
                    more.extend_from_slice(&data);
                }
                if (first.len() + more.len()) as u64 > limit {
                    return Err(too_large());
                }
            }
            Ok(())
        };
        match timeout(PERIOD, period).await {
            Ok(read) => {
                read?;
                return Ok(if more.is_empty() { first } else { more.freeze() });
            }
            Err(_) if first.len() + more.len() - before < LEAST => {
                let text = format!("less than {LEAST} bytes of the body came in {} s", PERIOD.as_secs());
                return Err(Problem::new(ErrorKind::Timeout, text).with(StatusCode::REQUEST_TIMEOUT));
            }
            Err(_) => {}
        }
    }
}

async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
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
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{StreamExt as _, stream};

    use super::*;

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
        let bytes = read(body, 3 * CHUNK.len() as u64, "max_event_bytes").await;
        assert_eq!(bytes.map(|bytes| bytes.len()).ok(), Some(3 * CHUNK.len()));
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_read_to_its_end_before_it_is_refused_and_an_endless_one_is_not() {
        for (chunks, expected) in [(40, 40), (usize::MAX, DISCARDED / CHUNK.len() + 3)] {
            let (body, taken) = body(chunks);
            let refused = read(body, CHUNK.len() as u64, "max_event_bytes").await.map(drop).map_err(|p| p.kind());
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
            assert_eq!(read(body, 1 << 30, "x").await.err().map(|e| e.kind()), Some(ErrorKind::Timeout));
            assert_eq!(began.elapsed().as_secs(), PERIOD.as_secs());
        }
        let over = read(dripping(2000), 100_000, "x").await.err().map(|e| e.kind());
        assert_eq!(over, Some(ErrorKind::TooLarge), "it is read until it is over the limit");
    }
}
