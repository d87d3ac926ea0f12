//! One gateway process: mesh, native connections and log; and the machine it
//! runs on, whose disk outlives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_gateway::clock::Clock as _;
use meshwire_gateway::config::Config;
use meshwire_gateway::ingress::native::{Native, NativeConfig, Protocol, WriteQueue};
use meshwire_gateway::mesh::{AllowAll, Answered, Caller, Mesh, MeshConfig, SoFar, Stores};
use meshwire_gateway::random::Random;
use meshwire_gateway::recover::open_mesh;
use meshwire_gateway::store::log::{Disk, LogClock, LogOptions, LogStore, Recovered, SimDisk, SimFault, Task};
use meshwire_gateway::store::memory::{MemoryConfig, MemoryStore};
use meshwire_gateway::store::{Store, Ticket};
use meshwire_proto::Moment;
use meshwire_proto::wire::admin::{self, answer, command};

use crate::client::group_settings;
use crate::clock::{SeededRandom, VirtualClock};
use crate::history::{Disaster, Letter, Topic};
use crate::limits::Limited;
use crate::overtaken::ROOM;
use crate::room::Watched;
use crate::script::{MOVED, REMADE, TUNED};
use crate::tuned::Settings;

/// Heartbeat of simulated gateways: short, so that silence is met often.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Resume window of simulated gateways.
const RESUME_WINDOW: Duration = Duration::from_secs(5);

/// What outlives a process: its disk.
#[derive(Default)]
pub(crate) struct Machine {
    disk: Arc<SimDisk>,
    /// Its gateways keep nothing on it, as with `--memory`.
    pub(crate) memory: bool,
    /// Tasks that are under way, by number.
    running: Mutex<BTreeMap<u64, Task>>,
}

impl Machine {
    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.disk.set_capacity(capacity);
    }

    /// Lets one of the next operations fail.
    pub(crate) fn fail_soon(&self, after: u64) {
        self.disk.plan(self.disk.counts().ops + after, SimFault::Error);
    }

    /// What a disaster does to the disk; gives how many writes were torn.
    pub(crate) fn crash(&self, disaster: Disaster, seed: u64) -> u64 {
        let before = self.disk.counts().torn;
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for op in running.values().filter_map(Task::write) {
            self.disk.interrupt(op, seed);
        }
        if disaster == Disaster::PowerLoss {
            self.disk.power_loss(seed);
        }
        self.disk.counts().torn - before
    }
}

/// What a gateway wants done.
#[derive(Debug, Default)]
pub(crate) struct Pumped {
    pub(crate) bytes: Vec<(usize, Bytes)>,
    pub(crate) closed: Vec<usize>,
    pub(crate) disk: Vec<u64>,
    pub(crate) tick: Option<Moment>,
    /// The log failed: the process ends itself.
    pub(crate) failed: bool,
    /// Somebody was refused, because the log had no room just then.
    pub(crate) no_room: bool,
}

pub(crate) struct Gateway {
    pub(crate) life: u32,
    clock: Arc<VirtualClock>,
    mesh: Mesh,
    native: Arc<Native>,
    log: Arc<LogStore>,
    watched: Arc<Watched>,
    disk: Arc<SimDisk>,
    connections: BTreeMap<usize, (Protocol, BytesMut, WriteQueue)>,
    next_task: u64,
    tick: Option<Moment>,
    log_tick: Moment,
    stopping: bool,
}

