//! The queue of what happens when, and the one loop that empties it.
//!
//! - [`traffic`]: bytes between clients and gateway;
//! - [`commands`]: what an operator does;
//! - [`mishaps`]: what goes wrong;
//! - [`stopping`]: a gateway that ends as it should.

mod commands;
mod mishaps;
mod stopping;
mod traffic;

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshwire::session::TaskId;
use meshwire_gateway::clock::Clock as _;
use meshwire_gateway::engine::Bounds;
use meshwire_gateway::mesh::SoFar;
use meshwire_gateway::store::Ticket;
use meshwire_proto::Moment;
use siphasher::sip::SipHasher13;

use crate::client::{Client, Work};
use crate::clock::VirtualClock;
use crate::gateway::{Gateway, Machine};
use crate::history::{History, Topic, Totals};
use crate::overtaken::Scarce;
use crate::script::{CALM, FIRST_MEMBER, Mishap, OVERDUE, PATIENCE, Role, Script};
use crate::verdict::judge;
use crate::wire::{End, Wire};

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every broken promise, as a sentence.
    pub broken: Vec<String>,
    /// Hash of everything that happened, in order.
    pub trace: u64,
    /// Counts.
    pub totals: Totals,
}

#[derive(Debug)]
enum Event {
    Dialed {
        client: usize,
        life: u32,
    },
    Bytes {
        wire: usize,
        to: End,
        bytes: Bytes,
    },
    Closed {
        wire: usize,
        to: End,
    },
    ClientTick {
        client: usize,
    },
    GatewayTick {
        life: u32,
    },
    Disk {
        life: u32,
        id: u64,
    },
    Publish {
        client: usize,
    },
    Settle {
        client: usize,
        work: Work,
    },
    Answer {
        client: usize,
        life: u32,
        task: TaskId,
    },
    Mishap(Mishap),
    /// A program that left joins again.
    Join {
        client: usize,
        life: u32,
        topic: Topic,
    },
    DiskHasSpace,
    /// A gateway that stops may be done.
    Stopping {
        life: u32,
        until: Moment,
    },
    /// A connection is not held back any more.
    Thaw,
    Restart,
    Check,
}

struct World {
    rng: fastrand::Rng,
    script: Script,
    now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    next_event: u64,
    clock: Arc<VirtualClock>,
    clients: Vec<Client>,
    wires: Vec<Wire>,
    machine: Machine,
    gateway: Option<Gateway>,
    life: u32,
    history: History,
    trace: SipHasher13,
    /// The client that reads everything at the end.
    reader: Option<usize>,
    over: bool,
    /// Dead letters of this topic behind this number are to be read.
    letters_from: Option<(Topic, u64)>,
    /// What there is of that page.
    letters_so_far: SoFar,
    /// What of these topics was given back so far, by this gateway.
    redriving: BTreeMap<Topic, SoFar>,
    /// Moves that are not kept yet.
    seeks: Vec<(usize, Ticket)>,
    /// Changes of settings that are not.
    tunings: Vec<(usize, Ticket)>,
    /// Removals of dead letters that are not.
    purges: Vec<(usize, Ticket)>,
    /// Deletions of a topic that are not.
    deletions: Vec<(usize, Ticket)>,
    /// Clients that the gateway that stops must tell, and over which wires.
    to_tell: Vec<(usize, usize)>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    // Half of the seeds soon meet what a gateway meets with tens of thousands of events.
    if seed.is_multiple_of(2) { Bounds::SMALL } else { Bounds::REAL }.set();
    let mut rng = fastrand::Rng::with_seed(seed);
    let script = Script::draw(&mut rng);
    let mut world = World::new(rng, script);
    world.begin();
    while !world.over {
        let Some(((at, _), event)) = world.queue.pop_first() else {
            break;
        };
        world.now = at;
        world.clock.set(at);
        world.happen(event);
    }
    world.end()
}

/// Runs a simulation; a panic in it becomes a broken promise, so that its seed is
/// named like that of any other.
pub fn panics_found(simulation: impl FnOnce() -> Outcome) -> Outcome {
    // A simulation owns all that it touches: nothing half done is seen again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(simulation)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let said = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
        Outcome { broken: vec![format!("it panicked: {said}")], trace: 0, totals: Totals::default() }
    })
}

