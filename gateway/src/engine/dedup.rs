//! De-duplication by `source` and `id`: a window of hashes per topic.
//!
//! The window of a gateway is shared fairly: over its size, the topic that holds
//! most gives up its oldest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hasher as _;
use std::time::Duration;

use hashbrown::HashTable;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::store::{Position, TopicId};

/// 128-bit keyed hash of an event's `source` and `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdHash(u64, u64);

/// Makes [`IdHash`]es; the key is random per process, so nobody can aim at it.
#[derive(Clone, Copy, Debug)]
pub struct IdHasher {
    key: [u8; 16],
}

impl IdHasher {
    /// A hasher of this key.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The hash of one event's identity.
    #[must_use]
    pub fn hash(&self, source: &str, id: &str) -> IdHash {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u64(source.len() as u64);
        hasher.write(source.as_bytes());
        hasher.write(id.as_bytes());
        let hash = hasher.finish128();
        IdHash(hash.h1, hash.h2)
    }
}

/// Position in 40 bits, seconds in 24: an entry has 24 bytes.
#[derive(Clone, Copy)]
struct Entry {
    hash: IdHash,
    place: u64,
}

const SECONDS: u64 = (1 << 24) - 1;

impl Entry {
    const fn new(hash: IdHash, position: Position, second: u64) -> Self {
        Self { hash, place: position << 24 | (second & SECONDS) }
    }

    const fn position(self) -> Position {
        self.place >> 24
    }

    /// Age in seconds, modulo half a year.
    const fn age(self, second: u64) -> u64 {
        second.wrapping_sub(self.place) & SECONDS
    }
}

/// Formula: slot `s` of `table` is the entry `s - dropped` of `order`, modulo 2^32.
#[derive(Default)]
struct Ring {
    table: HashTable<u32>,
    order: VecDeque<Entry>,
    dropped: u32,
}

fn at(order: &VecDeque<Entry>, dropped: u32, slot: u32) -> Option<&Entry> {
    order.get(slot.wrapping_sub(dropped) as usize)
}

impl Ring {
    fn find(&self, hash: IdHash) -> Option<&Entry> {
        let slot = self.table.find(hash.0, |s| at(&self.order, self.dropped, *s).is_some_and(|e| e.hash == hash))?;
        at(&self.order, self.dropped, *slot)
    }

    fn push(&mut self, entry: Entry) {
        let slot = self.dropped.wrapping_add(self.order.len() as u32);
        self.order.push_back(entry);
        let Self { table, order, dropped } = self;
        table.insert_unique(entry.hash.0, slot, |s| at(order, *dropped, *s).map_or(0, |e| e.hash.0));
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.order.front().copied() else {
            return;
        };
        let dropped = self.dropped;
        if let Ok(found) = self.table.find_entry(oldest.hash.0, |s| *s == dropped) {
            found.remove();
        }
        self.order.pop_front();
        self.dropped = self.dropped.wrapping_add(1);
    }
}

/// The window of one shard.
pub(super) struct DedupWindow {
    rings: BTreeMap<TopicId, Ring>,
    sizes: BTreeSet<(usize, TopicId)>,
    total: usize,
    max_ids: usize,
    window_seconds: u64,
}

impl DedupWindow {
    pub(super) fn new(max_ids: usize, window: Duration) -> Self {
        // Twelve days less than half the range of the seconds: ages stay unambiguous.
        let window_seconds = window.as_secs().min(SECONDS / 2);
        let max_ids = if window.is_zero() { 0 } else { max_ids };
        Self { rings: BTreeMap::new(), sizes: BTreeSet::new(), total: 0, max_ids, window_seconds }
    }

    /// The position of the event that came before with this identity.
    pub(super) fn find(&self, topic: TopicId, hash: IdHash, second: u64) -> Option<Position> {
        let entry = self.rings.get(&topic)?.find(hash)?;
        (entry.age(second) <= self.window_seconds).then(|| entry.position())
    }

    /// Remembers an identity. Call [`DedupWindow::trim`] when a batch is done.
    pub(super) fn insert(&mut self, topic: TopicId, hash: IdHash, position: Position, second: u64) {
        if self.max_ids > 0 {
            self.rings.entry(topic).or_default().push(Entry::new(hash, position, second));
            self.total += 1;
        }
    }

    /// Lets go of what is too old or too much; `topic` is the one just written.
    pub(super) fn trim(&mut self, topic: TopicId, before: usize, second: u64) {
        if before > 0 {
            self.sizes.remove(&(before, topic));
        }
        let window = self.window_seconds;
        let Some(ring) = self.rings.get_mut(&topic) else {
            return;
        };
        while ring.order.front().is_some_and(|e| e.age(second) > window) {
            ring.drop_oldest();
            self.total -= 1;
        }
        if !ring.order.is_empty() {
            self.sizes.insert((ring.order.len(), topic));
        }
        while self.total > self.max_ids {
            let Some((size, largest)) = self.sizes.pop_last() else {
                break;
            };
            // Down to the second largest, or as far as needed.
            let floor = self.sizes.last().map_or(0, |(s, _)| *s);
            let surplus = (self.total - self.max_ids).min((size - floor).max(1));
            let Some(ring) = self.rings.get_mut(&largest) else {
                break;
            };
            for _ in 0..surplus {
                ring.drop_oldest();
            }
            self.total -= surplus;
            if size > surplus {
                self.sizes.insert((size - surplus, largest));
            }
        }
    }

    /// How many identities of a topic are remembered.
    pub(super) fn len(&self, topic: TopicId) -> usize {
        self.rings.get(&topic).map_or(0, |r| r.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> IdHash {
        IdHasher::new([7; 16]).hash("/s", &n.to_string())
    }

    fn put(window: &mut DedupWindow, topic: u32, n: u64, second: u64) {
        let before = window.len(TopicId(topic));
        window.insert(TopicId(topic), hash(n), n, second);
        window.trim(TopicId(topic), before, second);
    }

    #[test]
    fn an_identity_is_found_in_its_topic_until_the_window_ends() {
        let mut window = DedupWindow::new(100, Duration::from_secs(120));
        put(&mut window, 1, 5, 1000);
        assert_eq!(window.find(TopicId(1), hash(5), 1120), Some(5));
        assert_eq!(window.find(TopicId(1), hash(5), 1121), None);
        assert_eq!(window.find(TopicId(2), hash(5), 1000), None);
        assert_eq!(window.find(TopicId(1), hash(6), 1000), None);
    }

    #[test]
    fn a_flooding_topic_does_not_push_out_a_quiet_ones_ids() {
        let mut window = DedupWindow::new(50, Duration::from_secs(120));
        put(&mut window, 2, 1, 10);
        for n in 0..1000 {
            put(&mut window, 1, n, 10);
        }
        assert_eq!(window.find(TopicId(2), hash(1), 10), Some(1));
        assert_eq!(window.find(TopicId(1), hash(999), 10), Some(999));
        assert_eq!(window.find(TopicId(1), hash(900), 10), None);
        assert_eq!(window.total, 50);
    }

    #[test]
    fn a_window_of_zero_remembers_nothing() {
        let mut window = DedupWindow::new(50, Duration::ZERO);
        put(&mut window, 1, 1, 0);
        assert_eq!(window.find(TopicId(1), hash(1), 0), None);
    }

    #[test]
    fn source_and_id_do_not_run_into_each_other() {
        let hasher = IdHasher::new([1; 16]);
        assert_ne!(hasher.hash("ab", "c"), hasher.hash("a", "bc"));
    }
}
