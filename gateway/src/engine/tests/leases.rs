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
