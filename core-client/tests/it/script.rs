//! A gateway that does what a test tells it.

use bytes::{Bytes, BytesMut};
use meshwire::{Connect, MemoryListener, MemoryTransport, Mesh};
use meshwire_proto::Event;
use meshwire_proto::frame::{
    ClientFrame, Deliver, DeliverRun, FrameParser, PREFACE, Publish, Receipt, Receipts, ServerFrame, Settle,
    SettleKind, SettleRange, SettleResult, Settled, begin_frame, end_frame,
};
use meshwire_proto::wire::session as wire;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The gateway's end of one connection.
pub(crate) struct Gateway {
    stream: Box<dyn Io>,
    read: BytesMut,
}

pub(crate) fn welcome() -> wire::Welcome {
    wire::Welcome {
        version: 1,
        session: Bytes::from_static(b"session"),
        secret: Bytes::from_static(b"secret"),
        producer_known: true,
        ..wire::Welcome::default()
    }
}

pub(crate) fn resumed() -> wire::Welcome {
    wire::Welcome { resumed: true, ..welcome() }
}

/// A client that is logged in, its gateway, and the listener for what comes next.
pub(crate) async fn connected() -> (Mesh, Gateway, MemoryListener) {
    connected_with(|connect| connect).await
}

pub(crate) async fn connected_with(options: impl FnOnce(Connect) -> Connect) -> (Mesh, Gateway, MemoryListener) {
    let (transport, mut listener) = MemoryTransport::new();
    let accept = async {
        let gateway = Gateway::log_in(&mut listener, welcome()).await.0;
        (gateway, listener)
    };
    let (mesh, (gateway, listener)) = tokio::join!(options(Connect::memory(transport).name("test")), accept);
    (mesh.expect("the script logs in"), gateway, listener)
}

/// The answer to a subscribe, but for its number.
pub(crate) fn subscribed(next_position: u64, new_group: bool) -> wire::Subscribed {
    wire::Subscribed {
        next_delivery: 1,
        next_position,
        ack_wait_ms: 30_000,
        topic_next: next_position,
        new_group,
        ..wire::Subscribed::default()
    }
}

/// An encoded event as a gateway would deliver it.
pub(crate) fn event(id: &str, key: Option<&str>, data: &str) -> Bytes {
    let event = Event::text("test", data).id(id).source("//test");
    key.map_or(event.clone(), |key| event.key(key)).encode().unwrap()
}

impl Gateway {
    pub(crate) async fn accept(listener: &mut MemoryListener) -> Self {
        Self::over(listener.accept().await.expect("a connection"))
    }

    /// On a connection of any kind.
    pub(crate) fn over(stream: impl Io + 'static) -> Self {
        Self { stream: Box::new(stream), read: BytesMut::new() }
    }

    /// Accepts, reads the Hello, answers it.
    pub(crate) async fn log_in(listener: &mut MemoryListener, welcome: wire::Welcome) -> (Self, wire::Hello) {
        let mut gateway = Self::accept(listener).await;
        let hello = gateway.hello().await;
        gateway.send(&ServerFrame::Welcome(welcome)).await;
        (gateway, hello)
    }

    pub(crate) async fn hello(&mut self) -> wire::Hello {
        let mut preface = [0; 8];
        self.stream.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(preface, PREFACE);
        self.stream.write_all(&PREFACE).await.unwrap();
        match self.next().await {
            Some(ClientFrame::Hello(hello)) => hello,
            other => panic!("{other:?} instead of Hello"),
        }
    }

    pub(crate) async fn send(&mut self, frame: &ServerFrame) {
        let mut bytes = BytesMut::new();
        let start = begin_frame(&mut bytes);
        frame.encode(&mut bytes);
        end_frame(&mut bytes, start, 0);
        self.stream.write_all(&bytes).await.expect("the client reads");
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client reads");
    }

