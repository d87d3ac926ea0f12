use std::sync::Arc;

use super::rig::{Rig, append_at, small};
use crate::store::log::machine::{letters_room, segment_for};
use crate::store::log::{LogOptions, SimDisk, SimFault};
use crate::store::{Delay, DelayChange, Durability, Limits, Lookup, Op, Outcome, Store, StoreError, Times, TopicId};
use meshwire_proto::UnixMillis;

fn refusal(rig: &Rig, bytes: u64) -> Option<String> {
    match rig.store.reserve(bytes) {
        Ok(_) => None,
        Err(StoreError::Full(text)) => Some(text),
        Err(other) => panic!("{other}"),
    }
}

/// Publishes until it is refused; the last batch and the refusal.
fn fill(rig: &mut Rig, topic: TopicId) -> (u64, String) {
    let mut last = 0;
    for _ in 0..10_000 {
        if let Some(text) = refusal(rig, 350) {
            return (last, text);
        }
        last = rig.publish(topic, &[200]);
        rig.settle();
        rig.advance_ms(2);
    }
    panic!("never full");
}

#[test]
fn a_full_disk_refuses_publishes_keeps_what_it_took_and_goes_on_when_space_returns() {
    let disk = Arc::new(SimDisk::new());
    disk.set_capacity(Some(100 << 10));
    let mut rig = Rig::open(disk.clone(), small(), Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    let group = rig.group(topic, 1);
    let (last, text) = fill(&mut rig, topic);
    assert!(text.contains("no space for the next segment") && text.contains("log/"), "{text}");
    assert!(text.contains("events of topic topic-1") && text.contains("delete what is not needed"), "{text}");
    assert!(text.ends_with("make room on the file system of the data directory"), "{text}");
    rig.idle();
    assert!(rig.watermark().synced >= last && !rig.watermark().failed);
    // Consumers go on: settlements still fit.
    let settled = rig.ack(topic, group, 1, 10);
    rig.idle();
    assert!(rig.watermark().synced >= settled);
    let next = rig.next[&topic];
    let mut rig = rig.restart();
    assert_eq!(rig.recovered.fold.topics[&topic].next, next, "a full disk can be opened");
    rig.settle();
    assert!(refusal(&rig, 350).is_some());
    disk.set_capacity(None);
    rig.advance_ms(500);
    rig.store.tick();
    rig.settle();
    assert_eq!(refusal(&rig, 350), None, "within a second of space returning");
    let batch = rig.publish(topic, &[200]);
    rig.settle();
    assert!(rig.watermark().synced >= batch);
    let next = rig.next[&topic];
    assert_eq!(rig.read_all(topic, 1, next).len() as u64, next - 1);
}

#[test]
fn max_disk_names_the_topic_that_holds_the_oldest_segment_and_retention_ends_it() {
    let options = LogOptions { max_disk: 100 << 10, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let topic = TopicId(1);
    let name = meshwire_proto::TopicName::parse("orders").unwrap();
    rig.store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms: 20_000 }]);
    rig.next.insert(topic, 1);
    let (_, text) = fill(&mut rig, topic);
    assert!(text.contains("max_disk (102400 bytes)") && text.contains("topic orders"), "{text}");
    rig.advance_ms(30_000);
    rig.idle();
    assert_eq!(refusal(&rig, 350), None);
    let batch = rig.publish(topic, &[200]);
    rig.settle();
    assert!(rig.watermark().synced >= batch);
}

