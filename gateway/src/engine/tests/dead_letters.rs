//! Events that are given up: once each, whole, and the way back.

use meshwire_proto::wire::admin::DeathReason;

use super::super::group::letter;
use super::*;
use crate::store::{Block, Grave};

pub(super) const LETTERS: TopicId = TOPIC.dead_letters(true);

pub(super) fn reject(reason: &str) -> SettleAs<'_> {
    SettleAs { kind: SettleKind::Reject, delay: None, reason }
}

pub(super) fn letters(rig: &Rig) -> Vec<Position> {
    rig.engine.letters(TOPIC, None, 0, 100).letters.iter().map(|(position, _)| *position).collect()
}

pub(super) fn block_of(rig: &Rig, place: Position) -> Block {
    let mut of_letters = rig.blocks.blocks.iter().filter(|(topic, _)| *topic == LETTERS);
    of_letters.find(|(_, b)| (b.first..b.next()).contains(&place)).unwrap().1.clone()
}

#[test]
fn after_its_last_failure_an_event_is_one_dead_letter_in_the_commit_that_settles_it() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(3);
    rig.now.wall = UnixMillis(50);
    rig.join(1, MANY);
    rig.publish(2, None);
    for failure in 1..=3 {
        rig.now.wall = UnixMillis(100 * failure);
        let (number, ..) = *rig.take(1).iter().find(|g| g.1 == 1).unwrap();
        let how = SettleAs { reason: "no such customer", delay: Some(Duration::ZERO), ..Nack.into() };
        rig.settle_as(1, number, 1, how);
    }
    assert_eq!(rig.take(1), [], "it does not come again");
    let grave = Grave { group: key("g"), key: 0, holds: false, redriven: false };
    assert_eq!(rig.graves, [(1, Change::Buried(grave))]);
    assert_eq!(rig.settled.last(), Some(&(1, 1, Outcome::Acked)));
    let letter = letter(&block_of(&rig, 1), 1).unwrap();
    assert_eq!((letter.group.as_str(), letter.position, letter.reason()), ("g", 1, DeathReason::Failures));
    assert_eq!((letter.failures, letter.attempts, letter.error.as_str()), (3, 3, "no such customer"));
    assert_eq!((letter.first_failure_unix_ms, letter.last_failure_unix_ms, letter.stored_unix_ms), (100, 300, 50));
    let (_, source) = rig.blocks.blocks.first().unwrap();
    assert_eq!(letter.event, source.run(1, 1).unwrap().iter().next().unwrap(), "the bytes that were published");
    rig.advance(WAIT * 3);
    assert_eq!(letters(&rig), [1], "and only one");
}

#[test]
fn a_rejected_event_is_a_dead_letter_at_once_with_the_reason() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    assert_eq!(rig.settle_as(1, 2, 1, reject("broken")), [true]);
    assert_eq!(rig.settle_as(1, 2, 1, reject("broken")), [true], "the same again");
    assert_eq!(rig.settle(1, 2, 1, Ack), [false], "the first settle wins");
    let letter = letter(&block_of(&rig, 1), 1).unwrap();
    assert_eq!((letter.position, letter.reason(), letter.error.as_str()), (2, DeathReason::Rejected, "broken"));
}

#[test]
fn a_dead_letter_of_which_its_consumer_said_nothing_says_how_it_failed_last() {
    type Fails = fn(&mut Rig);
    let fails: [(Fails, &str); 4] = [
        (|rig| drop(rig.settle(1, 1, 1, Nack)), "the consumer nacked it, without a reason"),
        (|rig| rig.advance(WAIT), "the ack wait ended"),
        (|rig| rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Lost), "its consumer was lost"),
        (|rig| drop(rig.settle_as(1, 1, 1, reject(""))), ""),
    ];
    for (fail, how) in fails {
        let mut rig = Rig::new();
        rig.settings.max_failures = Some(1);
        rig.join(1, MANY);
        rig.publish(1, None);
        rig.take(1);
        fail(&mut rig);
        rig.commit();
        assert_eq!(letter(&block_of(&rig, 1), 1).unwrap().error, how);
    }
    // What it said before is worth more.
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(2);
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, SettleAs { reason: "no such customer", delay: Some(Duration::ZERO), ..Nack.into() });
    rig.take(1);
    rig.advance(WAIT);
    let letter = letter(&block_of(&rig, 1), 1).unwrap();
    assert_eq!((letter.failures, letter.error.as_str()), (2, "no such customer"));
}

