//! Reading: cache, index of the active segment, fetches of the rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::Moment;

use super::{Fetched, LogMachine};
use crate::store::log::disk::DiskError;
use crate::store::log::index::{BlockEntry, SegmentIndex};
use crate::store::log::job::{Fetch, Read, ReadIndex, Work, together};
use crate::store::{Block, Lookup, Position, StoreError, TopicId};

/// Memory for indexes of sealed segments; at least one is held whatever it weighs.
const INDEX_BYTES: usize = 4 << 20;

/// How long a fetch that failed waits before it is tried again: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A fetch that failed, and when it is tried again. What it says of the disk may pass; only bytes that were read
/// can be damaged.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Moment,
    pause: Duration,
}

/// Fetches that wait, and what is known of sealed segments.
#[derive(Debug, Default)]
pub(super) struct Reads {
    queue: VecDeque<(TopicId, Position)>,
    waiting: BTreeSet<(TopicId, Position)>,
    /// Of those that wait, the ones that failed.
    retries: BTreeMap<(TopicId, Position), Retry>,
    indexes: VecDeque<(u64, Arc<SegmentIndex>)>,
    /// First positions of damaged blocks: skipped from then on.
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

    pub(super) fn index_of(&self, segment: u64) -> Option<&SegmentIndex> {
        self.indexes.iter().find(|(s, _)| *s == segment).map(|(_, index)| &**index)
    }

    fn fails(&self, topic: TopicId) -> bool {
        self.retries.range((topic, 0)..=(topic, Position::MAX)).next().is_some()
    }

    /// Nobody waits for these positions any more.
    fn end(&mut self, (topic, positions): (TopicId, Range<Position>)) {
        let keys = (topic, positions.start)..(topic, positions.end);
        let ended: Vec<_> = self.waiting.range(keys.clone()).copied().collect();
        for key in &ended {
            self.waiting.remove(key);
        }
        self.queue.retain(|key| !keys.contains(key));
        let failed = ended.iter().filter(|key| self.retries.remove(key).is_some()).count();
        if failed > 0 && !self.fails(topic) {
            tracing::info!(topic = topic.0, "the log can be read again");
        }
    }

    /// The next fetch: one that was never tried, or one whose pause is over.
    fn pop(&mut self, now: Moment) -> Option<(TopicId, Position)> {
        if let Some(next) = self.queue.pop_front() {
            return Some(next);
        }
        let (key, retry) = self.retries.iter_mut().filter(|(_, retry)| retry.at <= now).min_by_key(|(_, r)| r.at)?;
        // It is under way: whoever asks meanwhile must not begin it again.
        retry.at = now + retry.pause;
        Some(*key)
    }
}

