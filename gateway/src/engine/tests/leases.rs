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

#[test]
fn after_a_change_to_a_shorter_wait_an_extension_makes_no_lease_shorter() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    let asked = admin::GroupSettings { ack_wait_ms: Some(1000), ..admin::GroupSettings::default() };
    rig.engine.update_group(TOPIC, &key("g"), &asked).unwrap().unwrap();
    extend(&mut rig, 1, 1);
    rig.advance(WAIT - Duration::from_micros(1));
    assert_eq!(rig.take(1), []);
    extend(&mut rig, 1, 1);
    rig.advance(Duration::from_secs(1) - Duration::from_micros(1));
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
