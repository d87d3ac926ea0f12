#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
//! Bursts of large events against a disk of a given speed, in virtual time: what is within the budget of accepted bytes
//! finds room.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use meshwire_proto::{Moment, TopicName, UnixMillis};

use super::{Input, LogMachine, OpId};
use crate::store::log::job::{JobResult, Outcome, Work};
use crate::store::log::{Disk, DiskOp, LogOptions, SimDisk, recovery};
use crate::store::{Append, Durability, Entry, Op, StoreError, TopicId};

const MIB: u64 = 1 << 20;
/// Of writing one MiB, and of a sync.
const MIB_MICROS: u64 = 1000;
const SYNC_MICROS: u64 = 2000;
/// Allocating takes as long as writing 8 MiB.
const ALLOCATE_MICROS: u64 = 8 * MIB_MICROS;

struct Stage {
    machine: LogMachine,
    now: Moment,
    writer: Option<(Moment, OpId)>,
    worker: Option<(Moment, OpId)>,
    event: Bytes,
    next: u64,
    /// `(batch, bytes)` of what is accepted and not written.
    open: VecDeque<(u64, u64)>,
    /// What others have been promised and did not commit yet.
    claimed: u64,
    allocated: u64,
}

impl Stage {
    fn new() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let (mut machine, _) = recovery::open(&disk, &LogOptions::default(), (Moment(0), UnixMillis(0))).unwrap();
        let (name, durability) = (TopicName::parse("orders").unwrap(), Durability::Synced);
        machine.commit(vec![Op::Topic { topic: TopicId(1), name, durability, retention_ms: 1 << 40 }]);
        // An event of 1 MiB of data, with attributes.
        let event = Bytes::from(vec![1; MIB as usize + 200]);
        let mut stage = Self {
            machine,
            now: Moment(0),
            writer: None,
            worker: None,
            event,
            next: 1,
            open: VecDeque::new(),
            claimed: 0,
            allocated: 0,
        };
        stage.run_until(Moment(1_000_000));
        stage
    }

    /// Both threads take what there is to do.
    fn look(&mut self) {
        if self.writer.is_none()
            && let Some((id, op)) = self.machine.poll_write(self.now)
        {
            let bytes = if let DiskOp::Write { parts, .. } = &op { parts.iter().map(Bytes::len).sum() } else { 0 };
            let takes = if matches!(op, DiskOp::Sync { .. }) { SYNC_MICROS } else { bytes as u64 * MIB_MICROS / MIB };
            self.writer = Some((Moment(self.now.0 + takes.max(10)), id));
        }
        if self.worker.is_none()
            && let Some((id, job)) = self.machine.poll_job(self.now)
        {
            let takes = match job.0 {
                Work::Allocate { .. } => {
                    self.allocated += 1;
                    ALLOCATE_MICROS
                }
                _ => MIB_MICROS + SYNC_MICROS,
            };
            self.worker = Some((Moment(self.now.0 + takes), id));
        }
    }

    /// Whatever ends until then has ended.
    fn run_until(&mut self, until: Moment) {
        loop {
            self.look();
            let ends = [self.writer.map(|w| w.0), self.worker.map(|w| w.0), self.machine.writer_deadline()];
            let Some(at) = ends.into_iter().flatten().min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if let Some((_, id)) = self.writer.take_if(|w| w.0 <= at) {
                self.machine.handle(self.now, Input::Done { id, result: Ok(()) });
            }
            if let Some((_, id)) = self.worker.take_if(|w| w.0 <= at) {
                let result = JobResult(Outcome::Ended(Ok(())));
                self.machine.handle(self.now, Input::JobDone { id, result });
            }
            let written = self.machine.watermark().written;
            while self.open.front().is_some_and(|(batch, _)| *batch <= written) {
                self.open.pop_front();
            }
        }
        self.now = until;
    }

    fn unwritten(&self) -> u64 {
        self.open.iter().map(|(_, bytes)| bytes).sum()
    }

    /// One publisher's event, as the mesh takes it.
    fn publish(&mut self) -> Result<(), StoreError> {
        let bytes = self.event.len() as u64;
        self.machine.reserve(bytes, self.claimed)?;
        let append = Append {
            topic: TopicId(1),
            first: self.next,
            stored: UnixMillis(0),
            bytes: self.event.clone(),
            index: vec![Entry { end: bytes as u32, key: 0 }],
            producer: None,
        };
        self.next += 1;
        let batch = self.machine.commit(vec![Op::Append(append)]);
        self.open.push_back((batch, bytes));
        self.look();
        Ok(())
    }

    /// As many events as the budget takes, at once.
    fn burst(&mut self) {
        while self.unwritten() < 64 * MIB {
            let (event, unwritten) = (self.next, self.unwritten());
            if let Err(error) = self.publish() {
                panic!("event {event}, {unwritten} bytes behind: {error}");
            }
        }
    }

    fn drain(&mut self) {
        while !self.open.is_empty() {
            self.run_until(Moment(self.now.0 + 1000));
        }
    }
}

#[test]
fn a_burst_of_the_whole_budget_is_taken_by_a_new_log_and_wherever_a_segment_stands() {
    let mut stage = Stage::new();
    stage.burst();
    stage.drain();
    for n in 0..80 {
        stage.claimed = n % 2 * 8 * MIB;
        // The next one comes at another place of the segment, and at once behind the last.
        for _ in 0..n % 9 {
            stage.publish().unwrap();
        }
        stage.drain();
        stage.burst();
        stage.drain();
    }
    assert!(stage.allocated > 80);
}

#[test]
fn publishers_as_fast_as_the_budget_lets_them_never_wait_for_a_segment_even_while_others_catch_up() {
    let mut stage = Stage::new();
    for n in 0..2000 {
        // One who catches up always has a block to fetch, and the worker nothing but that.
        stage.machine.read(TopicId(1), n / 3);
        stage.burst();
        stage.run_until(Moment(stage.now.0 + 500));
    }
    assert!(stage.next > 700, "{} events", stage.next);
}

#[test]
fn an_idle_log_has_no_more_than_two_segments_ahead() {
    let mut stage = Stage::new();
    stage.run_until(Moment(60_000_000));
    assert_eq!(stage.allocated, 2);
}
