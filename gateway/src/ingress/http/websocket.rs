//! WebSocket upgrades: a native session whose bytes travel in binary messages.
//!
//! The bytes are those of a session over TCP, preface first; a message may hold any part of them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseCode, CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Sink as _, Stream as _};
use meshwire_proto::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::{Door, Problem, pages};
use crate::ingress::native::serve_stream;
use crate::mesh::Spoken;

/// Where WebSocket is that is not about one topic.
pub(super) const PATH: &str = "/v1/ws";

/// The native protocol in binary messages.
const NATIVE: &str = "meshwire.v1";

/// Calls as JSON.
const PAGES: &str = "meshwire.v1.json";

/// Largest message that is taken: a longer frame comes in several. Before login too, one in parts is held up to twice: what came of
/// it, and the part that is coming.
const MAX_MESSAGE: usize = 64 * 1024;

/// Largest message that is sent.
const SENT_MESSAGE: usize = 64 * 1024;

/// What is read from the socket at once.
const READ_BUFFER: usize = 16 * 1024;

/// Why an upgrade cannot be.
fn rejected(rejection: &WebSocketUpgradeRejection) -> Response {
    let text = format!("{rejection}; this is for WebSocket, with subprotocol {NATIVE}");
    if matches!(rejection, WebSocketUpgradeRejection::InvalidWebSocketVersionHeader(_)) {
        let mut response =
            Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UPGRADE_REQUIRED).into_response();
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    Problem::new(ErrorKind::Invalid, text).into_response()
}

/// Whether a key is 16 bytes in base64 (RFC 6455 4.1). In HTTP/2 there is none.
fn is_key(headers: &HeaderMap) -> bool {
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    headers.get(SEC_WEBSOCKET_KEY).is_none_or(|key| {
        key.as_bytes().strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(alphabet))
    })
}

pub(super) async fn upgrade(
    Extension(door): Extension<Door>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejected(&rejection),
    };
    if !is_key(&headers) {
        return Problem::new(ErrorKind::Invalid, "sec-websocket-key must be 16 bytes in base64").into_response();
    }
    let upgrade = upgrade
        .protocols([NATIVE, PAGES])
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0);
    match upgrade.selected_protocol() {
        Some(name) if name == PAGES => return upgrade_page(door, upgrade),
        Some(_) => {}
        None => {
            let text =
                format!("no WebSocket subprotocol was asked for that is served here; there are {NATIVE} and {PAGES}");
            return Problem::new(ErrorKind::Unsupported, text).into_response();
        }
    }
    upgrade.on_upgrade(move |socket| async move {
        let caller = door.caller("websocket");
        let _counted = door.native.mesh().counts().connected(Spoken::WebSocket);
        let Door { native, shutdown, open, place, .. } = door;
        let bytes = Messages { socket, read: Bytes::new(), refused: None };
        serve_stream(native, (Box::new(bytes), BytesMut::new()), (caller, Duration::ZERO, place), shutdown).await;
        drop(open);
    })
}

/// Calls as JSON: a message holds an event, whose bytes base64 or escapes make more.
fn upgrade_page(door: Door, upgrade: WebSocketUpgrade) -> Response {
    door.place.logged_in();
    let most = usize::try_from(door.native.mesh().limits().max_event_bytes).unwrap_or(usize::MAX).saturating_mul(2);
    upgrade.max_message_size(most).max_frame_size(most).on_upgrade(move |socket| async move {
        let open = door.open.clone();
        let _counted = door.native.mesh().counts().connected(Spoken::WebSocketJson);
        pages::serve(door, socket).await;
        drop(open);
    })
}

/// The bytes in binary messages.
struct Messages {
    socket: WebSocket,
    /// What is left of the last message.
    read: Bytes,
    /// Why it ends, if the peer broke a rule.
    refused: Option<CloseFrame>,
}

fn lost(error: axum::Error) -> io::Error {
    io::Error::other(error)
}

/// What a peer is told that broke a rule of the protocol itself; `None`: nothing can be told, or it broke none.
fn broken(error: &axum::Error) -> Option<(CloseCode, &'static str)> {
    let mut source: &dyn std::error::Error = error;
    while !source.is::<WebSocketError>() {
        source = source.source()?;
    }
    match source.downcast_ref()? {
        WebSocketError::Utf8(_) => Some((close_code::INVALID, "text that is not UTF-8")),
        WebSocketError::Capacity(_) => Some((close_code::SIZE, "a message is over 64 KiB; split it")),
        WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WebSocketError::Protocol(_) => Some((close_code::PROTOCOL, "a frame breaks a rule of RFC 6455")),
        _ => None,
    }
}

impl Messages {
    fn refuse(&mut self, code: CloseCode, reason: &'static str) -> io::Error {
        self.refused = Some(CloseFrame { code, reason: reason.into() });
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => self.read = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(
                        self.refuse(close_code::UNSUPPORTED, "this subprotocol has binary messages only")
                    ));
                }
                Some(Err(error)) => {
                    return Poll::Ready(Err(match broken(&error) {
                        Some((code, reason)) => self.refuse(code, reason),
                        None => lost(error),
                    }));
                }
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
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(lost)?;
        let mut message = BytesMut::new();
        for slice in slices {
            let room = SENT_MESSAGE - message.len();
            message.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        let written = message.len();
        Pin::new(&mut self.socket).start_send(Message::Binary(message.freeze())).map_err(lost)?;
        // What the peer does not take yet is written before the next message.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.socket).poll_flush(cx) {
            return Poll::Ready(Err(lost(error)));
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(lost)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(frame) = self.refused.take() {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(lost)?;
            Pin::new(&mut self.socket).start_send(Message::Close(Some(frame))).map_err(lost)?;
        }
        Pin::new(&mut self.socket).poll_close(cx).map_err(lost)
    }
}
