//! File systems that have less than `max_disk` says.

use std::sync::Arc;

use super::rig::{Rig, small};
use crate::store::log::{Disk as _, LogOptions, OpenError, SimDisk};
use crate::store::{Durability, Op, Store, StoreError, TopicId};

fn refusal(rig: &Rig, bytes: u64) -> Option<String> {
    match rig.store.reserve(bytes) {
        Ok(_) => None,
        Err(StoreError::Full(text)) => Some(text),
        Err(other) => panic!("{other}"),
    }
}

/// Publishes events of a size until one is refused for good; bytes of all of them, and the refusal.
fn fill(rig: &mut Rig, topic: TopicId, size: usize) -> (u64, String) {
    let mut kept = 0;
    for _ in 0..10_000 {
        rig.settle();
        if let Some(text) = refusal(rig, size as u64 + 150) {
            return (kept, text);
        }
        rig.publish(topic, &[size]);
        kept += size as u64;
    }
    panic!("never full");
}

fn pass(rig: &mut Rig) {
    for _ in 0..6 {
        rig.advance_ms(500);
        rig.store.tick();
        rig.idle();
    }
}

/// What a gateway asks for with its default frames.
fn frames() -> LogOptions {
    LogOptions { first_segment_bytes: 4 << 20, segment_bytes: 64 << 20, largest_write: 8 << 20, ..small() }
}

#[test]
fn a_disk_of_less_than_max_disk_is_filled_and_of_use_again_when_its_topics_are_deleted() {
    let tiny = LogOptions { first_segment_bytes: 64 << 10, segment_bytes: 1 << 20, ..small() };
    let large = (8 << 20) - 4096;
    for (what, capacity, options, size, least, behind) in [
        ("the default", 20 << 20, LogOptions { max_disk: 0, ..frames() }, 1 << 20, 9 << 20, large),
        ("ten times the disk", 20 << 20, LogOptions { max_disk: 200 << 20, ..frames() }, 1 << 20, 9 << 20, large),
        ("a thousand times a segment", 1 << 20, tiny, 10_000, 800 << 10, 50_000),
    ] {
        let disk = Arc::new(SimDisk::new());
        disk.set_capacity(Some(capacity));
        let mut rig = Rig::open(disk, options, Arc::default()).unwrap();
        for n in [1, 3, 5] {
            let topic = rig.topic(n, Durability::Synced);
            let (kept, text) = fill(&mut rig, topic, size);
            assert!(n > 1 || kept >= least, "{what}: {kept} of {capacity} are used: {text}");
            rig.store.commit(vec![Op::TopicGone { topic }]);
            pass(&mut rig);
            assert_eq!(refusal(&rig, behind), None, "{what}: an event as large as may be has room again");
            let topic = rig.topic(n + 1, Durability::Synced);
            let batch = rig.publish(topic, &[size]);
            rig.idle();
            assert!(rig.watermark().synced >= batch, "{what}");
            rig.store.commit(vec![Op::TopicGone { topic }]);
            pass(&mut rig);
        }
    }
}

#[test]
fn a_new_directory_is_refused_where_the_log_could_not_go_on_and_one_that_is_there_is_opened() {
    for max_disk in [0, 1 << 30] {
        let disk = Arc::new(SimDisk::new());
        disk.set_capacity(Some(18 << 20));
        let options = LogOptions { max_disk, ..frames() };
        let refused = Rig::open(disk.clone(), options.clone(), Arc::default()).err().unwrap();
        assert!(matches!(refused, OpenError::NoRoom { .. }), "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains("has 18 MiB free, and 20 MiB are needed: two segments that hold the largest frame"),
            "{text}"
        );
        assert_eq!(disk.list().unwrap(), [], "nothing was begun");
        disk.set_capacity(None);
        drop(Rig::open(disk.clone(), options.clone(), Arc::default()).unwrap());
        disk.set_capacity(Some(5 << 20));
        assert!(Rig::open(disk, options, Arc::default()).is_ok(), "others may have taken the space");
    }
}

#[test]
fn while_space_is_given_back_a_refusal_says_so_and_nothing_else() {
    let options = LogOptions { max_disk: 100 << 10, dedup_window_ms: 0, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    let (_, text) = fill(&mut rig, topic, 200);
    assert!(text.contains("topic topic-1") && text.ends_with("raise max_disk"), "{text}");
    rig.store.commit(vec![Op::TopicGone { topic }]);
    rig.settle();
    let mut said = 0;
    for _ in 0..6 {
        rig.advance_ms(500);
        rig.store.tick();
        loop {
            match rig.store.reserve(350) {
                Ok(_) | Err(StoreError::Busy(_)) => {}
                Err(refused) => {
                    let text = refused.to_string();
                    assert!(text.ends_with("space is being given back: publish again in a few seconds"), "{text}");
                    said += 1;
                }
            }
            if !rig.begin() {
                break;
            }
            rig.end();
        }
    }
    assert!(said > 0);
    assert_eq!(refusal(&rig, 350), None);
}

#[test]
fn a_refusal_promises_no_space_that_waits_for_a_checkpoint_for_which_there_is_none() {
    let options = LogOptions { max_disk: 100 << 10, dedup_window_ms: 0, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    fill(&mut rig, topic, 200);
    rig.store.commit(vec![Op::TopicGone { topic }]);
    for _ in 0..6 {
        rig.advance_ms(500);
        rig.store.tick();
        // Others take whatever is given back.
        while rig.begin() {
            rig.end();
            let used = rig.disk.list().unwrap().iter().map(|(_, len)| len).sum();
            rig.disk.set_capacity(Some(used));
        }
    }
    let text = refusal(&rig, 350).unwrap();
    assert!(text.contains("checkpoint") && !text.contains("in a few seconds"), "{text}");
    assert!(text.ends_with("make room on the file system of the data directory"), "{text}");
    rig.disk.set_capacity(None);
    pass(&mut rig);
    assert_eq!(refusal(&rig, 350), None);
}

#[test]
fn segments_that_were_prepared_and_not_used_make_a_disk_no_larger_after_a_kill() {
    let options = LogOptions { first_segment_bytes: 64 << 10, segment_bytes: 1 << 20, ..small() };
    let disk = Arc::new(SimDisk::new());
    disk.set_capacity(Some(1 << 20));
    let longest = |rig: &Rig| rig.disk.list().unwrap().iter().map(|(_, len)| *len).max().unwrap();
    let mut rig = Rig::open(disk, options.clone(), Arc::default()).unwrap();
    rig.settle();
    let before = longest(&rig);
    assert!(before > 64 << 10, "some are prepared: {before}");
    let mut rig = Rig::open(rig.reopen_sim_disk(), options, rig.micros.clone()).unwrap();
    rig.settle();
    assert_eq!(longest(&rig), before);
}
