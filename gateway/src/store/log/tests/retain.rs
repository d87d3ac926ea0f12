//! Retention by bytes and by age, groups that it overtakes or that hold it up, and the space that comes back.

use std::sync::Arc;

use meshwire_proto::{ErrorKind, UnixMillis};

use super::rig::{Rig, append_at, small};
use crate::store::log::{LogOptions, Part, SimDisk};
use crate::store::{Durability, Limits, Lookup, Needed, Op, Outcome, Position, Store, TopicId};

fn limit(rig: &Rig, topic: TopicId, bytes: u64, block: bool) {
    rig.store.commit(vec![Op::Limits { topic, limits: Limits { bytes, block } }]);
}

fn age(rig: &Rig, topic: TopicId, retention_ms: u64) {
    let name = meshwire_proto::TopicName::parse("aging").unwrap();
    rig.store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms }]);
}

/// The first position that can be read, once retention was looked at and what it needs was read.
fn first(rig: &mut Rig, topic: TopicId) -> Position {
    for _ in 0..3 {
        rig.advance_ms(500);
        rig.store.tick();
        rig.settle();
    }
    match rig.store.read(topic, 1) {
        Lookup::Gone(first) => first,
        _ => 1,
    }
}

fn segments(rig: &Rig) -> Vec<u64> {
    let files = crate::store::log::Disk::list(&*rig.disk).unwrap();
    let number = |part| if let Part::Segment(number) = part { Some(number) } else { None };
    files.iter().filter(|(name, _)| !name.draft).filter_map(|(name, _)| number(name.part)).collect()
}

fn publish(rig: &mut Rig, topic: TopicId, events: usize) {
    for _ in 0..events {
        rig.publish(topic, &[300]);
        rig.settle();
    }
}

/// An event of 300 bytes takes about so many.
const EVENT: u64 = 440;

#[test]
fn over_its_bytes_a_topic_loses_its_oldest_events_block_by_block_and_its_segments() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    limit(&rig, topic, 70_000, false);
    publish(&mut rig, topic, 100);
    assert_eq!(first(&mut rig, topic), 1, "not before there are too many");
    publish(&mut rig, topic, 900);
    let gone = first(&mut rig, topic);
    let bytes = rig.store.bytes_of(topic);
    // Within one segment's span, whose index is read only if much more is to go.
    assert!((60_000..=70_000 + 20_000).contains(&bytes.live), "{bytes:?}");
    assert!(gone > 1 && gone < 1000 - 60_000 / EVENT + 60, "{gone}");
    assert_eq!(rig.read_all(topic, gone, 1001), (gone..1001).collect::<Vec<_>>());
    rig.idle();
    assert!(segments(&rig).len() < 12, "{:?}", segments(&rig));
    let physical = rig.store.bytes_of(topic).physical;
    assert!(physical >= bytes.live && physical < bytes.live + 40_000, "{physical}");
    let mut rig = rig.restart();
    assert!(rig.recovered.damage.is_empty());
    assert_eq!(rig.recovered.fold.topics[&topic].limits, Limits { bytes: 70_000, block: false });
    let after = first(&mut rig, topic);
    assert!(after <= gone + 60, "{after} and {gone}");
    assert_eq!(rig.read_all(topic, after, 1001), (after..1001).collect::<Vec<_>>());
}

#[test]
fn in_the_open_segment_bytes_and_age_are_exact() {
    let options = LogOptions { first_segment_bytes: 1 << 20, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let (by_bytes, by_age) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Written));
    limit(&rig, by_bytes, 10 * EVENT, false);
    age(&rig, by_age, 10_000);
    for _ in 0..30 {
        rig.publish(by_bytes, &[300]);
        rig.publish(by_age, &[300]);
        rig.settle();
        rig.advance_ms(1000);
    }
    let found = first(&mut rig, by_bytes);
    assert!((20..=22).contains(&found), "{found}");
    assert!(rig.store.bytes_of(by_bytes).live <= 10 * EVENT);
    assert_eq!(first(&mut rig, by_age), 25, "33 s have passed, and event n came in second n - 1");
    rig.advance_ms(60_000);
    assert_eq!(first(&mut rig, by_age), 31, "by age all go");
    assert_eq!(rig.store.bytes_of(by_age).live, 0);
    assert_eq!(first(&mut rig, by_bytes), found);
    // And the next is the first again.
    rig.publish(by_age, &[300]);
    rig.settle();
    assert_eq!(first(&mut rig, by_age), 31);
    assert_eq!(rig.read_all(by_age, 31, 32), [31]);
}

#[test]
fn one_event_larger_than_the_limit_passes() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    limit(&rig, topic, 1000, false);
    for _ in 0..3 {
        rig.publish(topic, &[5000]);
        rig.settle();
    }
    assert_eq!(first(&mut rig, topic), 3);
    assert_eq!(rig.read_all(topic, 3, 4), [3]);
}

