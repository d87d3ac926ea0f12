//! One connection of WebSocket after its handshake, the same for all subprotocols: messages in and out, pings, and the end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Sink, Stream as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use meshwire_proto::ErrorKind;
use tokio::io::AsyncWrite as _;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::closing::End;
use super::wire::Wire;
use crate::ingress::http::Door;
use crate::mesh::{Counts, Refusal};

/// What is read at once.
const READ_BUFFER: usize = 16 * 1024;

/// Pings whose pongs the peer has not taken; over it the peer is not read from.
const MOST_PINGS: u32 = 64;

/// How long a connection that ends waits for the peer to take the reason, and to answer.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is read and dropped of a peer that sends on after its end: with bytes unread the system would end the connection by a reset,
/// which throws away what the peer has not read, the reason among it. Four of the largest messages there are by default.
const DROPPED: usize = 32 << 20;

/// What a connection may do.
#[derive(Clone, Copy, Debug)]
pub(in crate::ingress::http) struct Limits {
    /// Bytes of a message.
    pub(in crate::ingress::http) most: usize,
    /// Whether the gateway pings. Sessions have pings of their own.
    pub(in crate::ingress::http) pings: bool,
}

/// A message.
#[derive(Debug)]
pub(in crate::ingress::http) enum Received {
    Text(Utf8Bytes),
    Binary(Bytes),
}

type Inner = WebSocketStream<Wire>;

