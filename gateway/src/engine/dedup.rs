//! De-duplication by `source` and `id`: a window of hashes per topic.
//!
//! The window of a gateway is shared fairly: over its size, the topic that holds
//! most gives up its oldest. A topic that is alone may have all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hasher as _;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::HashTable;
use meshwire_proto::UnixMillis;
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
    pub fn hash(&self, source: &[u8], id: &[u8]) -> IdHash {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u64(source.len() as u64);
        hasher.write(source);
        hasher.write(id);
        let hash = hasher.finish128();
        IdHash(hash.h1, hash.h2)
    }
}

/// The time of the window: seconds of stored time.
pub(super) fn second_of(stored: UnixMillis) -> u64 {
    u64::try_from(stored.0 / 1000).unwrap_or(0)
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

/// How many identities the shards of a gateway may remember together.
#[derive(Debug)]
pub struct IdBudget {
    held: AtomicUsize,
    max: usize,
    /// What a shard may hold however much the others do.
    share: usize,
}

impl IdBudget {
    /// A budget of `max` identities over so many shards.
    #[must_use]
    pub fn new(max: usize, shards: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max, share: max / shards.max(1) })
    }

    fn add(&self, ids: usize) {
        self.held.fetch_add(ids, Ordering::Relaxed);
    }

    fn give_back(&self, ids: usize) {
        self.held.fetch_sub(ids, Ordering::Relaxed);
    }

    /// Takes up to `most` out of what is held too much; the caller lets go of as many.
    fn reduce(&self, most: usize) -> usize {
        let surplus = |held: usize| held.saturating_sub(self.max).min(most);
        let before = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held - surplus(held)));
        surplus(before.unwrap_or(0))
    }
}

/// How often a window that ends early is told, in seconds: it is the normal case of
/// a gateway with much to do.
const TELL_EVERY: u64 = 3600;

/// The window of one shard.
pub(super) struct DedupWindow {
    rings: BTreeMap<TopicId, Ring>,
    sizes: BTreeSet<(usize, TopicId)>,
    total: usize,
    budget: Arc<IdBudget>,
    window_seconds: u64,
    /// Age of an identity that had to go before the window's end, not told yet.
    early: Option<u64>,
    told: Option<u64>,
}

impl DedupWindow {
    pub(super) fn new(budget: Arc<IdBudget>, window: Duration) -> Self {
        // Twelve days less than half the range of the seconds: ages stay unambiguous.
        let window_seconds = window.as_secs().min(SECONDS / 2);
        let rings = BTreeMap::new();
        Self { rings, sizes: BTreeSet::new(), total: 0, budget, window_seconds, early: None, told: None }
    }

    /// The position of the event that came before with this identity.
    pub(super) fn find(&self, topic: TopicId, hash: IdHash, second: u64) -> Option<Position> {
        let entry = self.rings.get(&topic)?.find(hash)?;
        (entry.age(second) <= self.window_seconds).then(|| entry.position())
    }

    /// Looks at the places of identities that are asked for next, and of those that may go for them. Each look waits for memory, and none
    /// for another: many at once take hardly longer than one, and those that follow find their places in the processor's cache.
    pub(super) fn look_ahead(&self, topic: TopicId, ids: impl Iterator<Item = IdHash>) {
        let Some(ring) = self.rings.get(&topic) else { return };
        let (mut asked, mut known) = (0, 0);
        for id in ids {
            asked += 1;
            known += usize::from(ring.find(id).is_some());
        }
        let goes = self.budget.held.load(Ordering::Relaxed) >= self.budget.max;
        for (entry, n) in ring.order.iter().zip(0..if goes { asked } else { 0 }) {
            let slot = ring.dropped.wrapping_add(n);
            known += usize::from(ring.table.find(entry.hash.0, |s| *s == slot).is_some());
        }
        // Nobody wants to know, but it must have been done.
        black_box(known);
    }

