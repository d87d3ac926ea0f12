//! Events that wait for their time, and those that expire.

use super::*;
use crate::engine::delayed::DelayBudget;
use crate::store::{Delay, Expiries};

const fn at(ms: i64) -> Timing {
    Timing { deliver_at: UnixMillis(ms), expires_in_ms: 0 }
}

const fn expiring(expires_in_ms: u64) -> Timing {
    Timing { deliver_at: UnixMillis(0), expires_in_ms }
}

const DELAYED: TopicId = TOPIC.delayed();

impl Rig {
    /// Both clocks go on.
    fn wait(&mut self, ms: u64) {
        self.now.wall.0 += ms as i64;
        self.advance(Duration::from_millis(ms));
    }

    fn publish_at(&mut self, timing: Timing, ids: &[&str]) -> Vec<Judged> {
        self.timing = timing;
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let judged = self.publish_run(&Self::run(&ids, None), None);
        self.timing = Timing::default();
        judged
    }

    /// The ids of the topic's events, in the order of their positions.
    fn ids(&self) -> Vec<String> {
        let of_topic = self.blocks.blocks.iter().filter(|(topic, _)| *topic == TOPIC);
        let events =
            of_topic.flat_map(|(_, block)| block.run(block.first, block.count()).unwrap().iter().collect::<Vec<_>>());
        events.map(|event| meshwire_proto::event_identity(&event).unwrap().1.to_owned()).collect()
    }
}

