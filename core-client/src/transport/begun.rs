//! How the other end begins, seen below the carriers: they only know that it is not what they speak.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::Distrust;
use super::way::{HTTP, distrust_of, stranger};
use super::{Cause, Stream};
use crate::address::Carrier;

/// So many bytes tell protocols apart.
const HEAD: usize = 16;

/// What kind the first frame of HTTP/2 is (RFC 9113 3.4).
#[cfg(feature = "grpc")]
const SETTINGS: u8 = 4;

/// What was seen on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Begun(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    head: Vec<u8>,
    /// Said of a certificate where the carrier lost the words.
    distrust: Option<Distrust>,
}

impl Begun {
    /// Looks at what a connection says.
    pub(super) fn watch(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(Watched { stream, begun: self.clone(), left: HEAD, broken: None, held: Vec::new() })
    }

    /// Why the carrier has come to nothing, given what was seen.
    pub(super) fn explain(&self, carrier: Carrier, cause: Cause) -> Cause {
        let seen = self.seen();
        if let Some(distrust) = &seen.distrust {
            return Cause::Certificate(distrust.clone());
        }
        // What a gateway said counts.
        let is_open = matches!(cause, Cause::Io(_) | Cause::Ended(_) | Cause::Odd(_) | Cause::Stranger(_));
        if !is_open || seen.head.is_empty() || speaks(carrier, &seen.head) { cause } else { stranger(&seen.head) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, distrust: Option<Distrust>) {
        if distrust.is_some() {
            self.seen().distrust = distrust;
        }
    }
}

/// Whether an answer in this carrier begins so.
fn speaks(carrier: Carrier, head: &[u8]) -> bool {
    match carrier {
        #[cfg(feature = "grpc")]
        Carrier::Grpc => head.get(3).is_none_or(|kind| *kind == SETTINGS),
        _ => head.starts_with(HTTP) || HTTP.starts_with(head),
    }
}

struct Watched {
    stream: Box<dyn Stream>,
    begun: Begun,
    /// How many more of the first bytes are noted.
    left: usize,
    /// A writing that has failed, and waits for what the other end said before.
    broken: Option<io::Error>,
    /// What that was, where it was no more than bytes.
    held: Vec<u8>,
}

impl Watched {
    /// Of a writing. Where nothing was heard so far, one that fails is told once the other end was: it may have refused our
    /// certificate before it hung up, and the system knows of that as well by now.
    fn written<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Err(error)) if self.left == HEAD && self.held.is_empty() => self.broken = Some(error),
            other => return other,
        }
        self.last_word(cx).map(Err)
    }

    /// The writing that has failed, once what was said before was read.
    fn last_word(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut bytes = [0; 512];
        let mut read = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.held.extend_from_slice(read.filled()),
            Poll::Ready(Err(error)) => self.begun.note(distrust_of(&error)),
        }
        Poll::Ready(self.broken.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = if self.held.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        } else {
            let count = self.held.len().min(buf.remaining());
            let rest = self.held.split_off(count);
            buf.put_slice(&std::mem::replace(&mut self.held, rest));
            Poll::Ready(Ok(()))
        };
        match &polled {
            Poll::Ready(Ok(())) if self.left > 0 => {
                let came = buf.filled().get(before..).unwrap_or_default();
                let came = came.get(..self.left).unwrap_or(came);
                self.begun.seen().head.extend_from_slice(came);
                self.left -= came.len();
            }
            Poll::Ready(Err(error)) => self.begun.note(distrust_of(error)),
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return self.last_word(cx).map(Err);
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return self.last_word(cx).map(Err);
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            return self.last_word(cx).map(Err);
        }
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::failure::Speaks;

    fn explained(carrier: Carrier, head: &[u8], cause: Cause) -> Cause {
        let begun = Begun::default();
        begun.seen().head.extend_from_slice(head);
        begun.explain(carrier, cause)
    }

    #[cfg(all(feature = "grpc", feature = "http"))]
    #[test]
    fn what_the_other_end_speaks_explains_what_a_carrier_cannot_read() {
        let ended = || Cause::Ended("odd".to_owned());
        for (carrier, head, expected) in [
            (Carrier::Grpc, &b"HTTP/1.1 400 Bad"[..], Some(Speaks::Http)),
            (Carrier::Grpc, b"<html>", Some(Speaks::Http)),
            (Carrier::Grpc, b"SSH-2.0", Some(Speaks::Unknown)),
            (Carrier::Grpc, b"\0\0\x12\x04\0\0\0", None),
            (Carrier::Grpc, b"", None),
            (Carrier::Http, b"HTTP/1.0 404", None),
            (Carrier::Http, b"HTT", None),
            (Carrier::Http, b"\x15\x03\x03\0\x02", Some(Speaks::Tls)),
            (Carrier::Http, b"220 ready", Some(Speaks::Unknown)),
        ] {
            let found = explained(carrier, head, ended());
            let speaks = if let Cause::Stranger(speaks) = &found { Some(*speaks) } else { None };
            assert_eq!(speaks, expected, "{}: {found:?}", head.escape_ascii());
        }
        assert!(matches!(explained(Carrier::Http, b"meshwire: these", ended()), Cause::NotServed));
    }

    #[cfg(feature = "http")]
    #[test]
    fn what_a_gateway_said_is_not_explained_away() {
        assert!(matches!(explained(Carrier::Http, b"SSH-2.0", Cause::TlsRequired), Cause::TlsRequired));
        assert!(matches!(explained(Carrier::Http, b"SSH-2.0", Cause::Silent), Cause::Silent));
    }
}