/// A log at `max_disk` in which events of topic 2 are between those of topic 1, whose retention takes nearly all.
fn filled(hold: impl Fn(&mut Rig)) -> (Rig, TopicId, String) {
    let options = LogOptions { max_disk: 200 << 10, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let churn = rig.topic(1, Durability::Synced);
    rig.store.commit(vec![Op::Limits { topic: churn, limits: Limits { bytes: 6000, block: false } }]);
    rig.topic(2, Durability::Synced);
    rig.topic(TopicId(2).delayed().0, Durability::Synced);
    for n in 0..10_000 {
        if let Some(text) = refusal(&rig, 350) {
            // While there is no space, what retention takes is saved every ten seconds.
            (0..3).for_each(|_| rig.idle());
            let text = refusal(&rig, 350).unwrap_or(text);
            return (rig, churn, text);
        }
        if n % 10 == 0 {
            hold(&mut rig);
        }
        rig.publish(churn, &[200]);
        rig.settle();
        rig.advance_ms(5000);
        rig.store.tick();
        rig.settle();
    }
    panic!("never full");
}

fn one_of_topic_2(rig: &mut Rig) {
    rig.publish(TopicId(2), &[10]);
}

#[test]
fn max_disk_names_the_topics_that_hold_the_oldest_segment_and_no_other() {
    let (_, _, text) = filled(one_of_topic_2);
    assert!(text.contains("events of topic topic-2 (retention 604800 s)") && !text.contains("topic-1"), "{text}");
    let (_, _, text) = filled(|rig| {
        let delayed = TopicId(2).delayed();
        let delay = Delay { due: UnixMillis(i64::MAX), delay_ms: 1 << 40, expires_in_ms: 0, len: 200 };
        let change = (rig.next[&delayed], DelayChange::Waits(delay));
        let append = rig.append(delayed, &[10]);
        rig.store.commit(vec![append, Op::Times(Times::Delays { topic: delayed, changes: vec![change] })]);
    });
    assert!(text.contains("events of topic topic-2 that wait for their time") && !text.contains("topic-1"), "{text}");
}

#[test]
fn the_first_position_of_a_topic_does_not_go_back_at_a_restart_of_a_full_log() {
    for closed in [false, true] {
        let (rig, churn, _) = filled(one_of_topic_2);
        let first = |rig: &Rig| if let Lookup::Gone(first) = rig.store.read(churn, 1) { first } else { 1 };
        let (before, live) = (first(&rig), rig.store.bytes_of(churn).live);
        assert!(before > 100 && live <= 6000, "{before} {live}");
        if closed {
            rig.store.close();
        }
        let mut rig = rig.restart();
        assert_eq!((first(&rig), rig.recovered.fold.topics[&churn].first), (before, before), "closed: {closed}");
        rig.idle();
        assert_eq!((first(&rig), rig.store.bytes_of(churn).live), (before, live), "closed: {closed}");
    }
}

#[test]
fn what_is_too_much_goes_before_anybody_reads_after_a_kill_without_a_checkpoint() {
    let mut rig =
        Rig::open(Arc::new(SimDisk::new()), LogOptions { first_segment_bytes: 1 << 20, ..small() }, Arc::default())
            .unwrap();
    let topic = rig.topic(1, Durability::Synced);
    rig.store.commit(vec![Op::Limits { topic, limits: Limits { bytes: 6000, block: false } }]);
    for _ in 0..100 {
        rig.publish(topic, &[200]);
        rig.settle();
    }
    rig.store.tick();
    let Lookup::Gone(first) = rig.store.read(topic, 1) else { panic!("nothing is gone") };
    let live = rig.store.bytes_of(topic).live;
    let rig = rig.restart();
    assert!(matches!(rig.store.read(topic, 1), Lookup::Gone(after) if after == first));
    assert_eq!((rig.recovered.fold.topics[&topic].first, rig.store.bytes_of(topic).live), (first, live));
}

#[test]
fn the_least_max_disk_takes_the_largest_write_again_and_again_as_retention_frees_it() {
    let largest = 1 << 20;
    let mut options = LogOptions { largest_write: largest, ..small() };
    options.max_disk = options.least_max_disk();
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let topic = TopicId(1);
    let name = meshwire_proto::TopicName::parse("orders").unwrap();
    rig.store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms: 20_000 }]);
    rig.next.insert(topic, 1);
    for _ in 0..5 {
        rig.idle();
        assert_eq!(refusal(&rig, largest), None);
        let batch = rig.publish(topic, &[(1 << 20) - 200]);
        rig.idle();
        assert!(rig.watermark().synced >= batch);
        rig.advance_ms(30_000);
    }
}

