//! What retention takes before groups and subscriptions have it.

use super::*;

/// Positions that came, and the gaps that were told.
fn came(rig: &mut Rig, n: u64) -> (Vec<Position>, Vec<u64>) {
    rig.commit();
    (rig.take(n).into_iter().map(|g| g.1).collect(), rig.gaps.drain(..).map(|g| g.1).collect())
}

fn alone(rig: &mut Rig, topic: TopicId, start: Position) {
    let credit = Credit { events: 2, bytes: 1 << 30 };
    rig.engine.subscribe(rig.now, topic, sub(1), SubscribeSpec { group: None, start: Some(start), credit }).unwrap();
}

/// Twice as many events as a subscription may be behind, in a topic in memory.
fn memory() -> (Rig, TopicId) {
    let (mut rig, topic) = (Rig::new(), TopicId::memory(7));
    let (name, limits) = (TopicName::parse("m").unwrap(), Limits::default());
    let settings = TopicSettings { name, durability: Durability::Memory, retention_ms: 1, limits };
    rig.engine.add_topic(topic, settings, 1, UnixMillis(0));
    more(&mut rig, topic, 1..201);
    (rig, topic)
}

fn more(rig: &mut Rig, topic: TopicId, ids: std::ops::Range<u64>) {
    let run = Rig::run(&ids.map(|id| id.to_string()).collect::<Vec<_>>(), None);
    let scanned = scan(&run, EventLimits::default(), &IdHasher::new([0; 16]));
    rig.engine.publish(rig.now, topic, (&run, scanned), How { producer: None, room: true, timing: rig.timing });
    rig.commit();
}

#[test]
fn a_subscription_without_a_group_that_is_too_far_behind_in_memory_skips_ahead_and_is_told() {
    let (mut rig, topic) = memory();
    alone(&mut rig, topic, 1);
    assert_eq!(came(&mut rig, 1), (vec![101, 102], vec![100]), "the last hundred are left");
    more(&mut rig, topic, 201..211);
    rig.engine.settle(rig.now, topic, sub(1), 1..2, Ack.into());
    assert_eq!(came(&mut rig, 1), (vec![111], vec![8]), "103 to 110");
    rig.engine.settle(rig.now, topic, sub(1), 2..4, Ack.into());
    assert_eq!(came(&mut rig, 1), (vec![112, 113], vec![]), "it is no further behind than it may be");
}

#[test]
fn a_gap_that_was_told_with_a_delivery_that_never_arrived_is_told_again() {
    let (mut rig, topic) = memory();
    alone(&mut rig, topic, 1);
    assert_eq!(came(&mut rig, 1), (vec![101, 102], vec![100]));
    rig.engine.suspend(topic, sub(1));
    more(&mut rig, topic, 201..204);
    assert!(rig.engine.resume(topic, sub(1), 1));
    assert_eq!(came(&mut rig, 1), (vec![104, 105], vec![103]), "and what it has missed since");
    rig.engine.suspend(topic, sub(1));
    assert!(rig.engine.resume(topic, sub(1), 2));
    assert_eq!(came(&mut rig, 1), (vec![105], vec![]), "the first arrived, with its gap");
}

#[test]
fn what_was_missing_behind_a_delivery_that_never_arrived_is_told_once() {
    let (mut rig, topic) = memory();
    alone(&mut rig, topic, 1);
    assert_eq!(came(&mut rig, 1), (vec![101, 102], vec![100]));
    more(&mut rig, topic, 201..211);
    rig.engine.settle(rig.now, topic, sub(1), 1..2, Ack.into());
    assert_eq!(came(&mut rig, 1), (vec![111], vec![8]));
    rig.engine.suspend(topic, sub(1));
    assert!(rig.engine.resume(topic, sub(1), 2), "102 never arrived, nor what came behind it");
    assert_eq!(came(&mut rig, 1), (vec![111, 112], vec![9]), "102 to 110");
}