/// Where a position is.
enum Located {
    Blocks(u64, Vec<BlockEntry>),
    /// In this segment, whose index is not in memory, and which ends there.
    Unknown(u64, Position),
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
        if let Some(block) = self.cache.get(topic, from).or_else(|| self.brought(topic, from)) {
            return Lookup::Ready(block.clone());
        }
        let until = match self.locate(topic, from) {
            Located::Hole(next) => return Lookup::Gone(next),
            Located::Blocks(_, blocks) => blocks.last().map_or(from + 1, BlockEntry::next),
            Located::Unknown(_, behind) => behind,
        };
        if self.reads.waiting.insert((topic, from)) {
            self.reads.queue.push_back((topic, from));
        }
        Lookup::Pending(until)
    }

    /// A block that was read and is not handed over yet: a cache may be too small for it.
    fn brought(&self, topic: TopicId, from: Position) -> Option<&Block> {
        let blocks = self.fetched.iter().filter(|f| f.topic == topic).flat_map(|f| f.result.iter().flatten());
        blocks.into_iter().find(|block| (block.first..block.next()).contains(&from))
    }

    /// The first position of a topic that retention has not taken.
    #[must_use]
    pub fn first(&self, topic: TopicId) -> Position {
        self.fold.topics.get(&topic).map_or(1, |t| t.first.max(1))
    }

    fn locate(&self, topic: TopicId, from: Position) -> Located {
        let (segment, behind) = self.places.segment_of(topic, from);
        let Some(segment) = segment else {
            return Located::Hole(behind);
        };
        let index = if segment == self.space.active.number {
            &self.space.active.index
        } else {
            match self.reads.index_of(segment) {
                Some(index) => index,
                None => return Located::Unknown(segment, behind),
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
    pub(super) fn next_read(&mut self, now: Moment) -> Option<Work> {
        while let Some((topic, from)) = self.reads.pop(now) {
            // Another fetch may have brought it meanwhile, or retention taken it.
            if let Some(block) = self.cache.get(topic, from).cloned() {
                self.reads.end((topic, block.first..block.next()));
                self.answer(topic, from, Ok(vec![block]));
                continue;
            }
            let (segment, index) = match self.locate(topic, from) {
                Located::Blocks(segment, blocks) => (segment, ReadIndex::Known(blocks)),
                Located::Unknown(segment, _) => (segment, ReadIndex::Load),
                Located::Hole(next) => {
                    // Whoever waits for others of it asks again and is told where it goes on.
                    self.reads.end((topic, from..next.max(from + 1)));
                    let gone = self.fold.topics.get(&topic).is_some_and(|t| from < t.first);
                    let error = if gone { StoreError::Gone } else { hole(topic, from, next) };
                    self.answer(topic, from, Err(error));
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

    /// When the next fetch that failed is tried again.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.reads.retries.values().map(|retry| retry.at).min()
    }

    /// A fetch failed: whoever waits for it waits on.
    pub(super) fn read_failed(&mut self, now: Moment, (topic, from): (TopicId, Position), error: &DiskError) {
        if !self.reads.waiting.contains(&(topic, from)) {
            return;
        }
        if !self.reads.fails(topic) {
            tracing::error!(topic = topic.0, position = from, %error, "the log cannot be read; its readers wait, and it is tried again");
        }
        let pause = self.reads.retries.get(&(topic, from)).map_or(FIRST_PAUSE, |r| (r.pause * 2).min(LONGEST_PAUSE));
        self.reads.retries.insert((topic, from), Retry { at: now + pause, pause });
        // Others who wait for that block are told when it is there: one tries for all.
        if let Located::Blocks(_, blocks) = self.locate(topic, from)
            && let Some(block) = blocks.first()
        {
            self.reads.queue.retain(|(of, position)| *of != topic || !(block.first..block.next()).contains(position));
        }
    }

    pub(super) fn read_done(&mut self, (topic, from, segment): (TopicId, Position, u64), fetch: Fetch) {
        let Fetch { index, blocks } = fetch;
        if let Some(index) = index {
            self.reads.keep(segment, index);
        }
        if !self.reads.waiting.contains(&(topic, from)) {
            // The topic was deleted meanwhile.
            return;
        }
        let (mut good, mut damage, mut found) = (Vec::with_capacity(blocks.len()), None, false);
        for (entry, result) in blocks {
            let wanted = (entry.first..entry.next()).contains(&from);
            // Who waits for another position of it must not read it again.
            self.reads.end((topic, entry.first..entry.next()));
            match result {
                Ok(block) => {
                    self.cache.insert(topic, block.clone(), 0);
                    good.push(block);
                    found |= wanted;
                }
                Err(error) => {
                    tracing::error!(%error, "a block is damaged and skipped from now on");
                    self.reads.bad.insert((topic, entry.first));
                    damage = damage.or_else(|| wanted.then_some(error));
                }
            }
        }
        let lost = || damage.unwrap_or_else(|| hole(topic, from, self.places.segment_of(topic, from).1));
        let answer = if found { Ok(good) } else { Err(lost()) };
        self.answer(topic, from, answer);
    }

    /// Nobody waits for blocks of this topic any more; those under way are not told.
    pub(super) fn forget_reads(&mut self, topic: TopicId) {
        let of = |key: &(TopicId, Position)| key.0 == topic;
        self.reads.queue.retain(|key| !of(key));
        self.reads.waiting.retain(|key| !of(key));
        self.reads.retries.retain(|key, _| !of(key));
        self.reads.bad.retain(|key| !of(key));
    }

    fn answer(&mut self, topic: TopicId, from: Position, result: Result<Vec<Block>, StoreError>) {
        self.reads.end((topic, from..from + 1));
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