impl World {
    fn new(rng: fastrand::Rng, script: Script) -> Self {
        Self {
            rng,
            script,
            now: Moment(0),
            queue: BTreeMap::new(),
            next_event: 0,
            clock: Arc::default(),
            clients: Vec::new(),
            wires: Vec::new(),
            machine: Machine::default(),
            gateway: None,
            life: 0,
            history: History::default(),
            trace: SipHasher13::new(),
            reader: None,
            over: false,
            letters_from: Some((Topic::Orders, 0)),
            letters_so_far: SoFar::default(),
            redriving: BTreeMap::new(),
            seeks: Vec::new(),
            tunings: Vec::new(),
            purges: Vec::new(),
            deletions: Vec::new(),
            to_tell: Vec::new(),
        }
    }

    fn begin(&mut self) {
        for (at, mishap) in self.script.mishaps.clone() {
            self.at(Moment(0) + at, Event::Mishap(mishap));
        }
        self.history.forgetful = self.script.forgetful;
        self.start_gateway();
        for (index, role) in self.script.clients.clone().into_iter().enumerate() {
            if let Role::Consumer(Some(member @ FIRST_MEMBER..)) = role {
                self.history.members.push(member);
            }
            if let Role::Consumer(Some(group)) = role {
                self.history.consumers.insert(index, group);
            }
            let client = Client::new(index, role, 0, &mut self.rng);
            self.clients.push(client);
            self.pump_client(index);
            if matches!(role, Role::Publisher(_)) {
                self.after(Duration::from_millis(5), Event::Publish { client: index });
            }
        }
        self.at(Moment(0) + CALM, Event::Check);
    }

    fn at(&mut self, at: Moment, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    fn some(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.rng.u64(0..=most.as_micros() as u64))
    }

    fn is_calm(&self) -> bool {
        self.now >= Moment(0) + CALM
    }

    fn happen(&mut self, event: Event) {
        self.trace.write_u64(self.now.0);
        match event {
            Event::Dialed { client, life } => self.dialed(client, life),
            Event::Bytes { wire, to, bytes } => self.bytes(wire, to, &bytes),
            Event::Closed { wire, to } => self.closed(wire, to),
            Event::ClientTick { client } => {
                self.clients[client].tick = None;
                self.clients[client].session.tick(self.now);
                self.pump_client(client);
            }
            Event::GatewayTick { life } => {
                if let Some(gateway) = self.gateway.as_mut().filter(|g| g.life == life) {
                    gateway.tick();
                    self.pump_gateway();
                }
            }
            Event::Disk { life, id } => {
                if let Some(gateway) = self.gateway.as_mut().filter(|g| g.life == life) {
                    gateway.disk_done(&self.machine, id);
                    self.pump_gateway();
                }
            }
            Event::Publish { client } => self.publish(client),
            Event::Settle { client, work } => {
                if self.clients[client].life == work.life {
                    let whole = self.clients[client].wire.is_some_and(|w| !self.wires[w].cut);
                    self.clients[client].settle(self.now, whole, work, &mut self.history);
                    self.pump_client(client);
                }
            }
            Event::Answer { client, life, task } => self.answer(client, life, task),
            Event::Mishap(mishap) => self.mishap(mishap),
            Event::Join { client, life, topic } => self.join(client, life, topic),
            Event::Stopping { life, until } => self.stopping(life, until),
            Event::DiskHasSpace => self.machine.set_capacity(None),
            Event::Thaw => self.pump_gateway(),
            Event::Restart => self.start_gateway(),
            Event::Check => self.check(),
        }
    }

    fn answer(&mut self, index: usize, life: u32, task: TaskId) {
        let client = &mut self.clients[index];
        if client.life == life {
            let next = client.exchange.answer(self.now, task, &mut client.session, &mut self.rng);
            if let Some((at, task)) = next {
                self.at(at, Event::Answer { client: index, life, task });
            }
            self.pump_client(index);
        }
    }

    fn publish(&mut self, client: usize) {
        let now = self.clock.now();
        self.clients[client].publish_burst(now, &mut self.history, &mut self.rng);
        if self.rng.u32(0..3) == 0 {
            let Client { exchange, session, life, .. } = &mut self.clients[client];
            exchange.ask(self.now, (client, *life), session, &mut self.history, &mut self.rng);
        }
        self.pump_client(client);
        if self.clients[client].publishes_left() > 0 {
            let wait = self.some(self.script.pause);
            self.after(wait, Event::Publish { client });
        }
    }

    fn start_gateway(&mut self) {
        if self.gateway.is_some() {
            return;
        }
        self.life += 1;
        let seed = self.rng.u64(..);
        match Gateway::start(self.life, &self.machine, self.clock.clone(), seed) {
            Ok(gateway) => {
                self.gateway = Some(gateway);
                (self.letters_so_far, self.redriving) = (SoFar::default(), BTreeMap::new());
                self.pump_gateway();
            }
            // The disk is full or fails: whoever runs the gateway tries again.
            Err(error) if !self.is_calm() => {
                self.history.refused_starts.push(error);
                self.after(Duration::from_millis(500), Event::Restart);
            }
            Err(error) => {
                self.history.complaints.push(format!("the gateway did not start again: {error}"));
                self.over = true;
            }
        }
    }

