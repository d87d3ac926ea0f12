#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
//! Publishers with one event in flight each, against a driver that sleeps and
//! wakes exactly as the machine says: in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use meshwire_proto::{Moment, TopicName, UnixMillis};

use super::{Input, LogMachine, OpId};
use crate::store::log::{Disk, DiskOp, LogOptions, SimDisk, recovery};
use crate::store::{Append, Durability, Entry, Op, Ticket, TopicId};

const WRITE_MICROS: u64 = 20;

/// The writer thread.
enum Writer {
    /// At an operation that ends then.
    Busy(Moment, OpId),
    Asleep(Option<Moment>),
}

struct Stage {
    machine: LogMachine,
    disk: Arc<SimDisk>,
    writer: Writer,
    now: Moment,
    sync_micros: u64,
    next: u64,
    /// When each publisher publishes next; those that wait are in `waiting`.
    thinking: BTreeMap<(Moment, usize), ()>,
    waiting: Vec<(usize, u64, Moment)>,
    think_micros: u64,
    answered: u64,
    slowest_micros: u64,
    level: Durability,
}

impl Stage {
    fn new(publishers: usize, sync_micros: u64, think_micros: u64, level: Durability) -> Self {
        let sim = Arc::new(SimDisk::new());
        let disk: Arc<dyn Disk> = sim.clone();
        let options = LogOptions { first_segment_bytes: 4 << 20, ..LogOptions::default() };
        let (mut machine, _) = recovery::open(&disk, &options, (Moment(0), UnixMillis(0))).unwrap();
        let name = TopicName::parse("orders").unwrap();
        machine.commit(vec![Op::Topic { topic: TopicId(1), name, durability: level, retention_ms: 1 << 40 }]);
        Self {
            machine,
            disk: sim,
            writer: Writer::Asleep(Some(Moment(0))),
            now: Moment(0),
            sync_micros,
            next: 1,
            thinking: (0..publishers).map(|p| ((Moment(7 * p as u64), p), ())).collect(),
            waiting: Vec::new(),
            think_micros,
            answered: 0,
            slowest_micros: 0,
            level,
        }
    }

    /// The writer thread looks for work, as often as it is awake.
    fn write(&mut self) {
        let op = self.machine.poll_write(self.now);
        if let Some(kept) = self.machine.poll_kept() {
            let level = self.level;
            let (done, rest) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|(_, batch, _)| kept.watermark.covers(Ticket { batch: *batch, level }));
            self.waiting = rest;
            let done: Vec<_> = done;
            for (publisher, _, since) in done {
                self.answered += 1;
                self.slowest_micros = self.slowest_micros.max(self.now.0 - since.0);
                // None thinks exactly as long as another.
                self.thinking.insert((Moment(self.now.0 + self.think_micros + publisher as u64 % 5), publisher), ());
            }
        }
        self.writer = match op {
            Some((id, op)) => {
                self.disk.run(&op).unwrap();
                let takes = if matches!(op, DiskOp::Sync { .. }) { self.sync_micros } else { WRITE_MICROS };
                Writer::Busy(Moment(self.now.0 + takes), id)
            }
            None => Writer::Asleep(self.machine.writer_deadline()),
        };
    }

    fn publish(&mut self, publisher: usize) {
        let append = Append {
            topic: TopicId(1),
            first: self.next,
            stored: UnixMillis(0),
            bytes: Bytes::from_static(b"z\x00"),
            index: vec![Entry { end: 2, key: 0 }],
            producer: None,
        };
        self.next += 1;
        let batch = self.machine.commit(vec![Op::Append(append)]);
        self.waiting.push((publisher, batch, self.now));
        if self.machine.wants_writer() && matches!(self.writer, Writer::Asleep(_)) {
            self.write();
        }
    }

    /// One thing happens: the earliest; `false` when nothing ever will.
    fn step(&mut self) -> bool {
        let wakes = match self.writer {
            Writer::Busy(at, _) => Some(at),
            Writer::Asleep(until) => until,
        };
        let publishes = self.thinking.keys().next().copied();
        let Some(at) = wakes.into_iter().chain(publishes.map(|(at, _)| at)).min() else { return false };
        self.now = self.now.max(at);
        if let Some((_, publisher)) = publishes.filter(|(due, _)| *due == at) {
            self.thinking.pop_first();
            self.publish(publisher);
            return true;
        }
        if let Writer::Busy(_, id) = self.writer {
            self.machine.handle(self.now, Input::Done { id, result: Ok(()) });
        }
        self.write();
        true
    }

    fn run(&mut self, answers: u64) {
        for _ in 0..answers * 20 {
            if self.answered >= answers {
                return;
            }
            assert!(self.step(), "everyone waits and nothing will happen");
        }
        panic!("{} of {answers} were answered", self.answered);
    }
}

