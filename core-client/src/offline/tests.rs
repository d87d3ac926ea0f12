#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::single_range_in_vec_init,
    reason = "tests fail by panicking"
)]

use std::ops::Range;

use meshwire_proto::{EventRunBuilder, Timing, TopicName, UnixMillis};

use super::forgetful::Forgetful;
use super::record::HEAD_BYTES;
use super::*;

fn filed(sequences: Range<u64>) -> Filed {
    let mut run = EventRunBuilder::default();
    sequences.clone().for_each(|n| run.push(format!("event {n}").as_bytes()));
    Filed {
        first: sequences.start,
        at: UnixMillis(7),
        topic: TopicName::parse("orders").unwrap(),
        timing: Timing::default(),
        events: run.take(),
    }
}

fn open(disk: &Forgetful, is_synced: bool) -> (Journal<Forgetful>, Found) {
    Journal::open(disk.clone(), [9; 16], is_synced).unwrap()
}

/// What waits, as sequences.
fn waiting(found: &Found) -> Vec<u64> {
    found.events.iter().flat_map(|(_, open)| open.iter().cloned().flatten()).collect()
}

fn after_crash(disk: &Forgetful, survive: usize) -> Vec<u64> {
    disk.lose_power(survive);
    waiting(&open(disk, true).1)
}

#[test]
fn what_was_admitted_is_there_after_a_loss_of_power_and_what_was_answered_is_not() {
    let disk = Forgetful::default();
    let (mut journal, found) = open(&disk, true);
    assert_eq!((found.producer_id, found.epoch, found.next_sequence), ([9; 16], 1, 1));
    journal.admit(&[filed(1..4), filed(4..6)]).unwrap();
    journal.answered(&[2..5]).unwrap();
    // The note rides with the next events.
    journal.admit(&[filed(6..7)]).unwrap();
    let (_, found) = {
        disk.lose_power(0);
        open(&disk, true)
    };
    assert_eq!(waiting(&found), [1, 5, 6]);
    assert_eq!(found.events[0].0, filed(1..4), "event for event");
    assert_eq!((found.producer_id, found.epoch, found.cut), ([9; 16], 1, 0));
    // A third life finds the same, though the second wrote the file anew.
    assert_eq!(after_crash(&disk, 0), [1, 5, 6]);
}

#[test]
fn a_life_gives_no_sequence_that_one_before_it_may_have_given() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, false).0;
    journal.admit(&[filed(1..4)]).unwrap();
    disk.lose_power(0);
    let (mut journal, found) = open(&disk, false);
    assert!(waiting(&found).is_empty() && found.next_sequence > 1 << 31, "only written, so lost; yet not given again");
    let first = found.next_sequence;
    journal.admit(&[filed(first..first + 10)]).unwrap();
    disk.lose_power(0);
    assert!(open(&disk, false).1.next_sequence > first + (1 << 31));
}

#[test]
fn a_torn_end_is_cut_wherever_it_is_torn() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, false).0;
    journal.admit(&[filed(1..4)]).unwrap();
    let whole = disk.bytes().len();
    journal.admit(&[filed(4..6)]).unwrap();
    let bytes = disk.bytes();
    for len in whole..bytes.len() {
        disk.set_bytes(bytes[..len].to_vec());
        let found = open(&disk, true).1;
        assert_eq!((waiting(&found), found.cut), (vec![1, 2, 3], (len - whole) as u64));
    }
    // Pages that were never written are zeros.
    let mut torn = bytes[..whole + 9].to_vec();
    torn.resize(whole + 5000, 0);
    disk.set_bytes(torn);
    assert_eq!(waiting(&open(&disk, true).1), [1, 2, 3]);
}

#[test]
fn damage_in_the_middle_is_named_and_changes_nothing() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    journal.admit(&[filed(1..4)]).unwrap();
    let second = disk.bytes().len() as u64;
    journal.admit(&[filed(4..6)]).unwrap();
    journal.admit(&[filed(6..7)]).unwrap();
    for (at, named) in [(HEAD_BYTES + 20, HEAD_BYTES as u64), (second as usize + 30, second), (20, 0)] {
        let mut bytes = disk.bytes();
        bytes[at] ^= 1;
        let damaged = Forgetful::default();
        damaged.set_bytes(bytes.clone());
        let problem = Journal::open(damaged.clone(), [9; 16], true).unwrap_err();
        assert!(matches!(problem, OpenProblem::Damaged(offset) if offset == named), "{problem:?} at {at}");
        assert_eq!(damaged.bytes(), bytes);
    }
}

