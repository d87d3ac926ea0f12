use std::collections::BTreeMap;
use std::sync::Arc;

use super::rig::{Rig, append_at, small};
use crate::store::log::{FileName, LogOptions, Part};
use crate::store::{Durability, Lookup, Op, Outcome, Store, TopicId};

#[test]
fn events_are_read_back_as_they_were_published_from_cache_and_from_disk() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for n in 0..200 {
        rig.publish(topic, &[10, 300, 20_000 * usize::from(n % 50 == 0), 40]);
        if n % 7 == 0 {
            rig.settle();
        }
    }
    rig.idle();
    let all: Vec<u64> = (1..=800).collect();
    assert_eq!(rig.read_all(topic, 1, 801), all);
    assert!(matches!(rig.store.read(topic, 801), Lookup::Ahead));
    let mut rig = rig.restart();
    assert_eq!(rig.recovered.events, 800);
    assert_eq!(rig.recovered.damage, [""; 0]);
    assert_eq!(rig.read_all(topic, 1, 801), all);
}

#[test]
fn a_restart_finds_the_fold_that_was_there_with_and_without_checkpoints() {
    let mut rig = Rig::new();
    let topics = [rig.topic(1, Durability::Synced), rig.topic(2, Durability::Written)];
    let groups = [rig.group(topics[0], 1), rig.group(topics[1], 2)];
    for n in 0..300u64 {
        let topic = topics[n as usize % 2];
        rig.publish(topic, &[200; 3]);
        let ranges = vec![
            (n + 1, 1, Outcome::Failed { at: meshwire_proto::UnixMillis(n as i64), delay_ms: 7 }),
            (n + 2, 2, Outcome::Acked),
        ];
        rig.store.commit(vec![Op::Settle { topic, group: groups[n as usize % 2], ranges }]);
        if n % 3 == 0 {
            rig.settle();
        }
    }
    rig.idle();
    assert!(rig.disk.counts().syncs > 10);
    let disk = rig.reopen_sim_disk();
    let options = LogOptions { dedup_window_ms: 0, ..small() };
    let rig = Rig::open(rig.disk.clone(), options, rig.micros.clone()).unwrap();
    let found = rig.recovered.fold.clone();
    assert_eq!(found.topics[&topics[0]].next, 451);
    assert!(found.groups[&groups[0]].floor > 1 || !found.groups[&groups[0]].acked.is_empty());
    assert!(rig.recovered.scanned_bytes < 60_000, "a checkpoint saves time: {}", rig.recovered.scanned_bytes);
    // The same without any checkpoint, and with one that is bad.
    for slots in [vec![0, 1], vec![0], vec![1]] {
        let disk = Arc::new(disk.duplicate());
        for slot in slots {
            disk.tamper(FileName::of(Part::Checkpoint(slot)), |bytes| bytes[40] ^= 1);
        }
        let again = Rig::open(disk, small(), rig.micros.clone()).unwrap();
        assert_eq!(again.recovered.fold, found);
        assert_eq!(again.recovered.damage, [""; 0]);
    }
}

#[test]
fn appends_of_one_batch_are_one_block_and_large_events_stand_alone() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.settle();
    rig.publish(topic, &[100]);
    // In flight: these gather.
    let task = rig.next_write().unwrap();
    for _ in 0..10 {
        rig.publish(topic, &[50, 60]);
    }
    rig.publish(topic, &[40_000]);
    rig.publish(topic, &[70]);
    let ended = task.run(&*rig.disk);
    rig.store.ended(ended);
    rig.idle();
    let firsts: Vec<u64> = [1, 2, 22, 23].into();
    let found: Vec<u64> = firsts.iter().map(|p| rig.read(topic, *p).unwrap().first).collect();
    assert_eq!(found, firsts);
    assert_eq!(rig.read(topic, 2).unwrap().count(), 20);
    assert_eq!(rig.read_all(topic, 1, 24).len(), 23);
    let mark = &rig.restart().recovered.fold.producers;
    assert_eq!(mark.get(&[1; 16]).unwrap().kept.iter().collect::<Vec<_>>(), [(1, 24)]);
}

#[test]
fn of_segments_that_were_only_prepared_the_second_is_not_read() {
    let options = LogOptions { segment_bytes: 4 << 20, ..small() };
    let mut rig = Rig::open(Arc::default(), options.clone(), Arc::default()).unwrap();
    let topic = rig.topic(1, Durability::Synced);
    rig.publish(topic, &[300]);
    rig.settle();
    let files = crate::store::log::Disk::list(&*rig.disk).unwrap();
    let ahead = FileName::of(Part::Segment(3));
    assert!(files.contains(&(ahead, 4 << 20)));
    // But for its beginning, which is read in one piece.
    rig.disk.set_unreadable(Some((ahead, 2 << 20..u64::MAX)));
    let mut rig = Rig::open(rig.disk, options, rig.micros).unwrap();
    assert_eq!((rig.recovered.torn_bytes, rig.recovered.damage.len()), (0, 0));
    assert_eq!(rig.read_all(topic, 1, 2), [1]);
}

