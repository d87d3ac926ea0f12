//! Topics of durability `memory`: a ring of blocks each, bounded in bytes.
//!
//! A commit is done when it returns; what a ring overwrites is gone, and who
//! still wanted it is told by [`Lookup::Gone`].

mod ring;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meshwire_proto::UnixMillis;

use super::{
    Append, Capability, Claim, Durability, Lookup, Needed, Op, Position, Since, Store, StoreError, TopicBytes, TopicId,
};
use ring::Ring;

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
    /// Of those that give way to others.
    sizes: BTreeSet<(usize, TopicId)>,
    /// When the oldest event of each is past its retention.
    due: BTreeSet<(UnixMillis, TopicId)>,
    /// Topics of dead letters whose first position has moved and that nobody was told of.
    moved: BTreeSet<TopicId>,
    total: usize,
}

impl Rings {
    /// Changes a ring, made if need be; what is known of all rings follows.
    fn with<R>(&mut self, topic: TopicId, next: Position, change: impl FnOnce(&mut Ring) -> R) -> R {
        let ring = self.topics.entry(topic).or_insert_with(|| Ring::new(next));
        let (bytes, due, first) = (ring.bytes(), ring.due(), ring.first());
        self.sizes.remove(&(bytes, topic));
        let result = change(ring);
        self.total = self.total + ring.bytes() - bytes;
        if ring.gives_way() {
            self.sizes.insert((ring.bytes(), topic));
        }
        if topic.is_dead_letters() && ring.first() > first {
            self.moved.insert(topic);
        }
        if due != ring.due() {
            due.map(|due| self.due.remove(&(due, topic)));
            self.due.extend(ring.due().map(|due| (due, topic)));
        }
        result
    }

    fn push(&mut self, append: Append, config: MemoryConfig) {
        self.with(append.topic, append.first, |ring| ring.push(append, config.ring_bytes));
        while self.total > config.total_bytes && self.shrink_largest() {}
    }

    fn remove(&mut self, topic: TopicId) {
        self.with(topic, 1, Ring::clear);
        self.sizes.remove(&(0, topic));
        self.moved.remove(&topic);
        self.topics.remove(&topic);
    }

    fn shrink_largest(&mut self) -> bool {
        self.sizes.last().copied().is_some_and(|(_, topic)| self.with(topic, 1, Ring::drop_oldest))
    }

    /// Whether a topic takes more, when what is at `needed()` or behind it must stay.
    fn admit<'a>(
        &mut self,
        topic: TopicId,
        (needed, now): (&dyn Fn() -> Needed<'a>, UnixMillis),
        config: MemoryConfig,
    ) -> bool {
        let room = self.with(topic, 1, |ring| ring.make_room(&|| needed().position, now, config.ring_bytes));
        // The others give way first; what does not is all that block.
        room && (self.total < config.total_bytes || self.sizes.last().is_some_and(|(bytes, _)| *bytes > 0))
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
                Op::Topic { topic, retention_ms, .. } => rings.with(topic, 1, |ring| ring.keep(retention_ms)),
                Op::Limits { topic, limits } => rings.with(topic, 1, |ring| ring.limit(limits, self.config.ring_bytes)),
                Op::TopicGone { topic } => rings.remove(topic),
                _ => {}
            }
        }
        0
    }

    fn read(&self, topic: TopicId, from: Position) -> Lookup {
        self.rings().topics.get_mut(&topic).map_or(Lookup::Ahead, |ring| ring.read(from))
    }

    fn first(&self, topic: TopicId) -> Position {
        self.rings().topics.get(&topic).map_or(1, Ring::first)
    }

    fn since(&self, topic: TopicId, at: UnixMillis) -> Since {
        let mut rings = self.rings();
        let found = rings.topics.get_mut(&topic).and_then(|ring| ring.since(at));
        found.map_or(Since::Behind, Since::At)
    }

    fn topic_bytes(&self, topic: TopicId) -> TopicBytes {
        let bytes = self.rings().topics.get(&topic).map_or(0, |ring| ring.bytes() as u64);
        TopicBytes { live: bytes, physical: bytes }
    }

    fn admit<'a>(&self, topic: TopicId, needed: &dyn Fn() -> Needed<'a>, now: UnixMillis) -> Result<(), StoreError> {
        if self.rings().admit(topic, (needed, now), self.config) {
            return Ok(());
        }
        Err(StoreError::blocked(needed()))
    }

    fn expire(&self, now: UnixMillis) -> Vec<(TopicId, Position)> {
        let mut rings = self.rings();
        while let Some((_, topic)) = rings.due.first().copied().filter(|(due, _)| *due <= now) {
            rings.with(topic, 1, |ring| ring.expire(now));
        }
        let moved = std::mem::take(&mut rings.moved);
        moved.into_iter().filter_map(|topic| Some((topic, rings.topics.get(&topic)?.first()))).collect()
    }

    fn next_expiry(&self) -> Option<UnixMillis> {
        let rings = self.rings();
        // Who is to be told that letters are gone is told at once.
        let told = (!rings.moved.is_empty()).then_some(UnixMillis(0));
        told.or_else(|| rings.due.first().map(|(due, _)| *due))
    }

    fn close(&self) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
