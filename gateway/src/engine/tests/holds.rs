//! What waits in a group, and what must not wait with it.

use super::*;

/// More than there are places for positions.
const PAST_A_WINDOW: u64 = 140_000;

fn later(delay: Duration) -> SettleAs<'static> {
    SettleAs { delay: Some(delay), ..Nack.into() }
}

/// Everything that comes to a member, acked as it comes.
fn drain(rig: &mut Rig, member: u64) -> Vec<Position> {
    let mut all = Vec::new();
    loop {
        let got = rig.take(member);
        let (Some(first), Some(last)) = (got.first(), got.last()) else { return all };
        all.extend(positions(&got));
        rig.settle(member, first.0, (last.0 - first.0 + 1) as u32, Ack);
    }
}

/// An event of another key comes at once.
fn others_go_on(rig: &mut Rig, member: u64) {
    rig.publish(1, Some("other"));
    assert_eq!(drain(rig, member).len(), 1, "at event {}", rig.next_id);
}

#[test]
fn one_open_event_does_not_stop_its_group_however_much_is_settled_behind_it() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, later(Duration::from_secs(600)));
    for round in 0..PAST_A_WINDOW / 1000 {
        rig.publish(1000, None);
        rig.blocks.blocks = rig.blocks.blocks.split_off(rig.blocks.blocks.len() - 1);
        assert_eq!(drain(&mut rig, 1).len(), 1000, "round {round}");
    }
    let group = &rig.engine.groups(TOPIC, 0)[0];
    assert_eq!((group.floor, group.lag, group.failing), (1, 1, 1));
    let places = rig.engine.topics[&TOPIC].groups[&GroupId(1)].window.places();
    assert!(places < 5000, "{places} places for one event");
}

#[test]
fn a_restored_group_goes_on_with_what_is_open_however_much_is_settled_between() {
    const LAST: Position = 1_000_000;
    let mut rig = Rig::new();
    let settings = rig.engine.topic(TOPIC).unwrap().0.clone();
    rig.publish(1, None);
    let block = rig.blocks.blocks[0].1.clone();
    rig.blocks.blocks.extend([LAST / 2, LAST].map(|first| (TOPIC, Block { first, ..block.clone() })));
    rig.engine.add_topic(TOPIC, settings, LAST + 1, UnixMillis(0));
    let settled = vec![(2, LAST / 2), (LAST / 2 + 1, LAST)];
    let failures = BTreeMap::from([(LAST / 2, Failure { count: 2, ..Failure::default() })]);
    let state = GroupState { floor: 1, settled, failures };
    rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), GroupSettings::default()), rig.now, state);
    rig.join(1, MANY);
    assert_eq!(rig.take(1), [(1, 1, 1), (2, LAST / 2, 3), (3, LAST, 1)]);
    let group = |rig: &Rig| rig.engine.groups(TOPIC, 0)[0].clone();
    assert_eq!((group(&rig).floor, group(&rig).lag, group(&rig).failing), (1, 3, 1));
    rig.settle(1, 2, 2, Ack);
    assert_eq!((group(&rig).floor, group(&rig).lag, group(&rig).failing), (1, 1, 0));
    rig.settle(1, 1, 1, Ack);
    assert_eq!((group(&rig).floor, group(&rig).lag), (LAST + 1, 0));
    rig.advance(Duration::from_millis(10));
    assert_eq!(rig.settled.iter().map(|s| s.0).collect::<Vec<_>>(), [LAST / 2, LAST, 1], "nothing is settled twice");
}

/// Two members: the first has all the keys it is given, and is stuck with them.
fn with_one_stuck(keys: u64) -> Rig {
    let mut rig = Rig::new();
    rig.join(1, Credit { events: keys as u32, bytes: 1 << 30 });
    rig.publish_keys(keys, keys);
    assert_eq!(rig.take(1).len() as u64, keys);
    rig.join(2, MANY);
    rig
}

/// Events of the keys of the one that is stuck.
fn more_of_its_keys(rig: &mut Rig, rounds: u64, keys: u64) {
    for _ in 0..rounds {
        rig.next_id = rig.next_id.next_multiple_of(keys);
        rig.publish_keys(keys, keys);
    }
}