#[test]
fn dead_letters_find_room_where_events_find_none_and_settlements_still_do_behind_them() {
    let disk = Arc::new(SimDisk::new());
    disk.set_capacity(Some(100 << 10));
    let mut rig = Rig::open(disk, small(), Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    let letters = rig.topic(topic.dead_letters(true).0, Durability::Synced);
    let group = rig.group(topic, 1);
    fill(&mut rig, topic);
    let mut kept = 0;
    while rig.store.reserve_letter(100).is_ok() {
        let batch = rig.publish(letters, &[100]);
        rig.settle();
        assert!(rig.watermark().synced >= batch);
        kept += 1;
    }
    assert!(kept >= 3, "{kept}");
    assert!(matches!(rig.store.reserve_letter(100), Err(StoreError::Full(_))));
    // Reasons of those that have to wait are left out rather than that settlements find no room behind them.
    let reasons = (1..=20).map(|position| (position, "x".repeat(1024))).collect();
    let said = rig.store.commit(vec![Op::Reasons { topic, group, reasons }]);
    rig.idle();
    assert!(rig.watermark().synced >= said, "nobody waits for them");
    let settled = rig.ack(topic, group, 1, 10);
    rig.idle();
    assert!(rig.watermark().synced >= settled);
}

#[test]
fn the_largest_letter_has_room_where_segments_are_long_and_the_largest_write_has_it_in_any() {
    const FRAME: u64 = 8 << 20;
    assert!(letters_room(64 << 20, FRAME) >= (4 << 20) + (128 << 10));
    for len in [segment_for(FRAME), segment_for(FRAME) + (1 << 20), 64 << 20] {
        let room = letters_room(len, FRAME);
        assert!(room >= 400 << 10 && FRAME + room + len.min(16 << 20) / 16 < len, "{len} {room}");
    }
}

#[test]
fn reasons_of_what_is_given_up_are_found_again_after_a_kill_and_in_a_checkpoint() {
    for closed in [false, true] {
        let mut rig = Rig::new();
        let topic = rig.topic(1, Durability::Synced);
        let group = rig.group(topic, 1);
        rig.publish(topic, &[10, 10, 10]);
        let ranges = vec![(1, 2, Outcome::Rejected { at: UnixMillis(5) })];
        rig.store.commit(vec![Op::Settle { topic, group, ranges }]);
        let reasons = [(1, "no such customer"), (2, "gone"), (3, "it did not fail")];
        let reasons = reasons.map(|(position, said)| (position, said.to_owned())).to_vec();
        rig.store.commit(vec![Op::Reasons { topic, group, reasons }]);
        rig.settle();
        rig.ack(topic, group, 2, 1);
        rig.idle();
        if closed {
            rig.store.close();
        }
        for _ in 0..2 {
            rig = rig.restart();
            let failures = &rig.recovered.fold.groups[&group].failures;
            let said: Vec<_> = failures.iter().map(|(position, failure)| (*position, &*failure.said)).collect();
            assert_eq!(said, [(1, "no such customer")], "closed: {closed}");
            rig.settle();
        }
    }
}

/// Events of a topic by which duplicates are told after this start.
fn remembered(rig: &Rig, topic: TopicId) -> u32 {
    let mut events = 0;
    let recent = rig.recovered.recent.clone();
    recent.for_each(|block| events += if block.topic == topic { block.count } else { 0 }).unwrap();
    events
}

#[test]
fn a_deleted_topic_gives_its_space_back_at_once_though_others_are_in_the_window_of_de_duplication() {
    let options = LogOptions { max_disk: 100 << 10, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let (small, large) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Synced));
    let first = rig.publish(small, &[100]);
    fill(&mut rig, large);
    rig.store.commit(vec![Op::TopicGone { topic: large }]);
    let mut steps = 0;
    for _ in 0..6 {
        rig.advance_ms(500);
        rig.store.tick();
        while rig.begin() {
            rig.end();
            // Whatever is done of it at a kill, nothing is missed.
            let killed = Rig::open(rig.reopen_sim_disk(), super::rig::small(), rig.micros.clone()).unwrap();
            assert_eq!((&killed.recovered.damage[..], remembered(&killed, small)), (&[][..], 1), "step {steps}");
            steps += 1;
        }
    }
    assert!(steps > 5, "{steps}");
    assert_eq!(refusal(&rig, 350), None);
    let batch = rig.publish(small, &[200]);
    rig.idle();
    assert!(first < batch && rig.watermark().synced >= batch);
    // The window is read across what was given back.
    for _ in 0..3 {
        rig = rig.restart();
        assert_eq!(rig.recovered.damage, [""; 0]);
        assert_eq!((remembered(&rig, small), rig.recovered.fold.topics[&small].next), (2, 3));
        rig.idle();
    }
    assert_eq!(rig.read_all(small, 1, 3), [1, 2]);
}

