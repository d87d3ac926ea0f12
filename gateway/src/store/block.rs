//! Stored events that stand side by side.

use std::ops::Deref;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use meshwire_proto::{EventRun, UnixMillis};

use super::Position;

/// Consecutive stored events of one topic: the bytes that the log wrote are the
/// bytes that a delivery sends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Block {
    /// Position of the first event.
    pub first: Position,
    /// When the block was stored; never goes back within a topic.
    pub stored: UnixMillis,
    /// The events, each framed as `repeated bytes events = 15`.
    pub bytes: Bytes,
    /// One entry an event. Formula: entry `n` ends where entry `n + 1` begins,
    /// the last ends at `bytes.len()`.
    pub index: Index,
}

/// Where an event ends in its block, and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset behind the event.
    pub end: u32,
    /// [`key_hash`] of the event's `partitionkey`; 0 when it has none.
    pub key: u64,
}

/// Where the events of a block end. A ring may have tens of thousands of blocks of one event: these need no allocation for it.
#[derive(Clone, Debug)]
pub enum Index {
    /// Of one event.
    One(Entry),
    /// Of any number.
    Many(Arc<[Entry]>),
}

impl Deref for Index {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        match self {
            Self::One(entry) => slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }
}

impl From<Vec<Entry>> for Index {
    fn from(entries: Vec<Entry>) -> Self {
        match *entries {
            [entry] => Self::One(entry),
            _ => Self::Many(entries.into()),
        }
    }
}

/// The hash by which a group keeps the order of a key: 64-bit FNV-1a, never 0.
/// Two keys with one hash share an order, which is harmless.
#[must_use]
pub fn key_hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)).max(1)
}

impl Block {
    /// How many events.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.index.len() as u32
    }

    /// Position behind the last event.
    #[must_use]
    pub fn next(&self) -> Position {
        self.first + self.index.len() as u64
    }

    /// The index entry of a position, `None` outside the block.
    #[must_use]
    pub fn entry(&self, position: Position) -> Option<Entry> {
        self.index.get(usize::try_from(position.checked_sub(self.first)?).ok()?).copied()
    }

    /// Offset of a position's first byte; of the position behind the last, the length.
    #[must_use]
    pub fn start_of(&self, position: Position) -> Option<usize> {
        match position.checked_sub(self.first)? {
            0 => Some(0),
            n => self.index.get(usize::try_from(n).ok()? - 1).map(|e| e.end as usize),
        }
    }

    /// `count` events from `position` on as a run that shares this block's bytes.
    #[must_use]
    pub fn run(&self, position: Position, count: u32) -> Option<EventRun> {
        let (from, to) = (self.start_of(position)?, self.start_of(position + u64::from(count))?);
        (from <= to).then(|| EventRun::from_parts(self.bytes.slice(from..to), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_one_event_and_one_of_many_are_read_alike_and_that_of_one_allocates_nothing_for_its_index() {
        let entry = |n: u32| Entry { end: n * 10, key: n.into() };
        for count in 0..4 {
            let entries: Vec<_> = (1..=count).map(entry).collect();
            let index = Index::from(entries.clone());
            assert_eq!((&*index, matches!(index, Index::One(_))), (&*entries, count == 1));
            let bytes = vec![0; count as usize * 10].into();
            let block = Block { first: 7, stored: UnixMillis(0), bytes, index };
            assert_eq!((block.count(), block.next()), (count, 7 + u64::from(count)));
            let last = block.next() - 1;
            assert_eq!(block.entry(last), entries.last().copied());
            assert_eq!(block.start_of(block.next()), Some(count as usize * 10));
        }
    }
}
