//! Topics that are deleted.

use super::*;

#[test]
fn a_topic_that_is_read_stays_unless_it_is_forced() {
    let mut rig = Rig::new();
    rig.join(2, MANY);
    let alone = SubscribeSpec { group: None, start: None, credit: MANY };
    rig.engine.subscribe(rig.now, TOPIC, sub(1), alone).unwrap();
    rig.publish(3, None);
    assert_eq!(rig.engine.delete_topic(TOPIC, false), Err(TopicInUse { subscriptions: 2 }));
    assert!(!rig.engine.has_ops() && rig.engine.has_topic(TOPIC));
    let deleted = rig.engine.delete_topic(TOPIC, true).unwrap();
    assert_eq!(deleted, Deleted { subscriptions: vec![sub(1), sub(2)], groups: 1 });
    let ops = rig.engine.take_ops(rig.now, true);
    assert!(matches!(ops[..], [Op::TopicGone { topic: TOPIC }]), "and no settlement of what is gone: {ops:?}");
    assert_eq!(rig.engine.deadline(), None, "no lease is left to end");
    assert_eq!(rig.settle(2, 1, 1, Ack), [false]);
    assert_eq!(rig.engine.delete_topic(TOPIC, false), Ok(Deleted::default()), "twice is nothing");
    rig.engine.restore_identities(TOPIC, std::iter::empty(), UnixMillis(0));
    assert!(!rig.engine.has_topic(TOPIC));
}

#[test]
fn its_dead_letters_go_with_it() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.settle(1, 1, 1, SettleKind::Reject);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    rig.commit();
    assert_eq!(rig.engine.letters(TOPIC, None, 0, 9).letters.len(), 1);
    rig.engine.delete_topic(TOPIC, false).unwrap();
    let gone: Vec<_> = rig.engine.take_ops(rig.now, true).iter().map(Op::topic).collect();
    assert_eq!(gone, [TOPIC, TOPIC.dead_letters(true)]);
    assert_eq!(rig.engine.letters(TOPIC, None, 0, 9), LettersPage::default());
}
