//! One gateway and its clients in virtual time. Wires and the disk always take the same
//! time, so that what is late is late by the doing of the product.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshwire::session::Failure;
use meshwire_proto::Moment;
use meshwire_proto::wire::admin::{self, answer, command};
use prost::Message as _;

use super::person::{Person, TOPIC, Wanted};
use crate::clock::VirtualClock;
use crate::gateway::{Gateway, Machine};
use crate::history::Disaster;
use crate::wire::{End, Wire};

/// What a way over the wire takes.
pub(super) const WIRE: Duration = Duration::from_millis(1);
/// What a disk operation takes.
const DISK: Duration = Duration::from_millis(2);
/// How long a gateway that stops waits for what members hold: the default of `stop_timeout`.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

enum Event {
    Dialed { person: usize },
    Bytes { wire: usize, to: End, bytes: Bytes },
    Closed { wire: usize, to: End },
    PersonTick { person: usize },
    GatewayTick { life: u32 },
    Disk { life: u32, id: u64 },
}

/// Where a gateway keeps its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    Log,
    Memory,
}

impl Keeps {
    pub(super) const ALL: [Self; 2] = [Self::Log, Self::Memory];
}

pub(super) struct Stage {
    pub(super) now: Moment,
    pub(super) people: Vec<Person>,
    pub(super) machine: Machine,
    queue: BTreeMap<(Moment, u64), Event>,
    next_event: u64,
    clock: Arc<VirtualClock>,
    wires: Vec<Wire>,
    gateway: Option<Gateway>,
    life: u32,
}

impl Stage {
    /// A gateway that runs, and nobody.
    pub(super) fn new(keeps: Keeps) -> Self {
        let mut machine = Machine::default();
        machine.memory = keeps == Keeps::Memory;
        let mut stage = Self {
            now: Moment(0),
            people: Vec::new(),
            machine,
            queue: BTreeMap::new(),
            next_event: 0,
            clock: Arc::default(),
            wires: Vec::new(),
            gateway: None,
            life: 0,
        };
        stage.start_gateway();
        stage
    }

    /// Somebody who connects; gives the number.
    pub(super) fn enter(&mut self) -> usize {
        let person = self.people.len();
        self.people.push(Person::new(person as u8 + 1));
        self.pump(person);
        person
    }

    pub(super) fn start_gateway(&mut self) {
        assert!(self.gateway.is_none(), "a gateway runs already");
        self.life += 1;
        let gateway = Gateway::start(self.life, &self.machine, self.clock.clone(), self.life.into());
        self.gateway = Some(gateway.expect("the gateway starts"));
        self.pump_gateway();
    }

    /// Ends the process of the gateway there and then.
    pub(super) fn end_gateway(&mut self, how: Disaster) {
        assert!(self.gateway.take().is_some(), "no gateway runs");
        self.machine.crash(how, self.life.into());
        for wire in 0..self.wires.len() {
            self.wires[wire].gateway_open = false;
            if self.wires[wire].client_open {
                self.after(WIRE, Event::Closed { wire, to: End::Client });
            }
        }
    }

    /// Somebody sets the wall clock.
    pub(super) fn set_wall_clock(&self, by_millis: i64) {
        self.clock.jump(by_millis);
    }

    /// Tells the gateway to stop, as SIGTERM does.
    pub(super) fn begin_to_stop(&mut self) {
        self.gateway.as_mut().expect("a gateway runs").stop();
        self.pump_gateway();
    }

