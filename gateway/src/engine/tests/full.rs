//! A store that is full: what is owed meanwhile, what becomes of it, and what is told.

use meshwire_proto::wire::admin::DeathReason;

use super::*;
use crate::engine::group::letter;
use crate::store::{DEAD, Grave};

const LETTERS: TopicId = TOPIC.dead_letters(true);

fn reject(reason: &str) -> SettleAs<'_> {
    SettleAs { reason, ..SettleKind::Reject.into() }
}

/// Position and error of each dead letter.
fn letters(rig: &Rig) -> Vec<(Position, String)> {
    let places = rig.engine.letters(TOPIC, None, 0, 100).letters;
    let of = |(place, _): &(Position, bool)| {
        let mut blocks = rig.blocks.blocks.iter().filter(|(topic, _)| *topic == LETTERS);
        let block = &blocks.find(|(_, block)| block.entry(*place).is_some()).unwrap().1;
        let letter = letter(block, *place).unwrap();
        assert_eq!(letter.reason(), DeathReason::Rejected);
        (letter.position, letter.error)
    };
    places.iter().map(of).collect()
}

fn told(rig: &mut Rig) -> Vec<(NoticeKind, u64)> {
    rig.engine.take_notices(rig.now.mono).into_iter().map(|notice| (notice.kind, notice.count)).collect()
}

fn given_up(said: &str) -> Failure {
    Failure { count: 1, rejected: true, said: said.to_owned(), ..Failure::default() }
}

#[test]
fn an_event_that_retention_takes_before_its_dead_letter_has_room_is_counted_and_told() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    rig.blocks.full = u32::MAX;
    rig.settle_as(1, 1, 1, reject("bad"));
    assert_eq!(told(&mut rig), [(NoticeKind::LettersWait, 1)]);
    let needed = rig.engine.needed(TOPIC);
    assert_eq!((needed.position, needed.owed), (1, true), "a topic that blocks says why it must stay");
    rig.blocks.gone_before = 2;
    assert_eq!(rig.engine.overtaken(TOPIC, 2), 1, "at once");
    rig.advance(Duration::from_secs(1));
    assert_eq!((rig.engine.overtaken(TOPIC, 2), letters(&rig)), (1, vec![]));
    assert_eq!(told(&mut rig), [(NoticeKind::LettersLost, 1)]);
    assert_eq!(rig.settle(1, 2, 2, Ack), [true, true], "the others are as they were");
    assert_eq!(rig.engine.groups(TOPIC, 2)[0].failing, 0);
}

#[test]
fn what_waits_for_room_is_told_once_a_minute() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    rig.blocks.full = u32::MAX;
    rig.settle_as(1, 1, 1, reject("bad"));
    assert_eq!(told(&mut rig), [(NoticeKind::LettersWait, 1)]);
    rig.settle_as(1, 2, 1, reject("bad"));
    for _ in 0..59 {
        rig.advance(Duration::from_secs(1));
        assert_eq!(told(&mut rig), []);
    }
    rig.advance(Duration::from_secs(1));
    assert_eq!(told(&mut rig), [(NoticeKind::LettersWait, 2)]);
    rig.blocks.full = 0;
    for _ in 0..61 {
        rig.advance(Duration::from_secs(1));
    }
    assert_eq!((told(&mut rig), letters(&rig).len()), (vec![], 2));
}

#[test]
fn events_that_are_due_and_find_no_room_are_told_and_come_when_there_is_some() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.timing = Timing { deliver_at: UnixMillis(5000), expires_in_ms: 0 };
    rig.publish(2, None);
    rig.blocks.full = u32::MAX;
    rig.advance(Duration::from_secs(4));
    assert_eq!(told(&mut rig), []);
    rig.advance(Duration::from_secs(1));
    assert_eq!((told(&mut rig), rig.take(1)), (vec![(NoticeKind::EventsWait, 2)], vec![]));
    rig.timing.deliver_at.0 += 30_000;
    rig.publish(1, None);
    for _ in 0..59 {
        rig.advance(Duration::from_secs(1));
        assert_eq!(told(&mut rig), []);
    }
    rig.advance(Duration::from_secs(1));
    assert_eq!(told(&mut rig), [(NoticeKind::EventsWait, 3)], "as many as there are then");
    rig.blocks.full = 0;
    rig.advance(Duration::from_secs(1));
    assert_eq!(positions(&rig.take(1)), [1, 2, 3]);
    rig.advance(Duration::from_secs(60));
    assert_eq!(told(&mut rig), []);
}

