//! WebSocket: `ws://` and `wss://`. The bytes of a session travel in binary messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use meshwire_proto::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::Stream;
use super::failure::{OddAnswer, TlsNeeded};
use super::refusal::{Refusal, of_problem};
use super::way::Way;

/// The path and the subprotocol of sessions.
const PATH: &str = "/v1/ws";
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("meshwire.v1");

/// How a gateway marks what it refuses.
const PROBLEM_JSON: &str = "application/problem+json";

/// Largest message that is sent: a gateway takes none much larger. Longer frames go over several.
const SENT_MESSAGE: usize = 64 * 1024;

/// Largest message that is taken.
const MAX_MESSAGE: usize = 1 << 20;

/// Asks for a session in WebSocket on a connection.
pub(super) async fn upgrade(way: &Way, secure: bool, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    let (scheme, address) = (if secure { "wss" } else { "ws" }, &way.address);
    let mut request = format!("{scheme}://{address}{PATH}").into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    if let Some(authorization) = way.authorization() {
        let mut value = HeaderValue::from_str(&authorization).map_err(io::Error::other)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(Box::new(Messages { socket, read: Bytes::new() })),
        Err(Error::Http(response)) => Err(refused(&response)),
        Err(error) => Err(lost(error)),
    }
}

/// What an answer other than the upgrade means. Of its body there is what came with the head.
fn refused(response: &Response<Option<Vec<u8>>>) -> io::Error {
    if let Some(error) = of_problem(response.body().as_deref().unwrap_or_default()) {
        return error;
    }
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_gateway = kind == Some(PROBLEM_JSON.as_bytes());
    match response.status() {
        StatusCode::UPGRADE_REQUIRED if is_gateway => TlsNeeded::error(),
        StatusCode::UNAUTHORIZED if is_gateway => Refusal::error(ErrorKind::Unauthenticated, ""),
        StatusCode::TOO_MANY_REQUESTS if is_gateway => {
            let seconds =
                response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse::<u32>().ok());
            Refusal::busy("", Duration::from_secs(seconds.unwrap_or_default().into()))
        }
        status => OddAnswer::error("the WebSocket upgrade", status),
    }
}

fn lost(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// The bytes in binary messages.
struct Messages {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// What is left of the last message.
    read: Bytes,
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => self.read = bytes,
                // Nothing else comes in this subprotocol; a ping is answered below us.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(lost(error))),
            }
        }
        let count = self.read.len().min(buf.remaining());
        buf.put_slice(self.read.get(..count).unwrap_or_default());
        self.read.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Messages {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(lost)?;
        let message = Bytes::copy_from_slice(bytes.get(..SENT_MESSAGE).unwrap_or(bytes));
        let written = message.len();
        Pin::new(&mut self.socket).start_send(Message::Binary(message)).map_err(lost)?;
        // What the gateway does not take yet is written before the next message.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.socket).poll_flush(cx) {
            return Poll::Ready(Err(lost(error)));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(lost)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(lost)
    }
}
