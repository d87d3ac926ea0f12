//! A client: a real session, and what came to its program.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use meshwire::session::{Config, Failure, Output, Session, SettleInput, Start, SubscribeSpec, SubscriptionId};
use meshwire_proto::frame::{DeliverRun, FrameParser, SettleKind};
use meshwire_proto::wire::admin::GroupSettings;
use meshwire_proto::{Event, EventLimits, EventView, GroupName, Moment, TopicName};

/// The topic of every case.
pub(super) const TOPIC: &str = "work";

fn topic() -> TopicName {
    TopicName::parse(TOPIC).unwrap()
}

/// A delivery as the program got it.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) at: Moment,
    pub(super) id: String,
    pub(super) attempt: u32,
    generation: u32,
    number: u64,
}

/// What the program says of a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Say<'a> {
    pub(super) kind: SettleKind,
    pub(super) delay_ms: Option<u32>,
    pub(super) reason: &'a str,
}

impl From<SettleKind> for Say<'_> {
    fn from(kind: SettleKind) -> Self {
        Self { kind, delay_ms: None, reason: "" }
    }
}

/// What the session wants done with its connection.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) connect: bool,
    pub(super) disconnect: bool,
    pub(super) bytes: BytesMut,
}

pub(super) struct Person {
    pub(super) session: Session,
    /// Its process lives.
    pub(super) lives: bool,
    pub(super) wire: Option<usize>,
    pub(super) tick: Option<Moment>,
    /// Deliveries that the program has not looked at.
    pub(super) inbox: VecDeque<Got>,
    /// The last delivery of each event that it looked at.
    held: BTreeMap<String, Got>,
    /// Publishes that were answered as kept, and those that were not.
    pub(super) kept: u64,
    /// Of them, those that were there already.
    pub(super) duplicates: u64,
    pub(super) refused: Vec<Failure>,
    /// Answers to confirmed settles and to commands, by number.
    pub(super) settled: BTreeMap<u64, Result<(), Failure>>,
    pub(super) commands: BTreeMap<u64, Result<Bytes, Failure>>,
    /// Its subscription was refused, or ended by the gateway.
    pub(super) ended: Vec<Failure>,
    subscription: Option<SubscriptionId>,
    generation: u32,
    /// The latest event that it got: its position, and when it was stored.
    last: (u64, i64),
    buffer: BytesMut,
    parser: FrameParser,
    next_token: u64,
}

impl Person {
    pub(super) fn new(number: u8) -> Self {
        let config = Config { producer_id: [number; 16], client_name: format!("person-{number}"), ..Config::default() };
        Self {
            session: Session::new(config, number.into()),
            lives: true,
            wire: None,
            tick: None,
            inbox: VecDeque::new(),
            held: BTreeMap::new(),
            kept: 0,
            duplicates: 0,
            last: (0, i64::MIN),
            refused: Vec::new(),
            settled: BTreeMap::new(),
            commands: BTreeMap::new(),
            ended: Vec::new(),
            subscription: None,
            generation: 0,
            buffer: BytesMut::new(),
            parser: FrameParser::new(u32::MAX, "none"),
            next_token: 0,
        }
    }

    /// Joins a group of the topic, from the first event on.
    pub(super) fn join(&mut self, group: &str, settings: GroupSettings, credit: u32) {
        let spec = SubscribeSpec {
            topic: topic(),
            group: Some(GroupName::parse(group).unwrap()),
            member: None,
            start: Some(Start::Earliest),
            settings,
            max_events: credit,
            max_bytes: 1 << 30,
        };
        self.subscription = Some(self.session.subscribe(spec));
    }

    pub(super) fn publish(&mut self, id: &str, key: Option<&str>) {
        let event = Event::text("acceptance", id).id(id).source("/acceptance");
        let event = if let Some(key) = key { event.key(key) } else { event };
        self.session.publish(&topic(), &event.encode().unwrap());
    }

    /// Takes note of what it got and goes on to the next.
    pub(super) fn look(&mut self) -> Option<Got> {
        let got = self.inbox.pop_front()?;
        self.held.insert(got.id.clone(), got.clone());
        Some(got)
    }

    pub(super) fn holds(&self, id: &str) -> bool {
        self.held.contains_key(id)
    }

    /// Settles the last delivery of an event; with `confirm` gives the number of the answer.
    pub(super) fn settle(&mut self, id: &str, say: Say<'_>, confirm: bool) -> Option<u64> {
        let got = self.held.get(id).unwrap_or_else(|| panic!("it never got {id}"));
        let token = confirm.then(|| {
            self.next_token += 1;
            self.next_token
        });
        self.session.settle(SettleInput {
            subscription: self.subscription.expect("it has joined"),
            generation: got.generation,
            first: got.number,
            count: 1,
            kind: say.kind,
            delay_ms: say.delay_ms,
            reason: (!say.reason.is_empty()).then(|| say.reason.into()),
            confirm: token,
        });
        token
    }

    pub(super) fn received(&mut self, now: Moment, bytes: &[u8]) {
        self.session.heard(now);
        self.buffer.extend_from_slice(bytes);
        while let Some(frame) = self.parser.next(&mut self.buffer).unwrap() {
            self.session.received(now, frame);
        }
    }

    /// Its connection is gone.
    pub(super) fn disconnected(&mut self, now: Moment) {
        self.wire = None;
        self.buffer.clear();
        self.session.disconnected(now);
    }

    pub(super) fn pump(&mut self, now: Moment) -> Wanted {
        let mut wanted = Wanted::default();
        loop {
            let mut idle = !self.session.transmit(&mut wanted.bytes);
            while let Some(output) = self.session.poll() {
                idle = false;
                self.output(now, output, &mut wanted);
            }
            if idle {
                return wanted;
            }
        }
    }

    fn output(&mut self, now: Moment, output: Output, wanted: &mut Wanted) {
        match output {
            Output::Connect => wanted.connect = true,
            Output::Disconnect { .. } => {
                wanted.disconnect = true;
                wanted.bytes.clear();
            }
            Output::Answered(answer) => match answer.result {
                Ok(kept) => {
                    let count = answer.sequences.end - answer.sequences.start;
                    self.kept += count;
                    self.duplicates += if kept.duplicate { count } else { 0 };
                }
                Err(failure) => self.refused.push(failure),
            },
            Output::Reset { generation, again, .. } => {
                self.generation = generation;
                if again {
                    self.inbox.clear();
                }
            }
            Output::Deliver { generation, run, .. } => self.delivered(now, generation, &run),
            Output::Settled { token, result, .. } => drop(self.settled.insert(token, result)),
            Output::Admin { number, result } => drop(self.commands.insert(number, result)),
            Output::Ended { failure, .. } => self.ended.push(failure),
            Output::Failed(failure) => panic!("a session failed: {failure:?}"),
            _ => {}
        }
    }

    fn delivered(&mut self, at: Moment, generation: u32, run: &DeliverRun) {
        if run.first_position > self.last.0 {
            assert!(run.stored_unix_ms >= self.last.1, "stored time goes back at position {}", run.first_position);
            self.last = (run.first_position, run.stored_unix_ms);
        }
        for (number, event) in (run.first_delivery..).zip(run.events.iter()) {
            let id = EventView::parse(&event, EventLimits::default()).unwrap().id().to_owned();
            self.inbox.push_back(Got { at, id, attempt: run.attempt, generation, number });
        }
    }
}