#[test]
fn a_topic_that_blocks_keeps_what_a_group_needs_and_says_whose_it_is() {
    let options = LogOptions { first_segment_bytes: 1 << 20, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    limit(&rig, topic, 10 * EVENT, true);
    let group = rig.group(topic, 1);
    rig.settle();
    let mut published = 0;
    while rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).is_ok() {
        publish(&mut rig, topic, 1);
        published += 1;
        assert!(published < 50, "it is never full");
    }
    assert!((10..=12).contains(&published), "{published}");
    assert_eq!(first(&mut rig, topic), 1);
    let error = rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicFull);
    assert!(error.to_string().contains("group group-1 has not settled the event at position 1"), "{error}");
    // Given up, it is not the group that is waited for.
    let ranges = vec![(1, 1, Outcome::Rejected { at: UnixMillis(0) })];
    rig.store.commit(vec![Op::Settle { topic, group, ranges }]);
    rig.settle();
    let error = rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("group-1 gave up the event at position 1") && said.contains("its dead letter"), "{error}");
    rig.ack(topic, group, 1, 5);
    rig.advance_ms(2);
    rig.settle();
    assert!(rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).is_ok(), "at once");
    publish(&mut rig, topic, 5);
    assert_eq!(first(&mut rig, topic), 6, "and no further than the group is");
    // A seek back to the first that is left holds from there on, before it is even written.
    let now = first(&mut rig, topic);
    rig.ack(topic, group, 1, 100);
    rig.advance_ms(2);
    rig.settle();
    rig.store.commit(vec![Op::Seek { topic, group, to: now }]);
    rig.publish(topic, &[300]);
    assert!(rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).is_err());
    rig.advance_ms(2);
    rig.settle();
    assert_eq!(first(&mut rig, topic), now);
    // By age, too; and a group that is deleted frees it.
    limit(&rig, topic, 1 << 30, true);
    age(&rig, topic, 10_000);
    rig.advance_ms(60_000);
    assert_eq!(first(&mut rig, topic), now);
    assert!(rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).is_err());
    let mut rig = {
        rig.store.close();
        rig.restart()
    };
    assert!(rig.recovered.fold.topics[&topic].limits.block);
    assert_eq!(first(&mut rig, topic), now);
    assert!(rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).is_err());
    rig.store.commit(vec![Op::GroupGone { topic, group }]);
    rig.advance_ms(2);
    rig.settle();
    assert!(rig.store.admit(topic, &|| Needed::NOTHING, UnixMillis(0)).is_ok());
    assert_eq!(first(&mut rig, topic), rig.next[&topic]);
}

#[test]
fn a_segment_in_the_middle_goes_when_nothing_in_it_is_left_and_the_log_opens_without_it() {
    let mut rig = Rig::new();
    let (long, short) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Synced));
    age(&rig, short, 200_000);
    publish(&mut rig, long, 30);
    publish(&mut rig, short, 200);
    publish(&mut rig, long, 30);
    rig.idle();
    let before = segments(&rig);
    rig.advance_ms(220_000);
    rig.idle();
    rig.idle();
    rig.advance_ms(20_000);
    rig.idle();
    let after = segments(&rig);
    assert!(after.contains(&before[0]) && after.len() + 4 < before.len(), "{before:?} {after:?}");
    assert_eq!(first(&mut rig, short), 201);
    for closed in [false, true] {
        if closed {
            rig.store.close();
        }
        rig = rig.restart();
        assert!(rig.recovered.damage.is_empty(), "{:?}", rig.recovered.damage);
        assert_eq!(rig.read_all(long, 1, 61), (1..61).collect::<Vec<_>>());
        let batch = rig.publish(long, &[300]);
        rig.settle();
        rig.idle();
        assert!(rig.watermark().synced >= batch);
        rig.next.insert(long, 61);
        rig = {
            // What was published goes with its disk.
            let disk = rig.reopen_sim_disk();
            Rig::open(disk, small(), rig.micros.clone()).unwrap()
        };
        assert_eq!(rig.read_all(long, 1, 61), (1..61).collect::<Vec<_>>());
        rig.next.insert(long, rig.recovered.fold.topics[&long].next);
    }
}

#[test]
fn a_reader_that_is_overtaken_while_it_waits_is_told_that_and_no_block_is_said_to_be_damaged() {
    let mut rig = Rig::new();
    let topic = TopicId(1);
    age(&rig, topic, 10_000);
    for n in 0..300u64 {
        rig.store.commit(vec![append_at(topic, n + 1, &[300], rig.wall())]);
        rig.settle();
    }
    let mut rig = rig.restart();
    assert!(matches!(rig.store.read(topic, 1), Lookup::Pending(_)));
    rig.advance_ms(60_000);
    rig.store.tick();
    rig.settle();
    let fetched = std::mem::take(&mut *rig.reports.fetched.lock().unwrap());
    assert!(matches!(&fetched[..], [(_, 1, Err(crate::store::StoreError::Gone))]), "{fetched:?}");
    assert!(matches!(rig.store.read(topic, 1), Lookup::Gone(301)));
}
