//! Many lives of a client with one file, from a seed: cuts, kills and losses of power at any moment, against a gateway that
//! keeps what it has not been allowed to forget. Mistakes planted on purpose must be seen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use bytes::BytesMut;
use meshwire_proto::frame::{ClientFrame, FrameParser, Publish, Receipt, Receipts, ServerFrame};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{EventRunBuilder, Moment, Timing, TopicName, UnixMillis};

use super::forgetful::Forgetful;
use super::{Filed, Journal, Refused};
use crate::session::{Config, OfflinePolicy, Output, Session};

/// Events of a story.
const EVENTS: u64 = 120;
/// Lives of its client.
const LIVES: u64 = 8;
/// Far more than a story takes.
const STEPS: u32 = 20_000;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// The gateway is told of answers that are not in the file.
    ForgetsTooSoon,
    /// A new life goes on behind the last sequence that it finds.
    NoLeap,
    /// Nothing is synced.
    SyncsNothing,
    /// What was answered is not struck out, and the gateway may forget it all the same.
    StrikesNothingOut,
}

/// Knows a sequence until it may forget it, as `engine/producers.rs` of the gateway does.
#[derive(Default)]
struct Keeper {
    known: BTreeSet<u64>,
    log: Vec<u64>,
    waiting: Vec<Receipt>,
}

impl Keeper {
    fn take(&mut self, publish: &Publish) {
        self.known = self.known.split_off(&(publish.answered_through + 1));
        for run in &publish.runs {
            let first = run.first_sequence;
            assert!(first > publish.answered_through);
            for (sequence, event) in (first..).zip(run.events.iter()) {
                if self.known.insert(sequence) {
                    self.log.push(number(&event));
                }
            }
            self.waiting.push(Receipt { first_sequence: first, count: run.events.count(), ..Receipt::default() });
        }
    }

    fn kept_through(&self, first: u64) -> u64 {
        (first.max(1)..).take_while(|sequence| self.known.contains(sequence)).last().unwrap_or(first.max(1) - 1)
    }
}

/// The number of an event, which is all that it is.
fn number(event: &[u8]) -> u64 {
    std::str::from_utf8(event).unwrap().parse().unwrap()
}

struct Story {
    dice: Dice,
    mistake: Mistake,
    /// Else only kills, no losses of power, leave everything.
    is_synced: bool,
    disk: Forgetful,
    journal: Journal<Forgetful>,
    session: Session,
    now: Moment,
    next_sequence: u64,
    published: u64,
    admitted: BTreeSet<u64>,
    unmarked: Vec<Range<u64>>,
    keeper: Keeper,
}

fn config(producer_id: [u8; 16]) -> Config {
    Config { producer_id, producer_epoch: 1, offline: Some(OfflinePolicy::default()), ..Config::default() }
}

impl Story {
    fn new(seed: u64, mistake: Mistake) -> Self {
        let mut dice = Dice(seed);
        let (disk, is_synced) = (Forgetful::default(), mistake != Mistake::NoLeap && dice.below(3) > 0);
        let (journal, found) =
            Journal::open(disk.clone(), [9; 16], is_synced && mistake != Mistake::SyncsNothing).unwrap();
        Self {
            dice,
            mistake,
            is_synced,
            disk,
            journal,
            session: Session::new(config(found.producer_id), seed),
            now: Moment(1),
            next_sequence: found.next_sequence,
            published: 0,
            admitted: BTreeSet::new(),
            unmarked: Vec::new(),
            keeper: Keeper::default(),
        }
    }

    fn publish(&mut self) {
        let mut run = EventRunBuilder::default();
        let count = (1 + self.dice.below(6)).min(EVENTS - self.published);
        for _ in 0..count {
            self.published += 1;
            run.push(self.published.to_string().as_bytes());
        }
        let topic = TopicName::parse("orders").unwrap();
        let events = run.take();
        let filed = Filed {
            first: self.next_sequence,
            at: UnixMillis(0),
            topic,
            timing: Timing::default(),
            events: events.clone(),
        };
        // Sometimes the power fails while it is written.
        let is_lost = self.dice.below(40) == 0;
        self.disk.set_fails(is_lost && self.is_synced);
        let admitted = self.journal.admit(&[filed]);
        self.disk.set_fails(false);
        match admitted {
            Ok(()) => {}
            Err(Refused::Full(_)) => {
                self.published -= count;
                return;
            }
            Err(Refused::Broken(_)) => return self.crash(),
        }
        self.next_sequence += count;
        self.admitted.extend(self.published + 1 - count..=self.published);
        let to = (self.session.alias(&TopicName::parse("orders").unwrap()), Timing::default());
        self.session.publish_filed(self.now, Duration::ZERO, self.next_sequence - count, to, events);
    }

    /// Takes note of answers, some later than others.
    fn note(&mut self) {
        while let Some(output) = self.session.poll() {
            if let Output::Answered(answer) = output {
                answer.result.unwrap();
                self.unmarked.push(answer.sequences);
            }
        }
        if self.dice.below(3) > 0 && self.mistake != Mistake::StrikesNothingOut {
            let noted = self.journal.answered(&std::mem::take(&mut self.unmarked));
            assert!(!matches!(noted, Err(Refused::Broken(_))), "{noted:?}");
        }
        if !matches!(self.mistake, Mistake::ForgetsTooSoon | Mistake::StrikesNothingOut) {
            self.session.set_forgettable(self.journal.forgettable());
        }
    }