impl Gateway {
    pub(crate) fn start(life: u32, machine: &Machine, clock: Arc<VirtualClock>, seed: u64) -> Result<Self, String> {
        let random: Arc<dyn Random> = Arc::new(SeededRandom(Mutex::new(fastrand::Rng::with_seed(seed))));
        let (log, found) = open_log(machine, clock.clone(), seed)?;
        if let Some(damage) = found.damage.first() {
            return Err(format!("damage after a crash: {damage}"));
        }
        let mut hash_key = [0; 16];
        random.fill(&mut hash_key)?;
        let config = MeshConfig {
            shards: 2,
            retention_ms: u64::MAX,
            // So little that connections are often handed a part of what they have credit for,
            connection_bytes: 4 << 10,
            // and publishers wait for the disk.
            publish_budget_bytes: 16 << 10,
            gateway_id: format!("life-{life}"),
            ..Config::default().mesh(hash_key)
        };
        let memory = Arc::new(MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 1 << 22 }));
        let watched = Arc::new(Watched::new(log.clone()));
        let logged = !machine.memory;
        let log_store = logged.then(|| watched.clone() as Arc<dyn Store>);
        let stores = Stores { memory, log: log_store };
        let mesh = open_mesh(config, clock.clone(), Arc::new(AllowAll), stores, logged.then_some(found))
            .map_err(|e| e.to_string())?;
        if logged {
            create(&mesh, Topic::Audit, admin::Durability::Written, None)?;
            create(&mesh, Topic::Scarce, admin::Durability::Synced, Some(ROOM))?;
            create(&mesh, Topic::Tight, admin::Durability::Synced, Some(ROOM))?;
        }
        let native = Native::new(mesh.clone(), native_config(life), random);
        let now = clock.now().mono;
        Ok(Self {
            life,
            clock,
            mesh,
            native,
            log,
            watched,
            disk: machine.disk.clone(),
            connections: BTreeMap::new(),
            next_task: 0,
            tick: None,
            log_tick: now,
            stopping: false,
        })
    }

    pub(crate) fn accept(&mut self, wire: usize) {
        let protocol = Protocol::new(self.native.clone(), Caller::anonymous("native", None), Duration::ZERO);
        self.connections.insert(wire, (protocol, BytesMut::new(), WriteQueue::default()));
    }

    pub(crate) fn received(&mut self, wire: usize, bytes: &[u8]) {
        if let Some((protocol, buffer, _)) = self.connections.get_mut(&wire) {
            buffer.extend_from_slice(bytes);
            protocol.received(buffer);
        }
    }

    /// The client's end is closed.
    pub(crate) fn closed(&mut self, wire: usize) {
        if let Some((mut protocol, ..)) = self.connections.remove(&wire) {
            protocol.disconnected();
        }
    }

    pub(crate) fn tick(&mut self) {
        let now = self.clock.now().mono;
        if self.tick.is_some_and(|t| t > now) {
            // One that an earlier one made needless: nothing is due before the next.
            return;
        }
        self.tick = None;
        self.mesh.tick();
        self.native.tick();
        for (protocol, ..) in self.connections.values_mut() {
            if protocol.deadline() <= now {
                protocol.tick();
            }
        }
        if self.log_tick <= now {
            self.log.tick();
            self.log_tick = now + Duration::from_millis(500);
        }
    }

    pub(crate) fn disk_done(&mut self, machine: &Machine, id: u64) {
        let task = machine.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
        if let Some(task) = task {
            self.log.ended(task.run(&*self.disk));
        }
    }

    /// Carries everything on until only time or the outside can change anything. Nothing is written to connections
    /// that are `held` back.
    pub(crate) fn pump(&mut self, machine: &Machine, held: &BTreeSet<usize>) -> Pumped {
        let mut pumped = Pumped { no_room: self.mesh.refuses_publishes(), ..Pumped::default() };
        self.log.report(&*self.mesh.completions());
        for task in std::iter::from_fn(|| self.log.next_write().or_else(|| self.log.next_job())) {
            self.next_task += 1;
            pumped.disk.push(self.next_task);
            machine.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(self.next_task, task);
        }
        pumped.failed = self.log.watermark().failed;
        pumped.no_room |= self.watched.take_refused();
        // What one connection takes may bring deliveries to another.
        let mut more = true;
        while std::mem::take(&mut more) {
            for (wire, (protocol, buffer, queue)) in &mut self.connections {
                more |= protocol.is_held() && protocol.go_on(buffer);
                protocol.take_output(queue);
                if held.contains(wire) && !protocol.is_closing() {
                    continue;
                }
                while let Some(bytes) = queue.pop() {
                    pumped.bytes.push((*wire, bytes));
                    more = true;
                }
            }
        }
        pumped.closed.extend(self.connections.iter().filter(|(_, (p, ..))| p.is_closing()).map(|(wire, _)| *wire));
        for wire in &pumped.closed {
            self.closed(*wire);
        }
        let deadlines =
            [self.mesh.deadline(), self.native.sessions().deadline(), self.log.deadline(), Some(self.log_tick)];
        let connections = self.connections.values().map(|(p, ..)| p.deadline());
        if let Some(next) = deadlines.into_iter().flatten().chain(connections).min()
            && self.tick.is_none_or(|t| t > next)
        {
            self.tick = Some(next);
            pumped.tick = Some(next);
        }
        pumped
    }

    /// Begins to end as SIGTERM makes it: nothing more is delivered, nothing new begins, and its connections tell their peers.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.mesh.stop();
    }

    /// Whether it was told to stop: it takes no connections.
    pub(crate) const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether nothing is in flight, no request is open, and everybody has all answers.
    pub(crate) fn is_done(&self) -> bool {
        let waiting = self.connections.values().any(|(protocol, ..)| protocol.is_waiting());
        self.held() == 0 && self.mesh.requests_open() == 0 && !waiting
    }

    /// Ends as the process does that has stopped: its log is whole.
    pub(crate) fn finish(&mut self, machine: &Machine) {
        self.mesh.commit_settled();
        let under_way = std::mem::take(&mut *machine.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        under_way.into_values().for_each(|task| self.log.ended(task.run(&*self.disk)));
        self.log.close();
    }

    /// Deliveries that members of groups hold.
    pub(crate) fn held(&self) -> u64 {
        self.mesh.held()
    }

    /// Requests that wait for their last reply: as the mesh counts them, and as they are listed.
    pub(crate) fn requests_open(&self) -> (usize, u64) {
        let listed = self.topics().into_iter().filter_map(|topic| topic.requests);
        (self.mesh.requests_open(), listed.map(|requests| requests.open).sum())
    }

    fn admin(&self, command: command::Command) -> Option<Answered> {
        carry_out(&self.mesh, command, &mut SoFar::default())
    }

    fn topics(&self) -> Vec<admin::Topic> {
        let command = command::Command::ListTopics(admin::ListTopics::default());
        match self.admin(command) {
            Some(Ok((admin::Answer { answer: Some(answer::Answer::Topics(list)) }, _))) => list.topics,
            _ => Vec::new(),
        }
    }

    /// Groups that have something left: topic, name, lag, in flight.
    pub(crate) fn unsettled(&self) -> Vec<(String, String, u64, u64)> {
        let all = self.topics().into_iter().flat_map(|t| t.groups.into_iter().map(move |g| (t.name.clone(), g)));
        // What unnamed members of a broadcast group hold is nobody's to settle.
        let in_flight = |g: &admin::GroupSummary| match g.settings.map(|s| s.mode()) {
            Some(admin::GroupMode::Broadcast) => g.durable_members.iter().map(|m| m.in_flight).sum(),
            _ => g.in_flight,
        };
        all.map(|(topic, g)| (topic, in_flight(&g), g))
            .filter(|(_, in_flight, g)| g.lag + in_flight + g.delayed > 0)
            .map(|(topic, in_flight, g)| (topic, g.name, g.lag, in_flight))
            .collect()
    }

    /// Events that wait for their time.
    pub(crate) fn delayed(&self) -> u64 {
        self.topics().iter().map(|t| t.delayed).sum()
    }

    /// Events that groups of this life saw expire.
    pub(crate) fn expired(&self) -> u64 {
        self.topics().iter().flat_map(|t| &t.groups).map(|g| g.expired).sum()
    }

    /// Dead letters of a topic behind a number, and the number to go on behind; `None` while they are fetched: again with
    /// what there is so far, or from the start.
    pub(crate) fn letters(&self, (topic, after): (Topic, u64), so_far: &mut SoFar) -> Option<(Vec<Letter>, u64)> {
        let list = admin::ListDeadLetters {
            topic: topic.name().into(),
            after,
            limit: 1000,
            events: true,
            ..admin::ListDeadLetters::default()
        };
        let answered = carry_out(&self.mesh, command::Command::ListDeadLetters(list), so_far)?;
        let Ok((admin::Answer { answer: Some(answer::Answer::DeadLetters(page)) }, _)) = answered else {
            return Some((Vec::new(), 0));
        };
        let read = |letter: admin::DeadLetter| Letter {
            number: letter.number,
            group: letter.group.trim_start_matches("all/m").trim_start_matches('g').parse().unwrap_or(u8::MAX),
            topic,
            position: letter.position,
            reason: letter.reason(),
            failures: letter.failures,
            bytes: letter.event,
        };
        Some((page.letters.into_iter().map(read).collect(), page.next))
    }

    /// Gives the dead letters of a topic back; `None` while some are fetched: again with what was done so far.
    pub(crate) fn redrive(&self, topic: Topic, so_far: &mut SoFar) -> Option<u32> {
        let redrive = admin::RedriveDeadLetters {
            topic: topic.name().into(),
            limit: 1000,
            ..admin::RedriveDeadLetters::default()
        };
        match carry_out(&self.mesh, command::Command::RedriveDeadLetters(redrive), so_far)? {
            Ok((admin::Answer { answer: Some(answer::Answer::DeadLettersChanged(changed)) }, _)) => Some(changed.count),
            _ => Some(0),
        }
    }

    /// Removes dead letters of a topic; gives how many that were, and when it is kept.
    pub(crate) fn purge(&self, topic: Topic, numbers: Vec<u64>) -> Option<(u32, Ticket)> {
        let purge = admin::PurgeDeadLetters { topic: topic.name().into(), numbers, ..Default::default() };
        let command = command::Command::PurgeDeadLetters(purge);
        match self.admin(command)? {
            Ok((admin::Answer { answer: Some(answer::Answer::DeadLettersChanged(changed)) }, ticket)) => {
                Some((changed.count, ticket))
            }
            _ => None,
        }
    }

    /// Moves the group that is moved; gives where it goes on, and when that is kept. `None`: it is not there yet.
    pub(crate) fn seek(&self, topic: Topic, to: u64) -> Option<(u64, Ticket)> {
        let seek = admin::SeekGroup { topic: topic.name().into(), group: format!("g{MOVED}"), to, time_unix_ms: 0 };
        let command = command::Command::SeekGroup(seek);
        match self.admin(command)? {
            Ok((admin::Answer { answer: Some(answer::Answer::Group(group)) }, ticket)) => {
                Some((group.settled_through + 1, ticket))
            }
            _ => None,
        }
    }

    /// Members of the group that is made anew, as they are listed.
    pub(crate) fn members(&self, topic: Topic) -> Option<u32> {
        let topic = self.topics().into_iter().find(|t| t.name == topic.name())?;
        topic.groups.iter().find(|group| group.name == format!("g{REMADE}")).map(|group| group.members)
    }

    /// Deletes the group that is made anew; gives when that is kept. `None`: it was refused.
    pub(crate) fn delete_group(&self, topic: Topic) -> Option<Ticket> {
        let delete = admin::DeleteGroup { topic: topic.name().into(), group: format!("g{REMADE}") };
        let command = command::Command::DeleteGroup(delete);
        let answered = self.admin(command)?;
        answered.ok().map(|(_, ticket)| ticket)
    }

    /// Makes it anew, as its members would; gives where it begins, and when that is kept.
    pub(crate) fn create_group(&self, topic: Topic, start: u64) -> Option<(u64, Ticket)> {
        let settings =
            admin::GroupSettings { mode: Some(admin::GroupMode::Cluster.into()), ..group_settings(Some(REMADE)) };
        let (topic, group) = (topic.name().into(), format!("g{REMADE}"));
        let create = admin::CreateGroup { topic, group, settings: Some(settings), start, start_time_unix_ms: 0 };
        let command = command::Command::CreateGroup(create);
        match self.admin(command)? {
            Ok((admin::Answer { answer: Some(answer::Answer::Group(group)) }, ticket)) => {
                Some((group.settled_through + 1, ticket))
            }
            _ => None,
        }
    }

    /// Deletes the topic that is deleted, also under its readers if it is forced; gives when that is kept, and how many of
    /// its name are listed then. `None`: it was refused.
    pub(crate) fn delete_topic(&self, force: bool) -> Option<(Ticket, usize)> {
        let delete = admin::DeleteTopic { name: Topic::Fleeting.name().into(), force };
        let command = command::Command::DeleteTopic(delete);
        let (_, ticket) = self.admin(command)?.ok()?;
        let left = self.topics().into_iter().filter(|topic| topic.name == Topic::Fleeting.name());
        Some((ticket, left.count()))
    }

    /// Changes the settings of the group whose settings are changed; gives when that is kept.
    pub(crate) fn tune(&self, topic: Topic, settings: Settings) -> Option<Ticket> {
        let (topic, group) = (topic.name().into(), format!("g{TUNED}"));
        let update = admin::UpdateGroup { topic, group, settings: Some(settings.asked()) };
        let command = command::Command::UpdateGroup(update);
        let answered = self.admin(command)?;
        answered.ok().map(|(_, ticket)| ticket)
    }

    /// Sets the rates of the gateway.
    pub(crate) fn limit(&self, limits: Limited) {
        let command = command::Command::SetLimits(limits.asked());
        let _ = self.admin(command);
    }

    pub(crate) fn is_kept(&self, ticket: Ticket) -> bool {
        self.mesh.is_kept(ticket)
    }

    /// The first readable positions of topics.
    pub(crate) fn firsts(&self, topics: [Topic; 2]) -> [u64; 2] {
        let listed = self.topics();
        topics.map(|topic| listed.iter().find(|t| t.name == topic.name()).map_or(0, |t| t.first_position))
    }

    /// How many events a topic has.
    pub(crate) fn events(&self, topic: Topic) -> u64 {
        self.topics().into_iter().find(|t| t.name == topic.name()).map_or(0, |t| t.next_position - t.first_position)
    }
}

