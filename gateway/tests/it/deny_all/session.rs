//! Frames of sessions.

use std::collections::BTreeSet;

use meshwire_proto::frame::{ClientFrame, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::session as wire;

use super::{Cells, cell, commands, schema};
use crate::doors::session::{answer, commanding, log_in, publishing};
use crate::doors::{Door, Said, Visit, sent};
use crate::rig::{Peer, Rig, earliest};

/// Frames that ask for nothing that could be denied: they end what the peer has or answer what it was given.
const OPEN: [&str; 8] = ["unsubscribe", "reply", "reply_credit", "cancel", "ping", "goodbye", "seek", "auth"];

/// A peer that is subscribed and holds an event.
pub(super) struct Holder {
    door: Door,
    peer: Peer,
}

fn frames() -> Vec<(&'static str, &'static str, ClientFrame)> {
    let subscribe = |frame: wire::Subscribe| ClientFrame::Subscribe(frame);
    let serve = wire::Subscribe { serve: true, start: None, ..earliest(5, "new", "") };
    let member =
        wire::Subscribe { member: "m".into(), mode: wire::GroupMode::Broadcast.into(), ..earliest(4, "t", "b") };
    let event = sent("1", 1).protobuf;
    let request = wire::Request { number: 1, topic: "t".into(), event, timeout_ms: 50, ..wire::Request::default() };
    let ack =
        SettleRange { subscription: 1, first_delivery: 1, count: 1, kind: SettleKind::Ack, ..SettleRange::default() };
    let settle = Settle { sequence: 1, ranges: vec![ack], confirm: true };
    vec![
        ("publish", "to a topic", publishing("t", &sent("new", 1))),
        ("subscribe", "with a group", subscribe(earliest(2, "t", "new"))),
        ("subscribe", "without a group", subscribe(earliest(3, "t", ""))),
        ("subscribe", "as a durable member", subscribe(member)),
        ("subscribe", "to serve", subscribe(serve)),
        ("request", "", ClientFrame::Request(request)),
        ("settle", "", ClientFrame::Settle(settle)),
        ("credit", "", ClientFrame::Credit(wire::Credit { subscription: 1, max_events: 9, max_bytes: 1 << 20 })),
    ]
}

impl Holder {
    pub(super) async fn of(door: Door, rig: &Rig) -> Self {
        let mut peer = log_in(door, rig, &Visit::default()).await.unwrap();
        let subscribe = wire::Subscribe { max_events: 1, ..earliest(1, "held", "g") };
        peer.subscribe(subscribe).await;
        peer.deliveries(1).await;
        Self { door, peer }
    }

    async fn said(&mut self, frame: ClientFrame) -> Said {
        let silent = matches!(frame, ClientFrame::Credit(_));
        self.peer.send(frame).await;
        if !silent {
            return answer(&mut self.peer).await;
        }
        // What is well has no answer; that of a ping shows that there was none.
        self.peer.send(ClientFrame::Ping(wire::Ping { nonce: 1, answer: false })).await;
        let next = |frame| match frame {
            ServerFrame::Error(error) => Some(Said::frame(error.code, error.retry_after_ms)),
            ServerFrame::Ping(ping) if ping.answer => Some(Said::Fine),
            _ => None,
        };
        self.peer.find(next).await
    }

    pub(super) async fn tried(&mut self) -> Cells {
        let (mut cells, mut names) = (Cells::new(), BTreeSet::from(OPEN.map(str::to_owned)));
        for (name, how, frame) in frames() {
            names.insert(name.to_owned());
            cells.push(cell(self.door, format!("{name} {how}"), self.said(frame).await));
        }
        for asked in commands::all() {
            names.insert("admin".to_owned());
            cells.push(cell(self.door, asked.name, self.said(commanding(asked.command)).await));
        }
        names.insert("hello".to_owned());
        assert_eq!(schema::fields("meshwire.session.v1", "ClientFrame"), names, "each frame has a row");
        cells
    }
}

/// Who tries to log in.
pub(super) async fn logins(rig: &Rig) -> Cells {
    let mut cells = Cells::new();
    for door in Door::SESSIONS {
        let said = log_in(door, rig, &Visit::default()).await.err().unwrap_or(Said::Fine);
        cells.push(cell(door, "hello", said));
    }
    cells
}