#[test]
fn the_reason_of_a_dead_letter_that_waits_is_in_the_log_behind_its_failure_and_of_no_other() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("fits"));
    rig.blocks.full = u32::MAX;
    rig.engine.settle(rig.now, TOPIC, sub(1), 2..3, reject("waits"));
    let mut out = Vec::new();
    rig.engine.dispatch(rig.now, &mut rig.blocks, &mut out);
    let ops = rig.engine.take_ops(rig.now, true);
    let place = |is: &dyn Fn(&Op) -> bool| ops.iter().position(is).unwrap();
    let failed = place(&|op| matches!(op, Op::Settle { ranges, .. } if ranges.iter().any(|r| r.0 == 2)));
    let said = place(&|op| matches!(op, Op::Reasons { reasons, .. } if *reasons == [(2, "waits".to_owned())]));
    assert!(failed < said, "{ops:?}");
    rig.now.mono = rig.now.mono + Duration::from_secs(1);
    rig.engine.tick(rig.now);
    rig.engine.dispatch(rig.now, &mut rig.blocks, &mut out);
    let again = rig.engine.take_ops(rig.now, true);
    assert!(!again.iter().any(|op| matches!(op, Op::Reasons { .. })), "it is said once: {again:?}");
}

#[test]
fn the_reason_of_what_is_given_up_is_in_the_log_though_no_letter_is_made_any_more() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.engine.settle(rig.now, TOPIC, sub(1), 1..2, reject("at the end"));
    // A gateway that stops looks at no reader.
    rig.now.mono = rig.now.mono + Duration::from_millis(10);
    let ops = rig.engine.take_ops(rig.now, false);
    let [Op::Settle { .. }, Op::Reasons { reasons, .. }] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!(reasons[..], [(1, "at the end".to_owned())]);
}

#[test]
fn a_store_that_is_making_room_is_asked_again_soon_and_nobody_is_told() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.blocks.busy = 1;
    rig.settle_as(1, 1, 1, reject("bad"));
    assert_eq!((told(&mut rig), letters(&rig).len()), (vec![], 0));
    rig.advance(Duration::from_millis(50));
    assert_eq!((told(&mut rig), letters(&rig).len()), (vec![], 1));

    let at = rig.now.wall.0 + 5000;
    rig.timing = Timing { deliver_at: UnixMillis(at), expires_in_ms: 0 };
    rig.publish(1, None);
    rig.blocks.busy = 1;
    rig.advance(Duration::from_secs(5));
    assert_eq!((told(&mut rig), rig.take(1)), (vec![], vec![]));
    rig.advance(Duration::from_millis(50));
    assert_eq!((told(&mut rig), positions(&rig.take(1))), (vec![], vec![2]));
}

#[test]
fn what_was_given_up_before_a_restart_is_a_dead_letter_with_its_reason_though_nobody_is_there() {
    for (key_of, full) in [(None, 0), (Some("k"), 0), (None, 3)] {
        let mut rig = Rig::new();
        rig.publish(4, key_of);
        let failures = BTreeMap::from([(1, given_up("one")), (3, given_up("three"))]);
        let state = GroupState { floor: 1, failures, ..GroupState::default() };
        rig.blocks.full = full;
        rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), GroupSettings::default()), rig.now, state);
        assert_eq!(rig.engine.deadline(), Some(Moment(0)), "without waiting for anybody");
        (0..4).for_each(|_| rig.advance(Duration::from_secs(1)));
        assert_eq!(letters(&rig), [(1, "one".to_owned()), (3, "three".to_owned())]);
        let group = rig.engine.groups(TOPIC, 1)[0].clone();
        assert_eq!((group.floor, group.lag, group.failing, group.dead_letters), (2, 2, 0, 2));
        rig.settings = admin::GroupSettings::default();
        rig.join(1, MANY);
        assert_eq!(rig.take(1), [(1, 2, 1), (2, 4, 1)]);
        rig.settle(1, 1, 2, Ack);
        assert_eq!(rig.engine.groups(TOPIC, 1)[0].floor, 5);
    }
}