#[test]
fn a_member_that_is_stuck_with_its_keys_holds_up_no_other_one_and_nothing_of_them_is_lost() {
    for (keys, rounds) in [(16, 4 * 64), (1500, 3)] {
        let mut rig = with_one_stuck(keys);
        for _ in 0..rounds {
            more_of_its_keys(&mut rig, 1, keys);
            others_go_on(&mut rig, 2);
        }
        // Its leases end: another one gets what it had and all that waits, each key in its order.
        rig.engine.credit(TOPIC, sub(1), Credit { events: 0, bytes: 0 });
        let began = rig.engine.groups(TOPIC, 0)[0].lag;
        rig.advance(WAIT);
        let mut last = BTreeMap::new();
        let came = drain(&mut rig, 2);
        assert_eq!((came.len() as u64, rig.engine.groups(TOPIC, 0)[0].lag), (began, 0));
        for position in came {
            let before = last.insert(hash_at(&rig, position), position);
            assert!(before < Some(position), "{position} after {before:?}");
        }
        assert_eq!(last.len() as u64, keys);
    }
}

/// The hash of the key of an event.
fn hash_at(rig: &Rig, position: Position) -> u64 {
    rig.blocks.blocks.iter().find_map(|(_, block)| block.entry(position)).unwrap().key
}

#[test]
fn keys_that_wait_cost_one_look_when_they_may_go_and_none_in_other_passes() {
    let mut rig = with_one_stuck(16);
    more_of_its_keys(&mut rig, 256, 16);
    let looks = |rig: &Rig| rig.engine.topics[&TOPIC].groups[&GroupId(1)].looks();
    let before = looks(&rig);
    for _ in 0..100 {
        others_go_on(&mut rig, 2);
    }
    assert_eq!(looks(&rig), before, "while others go on");
    // Each that goes is looked at, and at most two that cannot.
    for number in 1..=16 {
        rig.settle(1, number, 1, Ack);
    }
    let came = (rig.take(1).len() + rig.take(2).len()) as u64;
    let looked = looks(&rig) - before;
    assert!(came > 16 && looked <= came + 2 * 16, "{looked} looks for {came}");
}

#[test]
fn a_key_that_waits_for_a_delayed_event_holds_up_no_other_one() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, Some("hot"));
    let hot = rig.take(1)[0].1;
    rig.settle_as(1, 1, 1, later(Duration::from_secs(60)));
    for _ in 0..59 {
        rig.publish(100, Some("hot"));
        others_go_on(&mut rig, 1);
        rig.advance(Duration::from_secs(1));
    }
    assert_eq!(rig.take(1), [], "the key waits");
    rig.advance(Duration::from_secs(1));
    let came = drain(&mut rig, 1);
    assert_eq!((came.len(), came.first(), came.is_sorted()), (5901, Some(&hot), true));
    assert_eq!(rig.engine.groups(TOPIC, 0)[0].lag, 0);
}

#[test]
fn a_key_that_is_held_by_a_dead_letter_holds_up_no_other_one() {
    let mut rig = Rig::new();
    rig.settings.after_dead_letter = Some(admin::AfterDeadLetter::Hold.into());
    rig.join(1, MANY);
    rig.publish(1, Some("held"));
    rig.take(1);
    rig.settle_as(1, 1, 1, SettleAs { kind: SettleKind::Reject, delay: None, reason: "no" });
    for _ in 0..30 {
        rig.publish(100, Some("held"));
        others_go_on(&mut rig, 1);
    }
    assert!(rig.engine.purge(TOPIC, 1));
    rig.commit();
    let came = drain(&mut rig, 1);
    assert_eq!((came.len(), came.is_sorted()), (3000, true));
}

#[test]
fn a_group_waits_when_more_wait_in_it_than_it_may_remember() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, Some("hot"));
    rig.take(1);
    rig.settle_as(1, 1, 1, later(Duration::from_secs(600)));
    for _ in 0..66 {
        rig.publish(1000, Some("hot"));
    }
    rig.publish(1, Some("other"));
    assert_eq!(rig.take(1), [], "65,536 wait");
    let group = |rig: &Rig| rig.engine.groups(TOPIC, 0)[0].clone();
    assert_eq!(group(&rig).lag, 66_002);
    rig.advance(Duration::from_secs(600));
    let came = drain(&mut rig, 1);
    assert_eq!((came.len(), came.is_sorted(), group(&rig).lag), (66_002, true, 0));
}
