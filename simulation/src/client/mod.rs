//! One client program: a real session, and what its program does with it.
//!
//! - [`boundary`]: what its nacks took back;
//! - [`joining`]: what it subscribes to;
//! - [`settling`]: what it says of its deliveries.

mod boundary;
mod joining;
mod settling;

use std::collections::BTreeMap;

use boundary::Boundaries;
use bytes::BytesMut;
pub(crate) use joining::group_settings;
use meshwire::session::{Config, Output, Session, SubscriptionId};
use meshwire_gateway::engine::Now;
use meshwire_proto::frame::{DeliverRun, FrameParser};
use meshwire_proto::{ErrorKind, Event, EventLimits, EventView, Moment, Timing, TopicName, UnixMillis};
pub(crate) use settling::Work;

use crate::brief;
use crate::fleeting;
use crate::history::{Delivered, History, Published, Topic};
use crate::holding;
use crate::overtaken;
use crate::requests::{self, Answer, Exchange};
use crate::script::{FIRST_MEMBER, Role, TUNED};

/// Keys that events may have.
const KEYS: u8 = 6;

/// How a gateway may answer a publish when its disk is full or fails.
const REFUSALS: [ErrorKind; 3] = [ErrorKind::Busy, ErrorKind::DiskFull, ErrorKind::StoreFailed];

/// What the world has to carry out for a client.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) connect: bool,
    pub(crate) disconnect: bool,
    /// Bytes for the gateway.
    pub(crate) bytes: BytesMut,
    /// To be settled then.
    pub(crate) work: Vec<(Moment, Work)>,
    /// Topics that were deleted, to be subscribed to again.
    pub(crate) join: Vec<Topic>,
    /// Questions of others to be answered then.
    pub(crate) answers: Vec<Answer>,
}

/// When something is seen.
struct Seen {
    now: Moment,
    /// Which life of the gateway.
    life: u32,
    /// Nothing goes wrong any more.
    calm: bool,
}

pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) role: Role,
    /// Counts its processes.
    pub(crate) life: u32,
    pub(crate) session: Session,
    pub(crate) wire: Option<usize>,
    pub(crate) buffer: BytesMut,
    /// When its next tick is in the queue.
    pub(crate) tick: Option<Moment>,
    parser: FrameParser,
    open: BTreeMap<u64, u32>,
    subscriptions: BTreeMap<SubscriptionId, (Topic, Option<u8>)>,
    generations: BTreeMap<SubscriptionId, u32>,
    /// Programs work through a key in order.
    busy: BTreeMap<(u8, u8), Moment>,
    /// By token: group, event, and which of its acks; none if its lease was gone.
    confirms: BTreeMap<u64, (u8, u32, Option<usize>)>,
    boundaries: Boundaries,
    next_token: u64,
    mine: Vec<u32>,
    /// Events that a full topic refused, to be published again.
    pub(crate) blocked: Vec<u32>,
    pub(crate) exchange: Exchange,
    /// It takes the group as it is.
    adopts: bool,
}

impl Client {
    pub(crate) fn new(index: usize, role: Role, life: u32, rng: &mut fastrand::Rng) -> Self {
        let mut producer_id = [0; 16];
        rng.fill(&mut producer_id);
        let config = Config { producer_id, client_name: format!("client-{index}"), ..Config::default() };
        let mut client = Self {
            index,
            role,
            life,
            session: Session::new(config, rng.u64(..)),
            wire: None,
            buffer: BytesMut::new(),
            tick: None,
            parser: FrameParser::new(u32::MAX, "none"),
            open: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            generations: BTreeMap::new(),
            busy: BTreeMap::new(),
            confirms: BTreeMap::new(),
            boundaries: Boundaries::default(),
            next_token: 1,
            mine: Vec::new(),
            blocked: Vec::new(),
            exchange: Exchange::default(),
            adopts: false,
        };
        if let Role::Consumer(group) = role {
            requests::serve(&mut client.session, rng);
            for topic in Topic::of_group(group) {
                client.subscribe(*topic, group, rng);
            }
        }
        client
    }

    /// Names confirmed settles that were never answered.
    pub(crate) fn complain(&self, history: &mut History) {
        let open = self.confirms.len() + self.boundaries.open();
        if open > 0 {
            history.complaints.push(format!("client {}: {open} confirmed settles were never answered", self.index));
        }
    }

    pub(crate) fn publishes_left(&self) -> u32 {
        match self.role {
            Role::Publisher(left) => left,
            Role::Consumer(_) => 0,
        }
    }

