use std::sync::Arc;

use bytes::Bytes;
use meshwire_proto::{Moment, TopicName, UnixMillis};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::rig::{EPOCH_MS, append_at, check_block};
use crate::store::log::{Disk, DiskFault, DiskOp, FileName, LogClock, LogOptions, LogStore, OpenError, OsDisk, Part};
use crate::store::{Durability, Lookup, Op, Store, TopicId};

fn clock() -> LogClock {
    Arc::new(|| (Moment(5), UnixMillis(EPOCH_MS)))
}

#[test]
fn a_directory_is_made_and_found_again_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let topic = TopicId(1);
    let (store, recovered) = LogStore::open(&path, &LogOptions::default(), clock()).unwrap();
    assert_eq!((recovered.epoch, recovered.events), (1, 0));
    let name = TopicName::parse("orders").unwrap();
    store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms: 1 << 40 }]);
    let batch = store.commit(vec![append_at(topic, 1, &[10, 200_000, 30], UnixMillis(EPOCH_MS))]);
    store.close();
    assert!(store.watermark().synced >= batch);
    // Closed is enough: whoever still has a handle does not keep the directory.
    let (again, recovered) = LogStore::open(&path, &LogOptions::default(), clock()).unwrap();
    assert_eq!((recovered.epoch, recovered.events, recovered.torn_bytes, recovered.damage.len()), (2, 3, 0, 0));
    assert!(matches!(again.read(topic, 1), Lookup::Pending(_)));
}

#[test]
fn a_locked_directory_names_the_process_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = LogStore::open(folder.path(), &LogOptions::default(), clock()).unwrap();
    let error = LogStore::open(folder.path(), &LogOptions::default(), clock()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    drop(held);
    LogStore::open(folder.path(), &LogOptions::default(), clock()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_or_written_says_which_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = LogStore::open(&file.join("data"), &LogOptions::default(), clock()).err().unwrap();
    assert!(matches!(error, OpenError::Unusable { lasting: true, .. }));
    assert!(error.to_string().contains("file/data") && error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn files_of_others_are_left_alone_and_drafts_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    drop(LogStore::open(folder.path(), &LogOptions::default(), clock()).unwrap());
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    std::fs::write(folder.path().join("checkpoint.0.new"), "half").unwrap();
    drop(LogStore::open(folder.path(), &LogOptions::default(), clock()).unwrap());
    assert!(folder.path().join("notes.txt").exists() && !folder.path().join("checkpoint.0.new").exists());
}

#[test]
fn the_real_disk_does_what_the_operations_say() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(folder.path()).unwrap();
    let (file, draft) = (FileName::of(Part::Segment(3)), FileName::draft(Part::Index(3)));
    disk.run(&DiskOp::Create { file, len: 100_000 }).unwrap();
    let parts = [vec![1; 10], vec![2; 70_000], Vec::new(), vec![3; 5]].map(Bytes::from).to_vec();
    disk.run(&DiskOp::Write { file, offset: 50, parts: parts.clone() }).unwrap();
    disk.run(&DiskOp::Sync { file }).unwrap();
    let mut buffer = vec![9; 100_100];
    assert_eq!(disk.read(file, 0, &mut buffer), Ok(100_000));
    assert_eq!(buffer[50..50 + 70_015], parts.concat());
    assert!(buffer[..50].iter().chain(&buffer[70_065..100_000]).all(|b| *b == 0));
    disk.run(&DiskOp::Create { file: draft, len: 0 }).unwrap();
    disk.run(&DiskOp::Write { file: draft, offset: 0, parts: vec![Bytes::from_static(b"index")] }).unwrap();
    disk.run(&DiskOp::Rename { from: draft, to: FileName::of(Part::Index(3)) }).unwrap();
    disk.run(&DiskOp::SyncDirectory { of: file }).unwrap();
    assert_eq!(disk.list(), Ok(vec![(file, 100_000), (FileName::of(Part::Index(3)), 5)]));
    disk.run(&DiskOp::Remove { file }).unwrap();
    let gone = disk.run(&DiskOp::Sync { file }).unwrap_err();
    assert_eq!(gone.fault, DiskFault::Missing);
    assert!(gone.message.starts_with("log/0000000003.log: sync: "), "{gone}");
    assert!(disk.free_space().unwrap() > 0);
}

#[test]
fn a_real_read_that_fails_names_its_place_and_is_told_from_a_missing_file() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(folder.path()).unwrap();
    let (file, missing) = (FileName::of(Part::Index(7)), FileName::of(Part::Index(8)));
    std::fs::create_dir(folder.path().join(file.to_string())).unwrap();
    let error = disk.read(file, 512, &mut [0; 8]).unwrap_err();
    assert_eq!(error.fault, DiskFault::Unreadable { file, offset: 512 });
    assert!(error.message.starts_with("log/0000000007.idx: read at 512: "), "{error}");
    assert_eq!(disk.read(missing, 0, &mut [0; 8]).unwrap_err().fault, DiskFault::Missing);
}

#[test]
fn more_than_the_process_may_write_is_a_full_disk_and_not_the_end_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(folder.path()).unwrap();
    // High enough for every other test of this process.
    let limit = 1 << 33;
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
    let file = FileName::of(Part::Segment(1));
    let error = disk.run(&DiskOp::Create { file, len: limit + 1 }).unwrap_err();
    assert_eq!(error.fault, DiskFault::NoSpace);
    disk.run(&DiskOp::Create { file, len: 10 }).unwrap();
    let far = DiskOp::Write { file, offset: limit - 1, parts: vec![Bytes::from_static(b"xy")] };
    assert_eq!(disk.run(&far).unwrap_err().fault, DiskFault::NoSpace);
    setrlimit(Resource::Fsize, before).unwrap();
}

#[test]
fn blocks_read_from_a_real_disk_are_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let topic = TopicId(1);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(folder.path()).unwrap());
    let options = LogOptions { cache_bytes: 0, ..LogOptions::default() };
    let (store, _) = LogStore::open_on(disk.clone(), &options, clock()).unwrap();
    let name = TopicName::parse("orders").unwrap();
    store.commit(vec![Op::Topic { topic, name, durability: Durability::Written, retention_ms: 1 << 40 }]);
    for first in 1..=100 {
        store.commit(vec![append_at(topic, first, &[2000], UnixMillis(EPOCH_MS))]);
        while let Some(task) = store.next_write() {
            store.ended(task.run(&*disk));
        }
    }
    let reports = super::rig::Reports::default();
    for position in [1, 50, 100] {
        assert!(matches!(store.read(topic, position), Lookup::Pending(_)));
        while let Some(task) = store.next_job() {
            store.ended(task.run(&*disk));
        }
        store.report(&reports);
        let (_, from, result) = reports.fetched.lock().unwrap().pop().unwrap();
        assert_eq!(from, position);
        check_block(topic, &result.unwrap());
    }
}