#[test]
fn a_delayed_event_comes_at_its_time_and_never_before() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    let judged = rig.publish_at(at(5000), &["a", "b"]);
    assert_eq!(judged, [Judged { count: 2, verdict: Verdict::New(0) }], "where it will be is not known");
    assert_eq!((rig.engine.delayed(TOPIC), rig.engine.topic(TOPIC).unwrap().1), (2, 1));
    assert_eq!(rig.engine.deadline(), Some(Moment(5_000_000)));
    rig.wait(4999);
    assert_eq!(rig.take(1), []);
    rig.wait(1);
    assert_eq!(rig.take(1), [(1, 1, 1), (2, 2, 1)]);
    assert_eq!(rig.delays.len(), 4, "two waits, two releases");
    assert_eq!((rig.engine.delayed(TOPIC), rig.ids()), (0, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_time_in_the_past_is_at_once() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.wait(1000);
    for deliver_at in [i64::MIN, -1, 0, 1, 1000] {
        let judged = rig.publish_at(at(deliver_at), &[&deliver_at.to_string()]);
        assert!(matches!(judged[0].verdict, Verdict::New(1..)), "{deliver_at}");
    }
    assert_eq!(rig.take(1).len(), 5);
    assert_eq!(rig.delays, []);
}

#[test]
fn they_come_in_the_order_in_which_they_are_due_and_as_they_came_if_that_is_the_same() {
    let mut rig = Rig::new();
    for (due, id) in [(300, "d"), (100, "a"), (200, "b"), (200, "c")] {
        rig.publish_at(at(due), &[id]);
    }
    rig.wait(100);
    assert_eq!(rig.ids(), ["a"]);
    rig.wait(1000);
    assert_eq!(rig.ids(), ["a", "b", "c", "d"]);
}

#[test]
fn a_jump_of_the_wall_clock_moves_nothing_that_waits() {
    for jump in [-10_000_000, 10_000_000] {
        let mut rig = Rig::new();
        rig.now.wall = UnixMillis(20_000_000);
        rig.publish_at(at(20_001_000), &["a"]);
        rig.now.wall.0 += jump;
        rig.wait(999);
        assert!(rig.ids().is_empty());
        rig.wait(1);
        assert_eq!(rig.ids(), ["a"], "after its own delay");
    }
}

fn restarted(wall: i64, delays: &[(Position, Delay)]) -> Rig {
    let mut rig = Rig::new();
    rig.now.wall = UnixMillis(wall);
    let ids: Vec<String> = delays.iter().map(|(p, _)| p.to_string()).collect();
    let run = Rig::run(&ids, None);
    let mut end = 0;
    let entry = |(framed, _): (&[u8], &[u8])| {
        end += framed.len() as u32;
        crate::store::Entry { end, key: 0 }
    };
    let index: Vec<_> = run.framed().map(entry).collect();
    let block = Block { first: 1, stored: UnixMillis(0), bytes: run.as_bytes().clone(), index: index.into() };
    rig.blocks.blocks.push((DELAYED, block));
    rig.engine.restore_delayed(TOPIC, 5, &delays.iter().copied().collect(), rig.now);
    rig
}

#[test]
fn after_a_restart_what_is_overdue_comes_at_once_and_nothing_waits_longer_than_its_own_delay() {
    let delay = |due, delay_ms| Delay { due: UnixMillis(due), delay_ms, expires_in_ms: 0, len: 9 };
    let delays = [(1, delay(5000, 5000)), (2, delay(4000, 4000)), (3, delay(20_000, 20_000)), (4, delay(9000, 10))];
    let mut rig = restarted(6000, &delays);
    assert_eq!(rig.engine.delayed(TOPIC), 4);
    rig.wait(0);
    assert_eq!(rig.ids(), ["2", "1"], "in the order in which they were due");
    rig.wait(10);
    assert_eq!(rig.ids(), ["2", "1", "4"], "the clock went back, its delay is over");
    rig.wait(13_989);
    assert_eq!(rig.ids().len(), 3);
    rig.wait(1);
    assert_eq!(rig.ids(), ["2", "1", "4", "3"]);
    let mut back = restarted(-1_000_000_000, &delays);
    back.wait(19_999);
    assert_eq!(back.ids(), ["4", "2", "1"]);
    back.wait(1);
    assert_eq!(back.ids(), ["4", "2", "1", "3"]);
}

#[test]
fn without_room_a_due_event_waits_and_is_tried_again() {
    let mut rig = Rig::new();
    rig.publish_at(at(100), &["a", "b"]);
    rig.blocks.full = 2;
    rig.wait(100);
    assert_eq!((rig.ids().len(), rig.engine.delayed(TOPIC)), (0, 2));
    assert_eq!(rig.engine.deadline(), Some(Moment(1_100_000)));
    rig.wait(1000);
    assert_eq!(rig.ids().len(), 0);
    rig.wait(1000);
    assert_eq!((rig.ids(), rig.engine.delayed(TOPIC)), (vec!["a".to_owned(), "b".to_owned()], 0));
}

#[test]
fn an_event_whose_block_is_not_there_yet_waits_for_it_and_holds_back_those_behind_it() {
    let delay = |due| Delay { due: UnixMillis(due), delay_ms: 100, expires_in_ms: 0, len: 9 };
    let mut rig = restarted(0, &[(1, delay(10)), (2, delay(20))]);
    let block = rig.blocks.blocks.pop().unwrap();
    rig.wait(50);
    assert_eq!((rig.ids().len(), rig.engine.deadline()), (0, None), "nothing to do until it is there");
    rig.blocks.blocks.push(block);
    rig.engine.wake(DELAYED);
    rig.commit();
    assert_eq!(rig.ids(), ["1", "2"]);
}

#[test]
fn many_that_are_due_at_once_come_in_parts_and_in_order() {
    let mut rig = Rig::new();
    let ids: Vec<String> = (0..2500).map(|n| format!("{n:04}")).collect();
    rig.timing = at(1000);
    rig.publish_run(&Rig::run(&ids, None), None);
    rig.wait(1000);
    assert_eq!(rig.ids().len(), 1024);
    let mut looks = 1;
    while rig.engine.delayed(TOPIC) > 0 && looks < 10 {
        rig.now.mono = rig.engine.deadline().unwrap();
        rig.advance(Duration::ZERO);
        looks += 1;
    }
    assert_eq!((rig.ids(), looks), (ids, 3));
}

#[test]
fn a_duplicate_of_an_event_that_waits_is_one_by_id_and_by_sequence() {
    let mut rig = Rig::new();
    let mark = ProducerMark { producer: [9; 16], epoch: 1, first_sequence: 1, answered_through: 0 };
    let run = Rig::run(&["a".to_owned()], None);
    rig.timing = at(1000);
    assert_eq!(rig.publish_run(&run, Some(mark))[0].verdict, Verdict::New(0));
    assert_eq!(rig.publish_run(&run, Some(mark))[0].verdict, Verdict::Duplicate(0));
    assert_eq!(rig.publish_run(&run, None)[0].verdict, Verdict::Duplicate(0));
    rig.wait(1000);
    assert_eq!(rig.publish_run(&run, None)[0].verdict, Verdict::Duplicate(0), "also when it is in its topic");
    assert_eq!(rig.ids(), ["a"]);
}

#[test]
fn over_the_budget_none_begins_to_wait_until_others_are_delivered() {
    let mut rig = Rig::new();
    rig.engine = std::mem::replace(&mut rig.engine, Rig::new().engine).with_delays(DelayBudget::new((2, 1 << 20)));
    let judged = rig.publish_at(at(1000), &["a", "b", "c"]);
    assert_eq!(judged[1], Judged { count: 1, verdict: Verdict::TooManyTimes });
    assert_eq!(rig.publish_at(at(2000), &["c"])[0].verdict, Verdict::TooManyTimes);
    assert_eq!(rig.publish_at(at(0), &["c"])[0].verdict, Verdict::New(1), "at once is not bounded");
    rig.wait(1000);
    assert_eq!(rig.publish_at(at(2000), &["d"])[0].verdict, Verdict::New(0));
    rig.engine = std::mem::replace(&mut rig.engine, Rig::new().engine).with_delays(DelayBudget::new((9, 1)));
    assert_eq!(rig.publish_at(at(3000), &["e"])[0].verdict, Verdict::TooManyTimes, "bytes");
}

#[test]
fn a_memory_topic_delays_too_and_logs_nothing() {
    let mut rig = Rig::new();
    let topic = TopicId::memory(7);
    let (name, limits) = (TopicName::parse("m").unwrap(), Limits::default());
    let settings = TopicSettings { name, durability: Durability::Memory, retention_ms: 1, limits };
    rig.engine.add_topic(topic, settings, 1, UnixMillis(0));
    let run = Rig::run(&["a".to_owned(), "b".to_owned()], None);
    let scanned = scan(&run, EventLimits::default(), &IdHasher::new([0; 16]));
    let timing = Timing { deliver_at: UnixMillis(100), expires_in_ms: 50 };
    rig.engine.publish(rig.now, topic, (&run, scanned), How { producer: None, room: true, timing });
    assert!(rig.engine.take_ops(rig.now, true).is_empty());
    rig.now = Now { mono: Moment(100_000), wall: UnixMillis(100) };
    assert!(rig.engine.release(rig.now, &mut rig.blocks));
    let ops = rig.engine.take_ops(rig.now, true);
    let [Op::Append(append)] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!((append.topic, append.first, append.bytes.clone()), (topic, 1, run.as_bytes().clone()));
}

#[test]
fn an_expired_event_is_settled_for_groups_and_passed_over_for_others() {
    let mut rig = Rig::new();
    rig.publish_at(expiring(1000), &["a", "b"]);
    rig.publish_at(Timing::default(), &["c"]);
    rig.wait(1000);
    rig.join(1, MANY);
    rig.engine.subscribe(rig.now, TOPIC, sub(2), SubscribeSpec { group: None, start: Some(1), credit: MANY }).unwrap();
    rig.commit();
    assert_eq!((rig.take(1), rig.take(2)), (vec![(1, 3, 1)], vec![(1, 3, 1)]));
    let group = &rig.engine.groups(TOPIC, 0)[0];
    assert_eq!((group.expired, group.floor, group.dead_letters), (2, 3, 0));
    rig.wait(10);
    assert_eq!(rig.settled, [(1, 2, Outcome::Acked)]);
}

#[test]
fn one_that_is_out_may_be_acked_after_its_expiry_and_does_not_come_again() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish_at(expiring(1000), &["a", "b", "c"]);
    assert_eq!(positions(&rig.take(1)), [1, 2, 3]);
    rig.wait(999);
    assert_eq!(rig.settle(1, 2, 1, Nack), [true]);
    assert_eq!(rig.take(1), [(4, 2, 2)], "a moment before");
    rig.wait(1);
    assert_eq!(rig.settle(1, 1, 1, Ack), [true]);
    assert_eq!(rig.settle(1, 3, 1, Nack), [true]);
    rig.wait(WAIT.as_millis() as u64);
    assert_eq!(rig.take(1), []);
    let group = &rig.engine.groups(TOPIC, 0)[0];
    assert_eq!((group.expired, group.lag, group.dead_letters, group.in_flight), (2, 0, 0, 0));
}

