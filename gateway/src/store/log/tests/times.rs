//! Events that wait for their time, and those that expire: what the log keeps of them.

use std::sync::Arc;

use meshwire_proto::UnixMillis;

use super::rig::{Rig, small};
use crate::store::log::{FileName, LogOptions, Part};
use crate::store::{Delay, DelayChange, Durability, Lookup, Op, Store, Times, TopicId};

fn delays(topic: TopicId, change: DelayChange, positions: std::ops::Range<u64>) -> Op {
    Op::Times(Times::Delays { topic, changes: positions.map(|p| (p, change)).collect() })
}

const DELAY: Delay = Delay { due: UnixMillis(7), delay_ms: 5, expires_in_ms: 3, len: 9 };

#[test]
fn a_restart_finds_what_waits_and_what_expires_from_a_checkpoint_and_from_the_log_alone() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    let delayed = topic.delayed();
    rig.topic(delayed.0, Durability::Synced);
    for n in 0..300u64 {
        let stored = rig.wall();
        let append = rig.append(delayed, &[200; 2]);
        let waits = delays(delayed, DelayChange::Waits(DELAY), 2 * n + 1..2 * n + 3);
        rig.store.commit(vec![append, waits]);
        let append = rig.append(topic, &[100]);
        let at = UnixMillis(stored.0 + 50);
        let expires = Op::Times(Times::Expires { topic, first: n + 1, count: 1, at });
        rig.store.commit(vec![append, expires, delays(delayed, DelayChange::Released, 2 * n + 1..2 * n + 2)]);
        rig.advance_ms(10);
        rig.settle();
    }
    rig.idle();
    let disk = rig.reopen_sim_disk();
    // Nothing is read again for the de-duplication window.
    let options = LogOptions { dedup_window_ms: 0, ..small() };
    let rig = Rig::open(rig.disk.clone(), options, rig.micros.clone()).unwrap();
    let found = &rig.recovered.fold;
    assert_eq!(
        found.times.delays[&delayed].keys().copied().collect::<Vec<_>>(),
        (1..=300).map(|n| 2 * n).collect::<Vec<_>>()
    );
    assert!(found.times.expiries[&topic].at(300).is_some() && found.times.expiries[&topic].at(301).is_none());
    assert!(found.times.expiries[&topic].len() < 200, "{}", found.times.expiries[&topic].len());
    assert!(rig.recovered.scanned_bytes < 120_000, "a checkpoint saves time: {}", rig.recovered.scanned_bytes);
    for slot in [0, 1] {
        disk.tamper(FileName::of(Part::Checkpoint(slot)), |bytes| bytes[40] ^= 1);
    }
    let again = Rig::open(Arc::new(disk.duplicate()), small(), rig.micros.clone()).unwrap();
    let whole = &again.recovered.fold.times;
    assert_eq!(whole.delays, found.times.delays);
    let now = rig.wall();
    for position in 1..=301 {
        let expired =
            |times: &crate::store::log::TimesFold| times.expiries[&topic].expired_before(position, now).is_some();
        assert_eq!(expired(whole), expired(&found.times), "{position}");
    }
}

#[test]
fn retention_takes_no_event_that_waits_and_takes_it_once_it_does_not() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    let delayed = topic.delayed();
    rig.topic(delayed.0, Durability::Synced);
    let append = rig.append(delayed, &[200]);
    rig.store.commit(vec![append, delays(delayed, DelayChange::Waits(DELAY), 1..2)]);
    for _ in 0..200 {
        rig.publish(topic, &[500]);
        rig.settle();
    }
    rig.advance_ms(30 * 86_400_000);
    rig.idle();
    assert_eq!(rig.read_all(delayed, 1, 2), [1], "it waits for longer than any retention");
    let mut rig = rig.restart();
    rig.idle();
    assert_eq!(rig.read_all(delayed, 1, 2), [1], "also after a restart");
    rig.store.commit(vec![delays(delayed, DelayChange::Released, 1..2)]);
    rig.idle();
    assert!(matches!(rig.store.read(delayed, 1), Lookup::Gone(2)));
}

#[test]
fn with_its_topic_goes_what_waits_and_expires() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    let delayed = topic.delayed();
    rig.topic(delayed.0, Durability::Synced);
    let append = rig.append(delayed, &[200]);
    rig.store.commit(vec![append, delays(delayed, DelayChange::Waits(DELAY), 1..2)]);
    let append = rig.append(topic, &[200]);
    rig.store.commit(vec![append, Op::Times(Times::Expires { topic, first: 1, count: 1, at: UnixMillis(9) })]);
    rig.store.commit(vec![Op::TopicGone { topic: delayed }, Op::TopicGone { topic }]);
    rig.idle();
    assert_eq!(rig.restart().recovered.fold.times, crate::store::log::TimesFold::default());
}
