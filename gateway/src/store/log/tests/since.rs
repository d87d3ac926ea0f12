//! Places by time: at most one index is read for one, and what it says holds over a restart.

use std::sync::Arc;

use meshwire_proto::UnixMillis;

use super::rig::{EPOCH_MS, Rig, small};
use crate::store::log::{FileName, Part, SimDisk};
use crate::store::{Durability, Position, Since, Store, TopicId};

const EVENTS: Position = 300;

/// An event a second, over many segments, and between them those of another topic.
fn rig() -> (Rig, TopicId) {
    let mut rig = Rig::new();
    let (topic, other) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Written));
    for _ in 0..EVENTS {
        rig.advance_ms(1000);
        rig.publish(topic, &[300]);
        rig.publish(other, &[10]);
        rig.settle();
    }
    rig.idle();
    (rig, topic)
}

/// Where a topic begins, so many milliseconds after the rig did; looked up if need be.
fn since(rig: &mut Rig, topic: TopicId, ms: i64) -> Since {
    for _ in 0..3 {
        match rig.store.since(topic, UnixMillis(EPOCH_MS + ms)) {
            Since::Pending => rig.settle(),
            found => return found,
        }
    }
    panic!("it is looked up once, and known then");
}

/// The nearest event at every second, from the first of the rig's clock on.
fn check(rig: &mut Rig, topic: TopicId) {
    for position in 1..=EVENTS {
        let Since::At(found) = since(rig, topic, position as i64 * 1000) else { panic!("{position} was stored") };
        assert_eq!(found, position);
    }
    assert_eq!(since(rig, topic, i64::MIN / 2), Since::At(1));
    assert_eq!(since(rig, topic, 10_999), Since::At(11));
    assert_eq!(since(rig, topic, 11_001), Since::At(12));
    assert_eq!(since(rig, topic, EVENTS as i64 * 1000 + 1), Since::Behind);
    assert_eq!(since(rig, TopicId(9), 0), Since::Behind);
}

#[test]
fn every_time_leads_to_its_event_also_after_a_restart() {
    let (mut rig, topic) = rig();
    check(&mut rig, topic);
    let mut rig = rig.restart();
    check(&mut rig, topic);
}

#[test]
fn one_index_is_read_for_a_place_and_nothing_else() {
    let (rig, topic) = rig();
    let mut rig = rig.restart();
    rig.idle();
    let before = rig.disk.counts().reads;
    assert_eq!(rig.store.since(topic, UnixMillis(EPOCH_MS + 50_000)), Since::Pending);
    assert_eq!(since(&mut rig, topic, 50_000), Since::At(50));
    let read = rig.disk.counts().reads - before;
    assert!((1..=2).contains(&read), "{read} reads: the file and its end");
    // The index is there by now, for other times too.
    assert_eq!(rig.store.since(topic, UnixMillis(EPOCH_MS + 51_000)), Since::At(51));
    assert_eq!(rig.disk.counts().reads, before + read);
}

#[test]
fn what_is_not_written_yet_is_found_too() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.settle();
    for _ in 0..3 {
        rig.advance_ms(1000);
        rig.publish(topic, &[300]);
        // Begun and not ended; the last one is not begun.
        rig.begin();
    }
    // Those that wait for the next write are one block, which is stored when the last of them came.
    for (second, position) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        assert_eq!(rig.store.since(topic, UnixMillis(EPOCH_MS + second * 1000)), Since::At(position));
    }
    assert_eq!(rig.store.since(topic, UnixMillis(EPOCH_MS + 3001)), Since::Behind);
}

#[test]
fn an_index_that_cannot_be_read_is_tried_again_and_a_bad_one_is_made_anew() {
    let (rig, topic) = rig();
    let mut rig = rig.restart();
    rig.idle();
    let index = FileName::of(Part::Index(2));
    rig.disk.set_unreadable(Some((index, 0..u64::MAX)));
    assert_eq!(rig.store.since(topic, UnixMillis(EPOCH_MS + 20_000)), Since::Pending);
    rig.settle();
    assert_eq!(rig.store.since(topic, UnixMillis(EPOCH_MS + 20_000)), Since::Pending, "nobody is told anything");
    rig.disk.set_unreadable(None);
    rig.advance_ms(300);
    assert_eq!(since(&mut rig, topic, 20_000), Since::At(20));

    let disk: Arc<SimDisk> = rig.reopen_sim_disk();
    disk.tamper(index, |bytes| bytes[40] ^= 1);
    let mut rig = Rig::open(disk, small(), rig.micros.clone()).unwrap();
    assert_eq!(since(&mut rig, topic, 20_000), Since::At(20));
}
