//! A gateway in this process, and a peer that speaks frames by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use meshwire_gateway::config::Config;
use meshwire_gateway::ingress::BoxIo;
use meshwire_gateway::mesh::{AllowAll, Authorize};
use meshwire_gateway::run::Gateway;
use meshwire_proto::frame::{
    ClientFrame, DeliverRun, FrameParser, PREFACE, Publish, PublishRun, Receipt, ServerFrame, Settle, SettleKind,
    SettleRange, begin_frame, end_frame,
};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{Event, EventRun};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Nothing in these tests takes so long; it only turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    over: tokio::task::JoinHandle<()>,
}

pub(crate) fn memory() -> Config {
    let mut config = Config::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.memory = true;
    config
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(memory(), Arc::new(AllowAll)).await
    }

    pub(crate) async fn with(config: Config, authorize: Arc<dyn Authorize>) -> Self {
        Self::of(Gateway::open_with(config, authorize).await.unwrap())
    }

    pub(crate) fn of(gateway: Gateway) -> Self {
        let address = gateway.address();
        let (stop, stopped) = oneshot::channel();
        let over = tokio::spawn(async {
            let stopped = async {
                let _ = stopped.await;
            };
            let _ = gateway.serve(stopped).await;
        });
        Self { address, stop, over }
    }

    /// Stops the gateway and waits until it is gone.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        self.ended().await;
    }

    /// Tells the gateway to stop.
    pub(crate) fn begin_stop(&mut self) {
        self.stop = oneshot::channel().0;
    }

    /// Waits until the gateway is gone.
    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.over).await.unwrap().unwrap();
    }

    pub(crate) async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A peer that has sent the preface.
    pub(crate) async fn peer(&self) -> Peer {
        Peer::over(Box::new(self.socket().await)).await
    }

    /// A peer that has logged in.
    pub(crate) async fn session(&self) -> Peer {
        self.login(hello()).await.0
    }

    pub(crate) async fn login(&self, hello: wire::Hello) -> (Peer, wire::Welcome) {
        let mut peer = self.peer().await;
        let welcome = peer.login(hello).await;
        (peer, welcome)
    }
}

pub(crate) fn hello() -> wire::Hello {
    let mut producer = [0; 16];
    getrandom::fill(&mut producer).unwrap();
    wire::Hello {
        producer_id: producer.to_vec().into(),
        producer_epoch: 1,
        min_version: 1,
        max_version: 1,
        client_name: "rig".into(),
        ..wire::Hello::default()
    }
}

pub(crate) fn event(id: &str) -> Event {
    Event::text("t", format!("data of {id}")).id(id).source("/rig")
}

pub(crate) fn run_of(events: &[Event]) -> EventRun {
    events.iter().map(|e| e.encode().unwrap()).collect()
}

pub(crate) fn earliest(subscription: u32, topic: &str, group: &str) -> wire::Subscribe {
    wire::Subscribe {
        subscription,
        topic: topic.into(),
        group: group.into(),
        start: Some(wire::Start { at: Some(wire::start::At::Earliest(true)) }),
        max_events: 256,
        max_bytes: 1 << 20,
        ..wire::Subscribe::default()
    }
}

pub(crate) struct Peer {
    pub(crate) stream: BoxIo,
    buffer: BytesMut,
    /// Deliveries that came before the receipts which were waited for.
    early: VecDeque<ServerFrame>,
    sequence: u64,
    settles: u64,
}

