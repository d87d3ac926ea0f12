//! What a group remembers of leases.

use super::*;

/// Entries of leases, and extended deliveries, that the group has.
fn remembered(rig: &Rig) -> (usize, usize) {
    rig.engine.topics.get(&TOPIC).unwrap().groups.get(&GroupId(1)).unwrap().remembered()
}

fn extend(rig: &mut Rig, first: u64, count: u32) {
    let all = vec![true; count as usize];
    assert_eq!(rig.settle_as(1, first, count, SettleKind::Extend.into()), all);
}

#[test]
fn an_extension_is_forgotten_with_its_delivery() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    for round in 0..100 {
        rig.publish(10, None);
        let first = 1 + 10 * round;
        rig.advance(Duration::from_millis(1));
        extend(&mut rig, first, 10);
        assert_eq!(remembered(&rig).1, 10);
        assert_eq!(rig.settle(1, first, 10, Ack), [true; 10]);
        assert_eq!(remembered(&rig).1, 0);
    }
}

#[test]
fn an_extension_is_forgotten_however_its_delivery_is_lost() {
    let lose: [fn(&mut Rig); 4] = [
        |rig| assert!(rig.engine.seek_group(TOPIC, &key("g"), 1).is_some()),
        |rig| assert!(rig.settle_as(1, 1, 1, SettleAs { delay: Some(WAIT), ..Nack.into() })[0]),
        |rig| assert!(rig.engine.suspend(TOPIC, sub(1)) == 3 && rig.engine.resume(TOPIC, sub(1), 1)),
        |rig| rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean),
    ];
    for lose in lose {
        let mut rig = Rig::new();
        rig.join(1, MANY);
        rig.publish(3, Some("k"));
        extend(&mut rig, 1, 3);
        lose(&mut rig);
        assert_eq!(remembered(&rig).1, 0);
    }
}

#[test]
fn who_extends_as_fast_as_it_can_makes_the_group_remember_each_lease_once() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    for _ in 0..10_000 {
        rig.now.mono = rig.now.mono + Duration::from_millis(1);
        for number in [3, 1] {
            let extended = rig.engine.settle(rig.now, TOPIC, sub(1), number..number + 1, SettleKind::Extend.into());
            assert!(extended[0].settled);
        }
    }
    assert_eq!(remembered(&rig), (1, 2), "the leases that began together, and two that were extended");
    rig.advance(WAIT - Duration::from_micros(1));
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [2], "the others end by the last extension");
    rig.advance(Duration::from_micros(1));
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn leases_end_in_the_order_of_their_ends_whether_extended_or_not() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, Some("k"));
    rig.advance(Duration::from_secs(1));
    extend(&mut rig, 1, 1);
    rig.advance(WAIT);
    rig.advance(Duration::from_millis(10));
    let failed: Vec<_> = rig.settled.iter().filter(|s| is_failed(s.2)).map(|s| s.0).collect();
    assert_eq!(failed, [2, 1], "2 fails and takes 3 back, then 1 fails");
}

fn change_wait(rig: &mut Rig, millis: u32) {
    rig.settings.ack_wait_ms = Some(millis);
    rig.engine.update_group(TOPIC, &key("g"), &rig.settings).unwrap().unwrap();
}

#[test]
fn after_a_change_to_a_shorter_wait_leases_of_a_member_last_as_long_as_it_was_told() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(1);
    rig.join(1, MANY);
    change_wait(&mut rig, 2000);
    rig.publish(1, None);
    rig.take(1);
    // It extends three times in the wait that it knows of, over a reconnection too.
    for _ in 0..10 {
        rig.advance(WAIT / 3);
        extend(&mut rig, 1, 1);
        rig.engine.suspend(TOPIC, sub(1));
        assert!(rig.engine.resume(TOPIC, sub(1), 2));
    }
    rig.advance(WAIT - Duration::from_micros(1));
    assert_eq!(rig.settle(1, 1, 1, Ack), [true]);
    rig.advance(Duration::from_millis(10));
    assert!(!rig.settled.iter().any(|s| is_failed(s.2)), "{:?}", rig.settled);
}