#[test]
fn another_file_and_one_of_a_newer_version_are_refused_by_name() {
    let disk = Forgetful::default();
    disk.set_bytes(b"a letter to somebody".to_vec());
    assert!(matches!(Journal::open(disk.clone(), [9; 16], true), Err(OpenProblem::Foreign)));
    disk.set_bytes(Vec::new());
    drop(open(&disk, true));
    let mut bytes = disk.bytes();
    bytes[16] = 2;
    disk.set_bytes(bytes);
    assert!(matches!(Journal::open(disk, [9; 16], true), Err(OpenProblem::Newer(2))));
}

#[test]
fn a_full_disk_refuses_events_and_takes_them_when_there_is_room() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    journal.admit(&[filed(1..4)]).unwrap();
    let len = disk.bytes().len();
    disk.set_room(Some(len + 20));
    assert!(matches!(journal.admit(&[filed(4..9)]), Err(Refused::Full(_))));
    assert_eq!(disk.bytes().len(), len, "nothing is left of it");
    disk.set_room(None);
    journal.admit(&[filed(9..10)]).unwrap();
    assert_eq!(after_crash(&disk, 0), [1, 2, 3, 9]);
}

/// A file of events so large that hardly anything fits beside it, as they were admitted.
fn filled(disk: &Forgetful) -> Vec<u64> {
    let mut journal = open(disk, true).0;
    let mut run = EventRunBuilder::default();
    run.push(&vec![b'x'; 100 << 10]);
    let large = Filed { events: run.take(), ..filed(4..5) };
    journal.admit(&[filed(1..4), large, filed(5..8)]).unwrap();
    journal.answered(&[2..3]).unwrap();
    vec![1, 3, 4, 5, 6, 7]
}

#[test]
fn a_file_without_room_for_a_copy_opens_and_takes_what_there_is_room_for() {
    let disk = Forgetful::default();
    let kept = filled(&disk);
    disk.set_room(Some(disk.bytes().len() + 1000));
    let (mut journal, found) = open(&disk, false);
    assert_eq!((waiting(&found), found.producer_id), (kept.clone(), [9; 16]));
    assert_eq!(journal.forgettable(), 0, "the first waits");
    // Only written, and lost with the power: yet no later life gives its sequences again.
    let first = found.next_sequence;
    journal.admit(&[filed(first..first + 3)]).unwrap();
    disk.lose_power(0);
    let (mut journal, found) = open(&disk, true);
    assert!(waiting(&found) == kept && found.next_sequence > first + 3, "{first}: {found:?}");
    let first = found.next_sequence;
    journal.admit(&[filed(first..first + 1)]).unwrap();
    assert_eq!(after_crash(&disk, 0), [kept, vec![first]].concat());
}

#[test]
fn a_file_that_fills_its_disk_opens_admits_nothing_and_gets_its_room_back_when_all_is_published() {
    let disk = Forgetful::default();
    let kept = filled(&disk);
    // Torn where the disk was full.
    let whole = disk.bytes().len();
    disk.set_bytes([disk.bytes(), vec![1; 20]].concat());
    disk.set_room(Some(whole + 20));
    let (mut journal, found) = open(&disk, true);
    assert_eq!((waiting(&found), found.cut, disk.bytes().len()), (kept.clone(), 20, whole));
    let first = found.next_sequence;
    assert!(matches!(journal.admit(&[filed(first..first + 1)]), Err(Refused::Full(_))));
    assert_eq!(after_crash(&disk, usize::MAX), kept, "a life that could note nothing leaves the file as it was");
    let (mut journal, _) = open(&disk, true);
    // There is no room for the note of the first answers; the last ones make it needless.
    assert!(journal.answered(&[1..5]).is_err());
    journal.answered(&[5..8]).unwrap();
    assert_eq!((journal.bytes(), disk.bytes().len()), (HEAD_BYTES as u64, HEAD_BYTES));
    journal.admit(&[filed(first..first + 1)]).unwrap();
    disk.lose_power(0);
    let found = open(&disk, true).1;
    assert_eq!((waiting(&found), found.producer_id), (vec![first], [9; 16]));
}

#[test]
fn a_small_file_on_a_full_disk_remembers_that_all_is_published_too() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    journal.admit(&[filed(1..4)]).unwrap();
    disk.set_room(Some(disk.bytes().len()));
    let (mut journal, found) = open(&disk, true);
    assert_eq!(waiting(&found), [1, 2, 3]);
    assert!(journal.answered(&[1..3]).is_err());
    journal.answered(&[3..4]).unwrap();
    assert_eq!(after_crash(&disk, 0), [] as [u64; 0]);
}

