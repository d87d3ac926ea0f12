//! Calls as JSON over WebSocket.

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::carriers::{Socket, upgrade};
use super::{Ask, Said, sent};
use crate::http_websocket::next_json;
use crate::rig::Rig;

pub(crate) const SUBPROTOCOL: &str = "meshwire.v1.json";

/// The answer to a call.
pub(crate) async fn call(page: &mut Socket, call: &impl ToString) -> Value {
    page.send(Message::text(call.to_string())).await.unwrap();
    next_json(page).await
}

fn said(answer: &Value) -> Said {
    if answer["ok"].is_null() { Said::object(&answer["error"]) } else { Said::Fine }
}

fn event(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// Publishes this text, which a value of JSON would make a better event of: one without members of the same name.
pub(crate) fn publishing(topic: &str, json: &str) -> String {
    format!(r#"{{"id":1,"op":"publish","topic":{},"event":{json}}}"#, json!(topic))
}

pub(super) async fn ask(rig: &Rig, headers: &[(&'static str, &str)], ask: &Ask<'_>) -> Option<Said> {
    let asked = match *ask {
        Ask::Publish { topic, event: ref sent } => publishing(topic, &sent.json),
        Ask::Request { topic, timeout_ms } => {
            let event = event(&sent("1", 1).json);
            json!({"id": 1, "op": "request", "topic": topic, "event": event, "timeout_ms": timeout_ms}).to_string()
        }
        Ask::Join { topic, group, member } => {
            json!({"id": 1, "op": "subscribe", "topic": topic, "group": group, "member": member}).to_string()
        }
        Ask::SettleTwice { .. } => String::new(),
        Ask::Create { .. } | Ask::GetGroup { .. } => return None,
    };
    // A browser's token is a subprotocol, since pages cannot set headers.
    let bearer = headers.iter().any(|(name, _)| *name == "authorization");
    let subprotocol = if bearer { format!("{SUBPROTOCOL}, bearer.eA") } else { SUBPROTOCOL.to_owned() };
    let headers: Vec<_> = headers.iter().copied().filter(|(name, _)| *name != "authorization").collect();
    let mut page = match upgrade(rig, "/v1/ws", &subprotocol, &headers).await {
        Ok(page) => page,
        Err(said) => return Some(said),
    };
    if let Ask::SettleTwice { topic } = *ask {
        return Some(settle_twice(&mut page, topic).await);
    }
    Some(said(&call(&mut page, &asked).await))
}

async fn settle_twice(page: &mut Socket, topic: &str) -> Said {
    let event = event(&sent("page", 1).json);
    let published = call(page, &json!({"id": 1, "op": "publish", "topic": topic, "event": event})).await;
    assert_eq!(said(&published), Said::Fine);
    let joined = call(page, &json!({"id": 2, "op": "subscribe", "topic": topic, "group": "page"})).await;
    assert_eq!(said(&joined), Said::Fine);
    let lease = next_json(page).await["lease"].clone();
    let mut settle = async |kind: &str| {
        let settlements = json!([{"lease": lease, "kind": kind}]);
        let asked = json!({"id": 3, "op": "settle", "topic": topic, "group": "page", "settlements": settlements});
        Said::item(&call(page, &asked).await["ok"]["results"][0])
    };
    assert_eq!(settle("ack").await, Said::Fine);
    settle("reject").await
}
