//! What pages ask, and CloudEvents over WebSocket.

use std::collections::BTreeSet;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Cells, cell};
use crate::doors::carriers::{Socket, upgrade};
use crate::doors::events::end;
use crate::doors::page::{SUBPROTOCOL, call};
use crate::doors::{Door, Said, sent};
use crate::http_websocket::{next, next_json};
use crate::rig::Rig;

const EVENTS: &str = "/v1/topics/t/events";
const FORMATS: [&str; 2] = ["cloudevents.json", "cloudevents.proto"];

/// It ends what the page has.
const OPEN: &str = "unsubscribe";

/// A page that is subscribed and holds an event.
pub(super) struct Holder {
    page: Socket,
    lease: Value,
}

impl Holder {
    pub(super) async fn of(rig: &Rig) -> Self {
        let mut page = upgrade(rig, "/v1/ws", SUBPROTOCOL, &[]).await.unwrap();
        let subscribe = json!({"id": "s", "op": "subscribe", "topic": "held", "group": "page", "max_unsettled": 1});
        assert_eq!(call(&mut page, &subscribe).await["ok"], json!({}));
        let lease = next_json(&mut page).await["lease"].clone();
        Self { page, lease }
    }

    /// The answer to a call, behind what else comes.
    async fn said(&mut self, asked: &Value) -> Said {
        self.page.send(Message::text(asked.to_string())).await.unwrap();
        loop {
            let answer = next_json(&mut self.page).await;
            if answer["id"] == asked["id"] {
                return if answer["ok"].is_null() { Said::object(&answer["error"]) } else { Said::Fine };
            }
        }
    }

    pub(super) async fn tried(&mut self) -> Cells {
        let event: Value = serde_json::from_str(&sent("new", 1).json).unwrap();
        let settlements = json!([{"lease": self.lease, "kind": "ack"}]);
        let (mut cells, mut ops) = (Cells::new(), BTreeSet::from([OPEN.to_owned()]));
        for asked in [
            json!({"id": 1, "op": "publish", "topic": "t", "event": event}),
            json!({"id": 2, "op": "request", "topic": "t", "event": event, "timeout_ms": 50}),
            json!({"id": 3, "op": "subscribe", "topic": "t"}),
            json!({"id": 4, "op": "subscribe", "topic": "t", "group": "other"}),
            json!({"id": 5, "op": "subscribe", "topic": "t", "group": "b", "member": "m"}),
            json!({"id": 6, "op": "settle", "topic": "held", "group": "page", "settlements": settlements}),
            json!({"id": 7, "op": "credit", "subscription": "s", "max_unsettled": 9}),
        ] {
            let op = asked["op"].as_str().unwrap().to_owned();
            cells.push(cell(Door::Page, format!("{op} {}", asked["id"]), self.said(&asked).await));
            ops.insert(op);
        }
        // Whoever asks for none of them is told which there are.
        let unknown = json!({"id": 8, "op": "none"});
        self.page.send(Message::text(unknown.to_string())).await.unwrap();
        let told = loop {
            let answer = next_json(&mut self.page).await;
            if answer["id"] == 8 {
                break answer["error"]["detail"].as_str().unwrap().to_owned();
            }
        };
        let (_, list) = told.split_once("there are ").unwrap();
        assert_eq!(list.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), ops, "each op has a row");
        cells
    }
}

/// One connection in each format.
pub(super) async fn listeners(rig: &Rig) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for format in FORMATS {
        sockets.push(upgrade(rig, EVENTS, format, &[]).await.unwrap());
    }
    sockets
}

pub(super) async fn publishes(sockets: &mut [Socket]) -> Cells {
    let (mut cells, event) = (Cells::new(), sent("new", 1));
    let messages = [Message::text(event.json), Message::binary(event.protobuf)];
    for ((socket, format), message) in sockets.iter_mut().zip(FORMATS).zip(messages) {
        socket.send(message).await.unwrap();
        cells.push(cell(Door::Events, format!("publish {format}"), end(next(socket).await)));
    }
    cells
}

pub(super) async fn upgrades(rig: &Rig) -> Cells {
    let mut cells = Cells::new();
    for format in FORMATS {
        let said = upgrade(rig, EVENTS, format, &[]).await.err().unwrap_or(Said::Fine);
        cells.push(cell(Door::Events, format!("subscribe {format}"), said));
    }
    cells
}