#[test]
fn a_file_that_fills_its_disk_with_what_is_answered_is_emptied_when_it_is_opened() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    journal.admit(&[filed(1..900)]).unwrap();
    journal.answered(&[1..900]).unwrap();
    disk.set_room(Some(disk.bytes().len()));
    let (mut journal, found) = open(&disk, true);
    assert_eq!((waiting(&found), journal.bytes(), found.producer_id), (Vec::new(), HEAD_BYTES as u64, [9; 16]));
    journal.admit(&[filed(found.next_sequence..found.next_sequence + 3)]).unwrap();
}

#[test]
fn a_file_that_was_emptied_and_whose_room_somebody_took_is_written_when_there_is_room() {
    let disk = Forgetful::default();
    let kept = filled(&disk);
    disk.set_room(Some(0));
    let (mut journal, found) = open(&disk, true);
    assert_eq!(waiting(&found), kept);
    assert!(journal.answered(&[1..8]).is_err());
    assert!(disk.bytes().is_empty(), "as a new one: whoever opens it now has an id of its own");
    let first = found.next_sequence;
    assert!(matches!(journal.admit(&[filed(first..first + 1)]), Err(Refused::Full(_))));
    disk.set_room(None);
    journal.admit(&[filed(first..first + 1)]).unwrap();
    assert_eq!(after_crash(&disk, 0), [first]);
}

#[test]
fn after_a_sync_that_failed_nothing_is_admitted_any_more() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    disk.set_fails(true);
    assert!(matches!(journal.admit(&[filed(1..2)]), Err(Refused::Broken(_))));
    disk.set_fails(false);
    assert!(matches!(journal.admit(&[filed(2..3)]), Err(Refused::Broken(_))), "no sync is tried again");
}

#[test]
fn the_gateway_may_forget_only_what_does_not_come_back() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    journal.admit(&[filed(1..6)]).unwrap();
    journal.answered(&[1..4]).unwrap();
    assert_eq!(journal.forgettable(), 0, "the note is not on disk");
    journal.admit(&[filed(6..7)]).unwrap();
    assert_eq!(journal.forgettable(), 3);
    // A note that found no room counts for nothing, until it is written.
    disk.set_room(Some(disk.bytes().len()));
    assert!(journal.answered(&[4..6]).is_err());
    disk.set_room(None);
    journal.admit(&[filed(7..8)]).unwrap();
    assert_eq!(journal.forgettable(), 3);
    journal.answered(&[6..7]).unwrap();
    journal.admit(&[filed(8..9)]).unwrap();
    assert_eq!(journal.forgettable(), 6);
    assert_eq!(after_crash(&disk, 0), [7, 8]);
}

#[test]
fn the_file_stays_small_however_much_goes_through_it() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    journal.admit(&[filed(1..2)]).unwrap();
    let mut largest = 0;
    for n in 1..2000 {
        let first = n * 100;
        journal.admit(&[filed(first..first + 100)]).unwrap();
        journal.answered(&[first..first + 100]).unwrap();
        largest = largest.max(journal.bytes());
    }
    assert!(largest < 1_200_000, "{largest}");
    assert_eq!(journal.bytes(), disk.bytes().len() as u64);
    journal.answered(&[1..2]).unwrap();
    assert!(journal.bytes() < 100_000, "{}", journal.bytes());
    assert!(after_crash(&disk, usize::MAX).is_empty());
}

#[test]
fn a_file_that_is_written_anew_keeps_what_waits_and_half_of_what_is_half_answered() {
    let disk = Forgetful::default();
    let mut journal = open(&disk, true).0;
    let mut run = EventRunBuilder::default();
    run.push(&vec![b'x'; 1 << 20]);
    let large = Filed { events: run.take(), ..filed(4..5) };
    journal.admit(&[filed(1..4), large, filed(5..8)]).unwrap();
    journal.answered(&[2..3, 6..7]).unwrap();
    journal.answered(&[Range { start: 4, end: 5 }]).unwrap();
    assert!(journal.bytes() < 1000, "{}", journal.bytes());
    journal.admit(&[filed(8..9)]).unwrap();
    journal.answered(&[1..2]).unwrap();
    assert_eq!(after_crash(&disk, usize::MAX), [3, 5, 7, 8]);
}
