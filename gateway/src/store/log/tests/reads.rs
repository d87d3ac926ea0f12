//! A read that fails says nothing of what is stored: nothing is passed over, cut or made of it.

use std::sync::Arc;

use super::rig::{Rig, small};
use crate::store::log::{FileName, LogOptions, OpenError, Part, SimDisk};
use crate::store::{Durability, Lookup, Position, Store, TopicId};

const EVENTS: Position = 300;

/// Several sealed segments and an active one, of which the cache holds only the end.
fn rig() -> (Rig, TopicId) {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..EVENTS {
        rig.publish(topic, &[300]);
        rig.settle();
    }
    rig.idle();
    (rig, topic)
}

fn fail_next(disk: &SimDisk, reads: u64) {
    let next = disk.counts().reads;
    (next..next + reads).for_each(|read| disk.plan_read(read));
}

fn everything() -> Vec<Position> {
    (1..=EVENTS).collect()
}

#[test]
fn a_fetch_that_fails_twice_and_then_succeeds_delivers_everything_without_a_gap() {
    let (rig, topic) = rig();
    let mut rig = rig.restart();
    assert!(matches!(rig.store.read(topic, 1), Lookup::Pending(_)));
    fail_next(&rig.disk, 1);
    rig.settle();
    assert!(rig.reports.fetched.lock().unwrap().is_empty(), "nothing is said while nothing is known");
    let reads = rig.disk.counts().reads;
    rig.advance_ms(99);
    rig.settle();
    assert_eq!(rig.disk.counts().reads, reads, "not before its pause is over");
    assert_eq!(rig.store.deadline().map(|d| d.0), Some(rig.micros.load(std::sync::atomic::Ordering::Relaxed) + 1000));
    fail_next(&rig.disk, 1);
    rig.advance_ms(1);
    rig.settle();
    rig.advance_ms(199);
    rig.settle();
    assert!(rig.reports.fetched.lock().unwrap().is_empty(), "twice as long the second time");
    assert!(matches!(rig.store.read(topic, 1), Lookup::Pending(_)));
    rig.advance_ms(1);
    rig.settle();
    let fetched = std::mem::take(&mut *rig.reports.fetched.lock().unwrap());
    assert!(matches!(&fetched[..], [(_, 1, Ok(block))] if block.first == 1));
    assert_eq!(rig.read_all(topic, 1, EVENTS + 1), everything());
}

#[test]
fn the_pause_grows_to_five_seconds_and_other_readers_do_not_wait() {
    let (mut rig, topic) = rig();
    rig.disk.set_unreadable(Some((FileName::of(Part::Segment(1)), 0..u64::MAX)));
    assert!(matches!(rig.store.read(topic, 1), Lookup::Pending(_)));
    for _ in 0..300 {
        rig.settle();
        rig.advance_ms(100);
    }
    let reads = rig.disk.counts().reads;
    for _ in 0..200 {
        rig.settle();
        rig.advance_ms(100);
    }
    let tried = rig.disk.counts().reads - reads;
    assert!((3..=10).contains(&tried), "{tried} reads in 20 s");
    assert_eq!(rig.read_all(topic, 100, EVENTS + 1), (100..=EVENTS).collect::<Vec<_>>());
    rig.disk.set_unreadable(None);
    rig.advance_ms(5000);
    rig.settle();
    assert_eq!(rig.read_all(topic, 1, EVENTS + 1), everything());
    rig.store.close();
}

#[test]
fn a_bad_place_keeps_back_its_own_block_and_none_before_or_behind_it() {
    let (mut rig, topic) = rig();
    let mut place = 0;
    let segment = FileName::of(Part::Segment(1));
    rig.disk.tamper(segment, |bytes| place = bytes.windows(3).position(|w| w == b"1-9").unwrap() as u64);
    rig.disk.set_unreadable(Some((segment, place..place + 1)));
    assert_eq!(rig.read_all(topic, 1, 9), (1..9).collect::<Vec<_>>());
    assert_eq!(rig.read_all(topic, 10, EVENTS + 1), (10..=EVENTS).collect::<Vec<_>>());
    assert!(matches!(rig.store.read(topic, 9), Lookup::Pending(_)));
    rig.advance_ms(10_000);
    rig.settle();
    assert!(matches!(rig.store.read(topic, 9), Lookup::Pending(_)), "for as long as it takes");
    rig.disk.set_unreadable(None);
    rig.advance_ms(10_000);
    rig.settle();
    assert_eq!(rig.read_all(topic, 9, 10), [9]);
}

#[test]
fn a_read_that_fails_does_not_hold_up_the_end() {
    let (mut rig, topic) = rig();
    rig.disk.set_unreadable(Some((FileName::of(Part::Segment(1)), 0..u64::MAX)));
    assert!(matches!(rig.store.read(topic, 1), Lookup::Pending(_)));
    rig.settle();
    let batch = rig.publish(topic, &[300]);
    rig.store.close();
    assert!(rig.store.watermark().synced >= batch);
}