    /// Remembers an identity. Call [`DedupWindow::trim`] when a batch is done.
    pub(super) fn insert(&mut self, topic: TopicId, hash: IdHash, position: Position, second: u64) {
        if self.budget.max > 0 && self.window_seconds > 0 {
            self.rings.entry(topic).or_default().push(Entry::new(hash, position, second));
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
        let added = ring.order.len() - before;
        self.total += added;
        self.budget.add(added);
        let mut aged = 0;
        while ring.order.front().is_some_and(|e| e.age(second) > window) {
            ring.drop_oldest();
            aged += 1;
        }
        self.total -= aged;
        self.budget.give_back(aged);
        if !ring.order.is_empty() {
            self.sizes.insert((ring.order.len(), topic));
        }
        self.shed(second);
    }

    /// Lets go of what the gateway holds too much, as long as this shard has more than its share.
    fn shed(&mut self, second: u64) {
        while let Some((size, largest)) = self.sizes.last().copied() {
            // Down to the second largest, or as far as needed.
            let floor = self.sizes.iter().nth_back(1).map_or(0, |(s, _)| *s);
            let most = (size - floor).max(1).min(self.total.saturating_sub(self.budget.share));
            let surplus = self.budget.reduce(most);
            let Some(ring) = self.rings.get_mut(&largest).filter(|_| surplus > 0) else {
                return;
            };
            for _ in 0..surplus {
                ring.drop_oldest();
            }
            let lost = ring.order.front().map_or(0, |oldest| oldest.age(second));
            if lost < self.window_seconds {
                self.early = Some(lost);
            }
            self.total -= surplus;
            self.sizes.pop_last();
            if size > surplus {
                self.sizes.insert((size - surplus, largest));
            }
        }
    }

    /// Forgets everything of a topic.
    pub(super) fn forget(&mut self, topic: TopicId) {
        let Some(ring) = self.rings.remove(&topic) else {
            return;
        };
        let held = ring.order.len();
        self.sizes.remove(&(held, topic));
        self.total -= held;
        self.budget.give_back(held);
    }

    /// Seconds that identities are remembered for, if that is less than the window
    /// and was not told for a while.
    pub(super) fn ended_early(&mut self, second: u64) -> Option<u64> {
        if self.told.is_some_and(|told| second < told + TELL_EVERY) {
            return None;
        }
        let early = self.early.take()?;
        self.told = Some(second);
        Some(early)
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
        IdHasher::new([7; 16]).hash(b"/s", n.to_string().as_bytes())
    }

    fn window(max: usize, window: Duration) -> DedupWindow {
        DedupWindow::new(IdBudget::new(max, 1), window)
    }

    fn put(window: &mut DedupWindow, topic: u32, n: u64, second: u64) {
        let before = window.len(TopicId(topic));
        window.insert(TopicId(topic), hash(n), n, second);
        window.trim(TopicId(topic), before, second);
    }

    #[test]
    fn an_identity_is_found_in_its_topic_until_the_window_ends() {
        let mut window = window(100, Duration::from_secs(120));
        put(&mut window, 1, 5, 1000);
        assert_eq!(window.find(TopicId(1), hash(5), 1120), Some(5));
        assert_eq!(window.find(TopicId(1), hash(5), 1121), None);
        assert_eq!(window.find(TopicId(2), hash(5), 1000), None);
        assert_eq!(window.find(TopicId(1), hash(6), 1000), None);
    }

    #[test]
    fn a_flooding_topic_does_not_push_out_a_quiet_ones_ids() {
        let mut window = window(50, Duration::from_secs(120));
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
        let mut window = window(50, Duration::ZERO);
        put(&mut window, 1, 1, 0);
        assert_eq!(window.find(TopicId(1), hash(1), 0), None);
    }

    #[test]
    fn a_topic_that_is_alone_may_have_what_all_shards_have_together() {
        let budget = IdBudget::new(100, 4);
        let shard = || DedupWindow::new(budget.clone(), Duration::from_secs(120));
        let (mut busy, mut quiet) = (shard(), shard());
        for n in 0..100 {
            put(&mut busy, 1, n, 10);
        }
        assert_eq!(busy.find(TopicId(1), hash(0), 10), Some(0));
        assert_eq!(busy.ended_early(10), None);
        put(&mut quiet, 2, 7, 10);
        put(&mut busy, 1, 100, 10);
        assert_eq!(quiet.find(TopicId(2), hash(7), 10), Some(7), "a shard may have its share");
        assert_eq!(busy.find(TopicId(1), hash(1), 10), None);
        assert_eq!(busy.find(TopicId(1), hash(2), 10), Some(2));
        assert_eq!(budget.held.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn a_topic_that_is_forgotten_leaves_its_share_to_others() {
        let mut window = window(50, Duration::from_secs(120));
        (0..40).for_each(|n| put(&mut window, 1, n, 10));
        window.forget(TopicId(1));
        window.forget(TopicId(3));
        assert_eq!(window.find(TopicId(1), hash(5), 10), None);
        (0..50).for_each(|n| put(&mut window, 2, n, 10));
        assert_eq!(window.find(TopicId(2), hash(0), 10), Some(0));
        assert_eq!((window.total, window.budget.held.load(Ordering::Relaxed)), (50, 50));
    }

    #[test]
    fn a_window_that_ends_early_is_told_once_an_hour() {
        let mut window = window(50, Duration::from_secs(120));
        for n in 0..100 {
            put(&mut window, 1, n, 10 + n);
        }
        assert_eq!(window.ended_early(109), Some(49));
        put(&mut window, 1, 200, 110);
        assert_eq!(window.ended_early(109 + 3599), None);
        assert_eq!(window.ended_early(109 + 3600), Some(49));
        assert_eq!(window.ended_early(9000), None, "nothing was lost since");
    }

    #[test]
    fn what_goes_at_the_end_of_its_window_is_not_early() {
        let mut window = window(50, Duration::from_secs(20));
        for n in 0..100 {
            put(&mut window, 1, n, 10 + n);
        }
        assert_eq!(window.ended_early(109), None);
        assert!(window.total <= 22, "{}", window.total);
    }

    #[test]
    fn source_and_id_do_not_run_into_each_other() {
        let hasher = IdHasher::new([1; 16]);
        assert_ne!(hasher.hash(b"ab", b"c"), hasher.hash(b"a", b"bc"));
    }
}