#[test]
fn what_was_given_up_before_it_expired_is_a_dead_letter() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish_at(expiring(1000), &["a"]);
    rig.wait(1000);
    rig.settle_as(1, 1, 1, SettleAs { reason: "bad", ..SettleKind::Reject.into() });
    let group = &rig.engine.groups(TOPIC, 0)[0];
    assert_eq!((group.expired, group.dead_letters), (0, 1));
}

#[test]
fn with_both_the_time_to_expire_begins_when_it_is_due() {
    for (late, comes) in [(499, true), (500, false)] {
        let mut rig = Rig::new();
        rig.publish_at(Timing { deliver_at: UnixMillis(1000), expires_in_ms: 500 }, &["a"]);
        rig.wait(1000);
        assert_eq!(rig.ids(), ["a"]);
        rig.wait(late);
        rig.join(1, MANY);
        assert_eq!(!rig.take(1).is_empty(), comes, "{late} ms late");
    }
}

#[test]
fn a_clock_that_goes_back_brings_no_expired_event_back() {
    let mut rig = Rig::new();
    rig.publish_at(expiring(1000), &["a"]);
    rig.wait(1000);
    rig.publish_at(Timing::default(), &["b"]);
    rig.now.wall = UnixMillis(0);
    rig.join(1, MANY);
    assert_eq!(positions(&rig.take(1)), [2]);
}

