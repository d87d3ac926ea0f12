//! CloudEvents over WebSocket, on `/v1/topics/{topic}/events`: one event a message, published in, an unnamed broadcast out.
//!
//! Source: CloudEvents 1.0.2, WebSockets Protocol Binding. It has no place for an answer: what cannot be published ends the connection
//! with our close code and the reason.

use std::pin::Pin;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::response::Response;
use meshwire_proto::codec::json;
use meshwire_proto::{EventView, Timing};

use super::delivery::ANY_SIZE;
use super::query::Query;
use super::websocket::{End, NoUpgrade, Received, Socket, agree, of_events};
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Proto,
}

pub(super) async fn upgrade(door: Door, topic: String, parts: &mut Parts) -> Result<Response, NoUpgrade> {
    let handshake = agree(parts, &[JSON, PROTO])?;
    let query = Query::read(&parts.uri, &["start"])?;
    let start = receive::start(&query)?;
    let format = if handshake.subprotocol == JSON { Format::Json } else { Format::Proto };
    let caller = door.caller("websocket");
    let consumer =
        door.calls.consume(&caller, &topic, receive::broadcast_request(start)).await.map_err(Problem::from)?;
    let limits = of_events(&door);
    Ok(handshake.begin(door, (limits, Spoken::WebSocketCloudEvents), move |door, socket| async move {
        let mut peer = Peer { socket, format, calls: Arc::clone(&door.calls), caller, topic };
        let end = peer.serve(consumer).await;
        peer.socket.end(end).await;
    }))
}

struct Peer {
    socket: Socket,
    format: Format,
    calls: Arc<Calls>,
    caller: Caller,
    topic: String,
}

type Publishing = Pin<Box<dyn Future<Output = Result<Vec<Taken>, Refusal>> + Send>>;

impl Peer {
    async fn serve(&mut self, mut consumer: Consumer) -> End {
        let mut publishing: Option<Publishing> = None;
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
                        return End::refused(&refusal);
                    }
                }
                message = self.socket.next(), if publishing.is_none() => {
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
            }
        }
    }

    fn publish(&self, offer: Offer) -> Publishing {
        let (calls, caller, topic) = (Arc::clone(&self.calls), self.caller.clone(), self.topic.clone());
        Box::pin(async move { calls.publish(&caller, &topic, offer, Timing::default()).await })
    }

    /// Takes a message, and those behind it that are here already.
    fn gather(&mut self, mut message: Result<Received, End>, offer: &mut Offer) -> Result<(), End> {
        let mut bytes = 0;
        loop {
            match (message?, self.format) {
                (Received::Text(text), Format::Json) => {
                    bytes += text.len();
                    offer.event(json::read(&text));
                }
                (Received::Binary(event), Format::Proto) => {
                    bytes += event.len();
                    offer.raw(&event);
                }
                (_, Format::Json) => return Err(End::wrong_kind("events are text messages in this subprotocol")),
                (_, Format::Proto) => return Err(End::wrong_kind("events are binary messages in this subprotocol")),
            }
            if offer.len() >= GATHERED || bytes >= GATHERED_BYTES {
                return Ok(());
            }
            match self.socket.ready() {
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
                        self.socket.feed(message).await?;
                    }
                }
                Ok(None) => return Err(End::stopping()),
                Err(refusal) => return Err(End::refused(&refusal)),
            }
            if written >= GATHERED_BYTES {
                break;
            }
            delivered = match consumer.ready() {
                Ok(None) => break,
                ready => ready,
            };
        }
        self.socket.flush().await
    }

    /// `None`: the event has no form in this format.
    fn message(&self, delivered: &Delivered) -> Option<Received> {
        if self.format == Format::Proto {
            return Some(Received::Binary(delivered.event.clone()));
        }
        let mut text = String::new();
        let written = EventView::parse(&delivered.event, ANY_SIZE).and_then(|view| json::write(&view, &mut text));
        if written.is_err() {
            self.calls.count_unwritable();
            return None;
        }
        Some(Received::Text(text.into()))
    }
}