#[test]
fn a_refusal_says_that_space_comes_back_when_the_window_of_de_duplication_has_passed() {
    let options = LogOptions { max_disk: 100 << 10, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    let (small, large) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Synced));
    rig.publish(small, &[100]);
    fill(&mut rig, large);
    rig.store.commit(vec![Op::Limits { topic: large, limits: Limits { bytes: 1000, block: false } }]);
    for _ in 0..6 {
        rig.advance_ms(500);
        rig.store.tick();
        rig.idle();
    }
    let text = refusal(&rig, 350).unwrap();
    assert!(text.contains("segments hold only events that are gone") && text.contains("dedup_window"), "{text}");
    rig.advance_ms(130_000);
    for _ in 0..6 {
        rig.advance_ms(500);
        rig.store.tick();
        rig.idle();
    }
    assert_eq!(refusal(&rig, 350), None);
}

#[test]
fn what_was_accepted_is_kept_even_if_the_file_system_has_no_space_for_the_write() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.idle();
    let batch = rig.publish(topic, &[300]);
    for n in 0..3 {
        rig.disk.plan(rig.disk.counts().ops + n, SimFault::NoSpace);
    }
    rig.settle();
    assert!(rig.watermark().written < batch && !rig.watermark().failed);
    assert!(refusal(&rig, 10).is_some());
    let later = rig.publish(topic, &[300]);
    rig.idle();
    assert!(rig.watermark().synced >= later, "written again when there is space");
    assert_eq!(refusal(&rig, 10), None);
    let next = rig.next[&topic];
    let mut rig = rig.restart();
    assert_eq!((rig.recovered.torn_bytes, rig.read_all(topic, 1, next).len()), (0, 2));
}

#[test]
fn a_kill_while_the_disk_is_full_leaves_a_torn_tail_and_no_damage() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.publish(topic, &[300]);
    rig.idle();
    let lost = rig.publish(topic, &[300]);
    rig.disk.plan(rig.disk.counts().ops, SimFault::NoSpace);
    rig.settle();
    assert!(rig.watermark().written < lost);
    let rig = rig.restart();
    assert_eq!(rig.recovered.damage, [""; 0]);
    assert_eq!(rig.recovered.fold.topics[&topic].next, 2);
}

