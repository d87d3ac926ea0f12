//! A gateway without threads, over a disk that does nothing until it is told to,
//! in a time that stands still.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use meshwire_gateway::clock::Clock;
use meshwire_gateway::config::Config;
use meshwire_gateway::engine::Now;
use meshwire_gateway::ingress::native::{Native, NativeConfig, Protocol, WriteQueue};
use meshwire_gateway::mesh::{AllowAll, Caller, Mesh, MeshConfig, Refusal, SoFar, Stores};
use meshwire_gateway::random::SystemRandom;
use meshwire_gateway::recover::open_mesh;
use meshwire_gateway::store::log::{Disk, LogOptions, LogStore, SimDisk};
use meshwire_gateway::store::memory::{MemoryConfig, MemoryStore};
use meshwire_proto::frame::{ClientFrame, FrameParser, Publish, PublishRun, ServerFrame, begin_frame, end_frame};
use meshwire_proto::wire::admin::{Command, CreateTopic, Durability, answer, command};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{Event, Moment, UnixMillis};
use prost::Message as _;

use crate::rig::{event, hello, run_of};

/// Time that moves when it is told to: milliseconds.
#[derive(Clone, Default)]
pub(crate) struct Hands(pub(crate) Arc<AtomicI64>);

impl Clock for Hands {
    fn now(&self) -> Now {
        let millis = self.0.load(Ordering::Relaxed);
        Now { mono: Moment(millis as u64 * 1000), wall: UnixMillis(millis) }
    }
}

pub(crate) struct Machine {
    pub(crate) clock: Hands,
    pub(crate) disk: Arc<SimDisk>,
    pub(crate) log: Arc<LogStore>,
    mesh: Mesh,
    native: Arc<Native>,
}

/// A connection, and what of its bytes was not processed.
pub(crate) struct Line(Mutex<(Protocol, BytesMut)>);

fn log_options() -> LogOptions {
    // Its disk is memory, and the log writes zeros ahead.
    LogOptions { segment_bytes: 4 << 20, ..LogOptions::default() }
}

impl Machine {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// With other limits.
    pub(crate) fn with(change: impl FnOnce(&mut NativeConfig)) -> Self {
        Self::on(Arc::new(SimDisk::new()), Hands::default(), &log_options(), (|_| {}, change))
    }

    /// With a cache of so many bytes.
    pub(crate) fn caching(cache_bytes: usize) -> Self {
        let options = LogOptions { cache_bytes, ..log_options() };
        Self::on(Arc::new(SimDisk::new()), Hands::default(), &options, (|_| {}, |_| {}))
    }

    /// With other limits of the mesh.
    pub(crate) fn limited(change: impl FnOnce(&mut MeshConfig)) -> Self {
        Self::on(Arc::new(SimDisk::new()), Hands::default(), &log_options(), (change, |_| {}))
    }

    /// Another life over the same disk.
    pub(crate) fn restart(self) -> Self {
        Self::on(Arc::new(self.disk.duplicate()), self.clock, &log_options(), (|_| {}, |_| {}))
    }

    fn on(
        disk: Arc<SimDisk>,
        clock: Hands,
        options: &LogOptions,
        (limit, change): (impl FnOnce(&mut MeshConfig), impl FnOnce(&mut NativeConfig)),
    ) -> Self {
        let on: Arc<dyn Disk> = disk.clone();
        let told = clock.clone();
        let time = Arc::new(move || (told.now().mono, told.now().wall));
        let (log, found) = LogStore::open_on(on, options, time).unwrap();
        let mut config = MeshConfig { shards: 2, retention_ms: u64::MAX, ..Config::default().mesh([0; 16]) };
        limit(&mut config);
        let memory = Arc::new(MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 1 << 22 }));
        let stores = Stores { memory, log: Some(log.clone()) };
        let mesh = open_mesh(config, Arc::new(clock.clone()), Arc::new(AllowAll), stores, Some(found)).unwrap();
        let mut config = Config::default().native("one".to_owned());
        change(&mut config);
        let native = Native::new(mesh.clone(), config, Arc::new(SystemRandom));
        let machine = Self { clock, disk, log, mesh, native };
        machine.run_disk();
        machine
    }

    /// Carries out all that the log wants, and tells the mesh.
    pub(crate) fn run_disk(&self) {
        // No batch waits longer for company.
        self.clock.0.fetch_add(1, Ordering::Relaxed);
        while let Some(task) = self.log.next_write().or_else(|| self.log.next_job()) {
            self.log.ended(task.run(&*self.disk));
        }
        self.log.report(&*self.mesh.completions());
    }

    /// Carries out the next write or sync that the log wants; `false` if it wants none.
    pub(crate) fn step_disk(&self) -> bool {
        let Some(task) = self.log.next_write() else {
            return false;
        };
        self.log.ended(task.run(&*self.disk));
        self.log.report(&*self.mesh.completions());
        true
    }

    /// Time passes, and what is due happens; the disk does nothing.
    pub(crate) fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::Relaxed);
        self.mesh.tick();
    }

    /// Time passes, and who keeps it looks at what is due then, as a gateway does that is told of the next deadline.
    pub(crate) fn pass_if_due(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::Relaxed);
        if self.mesh.deadline().is_some_and(|at| at <= self.clock.now().mono) {
            self.mesh.tick();
        }
    }

    /// Carries out a command.
    pub(crate) fn admin(&self, command: command::Command) -> Result<answer::Answer, Refusal> {
        let command = Command { command: Some(command) };
        let answered = self.mesh.admin(&Caller::anonymous("test", None), &command, &mut SoFar::default()).unwrap();
        answered.map(|(answer, _)| answer.answer.unwrap())
    }

    /// Bytes that wait in connections.
    pub(crate) fn waiting(&self) -> u64 {
        self.mesh.memory().used() + self.mesh.answers().used()
    }

    /// Time passes, and what is due happens.
    pub(crate) fn advance(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
        self.mesh.tick();
        self.run_disk();
        self.mesh.tick();
        self.run_disk();
    }

    /// What sessions call.
    pub(crate) fn native(&self) -> Arc<Native> {
        self.native.clone()
    }

    /// When a connection that was accepted so long ago must have logged in, from now on.
    pub(crate) fn login_left(&self, waited: Duration) -> Duration {
        let protocol = Protocol::new(self.native.clone(), Caller::anonymous("native", None), waited);
        protocol.deadline().since(self.clock.now().mono)
    }

    pub(crate) fn session(&self) -> Line {
        self.login(hello()).0
    }

    pub(crate) fn login(&self, hello: wire::Hello) -> (Line, wire::Welcome) {
        let (line, mut said) = self.hello(hello);
        match said.remove(0) {
            ServerFrame::Welcome(welcome) => (line, welcome),
            other => panic!("no welcome: {other:?}"),
        }
    }

    /// A connection that has said hello, and what it was answered.
    pub(crate) fn hello(&self, hello: wire::Hello) -> (Line, Vec<ServerFrame>) {
        let protocol = Protocol::new(self.native.clone(), Caller::anonymous("native", None), Duration::ZERO);
        let line = Line(Mutex::new((protocol, BytesMut::new())));
        line.send(&ClientFrame::Hello(hello));
        let said = line.frames();
        (line, said)
    }
}

