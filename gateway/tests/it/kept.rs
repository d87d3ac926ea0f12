//! Answers wait for the log. The gateway runs here without threads, over a disk
//! that does nothing until it is told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use meshwire_gateway::clock::Clock;
use meshwire_gateway::engine::Now;
use meshwire_gateway::ingress::native::{Native, NativeConfig, Protocol, WriteQueue};
use meshwire_gateway::mesh::{AllowAll, Caller, Mesh, MeshConfig, Stores};
use meshwire_gateway::random::SystemRandom;
use meshwire_gateway::recover::open_mesh;
use meshwire_gateway::store::log::{Disk, LogOptions, LogStore, SimDisk, SimFault};
use meshwire_gateway::store::memory::{MemoryConfig, MemoryStore};
use meshwire_proto::frame::{ClientFrame, FrameParser, Publish, PublishRun, ServerFrame, begin_frame, end_frame};
use meshwire_proto::wire::admin::{Command, CreateTopic, command};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, EventLimits, Moment, UnixMillis};
use prost::Message as _;

use crate::rig::{earliest, event, hello, run_of};

/// Time that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { mono: Moment(1_000_000), wall: UnixMillis(1_000_000) }
    }
}

struct Machine {
    disk: Arc<SimDisk>,
    log: Arc<LogStore>,
    mesh: Mesh,
    native: Arc<Native>,
}

struct Line(Mutex<(Protocol, BytesMut)>);

impl Machine {
    fn start() -> Self {
        let disk = Arc::new(SimDisk::new());
        let on: Arc<dyn Disk> = disk.clone();
        let (log, found) =
            LogStore::open_on(on, &LogOptions::default(), Arc::new(|| (Still.now().mono, Still.now().wall))).unwrap();
        let config = MeshConfig {
            shards: 2,
            auto_create: true,
            max_topics: 100,
            retention_ms: u64::MAX,
            limits: EventLimits::default(),
            dedup_ids: 1000,
            dedup_window: Duration::from_secs(120),
            publish_budget_bytes: 64 << 20,
            hash_key: [0; 16],
        };
        let memory = Arc::new(MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 1 << 22 }));
        let stores = Stores { memory, log: Some(log.clone()) };
        let mesh = open_mesh(config, Arc::new(Still), Arc::new(AllowAll), stores, Some(found)).unwrap();
        let config = NativeConfig {
            gateway_id: "one".to_owned(),
            login_frame_bytes: 64 << 10,
            login_timeout: Duration::from_secs(5),
            max_frame_bytes: 8 << 20,
            heartbeat: Duration::from_secs(10),
            resume_window: Duration::from_secs(10),
            session_bytes: 64 << 20,
            publish_window: (16_384, 64 << 20),
        };
        let native = Native::new(mesh.clone(), config, Arc::new(SystemRandom));
        let machine = Self { disk, log, mesh, native };
        machine.run_disk();
        machine
    }

    /// Carries out all that the log wants, and tells the mesh.
    fn run_disk(&self) {
        while let Some(task) = self.log.next_write().or_else(|| self.log.next_job()) {
            self.log.ended(task.run(&*self.disk));
        }
        self.log.report(&*self.mesh.completions());
    }

    fn session(&self) -> Line {
        let protocol = Protocol::new(self.native.clone(), Caller::anonymous("native", None));
        let line = Line(Mutex::new((protocol, BytesMut::new())));
        line.send(&ClientFrame::Hello(hello()));
        assert!(matches!(line.frames()[..], [ServerFrame::Welcome(_)]));
        line
    }
}

impl Line {
    fn send(&self, frame: &ClientFrame) {
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out);
        frame.encode(&mut out);
        end_frame(&mut out, start, 0);
        self.0.lock().unwrap().0.received(&mut out);
    }

    /// What was said since the last look.
    fn frames(&self) -> Vec<ServerFrame> {
        let mut line = self.0.lock().unwrap();
        let (protocol, buffer) = &mut *line;
        buffer.clear();
        let mut queue = WriteQueue::default();
        protocol.kept();
        protocol.take_output(&mut queue);
        while let Some(bytes) = queue.pop() {
            buffer.extend_from_slice(&bytes);
        }
        let parser = FrameParser::new(1 << 26, "none");
        std::iter::from_fn(|| parser.next(buffer).unwrap()).map(|f| ServerFrame::decode(f).unwrap()).collect()
    }

    fn publish(&self, sequence: u64, topic: &str) {
        let run = PublishRun {
            alias: 1,
            topic: topic.into(),
            first_sequence: sequence,
            events: run_of(&[event(&sequence.to_string())]),
            ..PublishRun::default()
        };
        self.send(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }));
    }

    fn create(&self, topic: &str) {
        let create = CreateTopic { name: topic.into(), ..CreateTopic::default() };
        let command = Command { command: Some(command::Command::CreateTopic(create)) }.encode_to_vec().into();
        self.send(&ClientFrame::Admin(wire::Admin { number: 1, command }));
    }
}

