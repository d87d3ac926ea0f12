//! CloudEvents over WebSocket, on `/v1/topics/{topic}/events`: one event a message, published in, an unnamed broadcast out.
//!
//! Source: CloudEvents 1.0.2, WebSockets Protocol Binding. It has no place for an answer: what cannot be published ends the connection
//! with our close code and the reason.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use meshwire_proto::codec::json;
use meshwire_proto::{ErrorKind, EventView, Timing};

use super::delivery::ANY_SIZE;
use super::pulse::Pulse;
use super::query::Query;
use super::{Door, Problem, receive};
use crate::ingress::calls::{Calls, Consumer, Delivered, Offer, Taken};
use crate::mesh::{Caller, Refusal, Spoken};

/// One event a text message, in JSON.
const JSON: &str = "cloudevents.json";
/// One event a binary message, in protobuf.
const PROTO: &str = "cloudevents.proto";

/// Most messages that are published together, and about their bytes.
const GATHERED: usize = 256;
const GATHERED_BYTES: usize = 1 << 20;

/// What is read from the socket at once.
const READ_BUFFER: usize = 16 * 1024;

/// Longest reason of a close frame, in bytes: RFC 6455, 5.5.
const REASON: usize = 123;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Proto,
}

/// Why it ends; `None`: the peer has gone.
type End = Option<CloseFrame>;

pub(super) async fn upgrade(
    door: Door,
    topic: String,
    uri: &Uri,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let query = Query::read(uri, &["start"])?;
    let start = receive::start(&query)?;
    let most = usize::try_from(door.native.mesh().limits().max_event_bytes).unwrap_or(usize::MAX).saturating_mul(2);
    let upgrade = upgrade
        .protocols([JSON, PROTO])
        .max_message_size(most)
        .max_frame_size(most)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0);
    let format = match upgrade.selected_protocol().and_then(|name| name.to_str().ok()) {
        Some(JSON) => Format::Json,
        Some(PROTO) => Format::Proto,
        _ => {
            let text =
                format!("no WebSocket subprotocol was asked for that is served here; there are {JSON} and {PROTO}");
            return Err(Problem::new(ErrorKind::Unsupported, text));
        }
    };
    let caller = door.caller("websocket");
    let consumer = door.calls.consume(&caller, &topic, receive::broadcast_request(start)).await?;
    let response = upgrade.on_upgrade(move |socket| async move {
        let Door { calls, open, native, place: _place, .. } = door;
        let _counted = native.mesh().counts().connected(Spoken::WebSocketCloudEvents);
        let pulse = Pulse::new(native.config.heartbeat);
        let mut peer = Peer { socket, format, calls, caller, topic };
        let end = tokio::select! {
            end = peer.serve(consumer, &pulse) => end,
            () = pulse.stops() => None,
        };
        if let Some(frame) = end {
            let _ = peer.socket.send(Message::Close(Some(frame))).await;
        }
        drop(open);
    });
    Ok(response.into_response())
}

struct Peer {
    socket: WebSocket,
    format: Format,
    calls: Arc<Calls>,
    caller: Caller,
    topic: String,
}

fn refused(refusal: &Refusal) -> CloseFrame {
    let text = format!("{}: {}", refusal.kind.code(), refusal.message);
    let reason = text.get(..text.floor_char_boundary(REASON)).unwrap_or_default();
    CloseFrame { code: refusal.kind.ws_close(), reason: reason.into() }
}

type Publishing = Pin<Box<dyn Future<Output = Result<Vec<Taken>, Refusal>> + Send>>;