#[test]
fn expiries_are_known_again_after_a_restart() {
    let mut rig = Rig::new();
    rig.publish(3, None);
    let mut expiries = Expiries::default();
    expiries.add(2, 1, UnixMillis(100), UnixMillis(0));
    rig.engine.restore_expiries(TOPIC, expiries);
    rig.wait(100);
    rig.join(1, MANY);
    assert_eq!(positions(&rig.take(1)), [1, 3]);
}

/// A topic whose expiring events stand between others, as many as may.
fn crowded() -> Rig {
    let mut rig = Rig::new();
    let most = MAX_EXPIRIES as u64;
    rig.publish_at(at(1000), &["late"]);
    rig.publish_at(Timing { deliver_at: UnixMillis(1000), expires_in_ms: 500 }, &["brief"]);
    let mut expiries = Expiries::default();
    (0..most).for_each(|n| expiries.restore(1 + 2 * n, 1, UnixMillis(9000)));
    rig.engine.restore_expiries(TOPIC, expiries);
    rig
}

#[test]
fn with_most_expiries_none_is_taken_until_retention_has_moved() {
    let mut rig = crowded();
    assert_eq!(rig.publish_at(expiring(1000), &["a"])[0].verdict, Verdict::TooManyTimes);
    let both = Timing { deliver_at: UnixMillis(5000), expires_in_ms: 1000 };
    assert_eq!(rig.publish_at(both, &["b"])[0].verdict, Verdict::TooManyTimes, "those that wait are bounded too");
    assert!(matches!(rig.publish_at(Timing::default(), &["c"])[0].verdict, Verdict::New(_)));
    assert!(rig.engine.wants_first(TOPIC));
    rig.engine.forget_expiries(TOPIC, 2);
    assert!(matches!(rig.publish_at(expiring(1000), &["a"])[0].verdict, Verdict::New(_)));
    rig.engine.forget_expiries(TOPIC, 2 * MAX_EXPIRIES as u64);
    assert!(!rig.engine.wants_first(TOPIC));
}

