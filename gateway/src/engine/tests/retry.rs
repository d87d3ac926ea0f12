//! Delays, extensions, events that are delivered alone, limits.

use super::*;

const fn nack(delay: Option<Duration>) -> SettleAs<'static> {
    SettleAs { kind: Nack, delay, reason: "" }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_nack_with_a_delay_is_due_then_and_not_before() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    assert_eq!(rig.settle_as(1, 1, 1, nack(Some(5 * SECOND))), [true]);
    assert_eq!(rig.engine.deadline(), Some(Moment(10_000)), "the settlement's own commit comes first");
    rig.advance(5 * SECOND - Duration::from_micros(1));
    assert_eq!(rig.take(1), []);
    rig.advance(Duration::from_micros(1));
    assert_eq!(rig.take(1), [(3, 1, 2)]);
}

#[test]
fn without_a_delay_each_failure_doubles_it_up_to_the_most_with_a_fifth_at_random() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(0);
    rig.join(1, MANY);
    rig.publish(1, None);
    for (failures, least) in [1u64, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        let [(number, ..)] = rig.take(1)[..] else { panic!("one delivery") };
        assert_eq!(rig.settle_as(1, number, 1, nack(None)), [true]);
        let (least, most) = (Duration::from_secs(least), Duration::from_millis(least * 1200));
        rig.advance(least - Duration::from_micros(1));
        assert_eq!(rig.take(1), [], "too early after {failures} failures");
        rig.advance(most - least);
        assert_eq!(rig.got.get(&sub(1)).map(Vec::len), Some(1), "after {failures} failures");
    }
}

#[test]
fn a_delayed_nack_holds_its_key_and_nothing_else() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish_keys(6, 2);
    rig.take(1);
    rig.settle_as(1, 3, 1, nack(Some(SECOND)));
    assert_eq!(rig.take(1), [], "3 is delayed, and 5 of its key waits behind it");
    rig.publish_keys(4, 2);
    assert_eq!(positions(&rig.take(1)), [8, 10], "the other key goes on");
    rig.advance(SECOND);
    let again = rig.take(1);
    assert_eq!(again.iter().map(|g| (g.1, g.2)).collect::<Vec<_>>(), [(3, 2), (5, 2), (7, 1), (9, 1)]);
}

#[test]
fn a_delay_goes_on_after_a_restart_and_is_never_longer_than_itself() {
    for (passed, left) in [(0, 8000), (3000, 5000), (9000, 0), (-50_000, 8000)] {
        let mut rig = Rig::new();
        rig.now.wall = UnixMillis(1_000_000 + passed);
        rig.publish(2, None);
        let failure = Failure { count: 1, last: UnixMillis(1_000_000), delay_ms: 8000, ..Failure::default() };
        let state = GroupState { floor: 1, settled: vec![], failures: BTreeMap::from([(1, failure)]) };
        let settings = GroupSettings::default();
        rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), settings), rig.now, state);
        rig.join(1, MANY);
        let first = positions(&rig.take(1));
        if left == 0 {
            assert_eq!(first, [1, 2], "{passed}");
            continue;
        }
        assert_eq!(first, [2], "{passed}");
        rig.advance(Duration::from_millis(left - 1));
        assert_eq!(rig.take(1), [], "{passed}");
        rig.advance(Duration::from_millis(1));
        assert_eq!(rig.take(1).iter().map(|g| (g.1, g.2)).collect::<Vec<_>>(), [(1, 2)], "{passed}");
    }
}

#[test]
fn an_extension_begins_the_lease_anew_for_that_delivery_alone() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    rig.advance(WAIT - SECOND);
    assert_eq!(rig.settle_as(1, 2, 1, SettleKind::Extend.into()), [true]);
    rig.advance(SECOND);
    assert_eq!(positions(&rig.take(1)), [1, 3], "their leases ended");
    rig.advance(WAIT - SECOND - Duration::from_micros(1));
    assert_eq!(rig.take(1), []);
    assert_eq!(rig.settle(1, 4, 2, Ack), [true, true]);
    rig.advance(Duration::from_micros(1));
    assert_eq!(positions(&rig.take(1)), [2], "and the extended one ends in its time");
    assert_eq!(rig.settle_as(1, 2, 1, SettleKind::Extend.into()), [false], "it is over");
    assert_eq!(rig.settle_as(1, 99, 2, SettleKind::Extend.into()), [false, false], "never delivered");
}

#[test]
fn extending_for_ever_ends_after_twelve_hours() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    let mut extended = Duration::ZERO;
    while rig.settle_as(1, 1, 1, SettleKind::Extend.into()) == [true] {
        rig.advance(WAIT - SECOND);
        extended += WAIT - SECOND;
        assert!(extended < Duration::from_secs(13 * 3600));
    }
    assert!(extended >= Duration::from_secs(12 * 3600 - 60));
    assert_eq!(rig.take(1).len(), 1, "it came again");
}

#[test]
fn a_group_has_no_more_in_flight_than_it_may() {
    let mut rig = Rig::new();
    rig.settings.max_in_flight = Some(3);
    rig.join(1, MANY);
    rig.join(2, MANY);
    rig.publish(10, None);
    assert_eq!(rig.take(1).len() + rig.take(2).len(), 3);
    rig.settle(1, 1, 2, Ack);
    assert_eq!(rig.take(1).len() + rig.take(2).len(), 2);
}

#[test]
fn a_group_delivers_at_its_rate_evenly() {
    let mut rig = Rig::new();
    rig.settings.max_rate = Some(100);
    rig.now.mono = Moment(1_000_000_000);
    rig.join(1, MANY);
    rig.publish(1000, None);
    let mut total = rig.take(1).len();
    assert!(total <= 11, "{total} at once: a tenth of a second's worth");
    for second in 1..=5 {
        for _ in 0..100 {
            rig.advance(Duration::from_millis(10));
            let got = rig.take(1).len();
            assert!(got <= 2, "{got} in 10 ms");
            total += got;
        }
        assert!((second * 100..=second * 100 + 12).contains(&total), "{total} after {second} s");
    }
}

#[test]
fn in_strict_order_a_key_has_one_unsettled_event() {
    let mut rig = Rig::new();
    rig.settings.strict_order = Some(true);
    rig.join(1, MANY);
    rig.publish_keys(6, 2);
    assert_eq!(positions(&rig.take(1)), [1, 2]);
    rig.settle(1, 1, 1, Ack);
    assert_eq!(positions(&rig.take(1)), [3]);
}

#[test]
fn an_event_counts_as_failing_from_its_first_failure_until_it_is_settled() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    let failing = |rig: &Rig| rig.engine.groups(TOPIC, 0)[0].failing;
    assert_eq!(failing(&rig), 0);
    rig.settle_as(1, 2, 1, nack(Some(SECOND)));
    rig.settle_as(1, 3, 1, nack(Some(Duration::ZERO)));
    assert_eq!(failing(&rig), 2);
    let again = rig.take(1);
    assert_eq!(positions(&again), [3]);
    assert_eq!(rig.settle(1, again[0].0, 1, Ack), [true]);
    assert_eq!(failing(&rig), 1, "also while an earlier one is not settled");
    rig.advance(SECOND);
    let number = rig.take(1)[0].0;
    rig.settle(1, number, 1, Ack);
    assert_eq!(failing(&rig), 0);
}