#[test]
fn the_epoch_rises_at_every_opening() {
    let mut rig = Rig::new();
    for epoch in 1..5 {
        assert_eq!(rig.recovered.epoch, epoch);
        let topic = rig.topic(epoch as u32, Durability::Synced);
        rig.publish(topic, &[10]);
        rig.settle();
        rig = rig.restart();
    }
    // Even if the file is lost.
    rig.disk.tamper(FileName::of(Part::Epoch), |bytes| bytes.fill(0));
    rig.topic(9, Durability::Synced);
    rig.settle();
    assert!(rig.restart().recovered.epoch > 5);
}

#[test]
fn a_new_epoch_is_not_given_twice_when_power_fails_while_opening() {
    let rig = Rig::new();
    let (disk, micros) = (rig.disk.clone(), rig.micros.clone());
    drop(rig);
    let mut last = 1;
    for seed in 0..50 {
        let rig = Rig::open(disk.clone(), small(), micros.clone()).unwrap();
        assert!(rig.recovered.epoch > last);
        last = rig.recovered.epoch;
        drop(rig);
        disk.power_loss(seed);
    }
}

#[test]
fn a_clean_end_leaves_nothing_to_read_again() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Written);
    for _ in 0..50 {
        rig.publish(topic, &[300]);
    }
    rig.store.close();
    rig.disk.power_loss(0);
    let rig = rig.restart();
    assert_eq!((rig.recovered.fold.topics[&topic].next, rig.recovered.torn_bytes), (51, 0));
    assert_eq!(rig.recovered.damage, [""; 0]);
}

#[test]
fn the_recent_events_are_the_newest_of_the_window_and_outlive_the_checkpoint() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for n in 0..500 {
        rig.publish(topic, &[100]);
        rig.settle();
        rig.advance_ms(if n < 250 { 1 } else { 600 });
    }
    rig.idle();
    let mut rig = rig.restart();
    let mut seen = BTreeMap::new();
    let recent = std::mem::take(&mut rig.recovered.recent);
    recent
        .for_each(|block| {
            assert!(block.stored.0 >= rig.wall().0 - 120_000);
            for (n, (_, event)) in
                meshwire_proto::EventRun::from_parts(block.bytes.to_vec().into(), block.count).framed().enumerate()
            {
                let view = meshwire_proto::EventView::parse(event, meshwire_proto::EventLimits::default()).unwrap();
                seen.insert(block.first + n as u64, view.id().to_owned());
            }
        })
        .unwrap();
    assert_eq!(seen.last_key_value(), Some((&500, &"1-500".to_owned())));
    let first = *seen.first_key_value().unwrap().0;
    assert!((290..320).contains(&first), "{first}");
    assert_eq!(seen.len() as u64, 501 - first);
}

#[test]
fn a_missing_or_bad_index_is_made_anew() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..300 {
        rig.publish(topic, &[300]);
        rig.settle();
    }
    rig.idle();
    let disk = rig.disk.clone();
    let rig = rig.restart();
    for segment in 1..5 {
        disk.tamper(FileName::of(Part::Index(segment)), |bytes| {
            assert!(bytes.len() > 100, "sealed segments have an index");
            bytes[30] ^= 1;
        });
    }
    let mut rig = rig.restart();
    assert_eq!(rig.read_all(topic, 1, 301), (1..301).collect::<Vec<_>>());
    let mut intact = 0;
    for segment in 1..5 {
        disk.tamper(FileName::of(Part::Index(segment)), |bytes| {
            let crc = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
            intact += u32::from(crc == crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]));
        });
    }
    assert_eq!(intact, 4, "written again");
}

#[test]
fn retention_frees_old_segments_and_names_the_first_position_that_is_left() {
    let mut rig = Rig::new();
    let topic = TopicId(1);
    let name = meshwire_proto::TopicName::parse("short").unwrap();
    rig.store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms: 10_000 }]);
    let group = rig.group(topic, 1);
    for n in 0..300u64 {
        rig.store.commit(vec![append_at(topic, n + 1, &[300], rig.wall())]);
        rig.settle();
        rig.advance_ms(100);
    }
    let before = rig.store.bytes_of(topic);
    rig.idle();
    let after = rig.store.bytes_of(topic);
    assert!(after.physical < before.physical / 2, "{before:?} {after:?}");
    let Lookup::Gone(first) = rig.store.read(topic, 1) else { panic!("retention took it") };
    assert!((150..290).contains(&first), "{first}");
    rig.ack(topic, group, 1, 300);
    rig.settle();
    let mut rig = rig.restart();
    assert_eq!(rig.recovered.damage, [""; 0]);
    // How far retention was is only known as of the last checkpoint; then it goes on.
    assert!((1..=first).contains(&rig.recovered.fold.topics[&topic].first));
    rig.idle();
    assert_eq!(rig.recovered.fold.groups[&group].floor, 301);
    let Lookup::Gone(later) = rig.store.read(topic, 1) else { panic!("retention took it") };
    assert!((first..290).contains(&later), "{later} after {first}");
    assert_eq!(rig.read_all(topic, later, 301), (later..301).collect::<Vec<_>>());
}