mod tests {
    use meshwire_proto::{ErrorKind, GroupKey, TopicName};

    use super::*;
    use crate::store::{Entry, Limits};

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

    fn at<'a>(position: Position) -> Needed<'a> {
        Needed { position, ..Needed::NOTHING }
    }

    #[test]
    fn a_ring_keeps_its_newest_bytes_and_names_what_is_gone() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 10_000, total_bytes: 1 << 20 });
        for first in 1..=100 {
            assert_eq!(store.commit(vec![append(1, first, 300)]), 0);
        }
        let first = first_readable(&store, 1);
        assert!((60..90).contains(&first), "{first}");
        assert!(store.topic_bytes(TopicId::memory(1)).live <= 10_000);
        let Lookup::Ready(block) = store.read(TopicId::memory(1), 100) else { panic!("the newest is there") };
        assert_eq!((block.next(), block.bytes.last()), (101, Some(&100)));
        assert!(matches!(store.read(TopicId::memory(1), 101), Lookup::Ahead));
        assert!(matches!(store.read(TopicId::memory(7), 1), Lookup::Ahead));
    }

    #[test]
    fn small_events_of_one_time_are_one_block_until_they_are_asked_for() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 1 << 22 });
        let block = |from| match store.read(TopicId::memory(1), from) {
            Lookup::Ready(block) => (block.first, block.next(), block.bytes.to_vec()),
            other => panic!("{other:?}"),
        };
        for first in 1..=3 {
            store.commit(vec![append(1, first, first as usize)]);
        }
        assert_eq!(store.first(TopicId::memory(1)), 1);
        assert_eq!(block(2), (1, 4, vec![1, 2, 2, 3, 3, 3]));
        let Lookup::Ready(found) = store.read(TopicId::memory(1), 3) else { panic!("it is there") };
        assert_eq!((found.start_of(2), found.start_of(3), found.entry(3).unwrap().end), (Some(1), Some(3), 6));
        // Another time, and one that is large, stand by themselves.
        let Op::Append(large) = append(1, 7, 20_000) else { panic!("it is one") };
        let large = Op::Append(Append { stored: UnixMillis(7), ..large });
        store.commit(vec![append(1, 4, 1), append_at(1, 5, 7), append_at(1, 6, 7), large, append_at(1, 8, 7)]);
        assert_eq!([4, 5, 6, 7, 8].map(|from| block(from).0), [4, 5, 5, 7, 8]);
        let since = |at| store.since(TopicId::memory(1), UnixMillis(at));
        assert_eq!([since(0), since(1), since(7), since(8)], [Since::At(1), Since::At(5), Since::At(5), Since::Behind]);
        let (bytes, blocks, events) = (6 + 1 + 600 + 20_000 + 300, 5, 8);
        let live = store.topic_bytes(TopicId::memory(1)).live as usize;
        assert_eq!(live, bytes + blocks * 128 + events * size_of::<Entry>());
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
        assert_eq!(store.topic_bytes(topic), TopicBytes::default());
        for first in 1..=40 {
            store.commit(vec![append(2, first, 300)]);
        }
        assert_eq!(first_readable(&store, 2), 1);
    }

    fn topic(store: &MemoryStore, topic: u32, retention_ms: u64, limits: Limits) {
        let (topic, name) = (TopicId::memory(topic), TopicName::parse("t").unwrap());
        let made = Op::Topic { topic, name, durability: Durability::Memory, retention_ms };
        store.commit(vec![made, Op::Limits { topic, limits }]);
    }

    fn append_at(topic: u32, first: Position, stored: i64) -> Op {
        let Op::Append(append) = append(topic, first, 300) else { panic!("it is one") };
        Op::Append(Append { stored: UnixMillis(stored), ..append })
    }

    #[test]
    fn a_retention_shorter_than_the_ring_counts() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 1 << 20 });
        topic(&store, 1, 60_000, Limits { bytes: 5_000, block: false });
        for first in 1..=100 {
            store.commit(vec![append_at(1, first, 0)]);
        }
        assert!(store.topic_bytes(TopicId::memory(1)).live <= 5_000);
        topic(&store, 2, 5_000, Limits::default());
        assert_eq!(store.next_expiry(), Some(UnixMillis(60_000)));
        for first in 1..=9 {
            store.commit(vec![append_at(2, first, first as i64 * 1000)]);
        }
        assert_eq!(first_readable(&store, 2), 5, "4 is as old as the retention");
        assert_eq!(store.next_expiry(), Some(UnixMillis(10_000)));
        store.expire(UnixMillis(11_999));
        assert_eq!(first_readable(&store, 2), 7);
        store.expire(UnixMillis(20_000));
        assert!(matches!(store.read(TopicId::memory(2), 1), Lookup::Gone(10)), "all are gone, and are told as such");
        assert!(matches!(store.read(TopicId::memory(2), 10), Lookup::Ahead));
        assert_eq!(store.topic_bytes(TopicId::memory(2)).live, 0);
    }

    #[test]
    fn what_a_group_needs_stays_in_a_topic_that_blocks() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 5_000, total_bytes: 8_000 });
        topic(&store, 1, 60_000, Limits { bytes: 0, block: true });
        let (of, group) = (TopicId::memory(1), GroupKey::parse("g").unwrap());
        let mut next = 1;
        let mut fill = |needed, now| {
            while next < 100 && store.admit(of, &|| at(needed), UnixMillis(now)).is_ok() {
                store.commit(vec![append_at(1, next, now)]);
                next += 1;
            }
            next
        };
        let full = fill(1, 0);
        assert!((10..20).contains(&full), "{full}");
        assert_eq!(first_readable(&store, 1), 1);
        let error = store.admit(of, &|| Needed { group: Some(&group), ..at(1) }, UnixMillis(0)).unwrap_err();
        assert!(error.to_string().starts_with("group g has not settled the event at position 1, "), "{error}");
        assert_eq!((error.kind(), error.to_string().contains("position 1")), (ErrorKind::TopicFull, true));
        let more = fill(5, 0);
        assert_eq!(more, full + 4, "as many as were settled");
        assert_eq!(first_readable(&store, 1), 5);
        // Others take the room of those that give way, and never its.
        topic(&store, 2, 60_000, Limits::default());
        for first in 1..=50 {
            store.commit(vec![append_at(2, first, 0)]);
        }
        assert_eq!(first_readable(&store, 1), 5);
        // Age counts too, and nothing goes by itself.
        store.expire(UnixMillis(90_000));
        assert_eq!(first_readable(&store, 1), 5);
        assert!(store.admit(of, &|| at(6), UnixMillis(60_000)).is_err());
        assert!(store.admit(of, &|| at(more), UnixMillis(60_000)).is_ok());
        assert_eq!(store.topic_bytes(of).live, 0);
        topic(&store, 1, 60_000, Limits::default());
        store.commit(vec![append_at(1, more, 70_000)]);
        store.expire(UnixMillis(130_000));
        assert_eq!((store.topic_bytes(of).live, store.next_expiry()), (0, None));
    }

    #[test]
    fn what_groups_need_is_asked_only_when_something_would_have_to_go() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 5_000, total_bytes: 1 << 20 });
        topic(&store, 1, 60_000, Limits { bytes: 0, block: true });
        let (of, asked) = (TopicId::memory(1), std::cell::Cell::new(0));
        let needed = || {
            asked.set(asked.get() + 1);
            at(3)
        };
        for first in 1..=10 {
            assert!(store.admit(of, &needed, UnixMillis(0)).is_ok());
            store.commit(vec![append_at(1, first, 0)]);
        }
        assert_eq!(asked.get(), 0);
        // From an earlier question nothing is concluded: a group may have gone back since.
        assert!(store.admit(of, &needed, UnixMillis(60_000)).is_err());
        assert_eq!(first_readable(&store, 1), 3);
        topic(&store, 1, 90_000, Limits { bytes: 0, block: true });
        assert!(store.admit(of, &|| at(3), UnixMillis(60_000)).is_ok());
        store.commit(vec![append_at(1, 11, 90_000)]);
        assert_eq!(first_readable(&store, 1), 3);
    }

    #[test]
    fn dead_letters_that_are_gone_are_told_once_and_of_other_topics_nothing_is() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 3_000, total_bytes: 1 << 20 });
        let letters = TopicId::memory(1).dead_letters(false);
        for first in 1..=20 {
            let Op::Append(append) = append(1, first, 300) else { panic!("it is one") };
            store.commit(vec![Op::Append(Append { topic: letters, ..append.clone() }), Op::Append(append)]);
        }
        assert_eq!(store.next_expiry(), Some(UnixMillis(0)), "at once");
        let first = store.first(letters);
        assert!(first > 10, "{first}");
        assert_eq!(store.expire(UnixMillis(1)), [(letters, first)]);
        assert_eq!((store.expire(UnixMillis(1)), store.next_expiry()), (vec![], None));
    }

    /// So many events of 500 bytes in one batch.
    fn batch(first: Position, count: u32) -> Op {
        let Op::Append(append) = append(1, first, 500 * count as usize) else { panic!("it is one") };
        let entry = |n: u32| Entry { end: 500 * (n + 1), key: u64::from(n) + 1 };
        let bytes: Vec<u8> = (0..count).flat_map(|n| vec![(first + u64::from(n)) as u8; 500]).collect();
        Op::Append(Append { bytes: bytes.into(), index: (0..count).map(entry).collect(), ..append })
    }

    #[test]
    fn of_a_batch_larger_than_the_ring_its_newest_events_stay() {
        for total_bytes in [64 << 10, 1 << 20] {
            let store = MemoryStore::new(MemoryConfig { ring_bytes: 64 << 10, total_bytes });
            store.commit(vec![batch(1, 400)]);
            let live = store.topic_bytes(TopicId::memory(1)).live;
            assert!((48 << 10..=64 << 10).contains(&live), "{live}");
            let mut next = first_readable(&store, 1);
            assert!((270..320).contains(&next), "{next}");
            while next <= 400 {
                let Lookup::Ready(block) = store.read(TopicId::memory(1), next) else { panic!("{next} is there") };
                assert_eq!((block.first, block.index.last().unwrap().end as usize), (next, block.bytes.len()));
                for (n, bytes) in (next..).zip(block.bytes.chunks(500)) {
                    assert!(bytes.iter().all(|byte| *byte == n as u8), "{n}");
                    assert_eq!(block.entry(n).unwrap().key, n);
                }
                next = block.next();
            }
            assert_eq!(next, 401);
        }
    }

    #[test]
    fn however_large_batches_are_a_full_ring_stays_nearly_full() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 64 << 10, total_bytes: 1 << 20 });
        let mut first = 1;
        for count in (1..=127).cycle().take(500) {
            store.commit(vec![batch(first, count)]);
            first += u64::from(count);
            let live = store.topic_bytes(TopicId::memory(1)).live;
            assert!(live <= 64 << 10 && (first < 200 || live >= 48 << 10), "{live} after a batch of {count}");
        }
    }

    #[test]
    fn one_event_larger_than_the_ring_passes() {
        let store = MemoryStore::new(MemoryConfig { ring_bytes: 1000, total_bytes: 1000 });
        store.commit(vec![append(1, 1, 50_000)]);
        assert!(matches!(store.read(TopicId::memory(1), 1), Lookup::Ready(_)));
    }
}
