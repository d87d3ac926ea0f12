//! CloudEvents over WebSocket.

use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::carriers::upgrade;
use super::http::encoded;
use super::{Ask, Said};
use crate::http_websocket::next;
use crate::rig::Rig;

pub(crate) const SUBPROTOCOL: &str = "cloudevents.json";

pub(super) async fn ask(rig: &Rig, headers: &[(&'static str, &str)], ask: &Ask<'_>) -> Option<Said> {
    let Ask::Publish { topic, event } = ask else { return None };
    let path = format!("/v1/topics/{}/events", encoded(topic));
    let mut socket = match upgrade(rig, &path, SUBPROTOCOL, headers).await {
        Ok(socket) => socket,
        Err(said) => return Some(said),
    };
    socket.send(Message::text(event.json.clone())).await.unwrap();
    Some(end(next(&mut socket).await))
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
