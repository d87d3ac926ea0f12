//! Topics of durability `memory`: a ring of blocks each, bounded in bytes.
//!
//! A commit is done when it returns; what a ring overwrites is gone, and who
//! still wanted it is told by [`Lookup::Gone`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use meshwire_proto::UnixMillis;

use super::{Append, Block, Capability, Claim, Durability, Lookup, Op, Position, Since, Store, StoreError, TopicId};

/// Appends below this size are copied together; larger ones stay the buffer they came in.
const COPY_BELOW: usize = 16 * 1024;

/// What a block costs beside its bytes and index.
const BLOCK_OVERHEAD: usize = 128;

/// Bounds of the rings.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// Most bytes of one topic.
    pub ring_bytes: usize,
    /// Most bytes of all topics; the largest ring gives way.
    pub total_bytes: usize,
}

/// Keeps events in memory.
#[derive(Debug)]
pub struct MemoryStore {
    config: MemoryConfig,
    rings: Mutex<Rings>,
}

#[derive(Debug, Default)]
struct Rings {
    topics: BTreeMap<TopicId, Ring>,
    sizes: BTreeSet<(usize, TopicId)>,
    total: usize,
}

#[derive(Debug)]
struct Ring {
    /// Consecutive.
    blocks: VecDeque<Block>,
    /// Position behind the last event.
    next: Position,
    bytes: usize,
    /// Small appends are copied here; blocks are split off it.
    open: BytesMut,
}

fn cost(block: &Block) -> usize {
    block.bytes.len() + std::mem::size_of_val(&*block.index) + BLOCK_OVERHEAD
}

impl Ring {
    fn new(next: Position) -> Self {
        Self { blocks: VecDeque::new(), next, bytes: 0, open: BytesMut::new() }
    }

    fn push(&mut self, append: Append) {
        let bytes = if append.bytes.len() < COPY_BELOW { self.copy(&append.bytes) } else { append.bytes };
        let block = Block { first: append.first, stored: append.stored, bytes, index: append.index.into() };
        self.next = block.next();
        self.bytes += cost(&block);
        self.blocks.push_back(block);
    }

    fn copy(&mut self, bytes: &Bytes) -> Bytes {
        if self.open.capacity() < bytes.len() {
            self.open = BytesMut::with_capacity(4 * COPY_BELOW);
        }
        self.open.extend_from_slice(bytes);
        self.open.split().freeze()
    }

    fn drop_oldest(&mut self) -> bool {
        // The newest block stays: one event larger than the ring still passes.
        if self.blocks.len() < 2 {
            return false;
        }
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= cost(&block);
        }
        true
    }
}

impl Rings {
    fn push(&mut self, append: Append, config: MemoryConfig) {
        let topic = append.topic;
        let ring = self.topics.entry(topic).or_insert_with(|| Ring::new(append.first));
        self.sizes.remove(&(ring.bytes, topic));
        self.total -= ring.bytes;
        ring.push(append);
        while ring.bytes > config.ring_bytes && ring.drop_oldest() {}
        self.total += ring.bytes;
        self.sizes.insert((ring.bytes, topic));
        while self.total > config.total_bytes && self.shrink_largest() {}
    }

    fn remove(&mut self, topic: TopicId) {
        if let Some(ring) = self.topics.remove(&topic) {
            self.sizes.remove(&(ring.bytes, topic));
            self.total -= ring.bytes;
        }
    }

    fn shrink_largest(&mut self) -> bool {
        let Some((before, topic)) = self.sizes.pop_last() else {
            return false;
        };
        let Some(ring) = self.topics.get_mut(&topic) else {
            return false;
        };
        let shrunk = ring.drop_oldest();
        self.total = self.total - before + ring.bytes;
        self.sizes.insert((ring.bytes, topic));
        shrunk
    }
}

impl MemoryStore {
    /// Empty rings.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self { config, rings: Mutex::default() }
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn capability(&self) -> Capability {
        Capability { durability: Durability::Memory, atomic_commit: true, native_groups: false }
    }