impl Peer {
    async fn serve(&mut self, mut consumer: Consumer, pulse: &Pulse) -> End {
        let mut publishing: Option<Publishing> = None;
        let mut pings = pulse.pings();
        loop {
            tokio::select! {
                biased;
                taken = async { publishing.as_mut()?.await.into() }, if publishing.is_some() => {
                    publishing = None;
                    let refusal = match taken {
                        Some(Ok(taken)) => taken.into_iter().find_map(Result::err),
                        Some(Err(refusal)) => Some(refusal),
                        None => None,
                    };
                    if let Some(refusal) = refusal {
                        return Some(refused(&refusal));
                    }
                }
                message = self.socket.recv(), if publishing.is_none() => {
                    pulse.heard();
                    let mut offer = Offer::default();
                    if let Err(end) = self.gather(message, &mut offer) {
                        if !offer.is_empty() {
                            // What came before the end is published all the same; nobody hears of it any more.
                            let _ = self.publish(offer).await;
                        }
                        return end;
                    }
                    publishing = (!offer.is_empty()).then(|| self.publish(offer));
                }
                delivered = consumer.next() => {
                    if let Err(end) = self.deliver(delivered, &mut consumer).await {
                        return end;
                    }
                }
                _ = pings.tick() => {
                    if publishing.is_some() {
                        pulse.heard();
                    }
                    self.socket.send(Message::Ping(bytes::Bytes::new())).await.ok()?;
                }
            }
        }
    }

    fn publish(&self, offer: Offer) -> Publishing {
        let (calls, caller, topic) = (Arc::clone(&self.calls), self.caller.clone(), self.topic.clone());
        Box::pin(async move { calls.publish(&caller, &topic, offer, Timing::default()).await })
    }

    /// Takes a message, and those behind it that are here already.
    fn gather(&mut self, mut message: Option<Result<Message, axum::Error>>, offer: &mut Offer) -> Result<(), End> {
        let mut bytes = 0;
        loop {
            match (message, self.format) {
                (None | Some(Err(_) | Ok(Message::Close(_))), _) => return Err(None),
                (Some(Ok(Message::Ping(_) | Message::Pong(_))), _) => {}
                (Some(Ok(Message::Text(text))), Format::Json) => {
                    bytes += text.len();
                    offer.event(json::read(&text));
                }
                (Some(Ok(Message::Binary(event))), Format::Proto) => {
                    bytes += event.len();
                    offer.raw(&event);
                }
                (Some(Ok(_)), Format::Json) => return Err(Some(wrong("events are text messages in this subprotocol"))),
                (Some(Ok(_)), Format::Proto) => {
                    return Err(Some(wrong("events are binary messages in this subprotocol")));
                }
            }
            if offer.len() >= GATHERED || bytes >= GATHERED_BYTES {
                return Ok(());
            }
            match self.socket.next().now_or_never() {
                Some(next) => message = next,
                None => return Ok(()),
            }
        }
    }

    /// Writes a delivery, and those behind it that are here already.
    async fn deliver(
        &mut self,
        mut delivered: Result<Option<Delivered>, Refusal>,
        consumer: &mut Consumer,
    ) -> Result<(), End> {
        let mut written = 0;
        loop {
            match delivered {
                Ok(Some(next)) => {
                    written += next.event.len();
                    if let Some(message) = self.message(&next) {
                        self.socket.feed(message).await.map_err(|_| None)?;
                    }
                }
                Ok(None) => {
                    let reason = "the gateway is stopping".into();
                    return Err(Some(CloseFrame { code: close_code::AWAY, reason }));
                }
                Err(refusal) => return Err(Some(refused(&refusal))),
            }
            if written >= GATHERED_BYTES {
                break;
            }
            delivered = match consumer.ready() {
                Ok(None) => break,
                ready => ready,
            };
        }
        self.socket.flush().await.map_err(|_| None)
    }

    /// `None`: the event has no form in this format.
    fn message(&self, delivered: &Delivered) -> Option<Message> {
        if self.format == Format::Proto {
            return Some(Message::Binary(delivered.event.clone()));
        }
        let mut text = String::new();
        let written = EventView::parse(&delivered.event, ANY_SIZE).and_then(|view| json::write(&view, &mut text));
        if written.is_err() {
            self.calls.count_unwritable();
            return None;
        }
        Some(Message::Text(text.into()))
    }
}

fn wrong(reason: &'static str) -> CloseFrame {
    CloseFrame { code: close_code::UNSUPPORTED, reason: reason.into() }
}
