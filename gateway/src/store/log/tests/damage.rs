use std::sync::Arc;

use super::rig::{Rig, small};
use crate::store::log::{FileName, LogOptions, OpenError, Part, SimDisk};
use crate::store::{Durability, Lookup, Position, Store, TopicId};

const TOPIC: TopicId = TopicId(1);
const EVENTS: Position = 6;
const SEGMENT: FileName = FileName::of(Part::Segment(1));

fn tiny() -> LogOptions {
    LogOptions { first_segment_bytes: 4200, segment_bytes: 4200, dedup_window_ms: 0, ..small() }
}

/// Six batches, each synced before the next, and without a checkpoint; with a mark behind them if the log went idle.
fn six_batches(idle: bool) -> (Arc<SimDisk>, usize) {
    let mut rig = Rig::open(Arc::new(SimDisk::new()), tiny(), Arc::default()).unwrap();
    rig.topic(1, Durability::Synced);
    rig.settle();
    for _ in 0..EVENTS {
        rig.publish(TOPIC, &[20]);
        rig.settle();
    }
    if idle {
        rig.idle();
    }
    let mut used = 0;
    rig.disk.tamper(SEGMENT, |bytes| used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1);
    (rig.disk.clone(), used)
}

/// Opens a changed copy: positions that can be read, and whether something was said.
fn open_changed(disk: &SimDisk, change: impl FnOnce(&mut Vec<u8>)) -> (Vec<Position>, bool) {
    let copy = Arc::new(disk.duplicate());
    copy.tamper(SEGMENT, change);
    match Rig::open(copy, tiny(), Arc::default()) {
        Ok(mut rig) => {
            let next = rig.recovered.fold.topics.get(&TOPIC).map_or(1, |t| t.next);
            let found = rig.read_all(TOPIC, 1, next);
            assert!(rig.recovered.damage.iter().all(|d| d.contains("log/0000000001.log at")), "a place is named");
            (found, !rig.recovered.damage.is_empty() || rig.recovered.torn_bytes > 0)
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn no_flipped_bit_loses_more_than_its_record_or_goes_unsaid() {
    let (disk, used) = six_batches(true);
    let all: Vec<Position> = (1..=EVENTS).collect();
    assert_eq!(open_changed(&disk, |_| {}), (all.clone(), false));
    for bit in 0..used * 8 {
        let (found, said) = open_changed(&disk, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        assert!(found.len() + 1 >= all.len(), "bit {bit}: only {found:?} are left");
        assert!(said || found == all, "bit {bit}: silence, and {found:?} are left");
    }
}

#[test]
fn a_flipped_bit_in_the_last_unvouched_batch_cuts_it_and_nothing_else() {
    let (disk, used) = six_batches(false);
    for byte in 0..used {
        let (found, said) = open_changed(&disk, |bytes| bytes[byte] ^= 0x10);
        assert!(found.len() as u64 + 1 >= EVENTS, "byte {byte}: only {found:?} are left");
        assert!(said || found.len() as u64 == EVENTS, "byte {byte}");
    }
}

#[test]
fn a_segment_cut_at_any_byte_keeps_every_whole_record_before_the_cut() {
    let (disk, used) = six_batches(true);
    let mut last = 0;
    for len in 0..used {
        let (found, _) = open_changed(&disk, |bytes| bytes.truncate(len));
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "a first part");
        assert!(found.len() >= last, "a longer rest holds no less");
        last = found.len();
    }
    assert_eq!(last as u64, EVENTS);
    // The same with a tail of zeros, as a sparse file has it.
    for len in 0..used {
        let (found, _) = open_changed(&disk, |bytes| bytes[len..].fill(0));
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "a first part");
    }
}

#[test]
fn damage_below_the_mark_is_named_and_what_is_behind_it_stays_readable_for_good() {
    let (disk, _) = six_batches(true);
    let at = |bytes: &[u8], position: u8| bytes.windows(3).position(|w| w == [b'1', b'-', b'0' + position]).unwrap();
    disk.tamper(SEGMENT, |bytes| {
        let place = at(bytes, 3);
        bytes[place] ^= 1;
    });
    let mut rig = Rig::open(disk.clone(), tiny(), Arc::default()).unwrap();
    let [damage] = &rig.recovered.damage[..] else { panic!("{:?}", rig.recovered.damage) };
    assert!(damage.starts_with("log/0000000001.log at ") && damage.contains("batch 4 is lost"), "{damage}");
    assert!(damage.contains("topics topic-1"), "{damage}");
    assert!(matches!(rig.store.read(TOPIC, 3), Lookup::Gone(4)));
    for _ in 0..20 {
        rig.publish(TOPIC, &[20]);
        rig.settle();
    }
    rig.store.close();
    let mut rig = Rig::open(disk, tiny(), Arc::default()).unwrap();
    let found = rig.read_all(TOPIC, 1, 27);
    assert_eq!(found, (1..27).filter(|p| *p != 3).collect::<Vec<_>>());
}

#[test]
fn a_cut_tail_never_comes_back() {
    let (disk, used) = six_batches(false);
    // The fifth batch was torn though the sixth came to the disk: neither was acknowledged.
    let mut batches = Vec::new();
    disk.tamper(SEGMENT, |bytes| {
        batches = (64..used).step_by(8).filter(|at| bytes[*at..].starts_with(b"MWRB")).collect();
        bytes[batches[5]..batches[5] + 8].fill(0);
        // As if the mark of the sixth, which says that the fifth was synced, were older.
        bytes[batches[6] + 24..batches[6] + 32].copy_from_slice(&1u64.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[batches[6] + 8..batches[6] + 56]);
        bytes[batches[6] + 4..batches[6] + 8].copy_from_slice(&crc.to_le_bytes());
    });
    let mut rig = Rig::open(disk.clone(), tiny(), Arc::default()).unwrap();
    assert_eq!((rig.recovered.damage.len(), rig.recovered.fold.topics[&TOPIC].next), (0, 5));
    assert!(rig.recovered.torn_bytes > 100);
    disk.tamper(SEGMENT, |bytes| assert!(bytes[batches[5]..].iter().all(|b| *b == 0), "zeroed"));
    // A batch of the same length takes the place; the old sixth must not follow it.
    rig.publish(TOPIC, &[20]);
    rig.settle();
    let rig = Rig::open(disk, tiny(), Arc::default()).unwrap();
    assert_eq!((rig.recovered.fold.topics[&TOPIC].next, rig.recovered.torn_bytes), (6, 0));
}

#[test]
fn stale_records_of_an_older_epoch_or_another_use_of_the_file_do_not_count() {
    let (disk, used) = six_batches(false);
    let mut record = Vec::new();
    disk.tamper(SEGMENT, |bytes| {
        let begin = (64..used).step_by(8).rfind(|at| bytes[*at..].starts_with(b"MWRB")).unwrap();
        record = bytes[begin..used].to_vec();
        // Number it as the next batch, but leave its generation another one.
        let batch = u64::from_le_bytes(record[16..24].try_into().unwrap()) + 1;
        record[16..24].copy_from_slice(&batch.to_le_bytes());
        record[8] ^= 1;
        let crc = crc32c::crc32c(&record[8..56]);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        let place = used.next_multiple_of(8);
        bytes[place..place + record.len()].copy_from_slice(&record);
    });
    let rig = Rig::open(disk, tiny(), Arc::default()).unwrap();
    assert_eq!(rig.recovered.fold.topics[&TOPIC].next, EVENTS + 1);
    assert!(rig.recovered.torn_bytes > 0 && rig.recovered.damage.is_empty());
}

#[test]
fn a_record_of_an_older_epoch_never_follows_one_of_a_newer() {
    let (disk, used) = six_batches(false);
    let mut rig = Rig::open(disk.clone(), tiny(), Arc::default()).unwrap();
    rig.publish(TOPIC, &[20]);
    rig.settle();
    drop(rig);
    disk.tamper(SEGMENT, |bytes| {
        // A copy of the last record of epoch 1, numbered to follow the record of epoch 2.
        let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
        let records: Vec<_> = (64..end).step_by(8).filter(|at| bytes[*at..].starts_with(b"MWRB")).collect();
        let [.., old, new] = records[..] else { panic!() };
        let mut record = bytes[old..used].to_vec();
        let batch = u64::from_le_bytes(bytes[new + 16..new + 24].try_into().unwrap()) + 1;
        record[16..24].copy_from_slice(&batch.to_le_bytes());
        let crc = crc32c::crc32c(&record[8..56]);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        let place = end.next_multiple_of(8);
        bytes[place..place + record.len()].copy_from_slice(&record);
    });
    let rig = Rig::open(disk, tiny(), Arc::default()).unwrap();
    assert_eq!(rig.recovered.fold.topics[&TOPIC].next, EVENTS + 2);
    assert!(rig.recovered.torn_bytes > 0 && rig.recovered.damage.is_empty());
}

#[test]
fn a_position_whose_event_damage_took_is_not_given_again() {
    let mut rig = Rig::open(Arc::new(SimDisk::new()), tiny(), Arc::default()).unwrap();
    rig.topic(1, Durability::Synced);
    let group = rig.group(TOPIC, 1);
    for _ in 0..EVENTS {
        rig.publish(TOPIC, &[20]);
        rig.settle();
    }
    rig.ack(TOPIC, group, 1, EVENTS as u32);
    rig.idle();
    rig.disk.tamper(SEGMENT, |bytes| {
        let place = bytes.windows(3).position(|w| w == b"1-6").unwrap();
        bytes[place] ^= 1;
    });
    let rig = Rig::open(rig.disk.clone(), tiny(), Arc::default()).unwrap();
    assert_eq!(rig.recovered.damage.len(), 1);
    // A new event at position 6 would count as settled.
    assert_eq!(rig.recovered.fold.groups[&group].floor, EVENTS + 1);
    assert_eq!(rig.recovered.fold.topics[&TOPIC].next, EVENTS + 1);
}

#[test]
fn a_missing_segment_is_named() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..300 {
        rig.publish(topic, &[300]);
        rig.settle();
    }
    rig.idle();
    let disk = rig.reopen_sim_disk();
    let missing = FileName::of(Part::Segment(3));
    crate::store::log::Disk::run(&*disk, &crate::store::log::DiskOp::Remove { file: missing }).unwrap();
    let options = LogOptions { dedup_window_ms: 0, ..small() };
    let mut rig = Rig::open(disk, options, rig.micros.clone()).unwrap();
    assert!(
        rig.recovered.damage.iter().any(|d| d.starts_with("log/0000000003.log is missing")),
        "{:?}",
        rig.recovered.damage
    );
    let found = rig.read_all(topic, 1, 301);
    assert!(found.len() > 200 && found.len() < 300 && found.contains(&1) && found.contains(&300));
}

#[test]
fn a_segment_that_is_all_zeros_hides_no_segment_behind_it() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..300 {
        rig.publish(topic, &[300]);
        rig.settle();
    }
    rig.idle();
    for wiped in [vec![3], vec![3, 4]] {
        let disk = rig.reopen_sim_disk();
        for slot in [0, 1] {
            disk.tamper(FileName::of(Part::Checkpoint(slot)), |bytes| bytes.clear());
        }
        for segment in &wiped {
            disk.tamper(FileName::of(Part::Segment(*segment)), |bytes| bytes.fill(0));
        }
        let mut rig = Rig::open(disk, small(), rig.micros.clone()).unwrap();
        let [damage] = &rig.recovered.damage[..] else { panic!("{:?}", rig.recovered.damage) };
        assert!(damage.contains("are lost"), "{damage}");
        let found = rig.read_all(topic, 1, 301);
        assert!(found.len() > 150 && found.len() < 300 && found.contains(&300), "{}", found.len());
    }
}