#[test]
fn two_callers_are_not_both_promised_the_last_bytes() {
    let options = LogOptions { segment_bytes: 64 << 10, ..small() };
    let mut rig = Rig::open(Arc::new(SimDisk::new()), options, Arc::default()).unwrap();
    rig.disk.set_capacity(Some(300 << 10));
    let topics = [rig.topic(1, Durability::Synced), rig.topic(2, Durability::Synced)];
    rig.settle();
    // As much as is left for one of two.
    let room = |rig: &Rig| (0..60_000).rev().find(|bytes| rig.store.reserve(*bytes).is_ok());
    while room(&rig).is_some_and(|bytes| bytes > 30_000) {
        rig.publish(topics[0], &[1000]);
        rig.settle();
    }
    let last = room(&rig).unwrap();
    let before = room(&rig);
    assert!(last > 20_000, "{last}");
    let store = rig.store.clone();
    let first = store.reserve(last).unwrap();
    let second = store.reserve(last);
    assert!(matches!(second, Err(StoreError::Full(_))), "the first has them: {second:?} {last}");
    assert!(matches!(store.reserve(1), Err(StoreError::Full(_))));
    // A promise that nobody used is free again.
    drop(first);
    assert_eq!(room(&rig), before);
    // Two that do fit together fit in whichever order they are committed, and what waits is not counted twice.
    let half = last / 2 - 3000;
    let [a, b] = [store.reserve(half).unwrap(), store.reserve(half).unwrap()];
    let sizes = [half as usize - 300];
    rig.publish(topics[1], &sizes);
    drop(b);
    let batch = rig.publish(topics[0], &sizes);
    drop(a);
    rig.settle();
    assert!(rig.watermark().synced >= batch, "what was promised is kept");
}

#[test]
fn what_fits_the_segment_ahead_is_kept_at_the_end_though_there_is_no_space_for_another() {
    let mut rig = Rig::new();
    rig.disk.set_capacity(Some(34 << 10));
    let topic = rig.topic(1, Durability::Written);
    rig.settle();
    rig.publish(topic, &[6000]);
    rig.settle();
    assert_eq!(refusal(&rig, 6000), None, "one is ahead");
    assert!(refusal(&rig, 15_000).is_some(), "and no second");
    let batch = rig.publish(topic, &[6000]);
    rig.store.close();
    assert!(rig.store.watermark().synced >= batch);
}

#[test]
fn a_batch_longer_than_a_segment_is_kept() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.settle();
    assert!(rig.store.reserve(100_000).is_err(), "not without a segment that holds it");
    let batch = rig.publish(topic, &[100_000]);
    rig.settle();
    assert!(rig.watermark().synced >= batch);
    rig.publish(topic, &[10]);
    rig.settle();
    let mut rig = rig.restart();
    assert_eq!(rig.read_all(topic, 1, 3), [1, 2]);
}

#[test]
fn many_failing_operations_never_acknowledge_what_a_restart_does_not_find() {
    for fault in [SimFault::Error, SimFault::NoSpace, SimFault::PowerOff] {
        for nth in 0..80 {
            let mut rig = Rig::new();
            let topic = rig.topic(1, Durability::Synced);
            rig.disk.plan(rig.disk.counts().ops + nth, fault);
            for n in 0..60 {
                if rig.store.reserve(400).is_ok() {
                    rig.store.commit(vec![append_at(topic, rig.next[&topic], &[300], rig.wall())]);
                    *rig.next.get_mut(&topic).unwrap() += 1;
                }
                rig.settle();
                rig.advance_ms(if n % 10 == 0 { 300 } else { 1 });
                rig.store.tick();
            }
            let head = rig.reports.heads.lock().unwrap().get(&topic).copied().unwrap_or(1);
            let (disk, micros) = (rig.disk.clone(), rig.micros.clone());
            drop(rig);
            disk.power_loss(nth);
            let mut rig = Rig::open(disk, small(), micros).unwrap();
            assert_eq!(rig.recovered.damage, [""; 0], "{fault:?} at {nth}");
            let found = rig.recovered.fold.topics.get(&topic).map_or(1, |t| t.next);
            assert!(found >= head, "{fault:?} at {nth}: acknowledged up to {head}, found up to {found}");
            assert_eq!(rig.read_all(topic, 1, found).len() as u64, found - 1);
        }
    }
}
