//! The session against a scripted peer, in virtual time: no sockets, no sleeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod boundary;
mod busy;
mod chaos;
mod link;
mod publish;
mod request;
mod request_again;
mod settle;
mod stopping;
mod subscribe;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_proto::frame::{
    ClientFrame, Deliver, DeliverRun, FrameParser, Publish, PublishRun, Receipt, Receipts, ServerFrame, Settle,
    SettleKind, SettleResult, Settled,
};
use meshwire_proto::wire::admin::{GroupMode, GroupSettings};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, EventRun, GroupName, MemberName, Moment, Timing, TopicName, UnixMillis};

use super::*;

/// A session, its peer, and the clock of both.
struct Scene {
    session: Session,
    now: Moment,
    outputs: Vec<Output>,
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn spec(group: Option<&str>, start: Option<Start>) -> SubscribeSpec {
    SubscribeSpec {
        topic: topic("orders"),
        group: group.map(|g| GroupName::parse(g).unwrap()),
        member: None,
        start,
        settings: GroupSettings::default(),
        max_events: 256,
        max_bytes: 8 << 20,
    }
}

fn kept(first: u64, count: u32, position: u64) -> Receipt {
    Receipt { first_sequence: first, count, first_position: position, ..Receipt::default() }
}

fn welcome() -> wire::Welcome {
    wire::Welcome {
        version: 1,
        session: Bytes::from_static(b"session"),
        secret: Bytes::from_static(b"secret"),
        heartbeat_ms: 10_000,
        publish_window_events: 16_384,
        publish_window_bytes: 64 << 20,
        max_frame_bytes: 8 << 20,
        producer_known: true,
        ..wire::Welcome::default()
    }
}

fn resumed() -> wire::Welcome {
    wire::Welcome { resumed: true, ..welcome() }
}

fn run(subscription: u32, first: u64, position: u64, events: &[&str]) -> DeliverRun {
    DeliverRun {
        subscription,
        first_delivery: first,
        attempt: 1,
        first_position: position,
        events: events.iter().map(|e| Bytes::copy_from_slice(e.as_bytes())).collect(),
        ..DeliverRun::default()
    }
}

fn settle_input(subscription: SubscriptionId, first: u64, kind: SettleKind) -> SettleInput {
    SettleInput { subscription, generation: 0, first, count: 1, kind, delay_ms: None, reason: None, confirm: None }
}

/// `(alias, topic, first sequence, events)` of each run.
fn runs(publish: &Publish) -> Vec<(u32, &str, u64, Vec<Bytes>)> {
    let run = |r: &PublishRun| r.events.iter().collect();
    publish.runs.iter().map(|r| (r.alias, r.topic.as_str(), r.first_sequence, run(r))).collect()
}

impl Scene {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self { session: Session::new(config, 7), now: Moment(1_000_000), outputs: Vec::new() }
    }

    /// A scene that is logged in.
    fn up() -> Self {
        let mut scene = Self::new();
        scene.connect(welcome());
        scene
    }

    fn settle_down(&mut self) {
        while let Some(output) = self.session.poll() {
            self.outputs.push(output);
        }
    }

    /// What the session did since the last call.
    fn outputs(&mut self) -> Vec<Output> {
        self.settle_down();
        std::mem::take(&mut self.outputs)
    }

    /// Every frame the session sends now.
    fn sent(&mut self) -> Vec<ClientFrame> {
        let mut bytes = BytesMut::new();
        while self.session.transmit(&mut bytes) {}
        let parser = FrameParser::new(u32::MAX, "test");
        let mut frames = Vec::new();
        while let Some(frame) = parser.next(&mut bytes).unwrap() {
            frames.push(ClientFrame::decode(frame).unwrap());
        }
        assert!(bytes.is_empty(), "only whole frames are sent");
        frames
    }

    fn published(&mut self) -> Vec<Publish> {
        let publish = |f| {
            if let ClientFrame::Publish(p) = f { Some(p) } else { None }
        };
        self.sent().into_iter().filter_map(publish).collect()
    }

