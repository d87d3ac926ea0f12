//! The bare server's HTTP: a handler that takes a body, and a stream of what it took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use super::{WINDOW, grpc};

/// Payloads that may lie between the publishers and the subscriber.
const QUEUE: usize = 65_536;
/// Most payloads of one piece of the stream.
const GATHERED: usize = 512;

/// What the handlers share.
pub(super) struct Handed {
    positions: AtomicU64,
    pub(super) queue: mpsc::Sender<Bytes>,
    taken: Mutex<Option<mpsc::Receiver<Bytes>>>,
    answered: AtomicU64,
    room: Notify,
}

impl Handed {
    /// What the one subscriber gets.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<Bytes>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until the subscriber may have more, of whom so many were sent.
    pub(super) async fn room(&self, sent: u64) {
        while sent.saturating_sub(self.answered.load(Ordering::Acquire)) >= WINDOW {
            self.room.notified().await;
        }
    }

    /// The subscriber has all through this one.
    pub(super) fn answered(&self, through: u64) {
        self.answered.fetch_max(through, Ordering::AcqRel);
        self.room.notify_one();
    }
}

/// Serves until it is killed.
///
/// # Errors
/// The socket fails.
pub(super) async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let (queue, taken) = mpsc::channel(QUEUE);
    let handed = Handed {
        positions: AtomicU64::new(1),
        queue,
        taken: Mutex::new(Some(taken)),
        answered: AtomicU64::new(0),
        room: Notify::new(),
    };
    let router = Router::new()
        .route("/v1/topics/{topic}/events", post(take))
        .route("/subscription", get(hand_out))
        .route("/answers/{through}", post(answer))
        .route(grpc::PUBLISH, post(grpc::publish))
        .route(grpc::SUBSCRIBE, post(grpc::subscribe))
        .with_state(Arc::new(handed));
    let listener = listener.tap_io(|stream| {
        // Without it the measurement says so.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

async fn take(State(handed): State<Arc<Handed>>, Path(_topic): Path<String>, body: Bytes) -> Response {
    let position = handed.positions.fetch_add(1, Ordering::Relaxed);
    if handed.queue.send(body).await.is_err() {
        return StatusCode::GONE.into_response();
    }
    ([(CONTENT_TYPE, "application/json")], format!("{{\"position\":{position}}}")).into_response()
}

/// Payloads, each behind its length, in pieces of what is there.
async fn hand_out(State(handed): State<Arc<Handed>>) -> Response {
    let Some(taken) = handed.take() else {
        return StatusCode::CONFLICT.into_response();
    };
    let pieces = stream::unfold((handed, taken, 0, Vec::new()), |(handed, mut taken, mut sent, mut some)| async move {
        handed.room(sent).await;
        if taken.recv_many(&mut some, GATHERED).await == 0 {
            return None;
        }
        let mut piece = BytesMut::with_capacity(some.iter().map(|payload| payload.len() + 4).sum());
        for payload in some.drain(..) {
            piece.put_u32_le(payload.len() as u32);
            piece.put_slice(&payload);
            sent += 1;
        }
        Some((Ok::<_, std::convert::Infallible>(piece.freeze()), (handed, taken, sent, some)))
    });
    Body::from_stream(pieces).into_response()
}

/// The subscriber has all through the number it names.
async fn answer(State(handed): State<Arc<Handed>>, Path(through): Path<u64>) -> StatusCode {
    handed.answered(through);
    StatusCode::OK
}
