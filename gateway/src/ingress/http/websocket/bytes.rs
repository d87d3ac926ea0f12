//! Sessions: their bytes in binary messages, whatever part of them each holds.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Error;

use super::closing::End;
use super::socket::{Farewell, Received, Socket};
use crate::ingress::http::Door;
use crate::ingress::native::{Coming, Ended, serve_telling};

/// Largest message that is sent.
const SENT_MESSAGE: usize = 64 * 1024;

/// Serves a session to its end.
pub(super) async fn serve(door: Door, socket: Socket) {
    let (caller, login) = (door.caller("websocket"), door.login.clone());
    let (native, shutdown, _open) = door.leave();
    let why = Arc::new(OnceLock::new());
    let messages = Messages { socket, read: Bytes::new(), why: Arc::clone(&why), farewell: None };
    let tell = move |ended| {
        let end = match ended {
            Ended::Refused(refusal) => End::refused(&refusal),
            Ended::Stopped => End::stopping(),
            Ended::Over => return,
        };
        // What the peer broke before stands.
        let _ = why.set(end);
    };
    let coming = Coming { caller, login, held: None };
    serve_telling(native, (Box::new(messages), BytesMut::new()), coming, shutdown, tell).await;
}

/// The bytes in binary messages.
struct Messages {
    socket: Socket,
    /// What is left of the last message.
    read: Bytes,
    /// Why it ends, once that is known.
    why: Arc<OnceLock<End>>,
    /// What is left to say of it.
    farewell: Option<Farewell>,
}

fn lost(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl Messages {
    fn ends(&self, end: End) -> io::Result<()> {
        let is_over = matches!(end, End::Gone | End::Goodbye);
        let _ = self.why.set(end);
        if is_over { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.socket.poll_message(cx)) {
                Ok(Received::Binary(bytes)) => self.read = bytes,
                Ok(Received::Text(_)) => {
                    return Poll::Ready(self.ends(End::wrong_kind("this subprotocol has binary messages only")));
                }
                Err(end) => return Poll::Ready(self.ends(end)),
            }
        }
        let count = self.read.len().min(buf.remaining());
        buf.put_slice(self.read.get(..count).unwrap_or_default());
        self.read.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Messages {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// One message of all that fits into one.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        let message = || {
            let mut message = BytesMut::new();
            for slice in slices {
                let room = SENT_MESSAGE - message.len();
                message.extend_from_slice(slice.get(..room).unwrap_or(slice));
            }
            written = message.len();
            message.freeze()
        };
        ready!(self.socket.poll_write(cx, message)).map_err(lost)?;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(cx).map_err(lost)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, why, farewell, .. } = &mut *self;
        let farewell = farewell.get_or_insert_with(|| why.get().cloned().unwrap_or(End::Gone).into());
        socket.poll_end(farewell, cx).map_err(lost)
    }
}
