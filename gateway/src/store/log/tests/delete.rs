//! Topics that are deleted: nothing of them is ever seen again, and their space comes back.

use meshwire_proto::UnixMillis;

use super::rig::{Rig, small};
use crate::store::log::{LogOptions, Part, SimDisk};
use crate::store::{Durability, Lookup, Op, Since, Store, TopicId};

fn delete(rig: &Rig, topic: TopicId) -> u64 {
    rig.store.commit(vec![Op::TopicGone { topic }])
}

fn segments(rig: &Rig) -> usize {
    let files = crate::store::log::Disk::list(&*rig.disk).unwrap();
    files.iter().filter(|(name, _)| matches!(name.part, Part::Segment(_)) && !name.draft).count()
}

#[test]
fn a_deleted_topic_is_gone_from_memory_and_after_a_restart_and_its_number_is_not_given_again() {
    let mut rig = Rig::new();
    let (kept, gone) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Written));
    let group = rig.group(gone, 1);
    for _ in 0..40 {
        rig.publish(kept, &[300]);
        rig.publish(gone, &[300]);
        rig.settle();
    }
    rig.ack(gone, group, 1, 5);
    let batch = delete(&rig, gone);
    rig.advance_ms(2);
    rig.settle();
    assert!(rig.watermark().synced >= batch, "it is synced, whatever the level of the topic");
    let check = |rig: &mut Rig| {
        assert!(matches!(rig.store.read(gone, 1), Lookup::Ahead));
        assert_eq!(rig.store.since(gone, UnixMillis(0)), Since::Behind);
        assert_eq!(rig.read_all(kept, 1, 41), (1..41).collect::<Vec<_>>());
    };
    check(&mut rig);
    // Without a checkpoint behind it, and with one.
    for idle in [false, true] {
        if idle {
            rig.idle();
            rig.store.close();
        }
        rig = rig.restart();
        let fold = &rig.recovered.fold;
        assert_eq!(fold.topics.keys().collect::<Vec<_>>(), [&kept]);
        assert!(fold.groups.is_empty() && rig.recovered.damage.is_empty());
        let (topic, group) = fold.next_ids();
        assert_eq!((topic.0, group.0), (3, 2));
        assert_eq!(rig.recovered.events, 40, "those that can be read");
        check(&mut rig);
    }
}

#[test]
fn who_waits_for_a_block_of_a_deleted_topic_is_told_to_look_again() {
    let mut rig = Rig::new();
    let (kept, gone) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Synced));
    for _ in 0..100 {
        rig.publish(gone, &[300]);
        rig.publish(kept, &[300]);
        rig.settle();
    }
    let mut rig = rig.restart();
    assert!(matches!(rig.store.read(gone, 1), Lookup::Pending(_)));
    assert!(matches!(rig.store.read(gone, 50), Lookup::Pending(_)));
    // One fetch is under way, the other one waits.
    rig.begin();
    delete(&rig, gone);
    rig.advance_ms(2);
    rig.settle();
    assert!(rig.reports.fetched.lock().unwrap().is_empty(), "no block is said to be lost");
    assert!(rig.reports.looked_up.load(std::sync::atomic::Ordering::Relaxed) > 0);
    assert!(matches!(rig.store.read(gone, 1), Lookup::Ahead));
}

#[test]
fn the_segments_of_a_deleted_topic_are_given_back() {
    let mut rig = Rig::new();
    let gone = rig.topic(1, Durability::Synced);
    for _ in 0..300 {
        rig.publish(gone, &[300]);
        rig.settle();
    }
    rig.idle();
    let before = segments(&rig);
    assert!(before > 5, "{before} segments");
    delete(&rig, gone);
    rig.idle();
    assert!(segments(&rig) <= 3, "the open one and those ahead of it: {}", segments(&rig));
    assert_eq!(rig.store.bytes_of(gone).live, 0);
}

#[test]
fn a_kill_at_any_moment_of_a_deletion_leaves_the_topic_whole_or_gone() {
    let (mut whole, mut gone) = (0, 0);
    for steps in 0..12 {
        let options = LogOptions { max_disk: 1 << 30, ..small() };
        let mut rig = Rig::open(std::sync::Arc::new(SimDisk::new()), options, std::sync::Arc::default()).unwrap();
        let topic = rig.topic(1, Durability::Synced);
        for _ in 0..10 {
            rig.publish(topic, &[300]);
            rig.settle();
        }
        let batch = delete(&rig, topic);
        rig.advance_ms(2);
        for _ in 0..steps {
            rig.begin();
            rig.end();
        }
        let answered = rig.watermark().synced >= batch;
        rig.disk.power_loss(steps);
        let mut rig = rig.restart();
        if rig.recovered.fold.topics.contains_key(&topic) {
            assert!(!answered);
            assert_eq!(rig.read_all(topic, 1, 11), (1..11).collect::<Vec<_>>());
            whole += 1;
        } else {
            gone += 1;
        }
    }
    assert!(whole > 0 && gone > 0, "{whole} whole, {gone} gone");
}
