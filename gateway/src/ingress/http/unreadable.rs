//! Heads that cannot be read: the answer has a problem's body as every other error.
//!
//! The HTTP/1 server below answers those itself, without a body, and offers no place to change that: no request is made of such a head, so
//! no service sees it. So its answer is known by its bytes on their way out, and ours goes out in its place.
//!
//! *Invariant:* nothing else is ever taken for it. It is one write of its own, behind one that was taken whole; it has a status of an
//! unreadable head and no headers but the three that it always has. Every answer of ours has a content type, and a body never begins a
//! write: its head or the size of its chunk does.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use bytes::{Buf as _, Bytes, BytesMut};
use meshwire_proto::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::MAX_HEADERS;
use super::{H2_PREFACE, Problem};
use crate::ingress::BoxIo;
use crate::ingress::io::Prefixed;
use crate::mesh::Counts;

/// Longer than any answer without a body.
const LONGEST: usize = 256;

/// A connection whose server's own refusals become problems.
pub(super) struct Answered<T> {
    io: T,
    counts: Arc<Counts>,
    head_bytes: usize,
    /// HTTP/2 has frames, and resets for what it cannot read.
    is_http1: bool,
    /// The last write was taken to its end.
    whole: bool,
    /// What is left of our answer, in the place of one that was written whole once this is gone.
    ours: Bytes,
}

impl Answered<Prefixed> {
    /// Over a connection that begins with `prefix`; `head_bytes`: the most that a head may have.
    pub(super) fn over(prefix: BytesMut, stream: BoxIo, counts: Arc<Counts>, head_bytes: usize) -> Self {
        let is_http1 = !prefix.starts_with(H2_PREFACE);
        Self::new(Prefixed::new(prefix, stream), is_http1, counts, head_bytes)
    }
}

impl<T> Answered<T> {
    fn new(io: T, is_http1: bool, counts: Arc<Counts>, head_bytes: usize) -> Self {
        Self { io, counts, head_bytes, is_http1, whole: true, ours: Bytes::new() }
    }

    /// Ours, if these bytes are an answer of the server itself.
    fn replaced(&self, bytes: &[u8]) -> Option<Bytes> {
        let status = if self.is_http1 && self.whole { bare(bytes) } else { None }?;
        let (kind, text) = match status {
            StatusCode::BAD_REQUEST => {
                let text = "the head of the request cannot be read: its first line, a header or the framing of its body is not as RFC 9112 says";
                (ErrorKind::Invalid, text.to_owned())
            }
            StatusCode::URI_TOO_LONG => (ErrorKind::TooLarge, "the address of the request is too long".to_owned()),
            _ => {
                let text =
                    format!("the head of the request is over {} bytes or {MAX_HEADERS} headers", self.head_bytes);
                (ErrorKind::TooLarge, text)
            }
        };
        self.counts.told(kind);
        Some(Problem::new(kind, text).with(status).into_bytes())
    }
}

/// The status of an answer of the server itself to a head that it cannot read.
fn bare(bytes: &[u8]) -> Option<StatusCode> {
    if bytes.len() > LONGEST || !bytes.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?.split("\r\n");
    let status = StatusCode::from_bytes(lines.next()?.get(9..12)?.as_bytes()).ok()?;
    let is_known =
        |line: &str| line == "connection: close" || line == "content-length: 0" || line.starts_with("date: ");
    let of_heads = [StatusCode::BAD_REQUEST, StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
    (of_heads.contains(&status) && lines.all(is_known)).then_some(status)
}

impl<T: AsyncWrite + Unpin> Answered<T> {
    /// Writes ours in place of `bytes`, if it is to be; `Ready(None)`: it is not.
    fn poll_ours(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<Option<usize>>> {
        if self.ours.is_empty() {
            match self.replaced(bytes) {
                Some(ours) => self.ours = ours,
                None => return Poll::Ready(Ok(None)),
            }
        }
        while !self.ours.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.ours))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ours.advance(written);
        }
        Poll::Ready(Ok(Some(bytes.len())))
    }

    /// Remembers whether all was taken.
    fn taken(&mut self, of: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.whole = matches!(written, Poll::Ready(Ok(count)) if count == of);
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Answered<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Answered<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(count) = ready!(self.poll_ours(cx, bytes))? {
            return Poll::Ready(Ok(count));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.taken(bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [bytes] = slices
            && let Some(count) = ready!(self.poll_ours(cx, bytes))?
        {
            return Poll::Ready(Ok(count));
        }
        let of = slices.iter().map(|slice| slice.len()).sum();
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.taken(of, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sat, 28 Nov 2026 20:00:00 GMT\r\n\r\n";

    #[test]
    fn only_an_answer_without_a_body_to_an_unreadable_head_is_one() {
        assert_eq!(bare(BARE.as_bytes()), Some(StatusCode::BAD_REQUEST));
        assert_eq!(bare(b"HTTP/1.1 431 x\r\ncontent-length: 0\r\n\r\n").map(|status| status.as_u16()), Some(431));
        for other in [
            "",
            "HTTP/1.1 4",
            "HTTP/1.1 400 Bad Request\r\n\r",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(bare(other.as_bytes()), None, "{other}");
        }
        assert_eq!(bare(format!("{BARE}{BARE}").as_bytes()), None);
    }

    /// What comes out when these are written, into room for so many bytes.
    async fn written(is_http1: bool, room: usize, pieces: &[&str]) -> (String, u64) {
        let counts = Arc::new(Counts::default());
        let (near, mut far) = tokio::io::duplex(room);
        let mut io = Answered::new(near, is_http1, counts.clone(), 65_536);
        let mut read = String::new();
        let write = async move {
            for piece in pieces {
                io.write_all(piece.as_bytes()).await.unwrap();
            }
        };
        let (_, all) = tokio::join!(write, far.read_to_string(&mut read));
        all.unwrap();
        (read, counts.errors(ErrorKind::Invalid))
    }

    #[tokio::test]
    async fn it_is_replaced_also_where_it_does_not_fit_at_once_and_counted_once() {
        for room in [7, 64, 4096] {
            let (read, counted) = written(true, room, &["HTTP/1.1 200 OK\r\n\r\n", BARE]).await;
            let ours = read.strip_prefix("HTTP/1.1 200 OK\r\n\r\n").unwrap();
            assert!(
                ours.starts_with("HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n"),
                "{ours}"
            );
            assert!(ours.contains("connection: close\r\n") && ours.contains("\"code\":\"INVALID\""), "{ours}");
            assert_eq!(counted, 1, "{room}");
        }
    }

    #[tokio::test]
    async fn the_same_bytes_as_a_part_of_something_else_stay_as_they_are() {
        // In HTTP/2, and as the rest of a write that was not taken whole.
        assert_eq!(written(false, 4096, &[BARE]).await, (BARE.to_owned(), 0));
        let whole = format!("0123456{BARE}");
        assert_eq!(written(true, 7, &[&whole]).await, (whole, 0));
    }
}