    /// Publishes a burst; sometimes an event that was published before.
    pub(crate) fn publish_burst(&mut self, now: Now, history: &mut History, rng: &mut fastrand::Rng) {
        self.publish_blocked(history);
        for _ in 0..rng.u32(1..=12) {
            let Role::Publisher(left @ 1..) = &mut self.role else {
                return;
            };
            *left -= 1;
            if rng.u32(0..8) == 0 {
                self.open.extend(brief::publish(&mut self.session, history, rng));
            }
            if history.has_fleeting() && rng.u32(0..3) == 0 {
                self.open.extend(fleeting::publish(&mut self.session, now, history, rng));
            }
            if history.has_holding() && rng.u32(0..3) == 0 {
                self.open.extend(holding::publish(&mut self.session, history, rng));
            }
            if rng.u32(0..3) == 0 {
                self.open.extend(overtaken::publish(&mut self.session, history, rng));
            }
            let again = (!self.mine.is_empty() && rng.u32(0..12) == 0).then(|| self.mine[rng.usize(..self.mine.len())]);
            let id = again.unwrap_or_else(|| self.new_event(now, history, rng));
            let Some(event) = history.published.get(&id) else {
                continue;
            };
            let Ok(topic) = TopicName::parse(event.topic.name()) else {
                continue;
            };
            let sequence = self.session.publish_timed(&topic, &event.bytes, event.timing);
            self.open.insert(sequence, id);
        }
    }

    /// Publishes again what full topics refused.
    pub(crate) fn publish_blocked(&mut self, history: &History) {
        for id in std::mem::take(&mut self.blocked) {
            self.open.extend(overtaken::publish_again(&mut self.session, history, id));
        }
    }

    fn new_event(&mut self, now: Now, history: &mut History, rng: &mut fastrand::Rng) -> u32 {
        let id = history.published.len() as u32 + 1;
        let topic = if rng.u32(0..4) == 0 { Topic::Audit } else { Topic::Orders };
        let key = (rng.u32(0..10) < 6).then(|| rng.u8(0..KEYS));
        let mut event = Event::text("sim", "x".repeat(rng.usize(0..300)))
            .id(id.to_string())
            .source(format!("/client-{}", self.index));
        if let Some(key) = key {
            event = event.key(format!("key-{key}"));
        }
        let bytes = event.encode().unwrap_or_default();
        let delay_ms = if rng.u32(0..6) == 0 { rng.i64(-100..6000).max(-1) } else { 0 };
        let deliver_at = if delay_ms == 0 { UnixMillis(0) } else { UnixMillis(now.wall.0 + delay_ms) };
        history.totals.delayed += u64::from(delay_ms > 0);
        history.published.insert(
            id,
            Published {
                id,
                topic,
                publisher: (self.index, self.life),
                key,
                bytes,
                timing: Timing { deliver_at, expires_in_ms: 0 },
                delay_ms,
                at: now.mono,
                acked: None,
                refused: false,
            },
        );
        history.totals.events += 1;
        self.mine.push(id);
        id
    }

    /// Takes whole frames off the bytes that came.
    pub(crate) fn received(&mut self, now: Moment, bytes: &[u8]) {
        self.session.heard(now);
        self.buffer.extend_from_slice(bytes);
        while let Ok(Some(frame)) = self.parser.next(&mut self.buffer) {
            self.session.received(now, frame);
        }
    }

    /// Carries out what a program would, and gives what the world must.
    pub(crate) fn pump(
        &mut self,
        now: Moment,
        life: u32,
        calm: bool,
        history: &mut History,
        rng: &mut fastrand::Rng,
    ) -> Wanted {
        let mut wanted = Wanted::default();
        loop {
            let mut idle = !self.session.transmit(&mut wanted.bytes);
            while let Some(output) = self.session.poll() {
                idle = false;
                self.output(now, life, calm, output, history, rng, &mut wanted);
            }
            if idle {
                return wanted;
            }
        }
    }

