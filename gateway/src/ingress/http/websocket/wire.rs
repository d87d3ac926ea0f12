//! The bytes under the frames: how long the message is that is coming, whether there is memory for it, and what the peer takes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::lengths::Lengths;
use crate::ingress::receiving::{Permit, Receiving};

/// A message of more bytes needs leave to be received, as a large frame of a session does. Less, since what was read of it stands
/// in two buffers for a moment.
const LARGE: u64 = 96 * 1024;

/// What is dropped at once.
const SPACE: usize = 8 * 1024;

pub(super) struct Wire {
    io: TokioIo<Upgraded>,
    lengths: Lengths,
    receiving: Arc<Receiving>,
    number: u64,
    /// Leave for the message that is coming, and for how many of its bytes.
    permits: Vec<Permit>,
    admitted: u64,
    /// When leave was first asked for.
    since: Option<Instant>,
    /// Nothing is read until there is leave.
    waits: bool,
    /// Bytes that the peer has taken.
    pub(super) taken: u64,
}

impl Wire {
    /// `most`: bytes of a message; a longer one is refused before it has come.
    pub(super) fn new(io: TokioIo<Upgraded>, (receiving, number): (Arc<Receiving>, u64), most: usize) -> Self {
        let lengths = Lengths::new(most as u64);
        Self { io, lengths, receiving, number, permits: Vec::new(), admitted: 0, since: None, waits: false, taken: 0 }
    }

    /// Whether it is not read from for want of memory.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// For how long it has waited for memory, or held some that others wait for.
    pub(super) fn hinders(&self) -> Option<Duration> {
        let hinders = self.waits || self.permits.iter().any(Permit::is_wanted);
        self.since.filter(|_| hinders).map(|since| since.elapsed())
    }

    fn may_read(&mut self, waker: &Waker) -> bool {
        let wanted = self.lengths.announced();
        if wanted <= LARGE {
            if self.since.is_some() {
                self.give_up();
            }
            return true;
        }
        if wanted > self.admitted {
            self.since.get_or_insert_with(Instant::now);
            let permit = self.receiving.admit(self.number, wanted - self.admitted, waker);
            self.waits = permit.is_none();
            self.admitted = if self.waits { self.admitted } else { wanted };
            self.permits.extend(permit);
        }
        !self.waits
    }

    /// Lets go of the leave for a message that is whole: whoever has it counts it from here on.
    pub(super) fn let_go(&mut self) {
        if self.since.is_some() && self.lengths.announced() <= LARGE {
            self.give_up();
        }
    }

    /// Reads what comes and drops it, until the peer's end or until nothing is `left` of the bytes that may come.
    pub(super) fn poll_drop(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        if self.since.is_some() {
            self.give_up();
        }
        let mut space = [0; SPACE];
        while *left > 0 {
            let mut buf = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *left = left.saturating_sub(buf.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(())
    }

    fn give_up(&mut self) {
        self.receiving.forget(self.number);
        self.permits.clear();
        (self.admitted, self.since, self.waits) = (0, None, false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.may_read(cx.waker()) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.lengths.read(buf.filled().get(before..).unwrap_or_default());
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.taken += count as u64;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