#[test]
fn members_go_on_while_what_was_given_up_before_a_restart_waits_for_room_and_its_key_waits_if_it_is_to() {
    for hold_key in [false, true] {
        let mut rig = Rig::new();
        rig.publish(3, Some("k"));
        let failures = BTreeMap::from([(2, given_up("two"))]);
        let state = GroupState { floor: 1, failures, ..GroupState::default() };
        let settings = GroupSettings { hold_key, ..GroupSettings::default() };
        rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), settings), rig.now, state);
        rig.blocks.full = u32::MAX;
        rig.advance(Duration::from_secs(1));
        rig.settings = admin::GroupSettings::default();
        rig.join(1, MANY);
        let came = rig.take(1);
        assert_eq!(positions(&came).first(), Some(&1), "{hold_key}");
        assert_eq!(positions(&came).contains(&3), !hold_key, "{hold_key}");
        rig.blocks.full = 0;
        rig.advance(Duration::from_secs(1));
        assert_eq!(letters(&rig), [(2, "two".to_owned())], "once: {hold_key}");
        rig.settle(1, 1, 2, Ack);
        assert!(rig.engine.purge(TOPIC, 1));
        rig.commit();
        let last = [positions(&came), positions(&rig.take(1))].concat();
        assert_eq!(last, [1, 3], "{hold_key}");
    }
}

#[test]
fn what_was_given_up_before_a_restart_and_is_gone_since_is_told_as_missing_once() {
    let mut rig = Rig::new();
    rig.publish(4, None);
    let state = GroupState { floor: 1, failures: BTreeMap::from([(2, given_up("two"))]), ..GroupState::default() };
    rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), GroupSettings::default()), rig.now, state);
    rig.blocks.gone_before = 4;
    rig.advance(Duration::from_secs(1));
    assert_eq!((told(&mut rig), rig.engine.overtaken(TOPIC, 4)), (vec![(NoticeKind::LettersLost, 1)], 3));
    rig.settings = admin::GroupSettings::default();
    rig.join(1, MANY);
    assert_eq!((positions(&rig.take(1)), rig.gaps.clone()), (vec![4], vec![(sub(1), 3)]));
    assert_eq!(rig.engine.overtaken(TOPIC, 4), 3);
}

#[test]
fn a_dead_letter_is_not_told_as_missing_when_what_is_around_it_is() {
    let mut rig = Rig::new();
    rig.publish(4, None);
    let state = GroupState { floor: 1, failures: BTreeMap::from([(2, given_up("two"))]), ..GroupState::default() };
    rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), GroupSettings::default()), rig.now, state);
    rig.advance(Duration::from_secs(1));
    assert_eq!(letters(&rig), [(2, "two".to_owned())]);
    rig.blocks.gone_before = 4;
    assert_eq!(rig.engine.overtaken(TOPIC, 4), 2);
    rig.settings = admin::GroupSettings::default();
    rig.join(1, MANY);
    assert_eq!((positions(&rig.take(1)), rig.gaps.clone()), (vec![4], vec![(sub(1), 2)]));
    assert_eq!(rig.engine.overtaken(TOPIC, 4), 2);
}

/// A start after which a dead letter that had been given back has failed again.
fn failed_again(failure: Failure, full: u32) -> Rig {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("first"));
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    assert_eq!(rig.engine.delete_group(TOPIC, &key("g")), Ok(1));
    rig.commit();
    rig.blocks.full = full;
    let state = GroupState { floor: 2, failures: BTreeMap::from([(DEAD | 1, failure)]), ..GroupState::default() };
    rig.engine.restore_group(TOPIC, key("g"), (GroupId(2), GroupSettings::default()), rig.now, state);
    let logged = rig.engine.topic(LETTERS).unwrap().0.clone();
    let grave = Grave { group: key("g"), key: 0, holds: false, redriven: true };
    rig.engine.restore_letters(LETTERS, &logged, (2, UnixMillis(0)), BTreeMap::from([(1, grave)]));
    rig.settings = admin::GroupSettings::default();
    rig
}