#[test]
fn one_bad_checkpoint_after_retention_costs_time_and_two_are_refused_by_name() {
    let mut rig = Rig::new();
    let topic = TopicId(1);
    let name = meshwire_proto::TopicName::parse("short").unwrap();
    rig.store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms: 5_000 }]);
    for n in 0..300u64 {
        rig.store.commit(vec![append_at(topic, n + 1, &[300], rig.wall())]);
        rig.settle();
        rig.advance_ms(100);
    }
    rig.idle();
    let micros = rig.micros.clone();
    for bad in [vec![0], vec![1], vec![0, 1]] {
        let disk = rig.reopen_sim_disk();
        for slot in &bad {
            disk.tamper(FileName::of(Part::Checkpoint(*slot)), |bytes| bytes.truncate(30));
        }
        match Rig::open(disk, small(), micros.clone()) {
            Ok(found) => {
                assert!(bad.len() == 1);
                assert_eq!(found.recovered.fold.topics[&topic].next, 301);
                assert_eq!(found.recovered.damage, [""; 0]);
            }
            Err(error) => {
                assert!(bad.len() == 2 && error.to_string().contains("put back checkpoint.0"), "{error}");
            }
        }
    }
}

#[test]
fn the_cache_serves_the_tail_and_the_disk_the_rest() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..400 {
        rig.publish(topic, &[300]);
        rig.settle();
    }
    assert!(matches!(rig.store.read(topic, 400), Lookup::Ready(_)));
    let Lookup::Pending(until) = rig.store.read(topic, 1) else { panic!("it is on the disk") };
    assert!(matches!(rig.store.read(topic, 1), Lookup::Pending(_)), "one fetch for both");
    rig.settle();
    let fetched = std::mem::take(&mut *rig.reports.fetched.lock().unwrap());
    let [(_, 1, Ok(_))] = &fetched[..] else { panic!("{fetched:?}") };
    assert!(until > 2, "{until}");
    assert!(matches!(rig.store.read(topic, 1), Lookup::Ready(_)));
    assert!(matches!(rig.store.read(topic, until - 1), Lookup::Ready(_)), "neighbours come along, as far as was said");
    assert!(matches!(rig.store.read(topic, until), Lookup::Pending(_)));
}

#[test]
fn written_events_are_shown_after_the_write_and_synced_ones_after_the_sync() {
    let mut rig = Rig::new();
    let (synced, written) = (rig.topic(1, Durability::Synced), rig.topic(2, Durability::Written));
    rig.settle();
    let (a, b) = (rig.append(synced, &[10]), rig.append(written, &[10]));
    let batch = rig.store.commit(vec![a, b]);
    assert!(rig.begin());
    assert!(matches!(rig.store.read(written, 1), Lookup::Ahead));
    rig.end();
    assert!(matches!(rig.store.read(written, 1), Lookup::Ready(_)));
    assert!(matches!(rig.store.read(synced, 1), Lookup::Ahead));
    assert!(rig.watermark().written >= batch && rig.watermark().synced < batch);
    rig.settle();
    assert!(matches!(rig.store.read(synced, 1), Lookup::Ready(_)));
    assert!(rig.watermark().synced >= batch);
}

#[test]
fn a_written_batch_is_synced_within_about_a_second() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Written);
    rig.idle();
    let syncs = rig.disk.counts().syncs;
    let batch = rig.publish(topic, &[10]);
    rig.settle();
    assert_eq!((rig.disk.counts().syncs, rig.watermark().written), (syncs, batch));
    rig.advance_ms(999);
    rig.settle();
    assert!(rig.watermark().synced < batch);
    rig.advance_ms(1);
    rig.settle();
    assert!(rig.watermark().synced >= batch);
}

#[test]
fn an_idle_log_asks_for_nothing() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.publish(topic, &[10]);
    rig.idle();
    assert_eq!(rig.store.deadline(), None);
    let ops = rig.disk.counts().ops;
    rig.idle();
    assert_eq!(rig.disk.counts().ops, ops);
}