#[test]
fn a_shorter_wait_holds_for_who_joins_after_it_beside_one_that_was_told_a_longer_one() {
    let mut rig = Rig::new();
    rig.join(1, Credit { events: 1, bytes: 1 << 30 });
    rig.publish(1, None);
    assert_eq!(rig.take(1), [(1, 1, 1)]);
    change_wait(&mut rig, 2000);
    rig.join(2, MANY);
    rig.publish(2, None);
    assert_eq!(rig.take(2), [(1, 2, 1), (2, 3, 1)]);
    assert_eq!(rig.settle(2, 1, 1, Ack), [true]);
    rig.advance(Duration::from_millis(1999));
    assert_eq!(rig.take(2), []);
    rig.advance(Duration::from_millis(1));
    assert_eq!(rig.take(2), [(3, 3, 2)], "its lease was the shorter one");
    extend(&mut rig, 1, 1);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    rig.commit();
    assert_eq!(rig.take(2), [(4, 1, 2)], "nothing of the first one is left");
    assert_eq!(rig.settle(2, 3, 2, Ack), [true, true]);
    rig.advance(WAIT);
    assert_eq!((remembered(&rig), rig.engine.deadline()), ((0, 0), None));
}

#[test]
fn a_longer_wait_holds_for_everybody_from_the_next_lease_on() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    change_wait(&mut rig, 60_000);
    rig.publish(1, None);
    rig.take(1);
    rig.advance(WAIT * 2 - Duration::from_micros(1));
    assert_eq!(rig.take(1), []);
    rig.advance(Duration::from_micros(1));
    assert_eq!(rig.take(1), [(2, 1, 2)]);
}

#[test]
fn what_is_settled_behind_a_delivery_that_is_held_for_long_is_not_remembered() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(0);
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    for number in 2..5000 {
        rig.now.mono = rig.now.mono + Duration::from_millis(1);
        assert_eq!(rig.settle(1, number, 1, Nack), [true]);
        assert!(remembered(&rig).0 < 100, "{}", remembered(&rig).0);
    }
    let (number, ..) = *rig.take(1).last().unwrap();
    rig.now.mono = Moment(30_000_000);
    rig.advance(Duration::ZERO);
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [1], "it ends in its time");
    rig.advance(Duration::from_millis(4998));
    assert_eq!(rig.take(1), [(number + 2, 2, 5000)], "and so does the last lease of the other one");
}

#[test]
fn a_late_settle_of_an_event_with_a_key_is_lost_since_those_behind_it_wait_too() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, Some("k"));
    rig.engine.credit(TOPIC, sub(1), Credit { events: 0, bytes: 0 });
    rig.advance(WAIT);
    assert_eq!(rig.settle(1, 1, 2, Ack), [false, false]);
    rig.join(2, MANY);
    assert_eq!(rig.take(2), [(1, 1, 2), (2, 2, 2)]);
}

#[test]
fn an_extension_is_no_longer_than_its_own_members_wait_whatever_lease_another_one_has() {
    let mut rig = Rig::new();
    rig.settings.ack_wait_ms = Some(12 * 3_600_000);
    rig.join(1, ONE);
    let asked = admin::GroupSettings { ack_wait_ms: Some(1000), ..admin::GroupSettings::default() };
    rig.engine.update_group(TOPIC, &key("g"), &asked).unwrap().unwrap();
    rig.settings.ack_wait_ms = None;
    rig.engine.credit(TOPIC, sub(1), Credit { events: 0, bytes: 0 });
    rig.join(2, ONE);
    rig.publish(1, None);
    assert_eq!(rig.take(2).len(), 1);
    rig.engine.credit(TOPIC, sub(1), ONE);
    rig.publish(1, None);
    assert_eq!(rig.take(1).len(), 1, "its lease ends long after");
    assert_eq!(rig.settle_as(2, 1, 1, SettleKind::Extend.into()), [true]);
    rig.advance(Duration::from_millis(1001));
    assert_eq!(rig.take(2), [(2, 1, 2)], "it hangs, and is given the event again");
}

#[test]
fn what_is_given_back_unbegun_comes_again_at_once_and_has_not_failed() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, Some("k"));
    rig.publish(3, None);
    assert_eq!(rig.take(1).len(), 5);
    rig.engine.credit(TOPIC, sub(1), Credit { events: 0, bytes: 0 });
    assert_eq!(rig.settle_as(1, 2, 4, SettleKind::Release.into()), [true; 4]);
    assert_eq!(rig.settle(1, 3, 1, Ack), [false], "it is others'");
    rig.join(2, MANY);
    let came: Vec<_> = rig.take(2).iter().map(|got| (got.1, got.2)).collect();
    assert_eq!(came, [(3, 2), (4, 2), (5, 2)], "the key stays with who has its first event");
    rig.settle(1, 1, 1, Ack);
    assert_eq!(positions(&rig.take(2)), [2]);
    let group = &rig.engine.groups(TOPIC, 0)[0];
    assert_eq!((group.failing, rig.settled.iter().any(|s| is_failed(s.2))), (0, false));
}
