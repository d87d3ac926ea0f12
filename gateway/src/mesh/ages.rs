//! How old events are, for listings.

use meshwire_proto::UnixMillis;

use crate::store::{Lookup, Position, Store, TopicId};

/// Most blocks that one listing asks the disk for: whoever looks again gets more.
const MOST_READS: u32 = 16;

/// The ages of a topic's events.
pub(super) struct Ages<'a> {
    store: &'a dyn Store,
    topic: TopicId,
    now: UnixMillis,
    /// Blocks that the listing has asked for.
    reads: &'a mut u32,
}

impl<'a> Ages<'a> {
    pub(super) const fn new(store: &'a dyn Store, topic: TopicId, now: UnixMillis, reads: &'a mut u32) -> Self {
        Self { store, topic, now, reads }
    }

    /// How many milliseconds ago the first event from a position on was stored; `None` while its block is read, for
    /// the next one who asks.
    pub(super) fn of(&mut self, position: Position) -> Option<u64> {
        if *self.reads >= MOST_READS {
            return None;
        }
        let found = match self.store.read(self.topic, position) {
            Lookup::Gone(first) => self.store.read(self.topic, first),
            found => found,
        };
        match found {
            Lookup::Ready(block) => Some(self.now.0.saturating_sub(block.stored.0).max(0).unsigned_abs()),
            _ => {
                *self.reads += 1;
                None
            }
        }
    }
}