#[test]
fn a_subscription_is_answered_and_served_once_its_topic_and_its_group_are_kept() {
    let machine = Machine::start();
    let (first, second) = (machine.session(), machine.session());
    first.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    second.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    assert_eq!(first.frames(), [], "the group is not kept");
    assert_eq!(second.frames(), [], "and not for who joins it, either");
    machine.run_disk();
    for line in [&first, &second] {
        assert!(matches!(line.frames()[..], [ServerFrame::Subscribed(_)]));
    }
    let third = machine.session();
    third.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    assert!(matches!(third.frames()[..], [ServerFrame::Subscribed(_)]), "it is kept already");
}

#[test]
fn nothing_is_delivered_before_the_answer_to_subscribe() {
    let machine = Machine::start();
    let (publisher, reader) = (machine.session(), machine.session());
    publisher.publish(1, "t");
    machine.run_disk();
    reader.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    assert_eq!(reader.frames(), [], "the event is there and the group is not");
    machine.run_disk();
    assert!(matches!(reader.frames()[..], [ServerFrame::Subscribed(_), ServerFrame::Deliver(_)]));
}

#[test]
fn a_subscription_without_a_group_waits_for_the_topic_it_creates() {
    let machine = Machine::start();
    let reader = machine.session();
    reader.send(&ClientFrame::Subscribe(earliest(1, "t", "")));
    assert_eq!(reader.frames(), []);
    machine.run_disk();
    assert!(matches!(reader.frames()[..], [ServerFrame::Subscribed(_)]));
}

#[test]
fn a_topic_that_is_created_twice_is_answered_twice_when_it_is_kept() {
    let machine = Machine::start();
    let (first, second) = (machine.session(), machine.session());
    first.create("t");
    second.create("t");
    assert_eq!((first.frames(), second.frames()), (vec![], vec![]));
    machine.run_disk();
    for line in [&first, &second] {
        assert!(matches!(&line.frames()[..], [ServerFrame::Admin(answer)] if answer.code == 0));
    }
}

#[test]
fn an_event_that_creates_its_topic_is_acknowledged_when_both_are_kept() {
    let machine = Machine::start();
    let publisher = machine.session();
    publisher.publish(1, "t");
    assert_eq!(publisher.frames(), []);
    machine.run_disk();
    assert!(matches!(&publisher.frames()[..], [ServerFrame::Receipts(r)] if r.receipts[0].code == 0));
    machine.disk.power_loss(1);
    let on: Arc<dyn Disk> = Arc::new(machine.disk.duplicate());
    let (_, found) = LogStore::open_on(on, &LogOptions::default(), Arc::new(Default::default)).unwrap();
    assert_eq!(found.fold.topics.values().map(|t| (t.name.as_str(), t.next)).collect::<Vec<_>>(), [("t", 2)]);
}

#[test]
fn a_subscription_whose_group_cannot_be_kept_is_refused() {
    let machine = Machine::start();
    let reader = machine.session();
    machine.disk.plan(machine.disk.counts().ops + 1, SimFault::Error);
    reader.send(&ClientFrame::Subscribe(earliest(7, "t", "g")));
    machine.run_disk();
    let frames = reader.frames();
    let errors = frames.iter().filter_map(|f| if let ServerFrame::Error(e) = f { Some(e) } else { None });
    let errors: Vec<_> = errors.map(|e| (e.code, e.subscription, e.operation.as_str())).collect();
    assert_eq!(errors, [(ErrorKind::StoreFailed.number(), 7, "subscribe")]);
    assert!(!frames.iter().any(|f| matches!(f, ServerFrame::Subscribed(_))));
}
