//! What one group costs beside ten thousand others.

use super::*;

const GROUPS: u64 = 10_000;

fn name(n: u64) -> GroupKey {
    key(&format!("g{n}"))
}

/// So many groups with a member each.
fn rig(groups: u64, credit: Credit) -> Rig {
    let mut rig = Rig::new();
    for n in 1..=groups {
        let group = group_spec(&format!("g{n}"), n as u32, rig.settings);
        let spec = SubscribeSpec { group: Some(group), start: Some(1), credit };
        rig.engine.subscribe(rig.now, TOPIC, sub(n), spec).unwrap();
    }
    rig.commit();
    rig
}

/// How many groups are looked at meanwhile.
fn looks(rig: &mut Rig, during: impl FnOnce(&mut Rig)) -> u64 {
    let before = rig.engine.topics[&TOPIC].readers.looks;
    during(rig);
    rig.engine.topics[&TOPIC].readers.looks - before
}

/// Looks of: a publish, a settlement, credit, a nack and its delay, a lease that ends, a member that goes.
fn work(groups: u64) -> Vec<u64> {
    let mut rig = rig(groups, Credit { events: 2, bytes: 1 << 30 });
    let mut work = vec![looks(&mut rig, |rig| rig.publish(4, None))];
    let of_one: [fn(&mut Rig); 6] = [
        |rig| assert_eq!(rig.settle(1, 1, 1, Ack), [true]),
        |rig| assert!(rig.engine.credit(TOPIC, sub(2), MANY)),
        |rig| drop(rig.settle_as(3, 1, 1, SettleAs { delay: Some(Duration::from_secs(1)), ..Nack.into() })),
        |rig| rig.advance(Duration::from_secs(1)),
        |rig| rig.engine.seek_group(TOPIC, &name(4), 2).map_or((), |_| ()),
        |rig| rig.engine.leave(rig.now, TOPIC, sub(5), Leaving::Lost),
    ];
    for step in of_one {
        work.push(looks(&mut rig, |rig| {
            step(rig);
            rig.commit();
        }));
    }
    work
}

#[test]
fn what_a_member_does_costs_the_same_beside_ten_thousand_groups() {
    let (few, many) = (work(10), work(GROUPS));
    assert_eq!(few[1..], many[1..], "looks at groups for: {few:?} and {many:?}");
    assert!(many[1..].iter().all(|looks| (1..=2).contains(looks)), "{many:?}");
    assert_eq!(many[0], GROUPS, "new events are for every group");
}

#[test]
fn ten_thousand_groups_each_get_every_event_and_settle_it() {
    let mut rig = rig(GROUPS, MANY);
    rig.publish(3, None);
    for n in 1..=GROUPS {
        assert_eq!(rig.take(n), [(1, 1, 1), (2, 2, 1), (3, 3, 1)], "group {n}");
        assert_eq!(rig.engine.settle(rig.now, TOPIC, sub(n), 1..4, Ack.into()).len(), 1);
    }
    rig.advance(Duration::from_millis(10));
    assert_eq!(rig.settled.len() as u64, GROUPS);
    assert!(rig.engine.groups(TOPIC, 0).iter().all(|group| group.lag == 0));
    assert_eq!(rig.engine.deadline(), None, "nothing is left to end");
}

#[test]
fn a_block_that_comes_is_looked_at_by_those_who_wait_for_it() {
    let mut rig = rig(100, MANY);
    rig.publish(1, None);
    let taken = rig.blocks.blocks.pop().unwrap();
    rig.engine.seek_group(TOPIC, &name(7), 1).unwrap();
    rig.commit();
    rig.take(7);
    rig.blocks.blocks.push(taken);
    let looked = looks(&mut rig, |rig| {
        rig.engine.wake(TOPIC);
        rig.commit();
    });
    assert_eq!(looked, 1);
    assert_eq!(rig.take(7), [(2, 1, 1)]);
    let again = looks(&mut rig, |rig| rig.engine.wake(TOPIC));
    assert_eq!(again, 0);
}

#[test]
fn nobody_is_looked_at_for_events_who_has_no_room_for_them() {
    let mut rig = rig(100, Credit { events: 1, bytes: 1 << 30 });
    rig.publish(1, None);
    let looked = looks(&mut rig, |rig| rig.publish(1, None));
    assert_eq!(looked, 0);
    rig.settle(9, 1, 1, Ack);
    assert_eq!(rig.take(9).last(), Some(&(2, 2, 1)));
}