    /// Sequences that are sent now, in order.
    fn sequences(&mut self) -> Vec<u64> {
        let runs = self.published().into_iter().flat_map(|p| p.runs);
        runs.flat_map(|r| r.first_sequence..r.first_sequence + u64::from(r.events.count())).collect()
    }

    fn settles(&mut self) -> Vec<Settle> {
        let settle = |f| {
            if let ClientFrame::Settle(s) = f { Some(s) } else { None }
        };
        self.sent().into_iter().filter_map(settle).collect()
    }

    fn receive(&mut self, frame: &ServerFrame) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.session.received(self.now, bytes.freeze());
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.session.tick(self.now);
    }

    /// Lets time pass until the session wants a connection; gives the wait.
    fn until_dial(&mut self) -> Duration {
        let before = self.now;
        while !self.outputs.contains(&Output::Connect) {
            self.now = self.now.max(self.session.deadline().expect("nothing to wait for"));
            self.session.tick(self.now);
            self.settle_down();
        }
        self.outputs.retain(|o| *o != Output::Connect);
        self.now.since(before)
    }

    /// Connects; gives the Hello.
    fn hello(&mut self) -> wire::Hello {
        self.until_dial();
        self.session.connected(self.now);
        match self.sent().as_slice() {
            [ClientFrame::Hello(hello)] => hello.clone(),
            other => panic!("the login begins with {other:?}"),
        }
    }

    fn connect(&mut self, welcome: wire::Welcome) -> wire::Hello {
        let hello = self.hello();
        self.receive(&ServerFrame::Welcome(welcome));
        hello
    }

    fn cut(&mut self) {
        self.session.disconnected(self.now);
    }

    /// A reconnect that is answered with `welcome`.
    fn reconnect(&mut self, welcome: wire::Welcome) -> wire::Hello {
        self.cut();
        self.connect(welcome)
    }

    fn publish(&mut self, events: &[&str]) {
        for event in events {
            self.session.publish(&topic("orders"), event.as_bytes());
        }
    }

    fn receipts(&mut self, receipts: Vec<Receipt>) {
        self.receive(&ServerFrame::Receipts(Receipts { receipts }));
    }

    /// The sequences answered since the last look, as `(range, kept)`.
    fn answers(&mut self) -> Vec<(std::ops::Range<u64>, bool)> {
        let answer = |o| match o {
            Output::Answered(a) => Some((a.sequences, a.result.is_ok())),
            _ => None,
        };
        self.outputs().into_iter().filter_map(answer).collect()
    }

    /// An active subscription and its number on the wire.
    fn subscribe(&mut self, spec: SubscribeSpec) -> (SubscriptionId, u32) {
        let id = self.session.subscribe(spec);
        let number = self.asked().last().expect("a Subscribe frame").subscription;
        self.confirm_subscribe(number);
        (id, number)
    }

    fn asked(&mut self) -> Vec<wire::Subscribe> {
        let subscribe = |f| {
            if let ClientFrame::Subscribe(s) = f { Some(s) } else { None }
        };
        self.sent().into_iter().filter_map(subscribe).collect()
    }

    fn confirm_subscribe(&mut self, subscription: u32) {
        let subscribed = wire::Subscribed {
            subscription,
            next_delivery: 1,
            next_position: 1,
            ack_wait_ms: 30_000,
            topic_next: 1,
            ..wire::Subscribed::default()
        };
        self.receive(&ServerFrame::Subscribed(subscribed));
    }

    fn deliver(&mut self, runs: Vec<DeliverRun>) {
        self.receive(&ServerFrame::Deliver(Deliver { runs }));
    }

    /// The reason of the only Disconnect among the outputs.
    fn disconnect_reason(&mut self) -> String {
        let reason = |o| {
            if let Output::Disconnect { reason, .. } = o { Some(reason) } else { None }
        };
        let mut reasons: Vec<String> = self.outputs().into_iter().filter_map(reason).collect();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        reasons.remove(0)
    }
}
