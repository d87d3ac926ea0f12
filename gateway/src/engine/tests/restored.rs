//! Dead letters from the log, and what has changed since.

use super::*;
use crate::store::{Grave, key_hash};

const LETTERS: TopicId = TOPIC.dead_letters(true);

fn logged(durability: Durability) -> TopicSettings {
    let (name, limits) = (TopicName::parse("t").unwrap(), Limits { bytes: 1 << 20, block: false });
    TopicSettings { name, durability, retention_ms: 1 << 40, limits }
}

/// A letter that holds its key.
fn graves() -> BTreeMap<Position, Grave> {
    BTreeMap::from([(1, Grave { group: key("g"), key: key_hash(b"k"), holds: true, redriven: false })])
}

#[test]
fn a_letter_that_held_its_key_holds_none_of_a_group_that_holds_no_keys_now() {
    for hold_key in [false, true] {
        let mut rig = Rig::new();
        rig.publish(2, Some("k"));
        let state = GroupState { floor: 2, ..GroupState::default() };
        let settings = GroupSettings { hold_key, ..GroupSettings::default() };
        rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), settings), rig.now, state);
        rig.engine.restore_letters(LETTERS, &logged(Durability::Synced), (2, UnixMillis(0)), graves());
        rig.settings = admin::GroupSettings::default();
        rig.join(1, MANY);
        assert_eq!(rig.take(1).len(), usize::from(!hold_key));
        let mut left = graves();
        rig.graves.drain(..).for_each(|(position, change)| change.apply(position, &mut left));
        assert_eq!(left[&1].holds, hold_key, "the log says the same");
    }
}

#[test]
fn letters_that_a_memory_topic_left_are_kept_as_well_as_the_topic_that_has_them_then() {
    let mut rig = Rig::new();
    rig.engine.delete_topic(TOPIC, true).unwrap();
    rig.engine.restore_letters(LETTERS, &logged(Durability::Written), (2, UnixMillis(0)), graves());
    rig.engine.take_ops(rig.now, false);
    rig.engine.create_topic(TOPIC, logged(Durability::Synced), rig.now);
    let ops = rig.engine.take_ops(rig.now, false);
    let raised = |op: &Op| matches!(op, Op::Topic { topic: LETTERS, durability: Durability::Synced, .. });
    assert!(ops.iter().any(raised), "{ops:?}");
}

#[test]
fn what_waits_for_its_time_is_known_again_though_the_clock_was_set_back_before_the_restart() {
    let mut rig = Rig::new();
    let run = Rig::run(&["1".to_owned()], None);
    let identity = IdHasher::new([0; 16]).hash(b"/s", b"1");
    // It was stored when the clock was ahead, and not in the topic itself.
    rig.engine.restore_identities(TOPIC, std::iter::once((1, identity)), UnixMillis(60_000));
    rig.now.wall = UnixMillis(40_000);
    assert!(matches!(rig.publish_run(&run, None)[0].verdict, Verdict::Duplicate(_)));
}

#[test]
fn a_restored_group_skips_what_was_settled_and_counts_failures_on() {
    let mut rig = Rig::new();
    rig.publish(6, None);
    let settings = GroupSettings::default();
    let state = GroupState {
        floor: 2,
        settled: vec![(3, 5)],
        failures: BTreeMap::from([(2, Failure { count: 2, ..Failure::default() })]),
    };
    rig.engine.restore_group(TOPIC, key("g"), (GroupId(1), settings), rig.now, state);
    rig.join(1, MANY);
    assert_eq!(rig.take(1), [(1, 2, 3), (2, 5, 1), (3, 6, 1)]);
}