#[test]
fn what_is_due_forgets_the_expiries_that_retention_took_and_comes_in_time_without_that_too() {
    for (first, left) in [(0, true), (2 * MAX_EXPIRIES as u64, false)] {
        let mut rig = crowded();
        rig.blocks.gone_before = first;
        rig.wait(1000);
        assert_eq!(rig.ids(), ["late", "brief"]);
        assert_eq!(rig.engine.wants_first(TOPIC), left);
    }
}

#[test]
fn a_long_range_that_has_expired_is_passed_in_one_step() {
    const LAST: Position = 1 << 40;
    let mut rig = Rig::new();
    let settings = rig.engine.topic(TOPIC).unwrap().0.clone();
    rig.engine.add_topic(TOPIC, settings, LAST, UnixMillis(0));
    let mut expiries = Expiries::default();
    // One in the middle has not expired, one was settled before.
    let (open, settled) = (1 << 30, 1 << 20);
    expiries.restore(1, open - 1, UnixMillis(100));
    expiries.restore(open + 1, LAST - open - 1, UnixMillis(100));
    rig.engine.restore_expiries(TOPIC, expiries);
    let state = GroupState { floor: 1, settled: vec![(settled, settled + 1)], ..GroupState::default() };
    rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), GroupSettings::default()), rig.now, state);
    let block = {
        let mut other = Rig::new();
        other.publish(1, None);
        other.blocks.blocks[0].1.clone()
    };
    rig.blocks.blocks.push((TOPIC, Block { first: open, ..block }));
    rig.engine.kept(TOPIC, LAST);
    rig.wait(100);
    rig.settings = admin::GroupSettings::default();
    rig.join(1, MANY);
    rig.engine.subscribe(rig.now, TOPIC, sub(2), SubscribeSpec { group: None, start: Some(1), credit: MANY }).unwrap();
    rig.publish(1, None);
    assert_eq!(positions(&rig.take(2)), [open, LAST]);
    assert_eq!(positions(&rig.take(1)), [open, LAST], "one that is open is no reason to look at each behind it");
    assert_eq!(rig.settle(1, 1, 1, Ack), [true]);
    let group = &rig.engine.groups(TOPIC, 0)[0];
    assert_eq!((group.expired, group.floor), (LAST - 3, LAST));
    rig.wait(10);
    let acked: u64 = rig.settled.iter().map(|(_, count, _)| u64::from(*count)).sum();
    assert_eq!(acked, LAST - 2, "with the one that was acked, without the one that was settled before");
}

const HOUR: i64 = 3_600_000;

/// Positions that begin to wait and that no longer do, since the last look.
fn changes(rig: &mut Rig) -> (Vec<Position>, Vec<Position>) {
    let changes = std::mem::take(&mut rig.delays);
    let (waits, released): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, c)| *c != DelayChange::Released);
    let positions = |changes: Vec<(Position, DelayChange)>| changes.into_iter().map(|(p, _)| p).collect();
    (positions(waits), positions(released))
}

#[test]
fn what_waits_for_long_is_written_again_and_comes_once_at_its_time() {
    let mut rig = Rig::new();
    rig.publish_at(Timing { deliver_at: UnixMillis(5 * HOUR / 2), expires_in_ms: 100 }, &["a", "b"]);
    rig.publish_at(at(HOUR), &["soon"]);
    assert_eq!(changes(&mut rig), (vec![1, 2, 3], vec![]));
    rig.wait(HOUR as u64);
    assert_eq!((rig.ids(), changes(&mut rig)), (vec!["soon".to_owned()], (vec![4, 5], vec![3, 1, 2])));
    // Without room it is tried again, and nothing is lost meanwhile.
    rig.blocks.full = 2;
    rig.wait(HOUR as u64);
    assert_eq!(changes(&mut rig), (vec![], vec![]));
    rig.wait(1000);
    assert_eq!(changes(&mut rig), (vec![6, 7], vec![4, 5]));
    assert_eq!((rig.engine.delayed(TOPIC), rig.ids().len()), (2, 1));
    rig.wait(HOUR as u64 / 2 - 1001);
    assert_eq!(rig.ids().len(), 1);
    rig.wait(1);
    assert_eq!(rig.ids(), ["soon", "a", "b"]);
    assert_eq!(changes(&mut rig), (vec![], vec![6, 7]));
    assert_eq!(rig.engine.deadline(), None);
}