#[test]
fn a_letter_that_was_given_up_again_before_a_restart_is_a_new_one_and_comes_to_nobody() {
    let mut rig = failed_again(given_up("again"), 0);
    rig.advance(Duration::from_secs(1));
    assert_eq!(letters(&rig), [(1, "again".to_owned())]);
    assert_eq!(rig.engine.letters(TOPIC, None, 0, 9).letters, [(2, false)], "and the old one is no more");
    rig.join(2, MANY);
    assert_eq!(rig.take(2), []);
}

#[test]
fn a_letter_that_was_given_up_again_comes_to_nobody_while_its_new_one_waits_for_room_and_its_delay_ends() {
    let failure = Failure { count: GroupSettings::default().max_failures, delay_ms: 60_000, ..Failure::default() };
    let mut rig = failed_again(failure, u32::MAX);
    rig.join(2, MANY);
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.take(2), []);
    rig.blocks.full = 0;
    rig.advance(Duration::from_secs(1));
    assert_eq!(rig.take(2), []);
    assert_eq!(rig.engine.letters(TOPIC, None, 0, 9).letters, [(2, false)]);
}

#[test]
fn settlements_are_taken_as_far_as_there_is_room_for_them() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(100, None);
    assert_eq!(rig.take(1).len(), 100);
    // No two of them are neighbours.
    for number in (1..100).step_by(2) {
        rig.engine.settle(rig.now, TOPIC, sub(1), number..number + 1, SettleKind::Ack.into());
    }
    assert_eq!(rig.engine.unlogged_bytes(), 50 * 32);
    let taken = |rig: &mut Rig, most| {
        let ops = rig.engine.take_ops_within(rig.now, true, most);
        ops.iter().map(|op| if let Op::Settle { ranges, .. } = op { ranges.len() } else { 1000 }).collect::<Vec<_>>()
    };
    assert_eq!(taken(&mut rig, 0), [0_usize; 0]);
    assert_eq!(rig.engine.deadline(), Some(rig.now.mono + Duration::from_secs(1)), "the store is asked again");
    assert_eq!((taken(&mut rig, 330), rig.engine.has_unlogged(TOPIC)), (vec![10], true));
    assert!(rig.engine.wants_commit(rig.now, false), "there may be room for more");
    assert_eq!((taken(&mut rig, u64::MAX), rig.engine.has_unlogged(TOPIC)), (vec![40], false));
    assert!(!rig.engine.wants_commit(rig.now, true));
}

#[test]
fn a_group_whose_settlements_find_no_room_for_long_is_delivered_nothing_until_they_do() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(0);
    rig.join(1, MANY);
    rig.publish(1000, None);
    let (mut next, mut out) = (1, Vec::new());
    assert_eq!(rig.take(1).len(), 1000);
    // No two failures of a round are neighbours; none is committed.
    let mut count = 1000;
    while count > 0 {
        let nack = SettleAs { delay: Some(Duration::ZERO), ..SettleKind::Nack.into() };
        for number in next..next + count {
            let how = if number % 2 == 0 { nack } else { SettleKind::Release.into() };
            rig.engine.settle(rig.now, TOPIC, sub(1), number..number + 1, how);
        }
        next += count;
        rig.engine.dispatch(rig.now, &mut rig.blocks, &mut out);
        count = out.drain(..).map(|Output::Deliver { run, .. }| u64::from(run.events.count())).sum();
    }
    let waits = rig.engine.unlogged_bytes();
    assert!((4 << 20..5 << 20).contains(&waits), "{waits}");
    rig.advance(Duration::from_secs(1));
    assert_eq!((rig.take(1).len(), rig.engine.unlogged_bytes()), (1000, 0));
}
