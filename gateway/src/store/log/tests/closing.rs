//! The end of a log: it comes, whatever there is no space for and whatever fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use meshwire_proto::{Moment, TopicName, UnixMillis};

use super::rig::{EPOCH_MS, Rig, append_at};
use crate::store::log::{Disk, DiskError, DiskOp, FileName, LogOptions, LogStore, SimDisk, SimFault};
use crate::store::{Block, Completions, Durability, Op, Position, Store, StoreError, TopicId, Watermark};

/// What is begun after the end, when there is space again.
fn begun(rig: &Rig) -> (bool, bool) {
    rig.disk.set_capacity(None);
    rig.advance_ms(1000);
    rig.store.tick();
    assert_eq!(rig.store.deadline(), None);
    (rig.store.next_write().is_some(), rig.store.next_job().is_some())
}

#[test]
fn a_log_that_was_closed_without_space_for_a_write_begins_nothing_when_there_is_some_again() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.publish(topic, &[300]);
    rig.idle();
    let lost = rig.publish(topic, &[300]);
    rig.disk.plan(rig.disk.counts().ops, SimFault::NoSpace);
    rig.settle();
    assert!(rig.watermark().written < lost);
    rig.store.close();
    assert_eq!(begun(&rig), (false, false));
}

#[test]
fn a_log_that_was_closed_without_space_for_a_segment_asks_for_none_when_there_is_some_again() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.publish(topic, &[300]);
    rig.idle();
    rig.disk.set_capacity(Some(40 << 10));
    let lost = rig.publish(topic, &[100_000]);
    rig.settle();
    assert!(rig.watermark().written < lost && rig.watermark().stuck);
    rig.store.close();
    assert_eq!(begun(&rig), (false, false));
}

#[test]
fn what_was_written_before_something_without_space_is_synced_at_the_end() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Written);
    rig.idle();
    let kept = rig.publish(topic, &[300]);
    rig.settle();
    rig.publish(topic, &[300]);
    rig.disk.plan(rig.disk.counts().ops, SimFault::NoSpace);
    rig.settle();
    assert!(rig.watermark().written == kept && rig.watermark().synced < kept);
    rig.store.close();
    assert!(rig.store.watermark().synced >= kept);
}

/// A disk whose next operation by the thread of that name is a defect of ours.
struct Panics {
    disk: SimDisk,
    thread: &'static str,
    armed: AtomicBool,
}

impl Disk for Panics {
    fn list(&self) -> Result<Vec<(FileName, u64)>, DiskError> {
        self.disk.list()
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read(file, offset, buffer)
    }

    fn run(&self, op: &DiskOp) -> Result<(), DiskError> {
        let ours = std::thread::current().name() == Some(self.thread);
        assert!(!(ours && self.armed.load(Ordering::Relaxed)), "planned");
        self.disk.run(op)
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        self.disk.free_space()
    }
}

#[derive(Default)]
struct Failing {
    failed: Mutex<bool>,
    changed: Condvar,
}

impl Completions for Failing {
    fn kept(&self, watermark: Watermark, _: &[(TopicId, Position)]) {
        *self.failed.lock().unwrap() |= watermark.failed;
        self.changed.notify_all();
    }

    fn fetched(&self, _: TopicId, _: Position, _: Result<Vec<Block>, StoreError>) {}
}

#[test]
fn a_thread_that_panics_fails_the_log_and_its_end_waits_for_nobody() {
    for thread in ["log-writer", "log-worker"] {
        let disk = Arc::new(Panics { disk: SimDisk::new(), thread, armed: AtomicBool::new(false) });
        let clock = Arc::new(|| (Moment(0), UnixMillis(EPOCH_MS)));
        let (store, _) = LogStore::open_on(disk.clone(), &LogOptions::default(), clock).unwrap();
        let failing = Arc::new(Failing::default());
        store.start(failing.clone()).unwrap();
        disk.armed.store(true, Ordering::Relaxed);
        let (topic, name) = (TopicId(1), TopicName::parse("t").unwrap());
        store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms: 1 << 40 }]);
        store.commit(vec![append_at(topic, 1, &[400], UnixMillis(EPOCH_MS))]);
        // The worker writes zeros ahead as soon as something was written.
        drop(failing.changed.wait_while(failing.failed.lock().unwrap(), |failed| !*failed).unwrap());
        store.close();
        assert!(matches!(store.reserve(1), Err(StoreError::Failed(_))), "{thread}");
    }
}
