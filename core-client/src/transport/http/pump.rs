//! The task between requests and the bytes that the driver sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode};
use meshwire_proto::frame::PREFACE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::line::{self, Line};
use crate::transport::Cause;

/// Most bytes of a batch: half of what a gateway takes.
const BATCH_BYTES: usize = 128 * 1024;

/// Bytes that came at which the gateway is told so at once: a quarter of what it keeps.
const ACKNOWLEDGED_BYTES: u64 = 64 * 1024;

/// How long fewer wait for a batch to go with. A guess.
const ACKNOWLEDGED_AFTER: Duration = Duration::from_millis(100);

/// How long the first byte of a long answer may take; after it some proxy keeps answers back. A guess: above any round
/// trip, and the gateway has said something by then.
const STREAMED_AFTER: Duration = Duration::from_millis(500);

/// How long a short answer is waited for, in milliseconds: the most that a gateway waits.
const POLL_MS: u64 = 25_000;

/// Longest wait for the answer to a batch; then it is sent again. A gateway that is busy takes its time.
const BATCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests that fail for so long end the connection: the session then looks for another way, in time to be resumed.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Waits between requests that fail.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How long the end may take to be told.
const GOODBYE: Duration = Duration::from_secs(1);

/// How much of the gateway's bytes has come.
#[derive(Default)]
struct Received {
    bytes: AtomicU64,
    more: Notify,
}

/// Why no more comes.
enum End {
    /// The gateway has said all, or knows nothing of this session.
    Theirs,
    /// The driver has left.
    Ours,
    /// Nothing gets through.
    Lost,
}

/// Moves bytes until the driver leaves, which ends `left`, or the gateway ends it. `path` names the carrier.
pub(super) async fn run(path: String, line: Line, far: DuplexStream, left: oneshot::Receiver<()>) {
    let left = async {
        let _ = left.await;
        sleep(GOODBYE).await;
    };
    tokio::select! {
        () = carry(path, line, far) => {}
        () = left => {}
    }
}

async fn carry(path: String, line: Line, far: DuplexStream) {
    let received = Arc::new(Received::default());
    let (read, write) = tokio::io::split(far);
    let mut up = std::pin::pin!(say(&path, line.another(), read, &received));
    let mut down = std::pin::pin!(hear(&path, line, write, &received));
    tokio::select! {
        end = &mut up => match end {
            // It was told that we are done, and may still have something to say.
            End::Ours => {
                down.await;
            }
            // It said why, if it did, before it forgot the session.
            End::Theirs => {
                let _ = timeout(GOODBYE, down).await;
            }
            End::Lost => {}
        },
        end = &mut down => if matches!(end, End::Ours) {
            up.await;
        },
    }
}

/// Failures in a row.
#[derive(Default)]
struct Failing {
    since: Option<Instant>,
    wait: Duration,
}

impl Failing {
    /// Waits before the next try; `false` when there is none.
    async fn again(&mut self) -> bool {
        if self.since.get_or_insert_with(Instant::now).elapsed() > GIVE_UP {
            return false;
        }
        self.wait = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        sleep(self.wait).await;
        true
    }

    fn end(&mut self) {
        *self = Self::default();
    }
}

/// Whether the same request may be answered in another way later: what a proxy says of a gateway that it does not reach.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
}

async fn say(path: &str, mut line: Line, mut read: ReadHalf<DuplexStream>, received: &Received) -> End {
    // The gateway has it since the first request.
    let mut preface = [0; PREFACE.len()];
    if read.read_exact(&mut preface).await.is_err() {
        return end(path, &mut line, 1, 0).await;
    }
    let (mut buffer, mut told) = (vec![0; BATCH_BYTES], 0);
    for number in 1.. {
        let count = tokio::select! {
            biased;
            read = read.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return end(path, &mut line, number, received.bytes.load(Ordering::Relaxed)).await,
                Ok(count) => count,
            },
            () = acknowledgement(received, told) => 0,
        };
        let batch = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        let through = received.bytes.load(Ordering::Relaxed);
        let to = format!("{path}?batch={number}&after={through}");
        if let Err(end) = send(&mut line, &to, batch).await {
            return end;
        }
        told = through;
    }
    End::Lost
}

async fn end(path: &str, line: &mut Line, number: u64, through: u64) -> End {
    let to = format!("{path}?batch={number}&after={through}&end=true");
    send(line, &to, Bytes::new()).await.err().unwrap_or(End::Ours)
}