impl Peer {
    /// A peer that has sent the preface over these bytes.
    pub(crate) async fn over(mut stream: BoxIo) -> Self {
        stream.write_all(&PREFACE).await.unwrap();
        let mut preface = [0; 8];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut preface)).await.unwrap().unwrap();
        assert_eq!(preface, PREFACE);
        Self { stream, buffer: BytesMut::new(), early: VecDeque::new(), sequence: 0, settles: 0 }
    }

    pub(crate) async fn login(&mut self, hello: wire::Hello) -> wire::Welcome {
        self.send(ClientFrame::Hello(hello)).await;
        match self.next().await {
            Some(ServerFrame::Welcome(welcome)) => welcome,
            other => panic!("no welcome: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: ClientFrame) {
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out);
        frame.encode(&mut out);
        end_frame(&mut out, start, 0);
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next frame, `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<ServerFrame> {
        match self.early.pop_front() {
            None => self.read().await,
            early => early,
        }
    }

    async fn read(&mut self) -> Option<ServerFrame> {
        let parser = FrameParser::new(1 << 26, "none");
        loop {
            if let Some(frame) = parser.next(&mut self.buffer).unwrap() {
                return Some(ServerFrame::decode(frame).unwrap());
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer));
            match read.await.expect("a frame or the end within patience") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Skips to the next frame that `pick` takes.
    pub(crate) async fn find<T>(&mut self, pick: impl Fn(ServerFrame) -> Option<T>) -> T {
        loop {
            let frame = self.next().await.expect("the frame that is looked for");
            if let Some(found) = pick(frame) {
                return found;
            }
        }
    }

    pub(crate) async fn error(&mut self) -> wire::Error {
        self.find(|f| if let ServerFrame::Error(e) = f { Some(e) } else { None }).await
    }

    /// Publishes a run; gives its receipts.
    pub(crate) async fn publish(&mut self, topic: &str, events: EventRun) -> Vec<Receipt> {
        let count = u64::from(events.count());
        let first_sequence = self.sequence + 1;
        self.sequence += count;
        let run = PublishRun { alias: 1, topic: topic.into(), first_sequence, events, ..PublishRun::default() };
        self.send(ClientFrame::Publish(Publish { runs: vec![run], answered_through: first_sequence - 1 })).await;
        let mut receipts = Vec::new();
        let mut answered = 0;
        while answered < count {
            let more = match self.read().await.expect("the receipts") {
                ServerFrame::Receipts(r) => r.receipts,
                // What is kept may be delivered before it is answered.
                deliver @ ServerFrame::Deliver(_) => {
                    self.early.push_back(deliver);
                    continue;
                }
                _ => continue,
            };
            answered += more.iter().map(|r| u64::from(r.count)).sum::<u64>();
            receipts.extend(more);
        }
        receipts
    }

    pub(crate) async fn subscribe(&mut self, frame: wire::Subscribe) -> wire::Subscribed {
        self.send(ClientFrame::Subscribe(frame)).await;
        self.find(|f| if let ServerFrame::Subscribed(s) = f { Some(s) } else { None }).await
    }

    pub(crate) async fn deliveries(&mut self, count: u32) -> Vec<DeliverRun> {
        let mut runs: Vec<DeliverRun> = Vec::new();
        while runs.iter().map(|r| r.events.count()).sum::<u32>() < count {
            runs.extend(self.find(|f| if let ServerFrame::Deliver(d) = f { Some(d.runs) } else { None }).await);
        }
        runs
    }

    /// Settles with confirmation; gives `(first, count, code)`.
    pub(crate) async fn settle(
        &mut self,
        subscription: u32,
        first: u64,
        count: u32,
        kind: SettleKind,
    ) -> Vec<(u64, u32, u32)> {
        self.settles += 1;
        let delay_ms = (kind == SettleKind::Nack).then_some(0);
        let range =
            SettleRange { subscription, first_delivery: first, count, kind, delay_ms, ..SettleRange::default() };
        self.send(ClientFrame::Settle(Settle { sequence: self.settles, ranges: vec![range], confirm: true })).await;
        let results = self.find(|f| {
            if let ServerFrame::Settled(s) = f { (!s.results.is_empty()).then_some(s.results) } else { None }
        });
        results.await.into_iter().map(|r| (r.first_delivery, r.count, r.code)).collect()
    }
}
