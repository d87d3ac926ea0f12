//! Keys that wait for dead letters, and what sets them free.

use meshwire_proto::wire::admin::DeathReason;

use super::super::group::letter;
use super::dead_letters::{LETTERS, block_of, letters, reject};
use super::*;

/// A group that holds keys, with an event of one that is given up and cannot be buried yet, and one behind it.
fn with_one_dying(hold: bool) -> Rig {
    let mut rig = Rig::new();
    let after = if hold { admin::AfterDeadLetter::Hold } else { admin::AfterDeadLetter::Continue };
    rig.settings.after_dead_letter = Some(after.into());
    rig.join(1, MANY);
    rig.publish(2, Some("k"));
    rig.take(1);
    rig.blocks.full = u32::MAX;
    rig.settle_as(1, 1, 1, reject("no"));
    rig
}

fn change(rig: &mut Rig, after: admin::AfterDeadLetter) {
    let asked = admin::GroupSettings { after_dead_letter: Some(after.into()), ..admin::GroupSettings::default() };
    rig.engine.update_group(TOPIC, &key("g"), &asked).unwrap().unwrap();
}

#[test]
fn a_key_that_was_held_for_what_a_seek_drops_goes_on() {
    let mut rig = with_one_dying(true);
    assert_eq!(rig.take(1), [], "the key is held");
    rig.blocks.full = 0;
    rig.engine.seek_group(TOPIC, &key("g"), 1).unwrap();
    rig.commit();
    assert_eq!(rig.take(1).iter().map(|g| (g.1, g.2)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    assert!(letters(&rig).is_empty(), "it was not given up since");
}

#[test]
fn what_is_given_up_holds_its_key_only_if_its_group_held_keys_then_and_still_does() {
    for hold in [true, false] {
        let mut rig = with_one_dying(hold);
        change(&mut rig, if hold { admin::AfterDeadLetter::Continue } else { admin::AfterDeadLetter::Hold });
        rig.blocks.full = 0;
        rig.advance(Duration::from_secs(1));
        assert_eq!(letters(&rig), [1]);
        // Behind the one that was taken back, or that its member still has.
        rig.publish(1, Some("k"));
        assert_eq!(rig.take(1).len(), if hold { 2 } else { 1 }, "held before: {hold}");
        rig.engine.purge(TOPIC, 1);
        rig.commit();
        assert_eq!(rig.take(1), []);
    }
}

#[test]
fn a_letter_says_why_its_event_was_given_up_though_the_settings_are_others_by_then() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(1);
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.blocks.full = u32::MAX;
    rig.settle_as(1, 1, 1, SettleAs { delay: Some(Duration::ZERO), ..SettleKind::Nack.into() });
    let asked = admin::GroupSettings { max_failures: Some(5), ..admin::GroupSettings::default() };
    rig.engine.update_group(TOPIC, &key("g"), &asked).unwrap().unwrap();
    rig.blocks.full = 0;
    rig.advance(Duration::from_secs(1));
    assert_eq!(letters(&rig), [1]);
    assert_eq!(letter(&block_of(&rig, 1), 1).unwrap().reason(), DeathReason::Failures);
}

#[test]
fn keys_that_are_held_go_on_when_their_group_holds_no_more_and_what_held_them_frees_none_later() {
    let mut rig = Rig::new();
    rig.settings.after_dead_letter = Some(admin::AfterDeadLetter::Hold.into());
    rig.join(1, MANY);
    rig.publish(3, Some("k"));
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("no"));
    assert_eq!((letters(&rig), rig.take(1)), (vec![1], vec![]), "the key is held");
    change(&mut rig, admin::AfterDeadLetter::Continue);
    rig.commit();
    let [(second, 2, _), (_, 3, _)] = rig.take(1)[..] else { panic!("the key goes on") };
    let mut graves = BTreeMap::new();
    rig.graves.iter().for_each(|(position, change)| change.clone().apply(*position, &mut graves));
    assert!(!graves[&1].holds, "nor does the letter hold it after a restart");
    change(&mut rig, admin::AfterDeadLetter::Hold);
    rig.settle_as(1, second, 1, reject("no"));
    assert_eq!((letters(&rig), rig.take(1)), (vec![1, 2], vec![]), "held by the second");
    rig.engine.purge(TOPIC, 1);
    rig.commit();
    assert_eq!(rig.take(1), [], "still");
    rig.engine.purge(TOPIC, 2);
    rig.commit();
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_purge_of_a_redriven_letter_that_is_given_up_again_frees_its_key() {
    let mut rig = with_one_dying(true);
    rig.blocks.full = 0;
    rig.advance(Duration::from_secs(1));
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    rig.commit();
    let [(number, 1, 1)] = rig.take(1)[..] else { panic!("the letter") };
    rig.blocks.full = u32::MAX;
    rig.settle_as(1, number, 1, reject("again"));
    assert!(rig.engine.purge(TOPIC, 1));
    rig.commit();
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_purge_of_a_redriven_letter_that_waits_for_its_time_frees_its_key() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, Some("k"));
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("no"));
    rig.settle_as(1, 2, 1, reject("no"));
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    rig.commit();
    let [(number, 1, 1)] = rig.take(1)[..] else { panic!("the letter") };
    assert_eq!(rig.settle_as(1, number, 1, SettleAs { delay: Some(WAIT), ..Nack.into() }), [true]);
    assert!(rig.engine.purge(TOPIC, 1));
    rig.engine.redrive(TOPIC, 2, &block_of(&rig, 2)).unwrap();
    rig.commit();
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [2], "nothing of the other one holds it");
    let delayed = rig.engine.group((TOPIC, 0), &key("g")).unwrap().delayed;
    assert_eq!(delayed, 0);
}

#[test]
fn letters_that_retention_took_are_forgotten_and_their_keys_go_on() {
    let mut rig = Rig::new();
    rig.settings.after_dead_letter = Some(admin::AfterDeadLetter::Hold.into());
    rig.join(1, MANY);
    rig.publish(2, Some("a"));
    rig.publish(2, Some("b"));
    rig.publish(1, None);
    let got = rig.take(1);
    for position in [1, 3, 5] {
        let (number, ..) = *got.iter().find(|g| g.1 == position).unwrap();
        rig.settle_as(1, number, 1, reject("no"));
    }
    assert_eq!((letters(&rig), rig.take(1)), (vec![1, 2, 3], vec![]));
    rig.engine.redrive(TOPIC, 3, &block_of(&rig, 3)).unwrap();
    rig.commit();
    let [(given_back, 5, 1)] = rig.take(1)[..] else { panic!("it is out, at its old place") };
    let logged = rig.graves.len();
    rig.engine.letters_expired(LETTERS, 2);
    rig.commit();
    assert_eq!((letters(&rig), rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>()), (vec![2, 3], vec![2]));
    rig.engine.letters_expired(LETTERS, 4);
    rig.commit();
    assert_eq!((letters(&rig), rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>()), (vec![], vec![4]));
    assert_eq!(rig.settle(1, given_back, 1, Ack), [false], "it is gone");
    assert_eq!(rig.graves.len(), logged, "the log knows it already");
}
