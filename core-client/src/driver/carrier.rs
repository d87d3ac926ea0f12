//! The connection as the driver sees it: none, one in the making, or one in use.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use super::WRITE_BYTES;
use crate::transport::{DialError, Dialing, Distrust, Opened, Stream, distrust_of, last_word};

/// A read buffer below this much room gets a new one. Frames are slices of it,
/// so it is large enough to be shared by many.
const READ_ROOM: usize = 16 * 1024;
const READ_BYTES: usize = 128 * 1024;

pub(super) enum Carrier {
    None,
    Dialing(Dialing),
    Link(Box<dyn Stream>),
}

pub(super) enum Event {
    Dialed(Result<Opened, DialError>),
    /// All that waited was written, and there was so much that more may follow.
    Wrote,
    Read,
    /// The connection is gone, and why; and what was said of a certificate, if that is it.
    Lost(String, Option<Distrust>),
}

impl Event {
    fn lost(error: &io::Error, distrust: Option<Distrust>) -> Self {
        Self::Lost(distrust.as_ref().map_or_else(|| error.to_string(), |distrust| distrust.told.clone()), distrust)
    }
}

impl Carrier {
    /// What happens next. Reading never waits for writing.
    pub(super) fn poll(&mut self, read: &mut BytesMut, write: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Event> {
        match self {
            Self::None => Poll::Pending,
            Self::Dialing(dialing) => dialing.as_mut().poll(cx).map(Event::Dialed),
            Self::Link(stream) => turn(&mut **stream, read, write, cx),
        }
    }
}

fn turn(stream: &mut dyn Stream, read: &mut BytesMut, write: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Event> {
    let full = write.len() >= WRITE_BYTES;
    if let Err(error) = write_some(stream, write, cx) {
        let distrust = last_word(stream, cx);
        return Poll::Ready(Event::lost(&error, distrust));
    }
    match read_some(stream, read, cx) {
        Poll::Ready(Ok(0)) => Poll::Ready(Event::Lost("the gateway closed it".to_owned(), None)),
        Poll::Ready(Ok(_)) => Poll::Ready(Event::Read),
        Poll::Ready(Err(error)) => Poll::Ready(Event::lost(&error, distrust_of(&error))),
        Poll::Pending if full && write.is_empty() => Poll::Ready(Event::Wrote),
        Poll::Pending => Poll::Pending,
    }
}

/// Writes until all is written or the peer takes no more. What TLS and messages hold of it still goes out then.
fn write_some(stream: &mut dyn Stream, write: &mut BytesMut, cx: &mut Context<'_>) -> io::Result<()> {
    while !write.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, write) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => write.advance(count),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(()),
        }
    }
    match Pin::new(&mut *stream).poll_flush(cx) {
        Poll::Ready(flushed) => flushed,
        Poll::Pending => Ok(()),
    }
}

/// Sends what can be sent without waiting, and hangs up. What the gateway said is
/// read first: a reset for unread bytes could overtake the goodbye.
pub(super) fn part_at_once(stream: &mut dyn Stream, write: &mut BytesMut) {
    let mut cx = Context::from_waker(Waker::noop());
    if write_some(stream, write, &mut cx).is_err() {
        return;
    }
    let _ = Pin::new(&mut *stream).poll_shutdown(&mut cx);
    let mut rest = BytesMut::new();
    while let Poll::Ready(Ok(1..)) = read_some(stream, &mut rest, &mut cx) {
        rest.clear();
    }
}

fn read_some(stream: &mut dyn Stream, read: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if read.capacity() - read.len() < READ_ROOM {
        read.reserve(READ_BYTES);
    }
    // This future keeps nothing between polls, so it may be made anew each time.
    pin!(stream.read_buf(read)).poll(cx)
}