    fn sent(&mut self) -> Vec<ClientFrame> {
        let mut bytes = BytesMut::new();
        while self.session.transmit(&mut bytes) {}
        let parser = FrameParser::new(u32::MAX, "test");
        std::iter::from_fn(|| parser.next(&mut bytes).unwrap())
            .map(|frame| ClientFrame::decode(frame).unwrap())
            .collect()
    }

    fn receive(&mut self, frame: &ServerFrame) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.session.received(self.now, bytes.freeze());
        self.note();
    }

    fn connect(&mut self) {
        self.note();
        self.session.disconnected(self.now);
        self.keeper.waiting.clear();
        let mut dials = false;
        while !dials {
            self.now = self.now.max(self.session.deadline().unwrap());
            self.session.tick(self.now);
            while let Some(output) = self.session.poll() {
                assert!(!matches!(output, Output::Answered(_)), "{output:?} while there is no gateway");
                dials |= output == Output::Connect;
            }
        }
        self.session.connected(self.now);
        let frames = self.sent();
        let Some(ClientFrame::Hello(hello)) = frames.first() else { panic!("the login begins with {frames:?}") };
        let welcome = wire::Welcome {
            version: 1,
            producer_known: true,
            heartbeat_ms: 10_000,
            kept_through: self.keeper.kept_through(hello.first_unanswered),
            publish_window_events: 1 + self.dice.below(30) as u32,
            ..wire::Welcome::default()
        };
        self.receive(&ServerFrame::Welcome(welcome));
    }

    /// Some of what is sent arrives.
    fn travel(&mut self) {
        let sent = self.sent();
        let arrives = self.dice.below(sent.len() as u64 + 1) as usize;
        for frame in sent.iter().take(arrives) {
            if let ClientFrame::Publish(publish) = frame {
                self.keeper.take(publish);
            }
        }
        if arrives < sent.len() {
            self.connect();
        }
    }

    fn crash(&mut self) {
        // A kill leaves what was written, a loss of power what was synced, and some.
        let survive = if self.dice.below(2) == 0 { usize::MAX } else { self.dice.below(300) as usize };
        self.disk.lose_power(survive);
        // Every other life begins without room for a copy of the file.
        let room = self.disk.bytes().len() + self.dice.below(400) as usize;
        self.disk.set_room((self.dice.below(2) == 0).then_some(room));
        let is_synced = self.is_synced && self.mistake != Mistake::SyncsNothing;
        let (journal, found) = Journal::open(self.disk.clone(), [1; 16], is_synced).unwrap();
        assert_eq!(found.producer_id, [9; 16]);
        self.session = Session::new(config(found.producer_id), self.dice.below(u64::MAX));
        self.unmarked.clear();
        let (mut last, mut found_events) = (0, BTreeSet::<u64>::new());
        for (filed, open) in found.events {
            let to = (self.session.alias(&filed.topic), filed.timing);
            last = filed.first + filed.count();
            found_events.extend(filed.events.iter().map(|event| number(&event)));
            self.session.restore(self.now, Duration::ZERO, (filed.first, open), to, filed.events);
        }
        let is_no_leap = self.mistake == Mistake::NoLeap;
        self.next_sequence = if is_no_leap { last.max(1) } else { found.next_sequence };
        self.session.skip_to(self.next_sequence);
        self.journal = journal;
        if !self.is_synced {
            // Only written: a loss of power may take what the gateway does not have.
            let log: BTreeSet<u64> = self.keeper.log.iter().copied().collect();
            self.admitted.retain(|event| log.contains(event) || found_events.contains(event));
        }
        self.session.set_forgettable(self.journal.forgettable());
        self.connect();
    }

    /// Plays it; gives what was broken.
    fn play(mut self) -> Option<String> {
        self.connect();
        let mut lives = 0;
        for _ in 0..STEPS {
            if self.published == EVENTS && self.session.unanswered().0 == 0 {
                return self.verdict();
            }
            match self.dice.below(20) {
                0..=5 if self.published < EVENTS => self.publish(),
                6..=11 => self.travel(),
                12..=16 if !self.keeper.waiting.is_empty() => {
                    let at = self.dice.below(self.keeper.waiting.len() as u64) as usize;
                    let receipt = self.keeper.waiting.remove(at);
                    self.receive(&ServerFrame::Receipts(Receipts { receipts: vec![receipt] }));
                }
                17 => self.connect(),
                19 => self.disk.set_room(None),
                18 if lives < LIVES => {
                    lives += 1;
                    self.crash();
                }
                _ => {}
            }
        }
        Some(format!("no end: {:?} of {} are open", self.session.unanswered(), self.published))
    }

    fn verdict(&self) -> Option<String> {
        let log = &self.keeper.log;
        if let Some(at) = log.windows(2).find(|pair| pair.first() >= pair.last()) {
            return Some(format!("twice, or not in order: {at:?}"));
        }
        let lost = self.admitted.iter().find(|event| !log.contains(event));
        lost.map(|event| format!("event {event} was admitted and never arrived"))
    }
}

#[test]
fn whatever_is_cut_and_killed_what_was_admitted_arrives_in_order_and_once() {
    for seed in 0..300 {
        let broken = Story::new(seed, Mistake::None).play();
        assert!(broken.is_none(), "seed {seed}: {broken:?}");
    }
}

#[test]
fn every_planted_mistake_is_seen() {
    for mistake in [Mistake::ForgetsTooSoon, Mistake::NoLeap, Mistake::SyncsNothing, Mistake::StrikesNothingOut] {
        let seen = (0..1500).any(|seed| Story::new(seed, mistake).play().is_some());
        assert!(seen, "{mistake:?} goes unseen");
    }
}
