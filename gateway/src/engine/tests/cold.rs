//! Events that come again and must be read from the disk first.

use super::dead_letters::reject;
use super::*;

const BLOCK: u64 = 20;

/// A member that has so many blocks of events, which are no longer in memory.
fn with_cold(blocks: u64) -> Rig {
    let mut rig = Rig::new();
    rig.join(1, Credit { events: (blocks * BLOCK) as u32, ..MANY });
    for _ in 0..blocks {
        rig.publish(BLOCK, None);
    }
    assert_eq!(rig.take(1).len() as u64, blocks * BLOCK);
    rig.blocks.cold = 1..blocks * BLOCK + 1;
    rig
}

/// The first events of so many blocks.
fn firsts(blocks: std::ops::Range<u64>) -> Vec<Position> {
    blocks.map(|block| block * BLOCK + 1).collect()
}

/// So many blocks have come.
fn warm(rig: &mut Rig, blocks: u64) {
    rig.blocks.cold.start = blocks * BLOCK + 1;
    rig.engine.wake(TOPIC);
    rig.commit();
}

#[test]
fn they_are_fetched_once_a_block_and_some_blocks_at_a_time() {
    let mut rig = with_cold(40);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Lost);
    rig.join(2, Credit { events: 5000, ..MANY });
    assert_eq!(std::mem::take(&mut rig.blocks.fetches), firsts(0..16));
    warm(&mut rig, 16);
    assert_eq!(rig.take(2).len() as u64, 16 * BLOCK);
    assert_eq!(std::mem::take(&mut rig.blocks.fetches), firsts(16..32));
    rig.publish(1, None);
    assert_eq!(rig.take(2).len(), 1, "new ones do not wait for them");
    assert_eq!(std::mem::take(&mut rig.blocks.fetches), firsts(16..32));
    warm(&mut rig, 40);
    assert_eq!(rig.take(2).len() as u64, 24 * BLOCK);
}

#[test]
fn so_are_those_that_become_dead_letters() {
    let mut rig = with_cold(40);
    rig.settle_as(1, 1, (40 * BLOCK) as u32, reject("no"));
    assert_eq!(std::mem::take(&mut rig.blocks.fetches), firsts(0..16));
    warm(&mut rig, 16);
    assert_eq!(std::mem::take(&mut rig.blocks.fetches), firsts(16..32));
    warm(&mut rig, 40);
    assert_eq!(rig.graves.len() as u64, 40 * BLOCK);
}