    /// Waits until members hold nothing, at most the stop timeout, and ends the gateway;
    /// gives how long that took.
    pub(super) fn stopped(&mut self) -> Duration {
        let began = self.now;
        self.run_until(began + STOP_TIMEOUT, |stage| stage.gateway.as_ref().is_none_or(|g| g.held() == 0));
        let took = self.now.since(began);
        self.gateway.as_mut().expect("a gateway runs").finish(&self.machine);
        self.end_gateway(Disaster::Kill);
        took
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Lets time pass until something holds; `false` if it does not by then.
    pub(super) fn run_until(&mut self, until: Moment, holds: impl Fn(&Self) -> bool) -> bool {
        loop {
            if holds(self) {
                return true;
            }
            match self.queue.first_entry() {
                Some(next) if next.key().0 <= until => {
                    let ((at, _), event) = next.remove_entry();
                    self.now = at;
                    self.clock.set(at);
                    self.happen(event);
                }
                _ => {
                    self.now = until;
                    self.clock.set(until);
                    return holds(self);
                }
            }
        }
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    fn at(&mut self, at: Moment, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Dialed { person } => self.dialed(person),
            Event::Bytes { wire, to: End::Client, bytes } if self.wires[wire].reaches(End::Client) => {
                let person = self.wires[wire].client;
                self.people[person].received(self.now, &bytes);
                self.pump(person);
            }
            Event::Bytes { wire, to: End::Gateway, bytes } if self.wires[wire].reaches(End::Gateway) => {
                if let Some(gateway) = &mut self.gateway {
                    gateway.received(wire, &bytes);
                    self.pump_gateway();
                }
            }
            Event::Bytes { .. } => {}
            Event::Closed { wire, to } => self.closed(wire, to),
            Event::PersonTick { person } => {
                // One that an earlier one made needless is passed over.
                if self.people[person].lives && self.people[person].tick.is_some_and(|t| t <= self.now) {
                    self.people[person].tick = None;
                    self.people[person].session.tick(self.now);
                    self.pump(person);
                }
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
        }
    }

    fn dialed(&mut self, person: usize) {
        if !self.people[person].lives {
            return;
        }
        if let Some(gateway) = &mut self.gateway {
            let wire = self.wires.len();
            self.wires.push(Wire::new(person));
            gateway.accept(wire);
            self.people[person].wire = Some(wire);
            self.people[person].session.connected(self.now);
        } else {
            self.people[person].session.disconnected(self.now);
        }
        self.pump(person);
    }

    fn closed(&mut self, wire: usize, to: End) {
        let person = self.wires[wire].client;
        let open = match to {
            End::Client => &mut self.wires[wire].client_open,
            End::Gateway => &mut self.wires[wire].gateway_open,
        };
        if !std::mem::take(open) {
            return;
        }
        if to == End::Client && self.people[person].lives && self.people[person].wire == Some(wire) {
            self.people[person].disconnected(self.now);
            self.pump(person);
        } else if to == End::Gateway
            && let Some(gateway) = &mut self.gateway
        {
            gateway.closed(wire);
            self.pump_gateway();
        }
    }

    /// Its process is killed, and its machine closes the connection.
    pub(super) fn kill(&mut self, person: usize) {
        self.people[person].lives = false;
        self.people[person].inbox.clear();
        if let Some(wire) = self.people[person].wire.take() {
            self.wires[wire].client_open = false;
            self.after(WIRE, Event::Closed { wire, to: End::Gateway });
        }
    }

    /// Cuts its connection; both ends hear of it.
    pub(super) fn cut(&mut self, person: usize) {
        let wire = self.people[person].wire.expect("it is connected");
        self.wires[wire].cut = true;
        self.after(WIRE, Event::Closed { wire, to: End::Gateway });
        self.after(WIRE, Event::Closed { wire, to: End::Client });
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, person: usize) {
        self.people[person].session.close();
        self.pump(person);
        if let Some(wire) = self.people[person].wire {
            self.hang_up(person, wire);
        }
        self.people[person].lives = false;
    }

    fn hang_up(&mut self, person: usize, wire: usize) {
        self.wires[wire].client_open = false;
        let at = self.wires[wire].arrival(self.now, End::Gateway, WIRE);
        self.at(at, Event::Closed { wire, to: End::Gateway });
        self.people[person].disconnected(self.now);
    }

    /// Carries out what a client wants; after everything that is asked of its session.
    pub(super) fn pump(&mut self, person: usize) {
        loop {
            let Wanted { connect, disconnect, bytes } = self.people[person].pump(self.now);
            if let Some(wire) = self.people[person].wire {
                if !bytes.is_empty() {
                    self.send(wire, End::Gateway, bytes.freeze());
                }
                if disconnect {
                    self.hang_up(person, wire);
                    continue;
                }
            }
            if connect {
                self.after(WIRE, Event::Dialed { person });
            }
            break;
        }
        if let Some(deadline) = self.people[person].session.deadline()
            && self.people[person].tick.is_none_or(|t| t > deadline)
        {
            self.people[person].tick = Some(deadline);
            self.at(deadline, Event::PersonTick { person });
        }
    }

    fn send(&mut self, wire: usize, to: End, bytes: Bytes) {
        let at = self.wires[wire].arrival(self.now, to, WIRE);
        self.at(at, Event::Bytes { wire, to, bytes });
    }

    fn pump_gateway(&mut self) {
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        let pumped = gateway.pump(&self.machine, &BTreeSet::new());
        let life = gateway.life;
        assert!(!pumped.failed, "the log failed");
        for (wire, bytes) in pumped.bytes {
            self.send(wire, End::Client, bytes);
        }
        for wire in pumped.closed {
            self.wires[wire].gateway_open = false;
            let at = self.wires[wire].arrival(self.now, End::Client, WIRE);
            self.at(at, Event::Closed { wire, to: End::Client });
        }
        for id in pumped.disk {
            self.after(DISK, Event::Disk { life, id });
        }
        if let Some(at) = pumped.tick {
            self.at(at, Event::GatewayTick { life });
        }
    }

    /// Sends an administrative command over somebody's session and waits for the answer.
    pub(super) fn admin(&mut self, person: usize, command: command::Command) -> Result<answer::Answer, Failure> {
        let command = admin::Command { command: Some(command) };
        let number = self.people[person].session.admin(command.encode_to_vec().into());
        self.pump(person);
        let came = self.run_until(self.now + ANSWER, |stage| stage.people[person].commands.contains_key(&number));
        assert!(came, "no answer to {command:?}");
        let answer = self.people[person].commands.remove(&number).unwrap()?;
        Ok(admin::Answer::decode(answer).unwrap().answer.unwrap())
    }

    /// The dead letters of the topic, with their events.
    pub(super) fn letters(&mut self, person: usize) -> Vec<admin::DeadLetter> {
        let (mut letters, mut after) = (Vec::new(), 0);
        loop {
            let list = admin::ListDeadLetters { topic: TOPIC.into(), after, events: true, ..Default::default() };
            let answer = self.admin(person, command::Command::ListDeadLetters(list)).unwrap();
            let answer::Answer::DeadLetters(page) = answer else {
                panic!("no list: {answer:?}");
            };
            letters.extend(page.letters);
            after = page.next;
            if after == 0 {
                return letters;
            }
        }
    }

    /// The groups of the topic.
    pub(super) fn groups(&mut self, person: usize) -> Vec<admin::GroupSummary> {
        let list = command::Command::ListTopics(admin::ListTopics::default());
        match self.admin(person, list).unwrap() {
            answer::Answer::Topics(list) => list.topics.into_iter().flat_map(|t| t.groups).collect(),
            other => panic!("{other:?}"),
        }
    }
}