type Polling = fn(Pin<&mut Inner>, &mut Context<'_>) -> Poll<Result<(), Error>>;

pub(in crate::ingress::http) struct Socket {
    inner: Inner,
    most: usize,
    /// Silence that ends it, and a peer that takes nothing.
    patience: Duration,
    pings: Option<Interval>,
    /// Since when a ping has no answer.
    asked: Option<Instant>,
    /// Pings of the peer whose pongs it may not have taken.
    unanswered: u32,
    counts: Arc<Counts>,
}

impl Socket {
    pub(super) async fn over(io: TokioIo<Upgraded>, door: &Door, limits: Limits) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits.most))
            .max_frame_size(Some(limits.most))
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0);
        let native = &door.native;
        let wire = Wire::new(io, (Arc::clone(&native.receiving), native.mesh().new_session()), limits.most);
        let every = native.config.heartbeat;
        let pings = limits.pings.then(|| {
            let mut pings = interval_at(Instant::now() + every, every);
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        });
        let counts = Arc::clone(native.mesh().counts());
        let inner = WebSocketStream::from_raw_socket(wire, Role::Server, Some(config)).await;
        Self { inner, most: limits.most, patience: every * 5 / 2, pings, asked: None, unanswered: 0, counts }
    }

    /// The next message. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Why there is none any more.
    pub(in crate::ingress::http) async fn next(&mut self) -> Result<Received, End> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The memory of the last message is counted elsewhere from here on.
    pub(in crate::ingress::http) fn let_go(&mut self) {
        self.inner.get_mut().let_go();
    }

    /// The next message if it is here already.
    pub(in crate::ingress::http) fn ready(&mut self) -> Option<Result<Received, End>> {
        self.next().now_or_never()
    }

    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, End>> {
        loop {
            if self.unanswered > 0 {
                match Pin::new(&mut self.inner).poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.unanswered = 0,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Gone)),
                    Poll::Pending if self.unanswered < MOST_PINGS => {}
                    // It waits for the peer as a write does.
                    Poll::Pending => return self.poll_silence(cx),
                }
            }
            let Poll::Ready(message) = Pin::new(&mut self.inner).poll_next(cx) else { return self.poll_silence(cx) };
            self.asked = None;
            return Poll::Ready(match message {
                None => Err(End::Gone),
                Some(Ok(Message::Close(frame))) => Err(End::by_peer(frame.as_ref())),
                Some(Ok(Message::Text(text))) => Ok(Received::Text(text)),
                Some(Ok(Message::Binary(bytes))) => Ok(Received::Binary(bytes)),
                Some(Ok(Message::Ping(_))) => {
                    self.unanswered += 1;
                    continue;
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => Err(End::of(&error, self.most)),
            });
        }
    }

    /// Pings, and ends it when there is no answer for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, End>> {
        while self.pings.as_mut().is_some_and(|pings| pings.poll_tick(cx).is_ready()) {
            if self.inner.get_ref().hinders().is_some_and(|since| since > self.patience) {
                let text =
                    "a message came too slowly, or waited too long for the memory that it takes; send it again later";
                return Poll::Ready(Err(End::refused(&Refusal::new(ErrorKind::Busy, text))));
            }
            if self.inner.get_ref().waits() {
                // It is not read from, so it cannot be heard.
                self.asked = None;
                continue;
            }
            let asked = *self.asked.get_or_insert_with(Instant::now);
            if asked.elapsed() >= self.patience {
                return Poll::Ready(Err(End::timeout("no answer to a ping for two and a half heartbeats")));
            }
            // While the peer takes nothing, pings that wait would only be more.
            let mut inner = Pin::new(&mut self.inner);
            if let Poll::Ready(Ok(())) = inner.as_mut().poll_ready(cx) {
                let sent = inner.as_mut().start_send(Message::Ping(Bytes::new())).is_ok();
                if !sent || matches!(inner.poll_flush(cx), Poll::Ready(Err(_))) {
                    return Poll::Ready(Err(End::Gone));
                }
            }
        }
        Poll::Pending
    }

    /// Waits for the peer to take what is written; it may be slow, but not stand still.
    async fn taken(&mut self, poll: Polling) -> Result<(), End> {
        loop {
            let before = self.inner.get_ref().taken;
            match timeout(self.patience, poll_fn(|cx| poll(Pin::new(&mut self.inner), cx))).await {
                Ok(taken) => {
                    self.asked = None;
                    return taken.map_err(|_| End::Gone);
                }
                Err(_) if self.inner.get_ref().taken > before => {}
                Err(_) => return Err(End::timeout("nothing was taken for two and a half heartbeats")),
            }
        }
    }

    /// Writes a message, and more of them before [`Socket::flush`].
    ///
    /// # Errors
    /// Why nothing can be written any more: the peer is gone, or takes nothing for too long.
    pub(in crate::ingress::http) async fn feed(&mut self, message: Received) -> Result<(), End> {
        self.taken(<Inner as Sink<Message>>::poll_ready).await?;
        let message = match message {
            Received::Text(text) => Message::Text(text),
            Received::Binary(bytes) => Message::Binary(bytes),
        };
        Pin::new(&mut self.inner).start_send(message).map_err(|_| End::Gone)
    }

    /// # Errors
    /// As [`Socket::feed`].
    pub(in crate::ingress::http) async fn flush(&mut self) -> Result<(), End> {
        self.taken(<Inner as Sink<Message>>::poll_flush).await
    }

    /// # Errors
    /// As [`Socket::feed`].
    pub(in crate::ingress::http) async fn send(&mut self, text: String) -> Result<(), End> {
        self.feed(Received::Text(text.into())).await?;
        self.flush().await
    }

    /// Ends it: says why, as far as the peer takes it.
    pub(in crate::ingress::http) async fn end(mut self, end: End) {
        if let Some(kind) = end.kind() {
            self.counts.told(kind);
        }
        let mut farewell = Farewell::from(end);
        let _ = timeout(LAST_WORDS, poll_fn(|cx| self.poll_end(&mut farewell, cx))).await;
    }

    /// Says why it ends. The peer may still be sending: what comes is dropped until it says that it has heard, or ends as well.
    pub(super) fn poll_end(&mut self, farewell: &mut Farewell, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = Pin::new(&mut self.inner);
        if farewell.frame.is_some() {
            ready!(inner.as_mut().poll_ready(cx))?;
            inner.as_mut().start_send(Message::Close(farewell.frame.take()))?;
        }
        if !farewell.is_said {
            ready!(inner.as_mut().poll_close(cx))?;
            while farewell.waits {
                match inner.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Ok(Message::Close(_))) | None) => (farewell.waits, farewell.drops) = (false, 0),
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_))) => farewell.waits = false,
                    // There is no memory for the message that is coming, and it need not be read.
                    Poll::Pending if inner.get_ref().waits() => farewell.waits = false,
                    Poll::Pending => return Poll::Pending,
                }
            }
            ready!(Pin::new(inner.as_mut().get_mut().get_mut()).poll_shutdown(cx)).map_err(Error::Io)?;
            farewell.is_said = true;
        }
        ready!(inner.get_mut().get_mut().poll_drop(cx, &mut farewell.drops));
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Takes a message of bytes, as far as the last one was taken.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        message: impl FnOnce() -> Bytes,
    ) -> Poll<Result<(), Error>> {
        let mut inner = Pin::new(&mut self.inner);
        ready!(inner.as_mut().poll_ready(cx))?;
        inner.as_mut().start_send(Message::Binary(message()))?;
        // What the peer does not take yet is written before the next message.
        if let Poll::Ready(Err(error)) = inner.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

/// What is left to say.
#[derive(Debug)]
pub(super) struct Farewell {
    frame: Option<CloseFrame>,
    /// The peer is to say that it has heard.
    waits: bool,
    /// Nothing more is written.
    is_said: bool,
    /// How many bytes of the peer may be dropped then.
    drops: usize,
}

impl From<End> for Farewell {
    fn from(end: End) -> Self {
        let (frame, waits, drops) = match end {
            End::Gone | End::Goodbye => (None, false, 0),
            End::Broken(frame) => (Some(frame), false, DROPPED),
            End::Told(frame) => (Some(frame), true, DROPPED),
        };
        Self { frame, waits, is_said: false, drops }
    }
}