    fn reserve(&self, _: u64) -> Result<Claim<'_>, StoreError> {
        Ok(Claim::unbounded())
    }

    fn commit(&self, ops: Vec<Op>) -> u64 {
        let mut rings = self.rings();
        for op in ops {
            match op {
                Op::Append(append) => rings.push(append, self.config),
                Op::TopicGone { topic } => rings.remove(topic),
                _ => {}
            }
        }
        0
    }

    fn read(&self, topic: TopicId, from: Position) -> Lookup {
        let rings = self.rings();
        let Some(ring) = rings.topics.get(&topic).filter(|r| from < r.next) else {
            return Lookup::Ahead;
        };
        let at = ring.blocks.partition_point(|b| b.next() <= from);
        match ring.blocks.get(at) {
            Some(block) if block.first <= from => Lookup::Ready(block.clone()),
            Some(block) => Lookup::Gone(block.first),
            None => Lookup::Ahead,
        }
    }

    fn since(&self, topic: TopicId, at: UnixMillis) -> Since {
        let rings = self.rings();
        let blocks = rings.topics.get(&topic).map(|ring| &ring.blocks);
        let found = blocks.and_then(|blocks| blocks.get(blocks.partition_point(|b| b.stored < at)));
        found.map_or(Since::Behind, |block| Since::At(block.first))
    }

    fn topic_bytes(&self, topic: TopicId) -> u64 {
        self.rings().topics.get(&topic).map_or(0, |r| r.bytes as u64)
    }

    fn close(&self) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::store::Entry;

    fn append(topic: u32, first: Position, size: usize) -> Op {
        Op::Append(Append {
            topic: TopicId::memory(topic),
            first,
            stored: UnixMillis(0),
            bytes: vec![first as u8; size].into(),
            index: vec![Entry { end: size as u32, key: 0 }],
            producer: None,
        })
    }

    fn first_readable(store: &MemoryStore, topic: u32) -> Position {
        match store.read(TopicId::memory(topic), 1) {
            Lookup::Ready(block) => block.first,
            Lookup::Gone(first) => first,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_ring_keeps_its_newest_bytes_and_names_what_is_gone() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 10_000, total_bytes: 1 << 20 });
        for first in 1..=100 {
            assert_eq!(store.commit(vec![append(1, first, 300)]), 0);
        }
        let first = first_readable(&store, 1);
        assert!((60..90).contains(&first), "{first}");
        assert!(store.topic_bytes(TopicId::memory(1)) <= 10_000);
        let Lookup::Ready(block) = store.read(TopicId::memory(1), 100) else { panic!("the newest is there") };
        assert_eq!(block.bytes[0], 100);
        assert!(matches!(store.read(TopicId::memory(1), 101), Lookup::Ahead));
        assert!(matches!(store.read(TopicId::memory(7), 1), Lookup::Ahead));
    }

    #[test]
    fn a_time_leads_to_the_first_event_stored_then_or_later() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 1000, total_bytes: 1 << 20 });
        for first in 1..=9 {
            let Op::Append(append) = append(1, first, 300) else { panic!("it is one") };
            store.commit(vec![Op::Append(Append { stored: UnixMillis(first as i64 / 2 * 10), ..append })]);
        }
        let since = |at| store.since(TopicId::memory(1), UnixMillis(at));
        assert_eq!(
            [since(40), since(35), since(41), since(0)],
            [Since::At(8), Since::At(8), Since::Behind, Since::At(8)]
        );
        assert_eq!(store.since(TopicId::memory(2), UnixMillis(0)), Since::Behind);
    }

    #[test]
    fn over_the_total_the_largest_ring_gives_way() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 20_000 });
        store.commit(vec![append(2, 1, 300)]);
        for first in 1..=100 {
            store.commit(vec![append(1, first, 300)]);
        }
        assert_eq!(first_readable(&store, 2), 1);
        assert!(first_readable(&store, 1) > 40);
    }

    #[test]
    fn a_topic_that_is_deleted_gives_its_bytes_to_others() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 20_000 });
        for first in 1..=30 {
            store.commit(vec![append(1, first, 300)]);
        }
        let topic = TopicId::memory(1);
        store.commit(vec![Op::TopicGone { topic }]);
        assert!(matches!(store.read(topic, 1), Lookup::Ahead));
        assert_eq!(store.topic_bytes(topic), 0);
        for first in 1..=40 {
            store.commit(vec![append(2, first, 300)]);
        }
        assert_eq!(first_readable(&store, 2), 1);
    }

    #[test]
    fn one_event_larger_than_the_ring_passes() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 1000, total_bytes: 1000 });
        store.commit(vec![append(1, 1, 50_000)]);
        assert!(matches!(store.read(TopicId::memory(1), 1), Lookup::Ready(_)));
    }
}
