//! Blocks in memory, shared by all topics, the oldest out first.

use std::collections::{BTreeMap, VecDeque};

use crate::store::{Block, Entry, Position, TopicId};

/// A block and the memory it holds.
#[derive(Debug)]
struct Slot {
    block: Block,
    weight: usize,
}

/// Formula: `bytes` is the sum of all weights, and at most `limit`.
#[derive(Debug)]
pub(super) struct BlockCache {
    slots: BTreeMap<(TopicId, Position), Slot>,
    order: VecDeque<(TopicId, Position)>,
    bytes: usize,
    limit: usize,
}

impl BlockCache {
    pub(super) const fn new(limit: usize) -> Self {
        Self { slots: BTreeMap::new(), order: VecDeque::new(), bytes: 0, limit }
    }

    /// The block that holds a position.
    pub(super) fn get(&self, topic: TopicId, from: Position) -> Option<&Block> {
        let (_, slot) = self.slots.range((topic, 0)..=(topic, from)).next_back()?;
        (slot.block.next() > from).then_some(&slot.block)
    }

    /// Keeps a block whose bytes take `held` bytes of memory.
    pub(super) fn insert(&mut self, topic: TopicId, block: Block, held: usize) {
        let weight = held.max(block.bytes.len()) + block.index.len() * size_of::<Entry>() + 160;
        let key = (topic, block.first);
        if weight > self.limit || self.slots.contains_key(&key) {
            return;
        }
        while self.bytes + weight > self.limit {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.bytes -= self.slots.remove(&oldest).map_or(0, |s| s.weight);
        }
        self.slots.insert(key, Slot { block, weight });
        self.order.push_back(key);
        self.bytes += weight;
    }

    /// Lets go of all blocks of a topic.
    pub(super) fn forget(&mut self, topic: TopicId) {
        let of_topic = self.slots.range((topic, 0)..=(topic, Position::MAX)).map(|(key, _)| *key);
        for key in of_topic.collect::<Vec<_>>() {
            self.bytes -= self.slots.remove(&key).map_or(0, |s| s.weight);
        }
        self.order.retain(|(of, _)| *of != topic);
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meshwire_proto::UnixMillis;

    use super::*;

    fn block(first: Position, count: usize, len: usize) -> Block {
        let index = vec![Entry { end: 0, key: 0 }; count].into();
        Block { first, stored: UnixMillis(0), bytes: Bytes::from(vec![0; len]), index }
    }

    #[test]
    fn a_position_finds_the_block_of_its_topic() {
        let mut cache = BlockCache::new(1 << 20);
        cache.insert(TopicId(1), block(1, 5, 100), 0);
        cache.insert(TopicId(2), block(3, 5, 100), 0);
        let first = |topic, from| cache.get(TopicId(topic), from).map(|b| b.first);
        assert_eq!(
            [first(1, 1), first(1, 5), first(1, 6), first(2, 2), first(2, 7)],
            [Some(1), Some(1), None, None, Some(3)]
        );
    }

    #[test]
    fn a_topic_that_is_forgotten_leaves_its_room_to_others() {
        let mut cache = BlockCache::new(20_000);
        for n in 0..3 {
            cache.insert(TopicId(1), block(n, 1, 1000), 1500);
            cache.insert(TopicId(2), block(n, 1, 1000), 1500);
        }
        let before = cache.bytes();
        cache.forget(TopicId(1));
        assert!(cache.get(TopicId(1), 0).is_none() && cache.get(TopicId(2), 0).is_some());
        assert_eq!(cache.bytes(), before / 2);
        cache.insert(TopicId(1), block(0, 1, 1000), 1500);
        assert!(cache.get(TopicId(1), 0).is_some());
    }

    #[test]
    fn it_never_holds_more_than_its_limit_and_the_oldest_go() {
        let mut cache = BlockCache::new(10_000);
        for n in 0..100 {
            cache.insert(TopicId(1), block(n, 1, 1000), 1500);
            assert!(cache.bytes() <= 10_000);
        }
        assert!(cache.get(TopicId(1), 0).is_none() && cache.get(TopicId(1), 99).is_some());
        cache.insert(TopicId(1), block(200, 1, 20_000), 0);
        assert!(cache.get(TopicId(1), 200).is_none() && cache.get(TopicId(1), 99).is_some());
    }
}