#[test]
fn a_block_that_rots_after_opening_is_never_served_and_readers_get_past_it() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..300 {
        rig.publish(topic, &[300]);
        rig.settle();
    }
    rig.disk.tamper(FileName::of(Part::Segment(1)), |bytes| {
        let place = bytes.windows(3).position(|w| w == b"1-5").unwrap();
        bytes[place + 2] = b'6';
    });
    let found = rig.read_all(topic, 1, 301);
    assert_eq!(found, (1..301).filter(|p| *p != 5).collect::<Vec<_>>());
}

#[test]
fn a_newer_format_and_a_damaged_format_file_are_refused_by_name() {
    let format = FileName::of(Part::Format);
    let open = |change: fn(&mut Vec<u8>)| {
        let (disk, _) = six_batches(true);
        disk.tamper(format, change);
        Rig::open(disk, tiny(), Arc::default()).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let newer = open(|bytes| *bytes = b"meshwire log\nversion 7\n".to_vec());
    assert!(newer.contains("FORMAT: format 7 is newer than format 1"), "{newer}");
    let damaged = open(|bytes| bytes.truncate(20));
    assert!(damaged.contains("FORMAT is damaged"), "{damaged}");
    let (disk, _) = six_batches(true);
    crate::store::log::Disk::run(&*disk, &crate::store::log::DiskOp::Remove { file: format }).unwrap();
    let missing = Rig::open(disk, tiny(), Arc::default()).err();
    assert!(matches!(missing, Some(OpenError::Damaged(text)) if text.contains("no FORMAT file")));
}

/// Raises the version of a checkpoint or index, whose checksum covers it.
fn newer_file(bytes: &mut [u8]) {
    bytes[8..12].copy_from_slice(&7u32.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_checkpoint_or_index_of_a_newer_format_is_refused_by_name_and_a_damaged_version_is_only_damage() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    for _ in 0..300 {
        rig.publish(topic, &[300]);
        rig.settle();
    }
    rig.idle();
    for (part, kind) in [
        (Part::Checkpoint(0), "checkpoint.0: checkpoint format 7"),
        (Part::Checkpoint(1), "checkpoint.1: checkpoint format 7"),
        (Part::Index(1), "log/0000000001.idx: index format 7"),
    ] {
        let disk = rig.reopen_sim_disk();
        disk.tamper(FileName::of(part), |bytes| newer_file(bytes));
        let mut before = Vec::new();
        disk.tamper(FileName::of(part), |bytes| before.clone_from(bytes));
        let error = Rig::open(disk.clone(), small(), rig.micros.clone()).err().unwrap();
        assert!(matches!(error, OpenError::NewerFormat { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(kind) && text.contains("use the program that wrote it"), "{text}");
        disk.tamper(FileName::of(part), |bytes| assert!(*bytes == before, "left as it is"));
        // The same bytes of the version without the checksum for them.
        let disk = rig.reopen_sim_disk();
        disk.tamper(FileName::of(part), |bytes| bytes[8] = 7);
        let mut rig = Rig::open(disk, small(), rig.micros.clone()).unwrap();
        assert_eq!(rig.read_all(topic, 1, 301).len(), 300);
    }
}

#[test]
fn records_of_a_newer_format_behind_a_bad_place_are_refused_and_not_cut() {
    let (disk, used) = six_batches(false);
    disk.tamper(SEGMENT, |bytes| {
        let records: Vec<_> = (64..used).step_by(8).filter(|at| bytes[*at..].starts_with(b"MWRB")).collect();
        bytes[records[5]] ^= 1;
        let last = records[6];
        bytes[last + 48] = 1;
        let crc = crc32c::crc32c(&bytes[last + 8..last + 56]);
        bytes[last + 4..last + 8].copy_from_slice(&crc.to_le_bytes());
    });
    let error = Rig::open(disk, tiny(), Arc::default()).err().unwrap().to_string();
    assert!(error.contains("record flags 0x1 is newer than format 1"), "{error}");
}

#[test]
fn an_operation_of_a_newer_version_is_refused_by_name() {
    let (disk, _) = six_batches(true);
    disk.tamper(SEGMENT, |bytes| {
        // The first record's first operation gets another kind, and right checksums.
        bytes[64 + 56] = 99;
        let len = u32::from_le_bytes(bytes[64 + 40..64 + 44].try_into().unwrap()) as usize;
        let crc = crc32c::crc32c(&bytes[64 + 56..64 + 56 + len]);
        bytes[64 + 44..64 + 48].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[64 + 8..64 + 56]);
        bytes[64 + 4..64 + 8].copy_from_slice(&crc.to_le_bytes());
    });
    let error = Rig::open(disk, tiny(), Arc::default()).err().unwrap().to_string();
    assert!(error.starts_with("log/0000000001.log at 64: operation kind 99 is newer"), "{error}");
}
