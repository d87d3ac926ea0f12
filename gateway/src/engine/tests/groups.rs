//! Groups that are made, moved and removed.

use super::*;

fn name() -> GroupKey {
    key("g")
}

fn spec(rig: &Rig) -> GroupSpec {
    group_spec("g", 1, rig.settings)
}

#[test]
fn a_group_begins_where_it_was_made_to_whenever_somebody_joins() {
    let mut rig = Rig::new();
    rig.publish(5, None);
    assert_eq!(rig.engine.create_group(rig.now, TOPIC, &spec(&rig), 3), Ok(1));
    assert_eq!(rig.engine.create_group(rig.now, TOPIC, &spec(&rig), 5), Ok(0), "it is there");
    rig.join(1, MANY);
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn after_a_seek_back_everything_comes_again_as_if_for_the_first_time() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish_keys(6, 2);
    rig.take(1);
    rig.settle(1, 1, 3, Ack);
    rig.settle_as(1, 4, 1, SettleAs { delay: Some(WAIT), ..Nack.into() });
    assert_eq!(rig.engine.seek_group(TOPIC, &name(), 2), Some(2));
    rig.commit();
    let again = rig.take(1);
    assert_eq!(again.iter().map(|g| (g.1, g.2)).collect::<Vec<_>>(), [(2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]);
    assert_eq!(rig.settle(1, 5, 1, Ack), [false], "what it held is lost to it");
    let numbers: Vec<u64> = again.iter().map(|g| g.0).collect();
    for number in numbers {
        assert_eq!(rig.settle(1, number, 1, Ack), [true]);
    }
    rig.advance(WAIT * 2);
    assert_eq!(rig.take(1), [], "nothing of before is left");
    assert_eq!(rig.engine.groups(TOPIC, 0)[0].lag, 0);
}

#[test]
fn a_seek_beyond_either_end_goes_to_that_end() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    assert_eq!(rig.engine.seek_group(TOPIC, &name(), 99), Some(4));
    rig.publish(1, None);
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [4], "and skips what is between");
    assert_eq!(rig.engine.seek_group(TOPIC, &name(), 0), Some(1));
    rig.commit();
    assert_eq!(rig.take(1).len(), 4);
    assert_eq!(rig.engine.seek_group(TOPIC, &key("other"), 1), None);
}

#[test]
fn a_dead_letter_that_was_given_back_stays_with_who_has_it_over_a_seek() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, SettleKind::Reject.into());
    let letters = TOPIC.dead_letters(true);
    let (_, block) = rig.blocks.blocks.iter().find(|(topic, _)| *topic == letters).unwrap().clone();
    rig.engine.redrive(TOPIC, 1, &block).unwrap();
    rig.commit();
    let [(number, 1, 1)] = rig.take(1)[..] else { panic!("the dead letter") };
    rig.engine.seek_group(TOPIC, &name(), 3).unwrap();
    rig.commit();
    assert_eq!(rig.settle(1, number, 1, Ack), [true]);
    assert_eq!(rig.engine.group((TOPIC, 0), &name()).unwrap().dead_letters, 0);
}

#[test]
fn a_group_is_removed_once_nobody_uses_it_and_its_name_begins_anew() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, None);
    rig.take(1);
    rig.settle(1, 1, 1, Ack);
    let refused = rig.engine.delete_group(TOPIC, &name());
    assert_eq!(refused, Err(DeleteError::InUse { group: name(), members: 1 }));
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    rig.commit();
    assert_eq!(rig.engine.delete_group(TOPIC, &name()), Ok(1));
    assert_eq!(rig.engine.delete_group(TOPIC, &name()), Err(DeleteError::NotFound(name())));
    rig.advance(WAIT * 2);
    rig.join(2, MANY);
    assert_eq!(rig.take(2).iter().map(|g| (g.1, g.2)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    assert_eq!(rig.settle(1, 2, 1, Ack), [false], "what was handed out before is nobody's any more");
    assert_eq!(rig.settle(2, 2, 1, Ack), [true]);
}
