//! What retention takes before groups and subscriptions have it.

use super::*;

#[test]
fn a_group_that_is_overtaken_is_told_how_much_is_missing_and_it_is_counted() {
    let mut rig = Rig::new();
    let asked = group_spec("g", 1, rig.settings);
    rig.engine.create_group(rig.now, TOPIC, &asked, 1).unwrap();
    rig.publish(10, None);
    rig.blocks.gone_before = 5;
    assert_eq!(rig.engine.needed(TOPIC), 1);
    rig.join(1, Credit { events: 2, bytes: 1 << 30 });
    assert_eq!(rig.gaps, [(sub(1), 4)], "also if nobody was there in between");
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [5, 6]);
    assert_eq!((rig.engine.overtaken(TOPIC), rig.engine.needed(TOPIC)), (4, 5));
    // What it holds may be gone too: it is settled all the same; what comes next is told.
    rig.blocks.gone_before = 9;
    rig.settle(1, 1, 1, Ack);
    rig.settle(1, 2, 1, Nack);
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [9, 10]);
    assert_eq!(rig.gaps, [(sub(1), 4), (sub(1), 2), (sub(1), 1)], "7 and 8, and 6, which was to come again");
    assert_eq!((rig.engine.overtaken(TOPIC), rig.engine.needed(TOPIC)), (7, 9));
    rig.advance(Duration::from_millis(10));
    let acked: u32 = rig.settled.iter().filter(|s| s.2 == Outcome::Acked).map(|s| s.1).sum();
    assert_eq!(acked, 8, "what is gone is settled for the group");
}
