//! Keys are shared by the members of a group, also with one that joins.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// The key of each position when `publish_keys` published them.
const fn key_of(position: Position, keys: u64) -> u64 {
    (position - 1) % keys
}

#[test]
fn few_keys_are_shared_by_the_members() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.join(2, MANY);
    rig.publish_keys(80, 8);
    let keys = |got: Vec<(u64, Position, u32)>| got.iter().map(|g| key_of(g.1, 8)).collect::<BTreeSet<_>>();
    let (first, second) = (keys(rig.take(1)), keys(rig.take(2)));
    assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    assert_eq!((first.len(), second.len()), (4, 4));
}

#[test]
fn many_keys_still_come_in_runs() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.join(2, MANY);
    rig.publish_keys(800, 800);
    let got = rig.take(1);
    assert!((300..=500).contains(&got.len()), "{}", got.len());
    let breaks = got.windows(2).filter(|pair| pair[0].1 + 1 != pair[1].1).count();
    assert!(breaks <= got.len() / 8, "{breaks} breaks in {}", got.len());
}

#[test]
fn a_member_that_joins_gets_keys_of_one_that_has_them_all() {
    let mut rig = Rig::new();
    let prefetch = Credit { events: 256, bytes: 1 << 30 };
    rig.join(1, prefetch);
    rig.publish_keys(2000, 8);
    rig.join(2, prefetch);
    let mut held = [VecDeque::new(), VecDeque::new()];
    let (mut done, mut last) = ([0, 0], [0; 8]);
    while done[0] + done[1] < 2000 {
        for (index, member) in [(0, 1), (1, 2)] {
            held[index].extend(rig.take(member));
        }
        for (index, member) in [(0, 1), (1, 2)] {
            let Some((number, position, _)) = held[index].pop_front() else { continue };
            let key = key_of(position, 8);
            assert!(!held[1 - index].iter().any(|g| key_of(g.1, 8) == key), "key {key} is with both");
            assert!(last[key as usize] < position, "key {key} is out of order");
            last[key as usize] = position;
            rig.settle(member, number, 1, Ack);
            done[index] += 1;
        }
    }
    assert!(done[1] >= 700, "the second member did {} of 2000", done[1]);
}