    /// The next frame; `None` when the client hung up.
    pub(crate) async fn next(&mut self) -> Option<ClientFrame> {
        let parser = FrameParser::new(u32::MAX, "test");
        loop {
            if let Some(frame) = parser.next(&mut self.read).unwrap() {
                return Some(ClientFrame::decode(frame).unwrap());
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn publish(&mut self) -> Publish {
        match self.next().await {
            Some(ClientFrame::Publish(publish)) => publish,
            other => panic!("{other:?} instead of Publish"),
        }
    }

    /// Reads publishes until `count` events came; gives how many frames that took.
    pub(crate) async fn publishes(&mut self, count: u64) -> u64 {
        let (mut events, mut frames) = (0, 0);
        while events < count {
            events += self.publish().await.runs.iter().map(|r| u64::from(r.events.count())).sum::<u64>();
            frames += 1;
        }
        frames
    }

    pub(crate) async fn settle(&mut self) -> Settle {
        match self.next().await {
            Some(ClientFrame::Settle(settle)) => settle,
            other => panic!("{other:?} instead of Settle"),
        }
    }

    /// The ranges of the next Settle as `(first, count, kind)`.
    pub(crate) async fn ranges(&mut self) -> Vec<(u64, u32, SettleKind)> {
        self.settle().await.ranges.into_iter().map(|r| (r.first_delivery, r.count, r.kind)).collect()
    }

    /// Confirms the next Settle, which asks for it; gives its ranges as `(first, kind)`.
    pub(crate) async fn confirm(&mut self) -> Vec<(u64, SettleKind)> {
        self.confirm_before(0).await
    }

    /// The same, and says that the next delivery had this number then.
    pub(crate) async fn confirm_before(&mut self, next_delivery: u64) -> Vec<(u64, SettleKind)> {
        let settle = self.settle().await;
        self.answer(&settle, next_delivery).await;
        settle.ranges.iter().map(|r| (r.first_delivery, r.kind)).collect()
    }

    pub(crate) async fn answer(&mut self, settle: &Settle, next_delivery: u64) {
        self.answer_with(settle, 0, next_delivery).await;
    }

    pub(crate) async fn answer_with(&mut self, settle: &Settle, code: u32, next_delivery: u64) {
        assert!(settle.confirm);
        let result = |range: &SettleRange| SettleResult {
            sequence: settle.sequence,
            subscription: range.subscription,
            first_delivery: range.first_delivery,
            count: range.count,
            code,
            next_delivery,
        };
        let results = settle.ranges.iter().map(result).collect();
        self.send(&ServerFrame::Settled(Settled { through: settle.sequence, results })).await;
    }

    pub(crate) async fn settled(&mut self, through: u64) {
        self.send(&ServerFrame::Settled(Settled { through, results: Vec::new() })).await;
    }

    pub(crate) async fn keep(&mut self, first_sequence: u64, count: u32, first_position: u64) {
        self.receipt(Receipt { first_sequence, count, first_position, ..Receipt::default() }).await;
    }

    pub(crate) async fn receipt(&mut self, receipt: Receipt) {
        self.send(&ServerFrame::Receipts(Receipts { receipts: vec![receipt] })).await;
    }

    /// Confirms the next Subscribe.
    pub(crate) async fn subscribe(&mut self) -> wire::Subscribe {
        self.subscribe_at(1, true).await
    }

    /// The same, and tells this ack wait in milliseconds.
    pub(crate) async fn subscribe_for(&mut self, ack_wait_ms: u32) -> wire::Subscribe {
        self.answer_subscribe(wire::Subscribed { ack_wait_ms, ..subscribed(1, true) }).await
    }

    /// The same, where the group was there before or not, and its next event.
    pub(crate) async fn subscribe_at(&mut self, next_position: u64, new_group: bool) -> wire::Subscribe {
        self.answer_subscribe(subscribed(next_position, new_group)).await
    }

    pub(crate) async fn answer_subscribe(&mut self, answer: wire::Subscribed) -> wire::Subscribe {
        let subscribe = match self.next().await {
            Some(ClientFrame::Subscribe(subscribe)) => subscribe,
            other => panic!("{other:?} instead of Subscribe"),
        };
        let subscribed = wire::Subscribed { subscription: subscribe.subscription, ..answer };
        self.send(&ServerFrame::Subscribed(subscribed)).await;
        subscribe
    }

    /// Delivers events under numbers and positions from `first` on.
    pub(crate) async fn deliver(&mut self, subscription: u32, first: u64, events: impl IntoIterator<Item = Bytes>) {
        self.deliver_at(subscription, first, first, events).await;
    }

    pub(crate) async fn deliver_at(
        &mut self,
        subscription: u32,
        first_delivery: u64,
        first_position: u64,
        events: impl IntoIterator<Item = Bytes>,
    ) {
        self.deliver_again(subscription, (first_delivery, first_position), 1, events).await;
    }

    /// Events from a number and a position on, all as this attempt.
    pub(crate) async fn deliver_again(
        &mut self,
        subscription: u32,
        (first_delivery, first_position): (u64, u64),
        attempt: u32,
        events: impl IntoIterator<Item = Bytes>,
    ) {
        let events = events.into_iter().collect();
        let run = DeliverRun { subscription, first_delivery, attempt, first_position, events, ..DeliverRun::default() };
        self.send(&ServerFrame::Deliver(Deliver { runs: vec![run] })).await;
    }
}
