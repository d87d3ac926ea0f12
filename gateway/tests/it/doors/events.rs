//! CloudEvents over WebSocket.

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::carriers::upgrade;
use super::http::encoded;
use super::{Ask, Said};
use crate::http_websocket::next;
use crate::rig::Rig;

pub(crate) const SUBPROTOCOL: &str = "cloudevents.json";
/// The same in protobuf.
pub(crate) const PROTOBUF: &str = "cloudevents.proto";

pub(super) async fn ask(rig: &Rig, headers: &[(&'static str, &str)], ask: &Ask<'_>) -> Option<Said> {
    let Ask::Publish { topic, event } = ask else { return None };
    Some(publish(rig, (topic, SUBPROTOCOL), headers, Message::text(event.json.clone())).await)
}

/// What is told of an event in protobuf.
pub(crate) async fn protobuf(rig: &Rig, topic: &str, event: Bytes) -> Said {
    publish(rig, (topic, PROTOBUF), &[], Message::Binary(event)).await
}

async fn publish(
    rig: &Rig,
    (topic, subprotocol): (&str, &str),
    headers: &[(&'static str, &str)],
    event: Message,
) -> Said {
    let path = format!("/v1/topics/{}/events", encoded(topic));
    let mut socket = match upgrade(rig, &path, subprotocol, headers).await {
        Ok(socket) => socket,
        Err(said) => return said,
    };
    socket.send(event).await.unwrap();
    end(next(&mut socket).await)
}

/// What a message says of what was published.
pub(crate) fn end(message: Message) -> Said {
    match message {
        Message::Close(Some(frame)) => Said::Close { code: frame.code.into(), reason: frame.reason.to_string() },
        // It comes back to who listens.
        Message::Text(_) | Message::Binary(_) => Said::Fine,
        other => panic!("neither an event nor the end: {other:?}"),
    }
}
