//! gRPC: `grpc://` and `grpcs://`. The bytes of a session travel in the messages of one call.
//!
//! Over HTTP/2 by hand: of gRPC a session needs five bytes a message and the status at the end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, StatusCode};
use meshwire_proto::codec::grpc::{self, Unframer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;
use super::failure::{OddAnswer, TlsNeeded};
use super::refusal::{Refusal, of_problem};
use super::status::refusal;
use super::way::Way;

/// Most bytes of one message that is sent.
const SENT_MESSAGE: usize = 64 * 1024;

/// Most bytes of an HTTP/2 frame that may come: a message is one or two then.
const MAX_FRAME: u32 = 64 * 1024;

/// What a gateway may send before it is read.
const WINDOW: u32 = 1 << 20;

/// Calls for a session on a connection.
pub(super) async fn call(way: &Way, secure: bool, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    let (scheme, address) = (if secure { "https" } else { "http" }, &way.address);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{address}{}", grpc::SESSION_PATH))
        .header(CONTENT_TYPE, grpc::CONTENT_TYPE)
        .header(TE, "trailers")
        .body(())
        .map_err(io::Error::other)?;
    if let Some(authorization) = way.authorization() {
        let mut value = HeaderValue::from_str(&authorization).map_err(io::Error::other)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).enable_push(false);
    builder.max_frame_size(MAX_FRAME);
    let (client, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(lost)?;
    // It ends with the call, or with the socket.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "HTTP/2 connection lost");
        }
    });
    let mut client = client.ready().await.map_err(lost)?;
    let (response, send) = client.send_request(request, false).map_err(lost)?;
    let (head, mut body) = response.await.map_err(no_answer)?.into_parts();
    if head.status != StatusCode::OK {
        // What a gateway says fits into one frame.
        if let Some(Ok(data)) = body.data().await
            && let Some(error) = of_problem(&data)
        {
            return Err(error);
        }
        return Err(OddAnswer::error("the gRPC call", head.status));
    }
    if let Some(error) = refusal(&head.headers) {
        return Err(error);
    }
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.starts_with(grpc::CONTENT_TYPE.as_bytes()) {
        return Err(OddAnswer::said("answered the gRPC call with something else than gRPC"));
    }
    Ok(Box::new(Messages { send, body, unframer: Unframer::default(), chunk: Bytes::new(), piece: Bytes::new() }))
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn lost(error: h2::Error) -> io::Error {
    if error.reason() == Some(h2::Reason::INADEQUATE_SECURITY) {
        return TlsNeeded::error();
    }
    if is_busy(&error) {
        return Refusal::busy(&format!("HTTP/2: {error}"), Duration::ZERO);
    }
    if error.is_io()
        && let Some(error) = error.get_io()
    {
        return io::Error::new(error.kind(), error.to_string());
    }
    io::Error::other(format!("HTTP/2: {error}"))
}

/// Whether the other end has no room for one more connection.
fn is_busy(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// What answered the call by something that is no answer.
fn no_answer(error: h2::Error) -> io::Error {
    if error.is_io() || is_busy(&error) || error.reason() == Some(h2::Reason::INADEQUATE_SECURITY) {
        return lost(error);
    }
    OddAnswer::said(format!("did not answer the gRPC call as HTTP/2 does: {error}"))
}

/// The bytes in messages.
struct Messages {
    send: SendStream<Bytes>,
    body: RecvStream,
    unframer: Unframer,
    /// What came last, and the piece of it that is being read.
    chunk: Bytes,
    piece: Bytes,
}

impl Messages {
    /// The status behind everything; `Ok` when the call simply ended.
    fn poll_status(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let trailers = ready!(self.body.poll_trailers(cx)).map_err(lost)?;
        Poll::Ready(trailers.as_ref().and_then(refusal).map_or(Ok(()), Err))
    }
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.piece.is_empty() {
            let piece = this.unframer.next(&mut this.chunk);
            if let Some(piece) = piece.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                this.piece = piece;
                continue;
            }
            match ready!(this.body.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It is out of the connection's hands: what is not read of it is one chunk at most.
                    this.body.flow_control().release_capacity(data.len()).map_err(lost)?;
                    this.chunk = data;
                }
                Some(Err(error)) => return Poll::Ready(Err(lost(error))),
                None => return this.poll_status(cx),
            }
        }
        let count = this.piece.len().min(buf.remaining());
        buf.put_slice(this.piece.get(..count).unwrap_or_default());
        this.piece.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Messages {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let part = bytes.get(..SENT_MESSAGE).unwrap_or(bytes);
        self.send.reserve_capacity(part.len().max(1));
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(granted) => drop(granted.map_err(lost)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let mut message = BytesMut::new();
        grpc::put_message(&[part], &mut message);
        grpc::pad(&mut message);
        // Somewhat more than there is capacity for waits in the connection.
        self.send.send_data(message.freeze(), false).map_err(lost)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Of no use to a call that has ended already.
        let _ = self.send.send_data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}
