//! Redeliveries of events that no cache holds any more: how often the disk is read for
//! them, and what goes on meanwhile.

use std::sync::{Arc, Condvar, Mutex};

use meshwire_gateway::store::log::{Disk, DiskError, DiskOp, FileName, SimDisk};
use meshwire_proto::Event;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun, ServerFrame, Settle, SettleKind, SettleRange};

use crate::machine::{Line, Machine};
use crate::rig::{earliest, run_of};

/// Blocks that are read alone, as two are more than is read ahead.
const BLOCKS: u64 = 10;
const IN_BLOCK: u64 = 100;
const ALL: u64 = BLOCKS * IN_BLOCK;
const BYTES: usize = 2000;
/// One of these blocks, not two.
const CACHE: usize = 300 << 10;

fn publish(line: &Line, first: u64, count: u64) {
    let event = |n: u64| Event::bytes("t", vec![7; BYTES]).id(n.to_string()).source("/rig");
    let events = run_of(&(first..first + count).map(event).collect::<Vec<_>>());
    let run = PublishRun { alias: 1, topic: "t".into(), first_sequence: first, events, ..PublishRun::default() };
    line.send(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: first - 1 }));
}

/// How many events were delivered, and receipts came.
fn count(frames: &[ServerFrame]) -> (u64, u64) {
    let (mut delivered, mut kept) = (0, 0);
    for frame in frames {
        match frame {
            ServerFrame::Deliver(d) => delivered += d.runs.iter().map(|run| u64::from(run.events.count())).sum::<u64>(),
            ServerFrame::Receipts(r) => kept += r.receipts.iter().map(|receipt| u64::from(receipt.count)).sum::<u64>(),
            _ => {}
        }
    }
    (delivered, kept)
}

/// A group whose member nacked all it got, for a second, which is over; nothing of it is in a cache.
fn nacked() -> (Machine, Line) {
    let machine = Machine::caching(CACHE);
    let line = machine.session();
    for block in 0..BLOCKS {
        publish(&line, 1 + block * IN_BLOCK, IN_BLOCK);
        machine.run_disk();
    }
    let subscribe = earliest(1, "t", "g");
    line.send(&ClientFrame::Subscribe(meshwire_proto::wire::session::Subscribe {
        max_events: 2 * ALL as u32,
        max_bytes: 64 << 20,
        ..subscribe
    }));
    let mut delivered = 0;
    for _ in 0..4 * BLOCKS {
        machine.advance(1);
        delivered += count(&line.frames()).0;
    }
    assert_eq!(delivered, ALL);
    let range = SettleRange {
        subscription: 1,
        first_delivery: 1,
        count: ALL as u32,
        kind: SettleKind::Nack,
        delay_ms: Some(1000),
        ..SettleRange::default()
    };
    line.send(&ClientFrame::Settle(Settle { sequence: 1, ranges: vec![range], confirm: true }));
    machine.advance(20);
    line.frames();
    (machine, line)
}

#[test]
fn a_thousand_nacked_events_in_ten_blocks_are_about_ten_reads_of_the_disk() {
    let (machine, line) = nacked();
    let before = machine.disk.counts().reads;
    let mut delivered = 0;
    machine.pass(1000);
    for _ in 0..4 * BLOCKS {
        machine.advance(1);
        delivered += count(&line.frames()).0;
    }
    let reads = machine.disk.counts().reads - before;
    assert_eq!(delivered, ALL);
    // A segment's index is read as well.
    assert!((BLOCKS..=BLOCKS + 4).contains(&reads), "{reads} reads");
}

/// A disk whose reads wait until they are let through.
struct Slow {
    disk: Arc<SimDisk>,
    /// Whether somebody reads, and whether he may.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Disk for Slow {
    fn list(&self) -> Result<Vec<(FileName, u64)>, DiskError> {
        self.disk.list()
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, open)| !*open).unwrap());
        self.disk.read(file, offset, buffer)
    }

    fn run(&self, op: &DiskOp) -> Result<(), DiskError> {
        self.disk.run(op)
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        self.disk.free_space()
    }
}

#[test]
fn while_the_disk_reads_the_same_topic_takes_events_and_delivers_those_that_are_there() {
    let (machine, line) = nacked();
    machine.pass(1000);
    let task = machine.log.next_job().expect("a read");
    let slow = Arc::new(Slow { disk: machine.disk.clone(), state: Mutex::default(), changed: Condvar::new() });
    let on = slow.clone();
    let reading = std::thread::spawn(move || task.run(&*on));
    drop(slow.changed.wait_while(slow.state.lock().unwrap(), |(reads, _)| !*reads).unwrap());
    // Nothing here may wait for that thread: it waits for what follows.
    publish(&line, ALL + 1, 1);
    while machine.step_disk() {}
    machine.pass(2);
    while machine.step_disk() {}
    let other = machine.session();
    other.publish_event(1, ("t", 1), &Event::bytes("t", vec![7; BYTES]).id("other").source("/rig"));
    while machine.step_disk() {}
    let (mut delivered, kept) = count(&line.frames());
    assert_eq!((kept, count(&other.frames()).1), (1, 1));
    // The newest block is in the cache, and what was published meanwhile.
    assert_eq!(delivered, IN_BLOCK + 2);
    slow.state.lock().unwrap().1 = true;
    slow.changed.notify_all();
    machine.log.ended(reading.join().unwrap());
    for _ in 0..4 * BLOCKS {
        machine.advance(1);
        delivered += count(&line.frames()).0;
    }
    assert_eq!(delivered, ALL + 2);
}