    /// Adds what a session counted, before it goes.
    fn note(&mut self, index: usize) {
        let stats = self.clients[index].session.stats();
        self.history.totals.resumes += stats.resumes;
        self.history.totals.replays += stats.replays;
        if stats.protocol_errors > 0 {
            self.history.complaints.push(format!("client {index} saw {} protocol errors", stats.protocol_errors));
        }
    }

    /// Looks whether everything has come to rest; then reads the log to its end.
    fn check(&mut self) {
        if self.now > Moment(0) + PATIENCE {
            let rest = self.gateway.as_ref().map(Gateway::unsettled);
            self.history.complaints.push(format!("no rest after {PATIENCE:?}: {rest:?}"));
            self.over = true;
            return;
        }
        self.look_at_requests();
        self.purge();
        self.look_at_fleeting();
        for index in 0..self.clients.len() {
            self.clients[index].publish_blocked(&self.history);
            self.pump_client(index);
        }
        let resting = self.gateway.as_ref().is_some_and(|g| g.unsettled().is_empty() && g.delayed() == 0)
            && self
                .clients
                .iter()
                .all(|c| c.publishes_left() == 0 && c.blocked.is_empty() && c.session.unanswered().0 == 0);
        match self.reader {
            None if resting => {
                let index = self.clients.len();
                let mut reader = Client::new(index, Role::Publisher(0), 0, &mut self.rng);
                for topic in Topic::ALL.into_iter().chain(Topic::SCARCE) {
                    reader.subscribe(topic, None, &mut self.rng);
                }
                self.clients.push(reader);
                self.reader = Some(index);
                self.pump_client(index);
            }
            Some(reader) if self.has_read_all(reader) => self.over = self.read_letters(),
            _ => {}
        }
        self.after(Duration::from_millis(500), Event::Check);
    }

    /// What is listed of requests is what there is; and what is due is over, wherever its frames were.
    fn look_at_requests(&mut self) {
        let Some((open, listed)) = self.gateway.as_ref().map(Gateway::requests_open) else {
            return;
        };
        let due = self.history.questions.values().filter(|q| q.deadline + OVERDUE >= self.now).count();
        if open as u64 != listed || open > due {
            let complaint = format!("{listed} requests are listed as open, {open} are, and {due} are not overdue");
            self.history.complaints.push(complaint);
        }
    }

    /// Whether every dead letter was read; else the disk is at work.
    fn read_letters(&mut self) -> bool {
        while let Some((topic, after)) = self.letters_from {
            let so_far = &mut self.letters_so_far;
            let Some((letters, next)) = self.gateway.as_ref().and_then(|g| g.letters((topic, after), so_far)) else {
                self.pump_gateway();
                return false;
            };
            self.history.totals.dead_letters += letters.len() as u64;
            self.history.letters.extend(letters);
            self.letters_from = match (next, topic) {
                (0, Topic::Orders) => Some((Topic::Audit, 0)),
                (0, _) => None,
                (next, topic) => Some((topic, next)),
            };
        }
        true
    }

    fn has_read_all(&self, reader: usize) -> bool {
        let Some(gateway) = &self.gateway else {
            return false;
        };
        let came = |scarce: &Scarce| scarce.came.iter().filter(|came| came.client == reader).count() as u64;
        let has_all = |topic: &Topic| {
            let mine = self.history.delivered.iter().filter(|d| d.client == reader && d.topic == *topic);
            mine.count() as u64 >= gateway.events(*topic)
        };
        came(&self.history.scarce) >= gateway.events(Topic::Scarce)
            && came(&self.history.tight) >= gateway.events(Topic::Tight)
            && Topic::ALL.iter().all(has_all)
    }

    fn end(mut self) -> Outcome {
        for index in 0..self.clients.len() {
            self.note(index);
            self.clients[index].complain(&mut self.history);
        }
        if let Some(reader) = self.reader {
            for d in self.history.delivered.iter().filter(|d| d.client == reader) {
                self.history.log.entry(d.topic).or_default().push((d.position, d.bytes.clone()));
            }
        }
        self.history.date_gaps(self.gateway.as_ref());
        self.history.totals.expired += self.gateway.as_ref().map_or(0, Gateway::expired);
        self.history.ended = self.now;
        Outcome { broken: judge(&self.history), trace: self.trace.finish(), totals: self.history.totals }
    }
}