#[test]
fn a_dead_letter_that_is_not_kept_yet_is_neither_listed_nor_counted() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.engine.settle(rig.now, TOPIC, sub(1), 1..2, reject("no"));
    rig.engine.dispatch(rig.now, &mut rig.blocks, &mut Vec::new());
    let counted = |rig: &Rig| rig.engine.group((TOPIC, 0), &GroupKey::parse("g").unwrap()).unwrap().dead_letters;
    assert_eq!((letters(&rig), counted(&rig)), (vec![], 0));
    rig.commit();
    assert_eq!((letters(&rig), counted(&rig)), (vec![1], 1));
}

#[test]
fn a_long_reason_is_cut_between_letters() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, reject(&"€".repeat(1000)));
    let letter = letter(&block_of(&rig, 1), 1).unwrap();
    assert_eq!(letter.error, "€".repeat(341));
}

#[test]
fn after_a_dead_letter_its_key_goes_on_or_waits_for_it() {
    for hold in [false, true] {
        let mut rig = Rig::new();
        let after = if hold { admin::AfterDeadLetter::Hold } else { admin::AfterDeadLetter::Continue };
        rig.settings.after_dead_letter = Some(after.into());
        rig.join(1, MANY);
        rig.publish(3, Some("k"));
        rig.publish(1, None);
        rig.take(1);
        rig.settle_as(1, 1, 1, reject("no"));
        rig.publish(1, Some("k"));
        let next: Vec<_> = rig.take(1).iter().map(|g| g.1).collect();
        if !hold {
            assert_eq!(next, [5], "2 and 3 are out");
            continue;
        }
        assert!(next.is_empty(), "the key is held");
        rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
        rig.commit();
        let [(number, 1, 1)] = rig.take(1)[..] else { panic!("the dead letter, at its old place, as attempt 1") };
        assert_eq!(rig.settle(1, number, 1, Ack), [true]);
        assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [2, 3, 5], "it is done: the key goes on");
        assert!(letters(&rig).is_empty());
    }
}

#[test]
fn a_reject_takes_back_only_its_own_event_and_what_follows_in_its_key_stays() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.join(2, MANY);
    rig.publish(4, Some("k"));
    rig.take(1);
    assert_eq!(rig.settle_as(1, 1, 1, reject("no")), [true]);
    assert_eq!(rig.settle_as(1, 3, 1, reject("no")), [true]);
    assert!(rig.take(1).is_empty() && rig.take(2).is_empty(), "nothing comes again");
    assert_eq!(rig.settle(1, 2, 1, Ack), [true]);
    rig.publish(1, Some("k"));
    assert_eq!(rig.take(1), [(5, 5, 1)], "the key is still with its member, while that one has its event 4");
    assert_eq!(rig.settle(1, 4, 2, Ack), [true, true]);
    assert_eq!(letters(&rig), [1, 2]);
}

#[test]
fn a_redriven_letter_comes_to_its_group_and_is_gone_once_it_is_acked() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    rig.settle_as(1, 2, 1, reject("no"));
    rig.graves.clear();
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    rig.commit();
    assert_eq!(rig.take(1), [(4, 2, 1)], "once, however often it is asked for");
    assert_eq!(rig.graves, [(1, Change::Redriven)]);
    assert_eq!(letters(&rig), [1], "it is there until it is acked");
    rig.settle(1, 4, 1, Ack);
    assert_eq!((rig.graves.last(), letters(&rig)), (Some(&(1, Change::Gone)), vec![]));
    assert_eq!(rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)), Err(LetterError::NotFound(1)));
}

#[test]
fn a_redriven_letter_that_fails_again_is_a_new_dead_letter_in_place_of_the_old_one() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(2);
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("first"));
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    rig.commit();
    for attempt in 1..=2 {
        let [(number, 1, seen)] = rig.take(1)[..] else { panic!("one delivery") };
        assert_eq!(seen, attempt, "failures count from 0 again");
        rig.settle(1, number, 1, Nack);
    }
    assert_eq!(letters(&rig), [2]);
    let letter = letter(&block_of(&rig, 2), 2).unwrap();
    assert_eq!((letter.position, letter.failures, letter.reason()), (1, 2, DeathReason::Failures));
    assert_eq!(rig.graves.last(), Some(&(1, Change::Gone)));
}

#[test]
fn a_purged_letter_is_gone_also_for_who_has_it() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("no"));
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    rig.commit();
    let [(number, ..)] = rig.take(1)[..] else { panic!("one delivery") };
    assert!(rig.engine.purge(TOPIC, 1));
    assert!(!rig.engine.purge(TOPIC, 1));
    rig.commit();
    assert_eq!(rig.settle(1, number, 1, Ack), [false]);
    assert!(letters(&rig).is_empty());
    rig.advance(WAIT * 2);
    assert_eq!(rig.take(1), []);
}