#[test]
fn with_one_event_in_flight_each_nearly_all_publishers_share_a_slow_sync_and_most_a_fast_one() {
    for (publishers, sync_micros, share) in [(50, 3000, 0.9), (50, 100, 0.6), (8, 3000, 0.9), (200, 1000, 0.6)] {
        let mut stage = Stage::new(publishers, sync_micros, 15, Durability::Synced);
        stage.run(20 * publishers as u64);
        let (before, answered) = (stage.disk.counts().syncs, stage.answered);
        stage.run(answered + 100 * publishers as u64);
        let each = (stage.answered - answered) as f64 / (stage.disk.counts().syncs - before) as f64;
        assert!(each > publishers as f64 * share, "{publishers} publishers, {sync_micros} us: {each} events a sync");
    }
}

#[test]
fn publishers_that_come_one_by_one_never_wait_for_company() {
    let mut stage = Stage::new(1, 2000, 50_000, Durability::Synced);
    stage.run(50);
    assert_eq!(stage.slowest_micros, WRITE_MICROS + 2000);
}

#[test]
fn no_wait_is_longer_than_the_sync_under_way_a_millisecond_and_ones_own() {
    // Half of them think for longer than any gathering lasts.
    for think in [1500, 4000, 9000] {
        let mut stage = Stage::new(20, 5000, think, Durability::Synced);
        stage.run(2000);
        let most = 2 * 5000 + 1000 + 3 * WRITE_MICROS;
        assert!(stage.slowest_micros <= most, "think {think}: {}", stage.slowest_micros);
    }
}

#[test]
fn a_written_topic_does_not_wait_for_syncs_that_nobody_asked_for() {
    let mut stage = Stage::new(4, 3000, 100, Durability::Written);
    stage.run(20_000);
    assert!(stage.disk.counts().syncs < 20, "{} syncs", stage.disk.counts().syncs);
}

#[test]
fn an_idle_machine_sleeps_for_good() {
    let mut stage = Stage::new(3, 3000, 100, Durability::Synced);
    stage.run(30);
    stage.thinking.clear();
    while stage.step() {
        assert!(stage.now.0 < 10_000_000, "still awake after ten seconds");
        stage.thinking.clear();
    }
    assert!(stage.waiting.is_empty());
}

/// A log at its `max_disk`, before anything is written to it.
fn full() -> LogMachine {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let (first_segment_bytes, segment_bytes, max_disk) = (8 << 10, 16 << 10, 8 << 10);
    let options = LogOptions { first_segment_bytes, segment_bytes, max_disk, ..LogOptions::default() };
    let (mut machine, _) = recovery::open(&disk, &options, (Moment(0), UnixMillis(0))).unwrap();
    assert!(machine.poll_job(Moment(0)).is_none());
    machine
}

#[test]
fn a_refusal_is_put_into_words_once_as_long_as_nothing_changes() {
    let mut machine = full();
    let refusal = |machine: &mut LogMachine| machine.reserve(100_000, 0).unwrap_err().to_string();
    let first = refusal(&mut machine);
    assert!(first.contains("max_disk (8192 bytes)"), "{first}");
    machine.space.refused(true, "something else".to_owned(), Moment(u64::MAX));
    assert_eq!(refusal(&mut machine), first, "nothing was done and no time has passed");
    machine.handle(Moment(0), Input::Tick { wall: UnixMillis(1) });
    assert!(refusal(&mut machine).starts_with("something else"));
}

#[test]
fn only_what_publishers_are_refused_is_counted() {
    let mut machine = full();
    assert!(machine.reserve_quietly(100_000, 0).is_err() && machine.reserve_letter(100_000, 0).is_err());
    assert_eq!(machine.refusals.ended(), None, "no publisher was refused");
    assert!(machine.reserve(100_000, 0).is_err() && machine.reserve_quietly(100_000, 0).is_err());
    assert_eq!(machine.refusals.ended(), Some(1));
}