fn carry_out(mesh: &Mesh, command: command::Command, so_far: &mut SoFar) -> Option<Answered> {
    mesh.admin(&Caller::anonymous("simulation", None), &admin::Command { command: Some(command) }, so_far)
}

fn create(mesh: &Mesh, topic: Topic, level: admin::Durability, room: Option<u64>) -> Result<(), String> {
    let create = admin::CreateTopic {
        name: topic.name().into(),
        durability: level.into(),
        retention_bytes: room.unwrap_or_default(),
        lagging: if topic == Topic::Tight { admin::Lagging::Block } else { admin::Lagging::Drop }.into(),
        ..Default::default()
    };
    let command = command::Command::CreateTopic(create);
    let created = carry_out(mesh, command, &mut SoFar::default());
    created.ok_or("a topic waits for the disk")?.map_err(|e| e.to_string())?;
    Ok(())
}

fn open_log(machine: &Machine, clock: Arc<VirtualClock>, salt: u64) -> Result<(Arc<LogStore>, Recovered), String> {
    let time: LogClock = Arc::new(move || {
        let now = clock.now();
        (now.mono, now.wall)
    });
    let options = LogOptions {
        first_segment_bytes: 16 << 10,
        segment_bytes: 32 << 10,
        max_disk: 1 << 30,
        salt,
        cache_bytes: 16 << 10,
        ..LogOptions::default()
    };
    let disk: Arc<dyn Disk> = machine.disk.clone();
    LogStore::open_on(disk, &options, time).map_err(|e| e.to_string())
}

fn native_config(life: u32) -> NativeConfig {
    let config = Config::default().native(format!("life-{life}"));
    NativeConfig { heartbeat: HEARTBEAT, resume_window: RESUME_WINDOW, ..config }
}
