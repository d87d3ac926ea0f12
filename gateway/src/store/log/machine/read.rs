//! Reading: cache, index of the active segment, fetches of the rest.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Fetched, LogMachine};
use crate::store::log::index::{BlockEntry, SegmentIndex};
use crate::store::log::job::{Read, ReadIndex, Work, together};
use crate::store::{Block, Lookup, Position, StoreError, TopicId};

/// Memory for indexes of sealed segments; at least one is held whatever it weighs.
const INDEX_BYTES: usize = 4 << 20;

/// Fetches that wait, and what is known of sealed segments.
#[derive(Debug, Default)]
pub(super) struct Reads {
    queue: VecDeque<(TopicId, Position)>,
    waiting: BTreeSet<(TopicId, Position)>,
    indexes: VecDeque<(u64, Arc<SegmentIndex>)>,
    /// First positions of blocks that could not be read: skipped from then on.
    bad: BTreeSet<(TopicId, Position)>,
}

impl Reads {
    pub(super) fn keep(&mut self, segment: u64, index: Arc<SegmentIndex>) {
        self.indexes.retain(|(s, _)| *s != segment);
        self.indexes.push_back((segment, index));
        let mut weight: usize = self.indexes.iter().map(|(_, i)| i.weight()).sum();
        while weight > INDEX_BYTES && self.indexes.len() > 1 {
            weight -= self.indexes.pop_front().map_or(0, |(_, i)| i.weight());
        }
    }
}

/// Where a position is.
enum Located {
    Blocks(u64, Vec<BlockEntry>),
    /// In this segment, whose index is not in memory.
    Unknown(u64),
    /// Nowhere; the next one that is somewhere.
    Hole(Position),
}

impl LogMachine {
    /// A block that holds `from`; if it must be fetched, [`LogMachine::poll_fetched`] brings it.
    pub fn read(&mut self, topic: TopicId, from: Position) -> Lookup {
        let first = self.fold.topics.get(&topic).map_or(0, |t| t.first);
        if from < first {
            return Lookup::Gone(first);
        }
        if from >= self.places.visible(topic) {
            return Lookup::Ahead;
        }
        if let Some(block) = self.cache.get(topic, from) {
            return Lookup::Ready(block.clone());
        }
        if let Located::Hole(next) = self.locate(topic, from) {
            return Lookup::Gone(next);
        }
        if self.reads.waiting.insert((topic, from)) {
            self.reads.queue.push_back((topic, from));
        }
        Lookup::Pending
    }

    fn locate(&self, topic: TopicId, from: Position) -> Located {
        let (segment, behind) = self.places.segment_of(topic, from);
        let Some(segment) = segment else {
            return Located::Hole(behind);
        };
        let index = if segment == self.space.active.number {
            &self.space.active.index
        } else {
            match self.reads.indexes.iter().find(|(s, _)| *s == segment) {
                Some((_, index)) => &**index,
                None => return Located::Unknown(segment),
            }
        };
        match index.blocks_from(topic, from) {
            [first, ..] if first.first > from => Located::Hole(first.first),
            [first, ..] if self.reads.bad.contains(&(topic, first.first)) => Located::Hole(first.next()),
            [] => Located::Hole(behind),
            blocks => Located::Blocks(segment, together(blocks)),
        }
    }

    /// The next fetch for the background.
    pub(super) fn next_read(&mut self) -> Option<Work> {
        while let Some((topic, from)) = self.reads.queue.pop_front() {
            // Another fetch may have brought it meanwhile, or retention taken it.
            if let Some(block) = self.cache.get(topic, from).cloned() {
                self.answer(topic, from, Ok(block));
                continue;
            }
            let (segment, index) = match self.locate(topic, from) {
                Located::Blocks(segment, blocks) => (segment, ReadIndex::Known(blocks)),
                Located::Unknown(segment) => (segment, ReadIndex::Load),
                Located::Hole(next) => {
                    self.answer(topic, from, Err(hole(topic, from, next)));
                    continue;
                }
            };
            let active = &self.space.active;
            let (generation, used) = match self.space.sealed.get(&segment) {
                Some(sealed) => (sealed.generation, sealed.used),
                None => (active.generation, active.used),
            };
            return Some(Work::Read(Read { topic, from, segment, generation, used, index }));
        }
        None
    }

    pub(super) fn has_reads(&self) -> bool {
        !self.reads.queue.is_empty()
    }

    pub(super) fn read_done(
        &mut self,
        (topic, from, segment): (TopicId, Position, u64),
        index: Option<Arc<SegmentIndex>>,
        blocks: Vec<(BlockEntry, Result<Block, StoreError>)>,
    ) {
        if let Some(index) = index {
            self.reads.keep(segment, index);
        }
        let mut answer = None;
        for (entry, result) in blocks {
            match &result {
                Ok(block) => self.cache.insert(topic, block.clone(), 0),
                Err(error) => {
                    tracing::error!(%error, "a block cannot be read and is skipped from now on");
                    self.reads.bad.insert((topic, entry.first));
                }
            }
            if (entry.first..entry.next()).contains(&from) {
                answer = Some(result);
            }
        }
        let answer = answer.unwrap_or_else(|| Err(hole(topic, from, self.places.segment_of(topic, from).1)));
        self.answer(topic, from, answer);
    }

    fn answer(&mut self, topic: TopicId, from: Position, result: Result<Block, StoreError>) {
        self.reads.waiting.remove(&(topic, from));
        self.fetched.push_back(Fetched { topic, from, result });
    }
}

/// The answer for a position that no undamaged record holds.
fn hole(topic: TopicId, from: Position, next: Position) -> StoreError {
    StoreError::Damaged(format!(
        "position {from} of topic number {} is in no readable record; the next may be {next}",
        topic.0
    ))
}
