//! A carrier as the connection of its session.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::Link;

/// The session's end of a carrier.
pub(super) struct Carried(pub(super) Arc<Link>);

impl AsyncRead for Carried {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.lost {
            let text = "the client asked for nothing any more";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        let count = state.input.len().min(buf.remaining());
        if count == 0 && !state.input_over {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(state.input.get(..count).unwrap_or_default());
        state.input.advance(count);
        drop(state);
        self.0.consumed(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carried {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = &self.0;
        let mut state = link.state();
        if state.output_over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let (room, mut written) = (link.room(&state), 0);
        if room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for slice in slices {
            let part = slice.get(..room - written).unwrap_or(slice);
            link.say(&mut state, part);
            written += part.len();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.over();
        Poll::Ready(Ok(()))
    }
}