impl Line {
    pub(crate) fn send(&self, frame: &ClientFrame) {
        let mut line = self.0.lock().unwrap();
        let (protocol, received) = &mut *line;
        let start = begin_frame(received);
        frame.encode(received);
        end_frame(received, start, 0);
        protocol.received(received);
    }

    /// Whether a frame, and what is behind it, must wait.
    pub(crate) fn is_held(&self) -> bool {
        self.0.lock().unwrap().0.is_held()
    }

    /// Whether its peer is taken for dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().unwrap().0.is_dead()
    }

    /// Its peer took some bytes.
    pub(crate) fn wrote(&self) {
        self.0.lock().unwrap().0.wrote();
    }

    /// What is due happens.
    pub(crate) fn tick(&self) {
        self.0.lock().unwrap().0.tick();
    }

    /// The connection is lost, and its session waits for its turn to end.
    pub(crate) fn leave(&self) {
        self.0.lock().unwrap().0.leave();
    }

    /// The connection is lost.
    pub(crate) fn cut(&self) {
        self.0.lock().unwrap().0.disconnected();
    }

    /// What was said since the last look.
    pub(crate) fn frames(&self) -> Vec<ServerFrame> {
        let mut line = self.0.lock().unwrap();
        let (protocol, received) = &mut *line;
        let buffer = &mut BytesMut::new();
        if protocol.is_held() {
            protocol.go_on(received);
        }
        let mut queue = WriteQueue::default();
        protocol.take_output(&mut queue);
        while let Some(bytes) = queue.pop() {
            buffer.extend_from_slice(&bytes);
        }
        let parser = FrameParser::new(1 << 26, "none");
        std::iter::from_fn(|| parser.next(buffer).unwrap()).map(|f| ServerFrame::decode(f).unwrap()).collect()
    }

    pub(crate) fn publish(&self, sequence: u64, topic: &str) {
        self.publish_as(sequence, topic, 1);
    }

    /// Publishes one event that is delivered at some time, or until some time.
    pub(crate) fn publish_timed(&self, sequence: u64, (deliver_at_ms, expires_in_ms): (i64, u64)) {
        let run = PublishRun {
            alias: 1,
            topic: "t".into(),
            first_sequence: sequence,
            deliver_at_ms,
            expires_in_ms,
            events: run_of(&[event(&sequence.to_string())]),
            ..PublishRun::default()
        };
        self.send(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }));
    }

    pub(crate) fn publish_as(&self, sequence: u64, topic: &str, alias: u32) {
        self.publish_event(sequence, (topic, alias), &event(&sequence.to_string()));
    }

    pub(crate) fn publish_event(&self, sequence: u64, (topic, alias): (&str, u32), event: &Event) {
        let run = PublishRun {
            alias,
            topic: topic.into(),
            first_sequence: sequence,
            events: run_of(std::slice::from_ref(event)),
            ..PublishRun::default()
        };
        self.send(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }));
    }

    /// An event with so many bytes.
    pub(crate) fn publish_large(&self, sequence: u64, topic: &str, bytes: usize) {
        let event = Event::bytes("t", vec![7; bytes]).id(sequence.to_string()).source("/rig");
        let (topic, events) = (topic.into(), run_of(&[event]));
        let run = PublishRun { alias: 1, topic, first_sequence: sequence, events, ..PublishRun::default() };
        self.send(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }));
    }

    pub(crate) fn create(&self, topic: &str) {
        self.create_as(topic, Durability::Unspecified);
    }

    pub(crate) fn create_as(&self, topic: &str, durability: Durability) {
        let create = CreateTopic { name: topic.into(), durability: durability.into(), ..CreateTopic::default() };
        let command = Command { command: Some(command::Command::CreateTopic(create)) }.encode_to_vec().into();
        self.send(&ClientFrame::Admin(wire::Admin { number: 1, command }));
    }
}