#[test]
fn from_a_segment_that_cannot_be_read_whole_no_index_is_made_until_it_can() {
    // Records of 100 KB in segments of 4 MiB, which are scanned in several reads.
    let options = LogOptions { segment_bytes: 4 << 20, max_disk: 1 << 30, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options.clone(), Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..100 {
        rig.publish(topic, &[100_000]);
        rig.settle();
    }
    rig.idle();
    let (disk, micros) = (rig.disk.clone(), rig.micros.clone());
    drop(rig);
    let index = FileName::of(Part::Index(2));
    let mut whole = Vec::new();
    disk.tamper(index, |bytes| {
        whole.clone_from(bytes);
        bytes[40] ^= 1;
    });
    let mut bad = Vec::new();
    disk.tamper(index, |bytes| bad.clone_from(bytes));
    let stored = |disk: &SimDisk| {
        let mut stored = Vec::new();
        disk.tamper(index, |bytes| stored.clone_from(bytes));
        stored
    };
    for nth in 0..4 {
        let disk = Arc::new(disk.duplicate());
        let mut rig = Rig::open(disk.clone(), options.clone(), micros.clone()).unwrap();
        assert!(matches!(rig.store.read(topic, 2), Lookup::Pending(_)));
        disk.plan_read(disk.counts().reads + nth);
        rig.settle();
        assert_eq!(stored(&disk), bad, "read {nth} failed: nothing is written");
        assert!(rig.reports.fetched.lock().unwrap().is_empty());
        rig.advance_ms(100);
        rig.settle();
        assert_eq!(stored(&disk), whole, "made anew as it was");
        assert_eq!(rig.read_all(topic, 1, 101), (1..101).collect::<Vec<_>>());
    }
}

#[test]
fn a_failed_read_at_opening_refuses_to_open_and_cuts_nothing() {
    let (mut rig, topic) = rig();
    // A write that a kill ended in its middle: what opening cuts once it has read everything.
    rig.publish(topic, &[300]);
    let task = rig.next_write().unwrap();
    rig.disk.interrupt(task.write().unwrap(), 1);
    let (mut disk, micros) = (rig.reopen_sim_disk(), rig.micros.clone());
    let before = disk.duplicate();
    let contents = |disk: &SimDisk| {
        let files = crate::store::log::Disk::list(disk).unwrap();
        let logs = files.into_iter().filter(|(name, _)| matches!(name.part, Part::Segment(_) | Part::Checkpoint(_)));
        let content = |(name, _): (FileName, u64)| {
            let mut content = Vec::new();
            disk.tamper(name, |bytes| content.clone_from(bytes));
            (name, content)
        };
        logs.map(content).collect::<Vec<_>>()
    };
    // Of an index only the version is read, and it can do without.
    let indexes =
        crate::store::log::Disk::list(&*disk).unwrap().iter().filter(|(n, _)| matches!(n.part, Part::Index(_))).count();
    let (mut refused, mut passed) = (0, 0);
    for nth in 0.. {
        disk.plan_read(disk.counts().reads + nth);
        let error = match Rig::open(disk.clone(), small(), micros.clone()) {
            Ok(_) if passed < indexes => {
                passed += 1;
                disk = Arc::new(before.duplicate());
                continue;
            }
            // That read never came: everything was read.
            Ok(rig) => {
                assert!(rig.recovered.torn_bytes > 0 && rig.recovered.damage.is_empty());
                let mut rig = Rig::open(rig.reopen_sim_disk(), small(), micros).unwrap();
                assert_eq!(rig.read_all(topic, 1, EVENTS + 1), everything());
                break;
            }
            Err(error) => error,
        };
        refused += 1;
        let OpenError::Unreadable { file, offset, .. } = &error else { panic!("{error}") };
        let text = error.to_string();
        assert!(text.contains(&format!("{file}: read at {offset}")) && text.contains("start again"), "{text}");
        assert_eq!(contents(&disk), contents(&before), "read {nth}");
    }
    assert!(refused > 5, "{refused} reads");
}

/// Ten blocks of a hundred events behind others, and a cache that holds none of them.
fn cold(bytes: usize) -> (Rig, TopicId) {
    let options = LogOptions { cache_bytes: 0, segment_bytes: 4 << 20, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..10 {
        rig.publish(topic, &vec![bytes; 100]);
        rig.settle();
    }
    rig.idle();
    (rig, topic)
}

#[test]
fn a_thousand_positions_of_ten_blocks_are_ten_reads_at_most() {
    // Of 20 and 250 KB: the small ones are read several at once, when they are asked for as a group does.
    for (bytes, rising, most) in [(100, true, 3), (100, false, 10), (2500, true, 10), (2500, false, 10)] {
        let (mut rig, topic) = cold(bytes);
        let mut positions: Vec<Position> = (1..=1000).collect();
        if !rising {
            positions.reverse();
        }
        for position in positions {
            assert!(matches!(rig.store.read(topic, position), Lookup::Pending(_)));
        }
        let before = rig.disk.counts().reads;
        rig.settle();
        let reads = rig.disk.counts().reads - before;
        assert!((1..=most).contains(&reads), "{reads} reads of blocks of 100 events with {bytes} bytes");
        let told = rig.reports.fetched.lock().unwrap().len() as u64;
        assert_eq!(told, reads, "who waits is told once a read");
    }
}

#[test]
fn of_a_block_that_cannot_be_read_one_position_is_tried_for_all() {
    let (mut rig, topic) = cold(2500);
    rig.disk.set_unreadable(Some((FileName::of(Part::Segment(2)), 0..u64::MAX)));
    for position in 1..=100 {
        assert!(matches!(rig.store.read(topic, position), Lookup::Pending(_)));
    }
    let before = rig.disk.counts().reads;
    rig.settle();
    assert_eq!(rig.disk.counts().reads - before, 1);
    rig.disk.set_unreadable(None);
    rig.advance_ms(100);
    rig.settle();
    let fetched = std::mem::take(&mut *rig.reports.fetched.lock().unwrap());
    assert!(matches!(&fetched[..], [(_, _, Ok(block))] if block.first == 1), "{}", fetched.len());
    assert!(matches!(rig.store.read(topic, 50), Lookup::Pending(_)));
    let before = rig.disk.counts().reads;
    rig.settle();
    assert_eq!(rig.disk.counts().reads, before + 1, "who asks again has it read again");
}