    /// Whoever keeps to the protocol is only ever told that it was silent for too long, or that the gateway stops.
    fn hung_up(&self, life: u32, (reason, refused): (&str, Option<ErrorKind>), history: &mut History) {
        let stops = |kind| kind == ErrorKind::Unavailable && history.stopping.iter().any(|stop| stop.life == life);
        if refused.is_some_and(|kind| kind != ErrorKind::Timeout && !stops(kind)) {
            history.complaints.push(format!("client {}: its connection was refused: {reason}", self.index));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of the world that a program touches")]
    fn output(
        &mut self,
        now: Moment,
        life: u32,
        calm: bool,
        output: Output,
        history: &mut History,
        rng: &mut fastrand::Rng,
        wanted: &mut Wanted,
    ) {
        match output {
            Output::Connect => wanted.connect = true,
            Output::Disconnect { reason, refused } => {
                self.hung_up(life, (&reason, refused), history);
                wanted.disconnect = true;
                wanted.bytes.clear();
            }
            Output::Answered(answer) => self.answered(now, &answer, history),
            Output::Reset { subscription, generation, .. } => drop(self.generations.insert(subscription, generation)),
            Output::Deliver { subscription, generation, run } => {
                self.delivered(&Seen { now, life, calm }, (subscription, generation), &run, history, rng, wanted);
            }
            Output::Settled { token, result, boundary } => {
                let (problem, told) = self.boundaries.answered(token, result.is_ok(), boundary);
                history.totals.boundaries += u64::from(told);
                history.complaints.extend(problem.map(|problem| format!("client {}: {problem}", self.index)));
                if let Some(ack) = self.confirms.remove(&token) {
                    self.settled(now, ack, result.is_ok(), history);
                }
            }
            Output::Ended { subscription, failure } => match self.subscriptions.remove(&subscription) {
                // There was no space for a new group: the program asks again.
                Some((topic, group)) if failure.kind == ErrorKind::DiskFull && history.disk_was_unwell => {
                    self.subscribe(topic, group, rng);
                }
                // It was deleted: the program wants the next one of its name.
                Some((topic @ Topic::Fleeting, _)) if failure.kind == ErrorKind::TopicNotFound => {
                    wanted.join.push(topic)
                }
                // Nor was there just then.
                Some((topic, group)) if failure.kind == ErrorKind::Busy => self.subscribe(topic, group, rng),
                // Its settings were changed.
                Some((topic, group @ Some(TUNED))) if failure.kind == ErrorKind::GroupConflict => {
                    history.totals.conflicts += 1;
                    self.adopts = true;
                    self.subscribe(topic, group, rng);
                }
                // The gateway has not seen yet that the program before this one was killed.
                Some((topic, group @ Some(FIRST_MEMBER..)))
                    if failure.kind == ErrorKind::GroupConflict && self.life > 0 =>
                {
                    history.totals.members_in_use += 1;
                    self.subscribe(topic, group, rng);
                }
                _ => history.complaints.push(format!("client {}: a subscription ended: {failure:?}", self.index)),
            },
            Output::Failed(failure) => history.complaints.push(format!("client {} failed: {failure:?}", self.index)),
            other => wanted.answers.extend(self.exchange.found_out(now, &mut self.session, other, history, rng)),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of the world that a program touches")]
    fn delivered(
        &mut self,
        seen: &Seen,
        (subscription, generation): (SubscriptionId, u32),
        run: &DeliverRun,
        history: &mut History,
        rng: &mut fastrand::Rng,
        wanted: &mut Wanted,
    ) {
        let Some((topic, group)) = self.subscriptions.get(&subscription).copied() else {
            return;
        };
        for (n, event) in (0..).zip(run.events.iter()) {
            let Ok(id) = EventView::parse(&event, EventLimits::default()).map(|v| v.id().parse().unwrap_or(0)) else {
                history.complaints.push(format!("client {} got bytes that are no event", self.index));
                continue;
            };
            let delivered = Delivered {
                at: seen.now,
                life: seen.life,
                client: self.index,
                generation: (self.life, subscription.0 << 16 | generation),
                group,
                topic,
                position: run.first_position + n,
                id,
                attempt: run.attempt,
                bytes: event.clone(),
            };
            history.handed.push(seen.now);
            history.totals.redeliveries += u64::from(run.attempt > 1);
            history.totals.broadcast += u64::from(group >= Some(FIRST_MEMBER));
            if run.gap > 0 && !Topic::SCARCE.contains(&topic) {
                history.complaints.push(format!("client {} was told of a gap of {}", self.index, run.gap));
            }
            let number = run.first_delivery + n;
            self.plan(seen, (subscription, generation, number), &delivered, history, rng, wanted);
            match brief::came(history, (seen.now, self.index), id, run) {
                true => {}
                false if Topic::SCARCE.contains(&topic) => {
                    let gap = if n == 0 { run.gap } else { 0 };
                    history.totals.overtaken += gap;
                    history.scarce_mut(topic).came(&delivered, gap);
                }
                false if topic == Topic::Fleeting => history.fleeting.came(&delivered),
                false if topic == Topic::Held => history.holding.came(&delivered),
                false => history.delivered.push(delivered),
            }
        }
    }

    fn answered(&mut self, now: Moment, answer: &meshwire::session::Answer, history: &mut History) {
        for (n, sequence) in (0..).zip(answer.sequences.clone()) {
            let Some(id) = self.open.remove(&sequence) else {
                history.complaints.push(format!("client {}: sequence {sequence} was answered twice", self.index));
                continue;
            };
            match &answer.result {
                Ok(kept) => {
                    history.totals.duplicates_refused += u64::from(kept.duplicate);
                    if !kept.duplicate {
                        history.receipts.push(now);
                    }
                    let position = if kept.first_position == 0 { 0 } else { kept.first_position + n };
                    let _ = history.scarce.acked(id, position) || history.tight.acked(id, position);
                    history.holding_acked(now, id);
                    history.fleeting.acked(now, id);
                    if let Some(event) = history.brief.get_mut(&id) {
                        event.acked.get_or_insert(now);
                    }
                    if let Some(event) = history.published.get_mut(&id) {
                        event.acked.get_or_insert(now);
                    }
                }
                // It goes on when the groups of the topic do.
                Err(failure) if failure.kind == ErrorKind::TopicFull => {
                    history.totals.topic_full += 1;
                    self.blocked.push(id);
                }
                Err(failure) if REFUSALS.contains(&failure.kind) => {
                    if let Some(event) = history.published.get_mut(&id) {
                        event.refused = true;
                    }
                }
                Err(failure) => {
                    history.complaints.push(format!("client {}: event {id} was refused: {failure:?}", self.index))
                }
            }
        }
    }
}