/// Ends when the gateway should be told what has come.
async fn acknowledgement(received: &Received, told: u64) {
    loop {
        let mut more = std::pin::pin!(received.more.notified());
        more.as_mut().enable();
        match received.bytes.load(Ordering::Relaxed) - told {
            0 => more.await,
            ACKNOWLEDGED_BYTES.. => return,
            _ => {
                if timeout(ACKNOWLEDGED_AFTER, more).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends one batch until the gateway has taken it.
async fn send(line: &mut Line, to: &str, batch: Bytes) -> Result<(), End> {
    let mut failing = Failing::default();
    loop {
        let sending = async {
            let answer = line.request(Method::POST, to, batch.clone()).await?;
            let status = answer.status();
            line::finish(answer).await?;
            Ok::<_, Cause>(status)
        };
        match timeout(BATCH_TIMEOUT, sending).await {
            Ok(Ok(status)) if status.is_success() => return Ok(()),
            Ok(Ok(status)) if !is_passing(status) => return Err(End::Theirs),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => line.close(),
            Err(_) => {
                line.close();
                failing.end();
            }
        }
        if !failing.again().await {
            return Err(End::Lost);
        }
    }
}

async fn hear(path: &str, mut line: Line, mut write: WriteHalf<DuplexStream>, received: &Received) -> End {
    let (mut failing, mut streams) = (Failing::default(), Streams::Unknown);
    loop {
        let after = received.bytes.load(Ordering::Relaxed);
        let to = match streams {
            Streams::No => format!("{path}?after={after}&wait_ms={POLL_MS}"),
            _ => format!("{path}?after={after}"),
        };
        let patience = match streams {
            Streams::Unknown => STREAMED_AFTER,
            Streams::Yes => BATCH_TIMEOUT,
            Streams::No => Duration::from_millis(2 * POLL_MS),
        };
        let heard = match timeout(patience, line.request(Method::GET, &to, Bytes::new())).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::NO_CONTENT => return End::Theirs,
            Ok(Ok(answer)) if answer.status() == StatusCode::OK => {
                pass_on(answer, &mut write, received, &mut streams).await
            }
            Ok(Ok(answer)) if !is_passing(answer.status()) => return End::Theirs,
            // It is not even begun.
            Err(_) if streams == Streams::Unknown => {
                streams = Streams::No;
                Heard::KeptBack
            }
            Ok(Ok(_)) | Ok(Err(_)) | Err(_) => Heard::Broken,
        };
        if matches!(heard, Heard::Left) {
            return End::Ours;
        }
        if !matches!(heard, Heard::All) {
            line.close();
        }
        let came = received.bytes.load(Ordering::Relaxed) > after;
        match heard {
            Heard::KeptBack => tracing::debug!("a proxy keeps long answers back; asking for short ones"),
            // A short answer without anything is one that had nothing to say in all its time.
            Heard::All if came || streams == Streams::No => failing.end(),
            _ => {
                if came {
                    failing.end();
                }
                if !failing.again().await {
                    return End::Lost;
                }
            }
        }
    }
}

/// Whether answers come while they are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Streams {
    Unknown,
    Yes,
    No,
}

/// How an answer ended.
enum Heard {
    /// As it should.
    All,
    /// Before its end.
    Broken,
    /// Nothing of it came in time.
    KeptBack,
    /// The driver takes no more.
    Left,
}

async fn pass_on(
    answer: Response<Incoming>,
    write: &mut WriteHalf<DuplexStream>,
    received: &Received,
    streams: &mut Streams,
) -> Heard {
    let mut body = answer.into_body();
    loop {
        let frame = if *streams == Streams::Unknown {
            match timeout(STREAMED_AFTER, body.frame()).await {
                Ok(frame) => frame,
                Err(_) => {
                    *streams = Streams::No;
                    return Heard::KeptBack;
                }
            }
        } else {
            body.frame().await
        };
        let data = match frame {
            None => return Heard::All,
            Some(Err(_)) => return Heard::Broken,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if *streams == Streams::Unknown && !data.is_empty() {
            *streams = Streams::Yes;
        }
        if write.write_all(&data).await.is_err() {
            return Heard::Left;
        }
        received.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        received.more.notify_waiters();
    }
}