#[test]
fn without_room_a_dead_letter_waits_and_nothing_is_lost() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    rig.blocks.full = 3;
    rig.settle_as(1, 1, 1, reject("no"));
    assert!(letters(&rig).is_empty());
    assert!(!rig.settled.contains(&(1, 1, Outcome::Acked)));
    for _ in 0..3 {
        rig.advance(Duration::from_secs(1));
    }
    assert_eq!(letters(&rig), [1]);
    assert_eq!(rig.take(1), []);
}

#[test]
fn an_event_that_failed_and_is_too_old_is_given_up() {
    let mut rig = Rig::new();
    rig.settings.max_age_ms = Some(60_000);
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    rig.now.wall = UnixMillis(59_000);
    rig.settle(1, 1, 1, Nack);
    assert_eq!(rig.take(1), [(3, 1, 2)], "not yet");
    rig.now.wall = UnixMillis(60_000);
    rig.settle(1, 3, 1, Nack);
    assert_eq!(rig.take(1), []);
    assert_eq!(letter(&block_of(&rig, 1), 1).unwrap().reason(), DeathReason::Age);
    assert_eq!(rig.settle(1, 2, 1, Ack), [true], "what did not fail is delivered however old it is");
}

#[test]
fn dead_letters_are_there_after_a_restart_and_what_was_given_back_comes() {
    let mut rig = Rig::new();
    rig.publish(2, None);
    let name = || key("g");
    let state = GroupState { floor: 3, ..GroupState::default() };
    rig.engine.restore_group(TOPIC, name(), (GroupId(1), GroupSettings::default()), rig.now, state);
    let mut before = Rig::new();
    before.join(1, MANY);
    before.publish(2, None);
    before.take(1);
    before.settle_as(1, 1, 2, reject("no"));
    rig.blocks.blocks.extend(before.blocks.blocks.into_iter().filter(|(topic, _)| *topic == LETTERS));
    let grave = |redriven| Grave { group: name(), key: 0, holds: false, redriven };
    let graves = BTreeMap::from([(1, grave(false)), (2, grave(true))]);
    let (name_of, durability) = (TopicName::parse("t").unwrap(), Durability::Synced);
    let logged = TopicSettings { name: name_of, durability, retention_ms: 1 << 40, limits: Limits::default() };
    rig.engine.restore_letters(LETTERS, &logged, (3, UnixMillis(0)), graves);
    let ops = rig.engine.take_ops(rig.now, false);
    let is_told = |op: &Op| matches!(op, Op::Limits { topic: LETTERS, limits } if limits.bytes == 1 << 20);
    assert!(ops.iter().any(is_told), "as the option says now: {ops:?}");
    rig.join(1, MANY);
    assert_eq!(rig.take(1), [(1, 2, 1)]);
    assert_eq!(letters(&rig), [1, 2]);
    assert_eq!(rig.engine.group((TOPIC, 0), &name()).unwrap().dead_letters, 2);
}

#[test]
fn a_letter_that_was_given_back_keeps_its_place_in_its_key_over_a_restart() {
    let mut before = Rig::new();
    before.join(1, MANY);
    before.publish(1, Some("k"));
    before.take(1);
    before.settle_as(1, 1, 1, reject("no"));
    before.engine.redrive(TOPIC, 1, &block_of(&before, 1)).unwrap();
    before.commit();
    let mut graves = BTreeMap::new();
    before.graves.drain(..).for_each(|(position, change)| change.apply(position, &mut graves));
    let mut rig = Rig::new();
    rig.publish(2, Some("k"));
    rig.blocks.blocks.extend(before.blocks.blocks.into_iter().filter(|(topic, _)| *topic == LETTERS));
    let state = GroupState { floor: 2, ..GroupState::default() };
    rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), GroupSettings::default()), rig.now, state);
    let (name, durability) = (TopicName::parse("t").unwrap(), Durability::Synced);
    let logged = TopicSettings { name, durability, retention_ms: 1 << 40, limits: Limits::default() };
    rig.engine.restore_letters(LETTERS, &logged, (2, UnixMillis(0)), graves);
    rig.join(1, MANY);
    let [(letter, 1, 1), (event, 2, 1)] = rig.take(1)[..] else { panic!("the letter, and the event") };
    assert_eq!(rig.settle(1, event, 1, Nack), [true]);
    assert_eq!(rig.settle(1, letter, 1, Ack), [false], "the nack took the letter back: it stands behind every event");
}