#[test]
fn a_group_in_memory_and_a_subscription_of_a_log_skip_nothing_however_far_behind() {
    let (mut rig, topic) = memory();
    let group = Some(group_spec("g", 1, rig.settings));
    let spec = SubscribeSpec { group, start: Some(1), credit: MANY };
    rig.engine.subscribe(rig.now, topic, sub(1), spec).unwrap();
    assert_eq!(came(&mut rig, 1), ((1..=200).collect(), vec![]));
    let mut rig = Rig::new();
    rig.publish(200, None);
    alone(&mut rig, TOPIC, 1);
    assert_eq!(came(&mut rig, 1), (vec![1, 2], vec![]));
}

#[test]
fn a_group_that_is_overtaken_is_told_how_much_is_missing_and_it_is_counted() {
    let mut rig = Rig::new();
    let asked = group_spec("g", 1, rig.settings);
    rig.engine.create_group(rig.now, TOPIC, &asked, 1).unwrap();
    rig.publish(10, None);
    rig.blocks.gone_before = 5;
    let needed = rig.engine.needed(TOPIC);
    assert_eq!((needed.position, needed.group, needed.owed), (1, Some(&key("g")), false));
    rig.join(1, Credit { events: 2, bytes: 1 << 30 });
    assert_eq!(rig.gaps, [(sub(1), 4)], "also if nobody was there in between");
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [5, 6]);
    assert_eq!((rig.engine.overtaken(TOPIC, 0), rig.engine.needed(TOPIC).position), (4, 5));
    // What it holds may be gone too: it is settled all the same; what comes next is told.
    rig.blocks.gone_before = 9;
    rig.settle(1, 1, 1, Ack);
    rig.settle(1, 2, 1, Nack);
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [9, 10]);
    assert_eq!(rig.gaps, [(sub(1), 4), (sub(1), 2), (sub(1), 1)], "7 and 8, and 6, which was to come again");
    assert_eq!((rig.engine.overtaken(TOPIC, 0), rig.engine.needed(TOPIC).position), (7, 9));
    rig.advance(Duration::from_millis(10));
    let acked: u32 = rig.settled.iter().filter(|s| s.2 == Outcome::Acked).map(|s| s.1).sum();
    assert_eq!(acked, 8, "what is gone is settled for the group");
}

#[test]
fn what_is_gone_is_no_lag_and_counts_as_overtaken_before_the_group_is_told() {
    let mut rig = Rig::new();
    let asked = group_spec("g", 1, rig.settings);
    rig.engine.create_group(rig.now, TOPIC, &asked, 1).unwrap();
    rig.publish(10, None);
    let seen = |rig: &Rig, first| (rig.engine.groups(TOPIC, first)[0].lag, rig.engine.overtaken(TOPIC, first));
    assert_eq!([seen(&rig, 1), seen(&rig, 5), seen(&rig, 11)], [(10, 0), (6, 4), (0, 10)]);
    rig.blocks.gone_before = 5;
    rig.join(1, Credit { events: 2, bytes: 1 << 30 });
    assert_eq!(rig.take(1).len(), 2);
    assert_eq!(seen(&rig, 5), (6, 4), "told, it is counted once");
    // What a member has can still be settled.
    assert_eq!(seen(&rig, 9), (4, 6));
    // What was to come again, now or later, cannot be read any more.
    let later = SettleAs { delay: Some(WAIT), ..Nack.into() };
    rig.settle_as(1, 2, 1, later);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    assert_eq!([seen(&rig, 5), seen(&rig, 6), seen(&rig, 9)], [(6, 4), (5, 5), (2, 8)]);
    rig.blocks.gone_before = 9;
    rig.advance(WAIT);
    rig.join(2, MANY);
    assert_eq!((rig.take(2).len(), seen(&rig, 9)), (2, (2, 8)), "told, it is counted once");
}
