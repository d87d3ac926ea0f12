//! How old events are, for listings.

use meshwire_proto::UnixMillis;

use super::open::Stores;
use crate::engine;
use crate::store::{Block, Lookup, Position, TopicId};

/// Most blocks that one listing asks the disk for: whoever looks again gets more.
const MOST_READS: u32 = 16;

/// The ages of a topic's events.
pub(super) struct Ages<'a> {
    stores: &'a Stores,
    topic: TopicId,
    /// Where its dead letters are.
    letters: TopicId,
    now: UnixMillis,
    /// Blocks that the listing has asked for.
    reads: &'a mut u32,
}

impl<'a> Ages<'a> {
    pub(super) const fn new(
        stores: &'a Stores,
        (topic, letters): (TopicId, TopicId),
        now: UnixMillis,
        reads: &'a mut u32,
    ) -> Self {
        Self { stores, topic, letters, now, reads }
    }

    /// How many milliseconds ago the older of two was stored: the first event from a position on, and that of a dead letter.
    /// `None`: there is neither, or a block is read, for the next one who asks.
    pub(super) fn oldest(&mut self, (event, letter): (Option<Position>, Option<Position>)) -> Option<u64> {
        let event = event.map(|position| self.of(position));
        let letter = letter.map(|number| self.of_letter(number));
        match (event, letter) {
            (Some(event), Some(letter)) => Some(event?.max(letter?)),
            (one, other) => one.or(other).flatten(),
        }
    }

    fn of(&mut self, position: Position) -> Option<u64> {
        self.ago(self.topic, position, |block, _| Some(block.stored))
    }

    fn of_letter(&mut self, number: Position) -> Option<u64> {
        let stored = |letter: meshwire_proto::wire::admin::DeadLetter| UnixMillis(letter.stored_unix_ms);
        self.ago(self.letters, number, |block, number| engine::letter(block, number).map(stored))
    }

    fn ago(
        &mut self,
        topic: TopicId,
        position: Position,
        stored: impl Fn(&Block, Position) -> Option<UnixMillis>,
    ) -> Option<u64> {
        if *self.reads >= MOST_READS {
            return None;
        }
        let store = self.stores.of(topic);
        let (found, position) = match store.read(topic, position) {
            Lookup::Gone(first) => (store.read(topic, first), first),
            found => (found, position),
        };
        match found {
            Lookup::Ready(block) => {
                stored(&block, position).map(|stored| self.now.0.saturating_sub(stored.0).max(0).unsigned_abs())
            }
            _ => {
                *self.reads += 1;
                None
            }
        }
    }
}