#[test]
fn a_redriven_letter_and_later_events_of_its_key_leave_the_key_free_when_they_are_done() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, Some("k"));
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("no"));
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    rig.commit();
    rig.publish(2, Some("k"));
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(rig.settle(1, 2, 3, Ack), [true; 3]);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    rig.join(2, MANY);
    rig.publish(1, Some("k"));
    assert_eq!(rig.take(2).iter().map(|g| g.1).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_dead_letter_of_a_group_that_is_gone_cannot_be_given_back_also_if_it_was_before() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("no"));
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    let block = block_of(&rig, 1);
    rig.engine.redrive(TOPIC, 1, &block).unwrap();
    assert_eq!(rig.engine.delete_group(TOPIC, &key("g")), Ok(1));
    assert_eq!(rig.engine.redrive(TOPIC, 1, &block), Err(LetterError::NoGroup(key("g"))));
    rig.join(2, MANY);
    assert_eq!(rig.take(2), [(1, 1, 1), (2, 1, 1)], "who makes it again has it at once, beside the event itself");
}

#[test]
fn what_was_given_back_is_owed_to_the_group_until_it_is_settled() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    rig.settle_as(1, 1, 2, reject("no"));
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    let seen = |rig: &Rig| {
        let group = rig.engine.group((TOPIC, 0), &key("g")).unwrap();
        (group.lag, group.in_flight, group.dead_letters, group.oldest)
    };
    assert_eq!(seen(&rig), (0, 0, 2, (None, None)));
    for number in [1, 2] {
        rig.engine.redrive(TOPIC, number, &block_of(&rig, number)).unwrap();
    }
    assert_eq!(seen(&rig), (2, 0, 2, (None, Some(1))));
    rig.publish(1, None);
    rig.join(2, MANY);
    assert_eq!((rig.take(2).len(), seen(&rig)), (3, (3, 3, 2, (Some(3), Some(1)))));
    let settled: Vec<bool> = [rig.settle(2, 1, 1, Ack), rig.settle(2, 3, 1, Ack)].concat();
    assert_eq!((settled, seen(&rig)), (vec![true, true], (1, 1, 1, (None, Some(2)))));
    rig.settle_as(2, 2, 1, reject("still"));
    assert_eq!(seen(&rig), (0, 0, 1, (None, None)), "it is a dead letter again");
}

#[test]
fn nobody_acks_an_event_that_is_given_up_after_its_lease_has_ended() {
    // By other settings, with room for the letter and without; and as it is too old.
    for (given_up, full) in [("settings", 0), ("settings", 9), ("age", 0)] {
        let mut rig = Rig::new();
        rig.settings.max_age_ms = Some(60_000);
        rig.join(1, MANY);
        rig.publish(1, None);
        rig.take(1);
        rig.engine.credit(TOPIC, sub(1), Credit { events: 0, bytes: 0 });
        rig.advance(WAIT);
        rig.blocks.full = full;
        if given_up == "settings" {
            let update = admin::GroupSettings { max_failures: Some(1), ..admin::GroupSettings::default() };
            rig.engine.update_group(TOPIC, &key("g"), &update).unwrap().unwrap();
        } else {
            rig.now.wall = UnixMillis(61_000);
            rig.join(2, MANY);
        }
        rig.commit();
        assert_eq!(rig.settle(1, 1, 1, Ack), [false], "by {given_up}");
        (0..9).for_each(|_| rig.advance(Duration::from_secs(1)));
        assert_eq!((letters(&rig), rig.take(2)), (vec![1], vec![]), "by {given_up}");
    }
}

#[test]
fn an_event_that_was_out_when_other_settings_gave_it_up_is_a_dead_letter_once_it_is_back() {
    let release = SettleAs { kind: SettleKind::Release, delay: None, reason: "" };
    for (back, failed) in [("released", 1), ("left", 1), ("left with an earlier one of its key", 2)] {
        let mut rig = Rig::new();
        rig.join(1, MANY);
        rig.publish(2, Some("k"));
        rig.take(1);
        rig.settle(1, failed, 1, Nack);
        let (again, ..) = rig.take(1)[0];
        let update = admin::GroupSettings { max_failures: Some(1), ..admin::GroupSettings::default() };
        rig.engine.update_group(TOPIC, &key("g"), &update).unwrap().unwrap();
        rig.commit();
        assert!(letters(&rig).is_empty(), "who has it may still ack it: {back}");
        if back == "released" {
            assert_eq!(rig.settle_as(1, again, 1, release), [true]);
        } else {
            rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
        }
        (0..9).for_each(|_| rig.advance(Duration::from_secs(1)));
        assert_eq!(letters(&rig), [1], "{back}");
    }
}
