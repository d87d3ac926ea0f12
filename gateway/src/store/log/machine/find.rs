//! Places by time: where a topic's events of a time begin.
//!
//! Of every sealed segment it is known when its last event of a topic was stored, so at most one
//! index is read for a place, in the background.

use std::collections::VecDeque;

use meshwire_proto::{Moment, UnixMillis};

use super::write::Writing;
use super::{Cut, FULL_RETRY, LogMachine};
use crate::store::log::index::SegmentIndex;
use crate::store::log::job::{Indexed, Work};
use crate::store::{Position, Since, TopicId};

/// Most answers that are kept for who asks again. Over it one is looked up once more.
const MOST_FOUND: usize = 256;

/// What is looked up: the events of a topic in a segment, from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sought {
    segment: u64,
    topic: TopicId,
    at: UnixMillis,
}

/// Places that are looked up, and those that were.
#[derive(Debug, Default)]
pub(super) struct Finds {
    queue: Vec<Sought>,
    found: VecDeque<(Sought, Position)>,
    /// After a failure nothing is tried before.
    not_before: Option<Moment>,
    /// Some were found, and nobody was told.
    news: bool,
}

impl LogMachine {
    /// The first event of a topic that was stored at a time or later; if an index must be read for it,
    /// [`LogMachine::poll_found`] tells when to ask again.
    pub fn since(&mut self, topic: TopicId, at: UnixMillis) -> Since {
        let first = self.fold.topics.get(&topic).map_or(0, |t| t.first);
        let Some(segment) = self.segment_since(topic, at) else {
            return self.unwritten_since(topic, at).map_or(Since::Behind, |found| Since::At(found.max(first)));
        };
        let sought = Sought { segment, topic, at };
        let known = match self.index_of(segment) {
            Some(index) => Some(self.since_in(index, sought)),
            None => self.finds.found.iter().find(|(of, _)| *of == sought).map(|(_, position)| *position),
        };
        if let Some(found) = known {
            return Since::At(found.max(first));
        }
        if !self.finds.queue.contains(&sought) {
            self.finds.queue.push(sought);
        }
        Since::Pending
    }

    /// Where it begins in a segment. Of a segment that was damaged meanwhile the index may lack it: then behind it.
    fn since_in(&self, index: &SegmentIndex, Sought { segment, topic, at }: Sought) -> Position {
        let behind = || self.places.segment_of(topic, self.first_in(segment, topic)).1;
        index.since(topic, at).unwrap_or_else(behind)
    }

    fn first_in(&self, segment: u64, topic: TopicId) -> Position {
        self.space.sealed.get(&segment).and_then(|s| s.span(topic)).map_or(0, |span| span.first)
    }

    /// The first segment with an event of a topic that was stored at a time or later.
    fn segment_since(&self, topic: TopicId, at: UnixMillis) -> Option<u64> {
        let segments = self.places.segments(topic)?;
        let last_stored = |segment: u64| match self.space.sealed.get(&segment) {
            Some(sealed) => sealed.span(topic).map(|span| span.stored),
            None => self.space.active.index.last_stored(topic),
        };
        let before = segments.partition_point(|(_, segment)| last_stored(*segment).is_none_or(|stored| stored < at));
        segments.get(before).map(|(_, segment)| *segment)
    }

    /// The same of what was taken and is not written.
    fn unwritten_since(&self, topic: TopicId, at: UnixMillis) -> Option<Position> {
        let in_cut =
            |cut: &Cut| cut.blocks.iter().find(|b| b.topic == topic && b.head.stored >= at).map(|b| b.head.first);
        let writing = match &self.writing {
            Some((_, Writing::Batch { cut, .. })) => in_cut(cut),
            _ => None,
        };
        writing.or_else(|| self.ready.iter().find_map(in_cut)).or_else(|| self.pending.since(topic, at))
    }

    /// The index of a segment, if it is in memory.
    pub(super) fn index_of(&self, segment: u64) -> Option<&SegmentIndex> {
        if segment == self.space.active.number {
            return Some(&self.space.active.index);
        }
        self.reads.index_of(segment).or_else(|| self.jobs.index_of(segment))
    }

    /// Whether a place that was looked up is known now.
    pub fn poll_found(&mut self) -> bool {
        std::mem::take(&mut self.finds.news)
    }

    /// The next index to read.
    pub(super) fn next_find(&mut self, now: Moment) -> Option<Work> {
        if self.finds.not_before.is_some_and(|at| now < at) {
            return None;
        }
        while let Some(Sought { segment, .. }) = self.finds.queue.first().copied() {
            match self.space.sealed.get(&segment) {
                Some(sealed) if self.index_of(segment).is_none() => {
                    return Some(Work::Find(Indexed { segment, generation: sealed.generation, used: sealed.used }));
                }
                // Read meanwhile, or given up with all that was in it.
                _ => {
                    self.finds.queue.remove(0);
                    self.finds.news = true;
                }
            }
        }
        while let Some(segment) = self.retention.wants_index() {
            match self.space.sealed.get(&segment) {
                Some(sealed) if self.index_of(segment).is_none() => {
                    return Some(Work::Find(Indexed { segment, generation: sealed.generation, used: sealed.used }));
                }
                _ => self.retain_with_index(segment),
            }
        }
        None
    }

    pub(super) fn has_finds(&self) -> bool {
        self.finds.not_before.is_none() && (!self.finds.queue.is_empty() || self.retention.wants_index().is_some())
    }

    /// When a lookup that failed is tried again.
    pub(super) const fn find_again_at(&self) -> Option<Moment> {
        self.finds.not_before
    }

    /// An index could not be read: whoever waits for it waits on.
    pub(super) fn find_failed(&mut self, now: Moment) {
        self.finds.not_before = Some(now + FULL_RETRY);
    }

    /// A topic is no more: who looks for a place in it asks again, and who waits for its blocks, too.
    pub(super) fn forget_finds(&mut self, topic: TopicId) {
        self.finds.queue.retain(|sought| sought.topic != topic);
        self.finds.found.retain(|(sought, _)| sought.topic != topic);
        self.finds.news = true;
    }

    pub(super) fn find_done(&mut self, segment: u64, index: &SegmentIndex) {
        self.finds.not_before = None;
        for sought in self.finds.queue.extract_if(.., |sought| sought.segment == segment).collect::<Vec<_>>() {
            let position = self.since_in(index, sought);
            self.finds.found.push_back((sought, position));
            self.finds.news = true;
        }
        let surplus = self.finds.found.len().saturating_sub(MOST_FOUND);
        self.finds.found.drain(..surplus);
    }
}