#[test]
fn how_long_it_has_been_where_it_is_counts_over_a_restart() {
    let delay = Delay { due: UnixMillis(10 * HOUR), delay_ms: 10 * HOUR as u64, expires_in_ms: 0, len: 9 };
    let mut rig = restarted(HOUR / 2, &[(1, delay)]);
    rig.wait(HOUR as u64 / 2 - 1);
    assert_eq!(changes(&mut rig), (vec![], vec![]));
    rig.wait(1);
    assert_eq!(changes(&mut rig), (vec![5], vec![1]));
    rig.wait(9 * HOUR as u64);
    assert_eq!(rig.ids(), ["1"]);
}

#[test]
fn with_its_topic_goes_what_waits_for_it() {
    let mut rig = Rig::new();
    rig.engine = std::mem::replace(&mut rig.engine, Rig::new().engine).with_delays(DelayBudget::new((1, 1 << 20)));
    rig.publish_at(at(5 * HOUR), &["a"]);
    rig.engine.delete_topic(TOPIC, false).unwrap();
    let gone: Vec<TopicId> = rig.engine.take_ops(rig.now, false).iter().map(Op::topic).collect();
    assert!(gone.contains(&DELAYED) && gone.contains(&TOPIC), "{gone:?}");
    assert_eq!(rig.engine.deadline(), None);
    rig.engine.wake(DELAYED);
    rig.engine.kept(DELAYED, 2);
    rig.wait(5 * HOUR as u64);
    assert!(rig.ids().is_empty());
    // Another topic of the id may have its room.
    let settings = TopicSettings {
        name: TopicName::parse("t").unwrap(),
        durability: Durability::Synced,
        retention_ms: 1,
        limits: Limits::default(),
    };
    rig.engine.add_topic(TOPIC, settings, 1, UnixMillis(0));
    assert_eq!(rig.publish_at(at(9 * HOUR), &["a"])[0].verdict, Verdict::New(0));
}

#[test]
fn a_run_says_until_when_its_events_are_delivered_and_one_that_was_given_back_by_hand_has_no_end() {
    let mut rig = Rig::new();
    rig.publish_at(at(0), &["a", "b"]);
    rig.publish_at(expiring(1000), &["c", "d"]);
    rig.publish_at(expiring(500), &["e"]);
    rig.publish_at(at(0), &["f"]);
    let expected = [(1, 2, None), (3, 2, Some(1000)), (5, 1, Some(500)), (6, 1, None)];
    for (n, group) in [(1, Some(group_spec("g", 1, rig.settings))), (2, None)] {
        rig.engine.subscribe(rig.now, TOPIC, sub(n), SubscribeSpec { group, start: Some(1), credit: MANY }).unwrap();
        rig.commit();
        assert_eq!(std::mem::take(&mut rig.runs), expected, "subscription {n}");
    }
    rig.settle(1, 3, 1, Nack);
    rig.settle_as(1, 4, 1, SettleAs { reason: "bad", ..SettleKind::Reject.into() });
    assert_eq!(std::mem::take(&mut rig.runs), [(3, 1, Some(1000))], "also when it comes again");
    let letters = TOPIC.dead_letters(true);
    let letter = rig.blocks.blocks.iter().find(|(topic, _)| *topic == letters).unwrap().1.clone();
    rig.engine.redrive(TOPIC, 1, &letter).unwrap();
    rig.commit();
    assert_eq!(rig.runs, [(4, 1, None)]);
}
