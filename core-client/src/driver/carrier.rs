//! The connection as the driver sees it: none, one in the making, or one in use.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use super::WRITE_BYTES;
use crate::transport::{DialError, Dialing, Distrust, Opened, Stream, distrust_of};

/// A read buffer below this much room gets a new one. Frames are slices of it,
/// so it is large enough to be shared by many.
const READ_ROOM: usize = 16 * 1024;
const READ_BYTES: usize = 128 * 1024;

pub(super) enum Carrier {
    None,
    Dialing(Dialing),
    Link(Link),
}

/// A connection in use.
pub(super) struct Link {
    pub(super) stream: Box<dyn Stream>,
    /// Nothing can be written any more, for this reason. What came before is read first: it may say why.
    broken: Option<io::Error>,
}

impl Link {
    pub(super) const fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, broken: None }
    }
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
            Self::Link(link) => turn(link, read, write, cx),
        }
    }
}

fn turn(link: &mut Link, read: &mut BytesMut, write: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Event> {
    let full = write.len() >= WRITE_BYTES;
    let stream = &mut *link.stream;
    if link.broken.is_none() {
        link.broken = write_some(stream, write, cx).err();
    }
    let came = match (read_some(stream, read, cx), &link.broken) {
        (Poll::Ready(Ok(1..)), _) => return Poll::Ready(Event::Read),
        (Poll::Ready(Err(said)), Some(error)) => return Poll::Ready(Event::lost(error, distrust_of(&said))),
        (_, Some(error)) => return Poll::Ready(Event::lost(error, None)),
        (came, None) => came,
    };
    match came {
        Poll::Ready(Ok(_)) => Poll::Ready(Event::Lost("the gateway closed it".to_owned(), None)),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What becomes of a connection that has ended, with something left to write: what is read, and the loss.
    fn end_of(stream: impl Stream + 'static) -> (Vec<u8>, String) {
        let mut carrier = Carrier::Link(Link::new(Box::new(stream)));
        let (mut read, mut write) = (BytesMut::new(), BytesMut::from(&b"a publish"[..]));
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match carrier.poll(&mut read, &mut write, &mut cx) {
                Poll::Ready(Event::Read) => {}
                Poll::Ready(Event::Lost(cause, None)) => return (read.to_vec(), cause),
                _ => return (read.to_vec(), String::from("nothing")),
            }
        }
    }

    #[tokio::test]
    async fn what_came_before_nothing_can_be_written_any_more_is_read_first_and_then_the_loss_is_told() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"the last words").await.unwrap();
        drop(far);
        let (said, cause) = end_of(near);
        assert_eq!(said, b"the last words");
        assert_eq!(cause, io::Error::from(io::ErrorKind::BrokenPipe).to_string());
    }

    #[tokio::test]
    async fn where_nothing_comes_any_more_the_loss_is_told_at_once() {
        struct Silent;
        impl tokio::io::AsyncRead for Silent {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Pending
            }
        }
        impl tokio::io::AsyncWrite for Silent {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let expected = io::Error::from(io::ErrorKind::ConnectionReset).to_string();
        assert_eq!(end_of(Silent), (Vec::new(), expected));
    }
}
