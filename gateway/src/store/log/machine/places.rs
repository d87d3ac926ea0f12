//! Where each topic's events are, by segment, and how far they may be read.

use std::collections::{BTreeMap, VecDeque};

use crate::store::log::segment::Sealed;
use crate::store::{Position, TopicId};

#[derive(Debug, Default)]
struct Place {
    /// Positions below are kept to the topic's level.
    visible: Position,
    /// First position in each segment that has some: `(position, segment)`, both rising.
    segments: VecDeque<(Position, u64)>,
}

/// All topics.
#[derive(Debug, Default)]
pub(super) struct Places {
    topics: BTreeMap<TopicId, Place>,
}

impl Places {
    /// Events of a topic are in this segment, the first at `first`.
    pub(super) fn add(&mut self, topic: TopicId, first: Position, segment: u64) {
        let place = self.topics.entry(topic).or_default();
        if place.segments.back().is_none_or(|(_, s)| *s < segment) {
            place.segments.push_back((first, segment));
        }
    }

    pub(super) fn show(&mut self, topic: TopicId, next: Position) {
        let place = self.topics.entry(topic).or_default();
        place.visible = place.visible.max(next);
    }

    pub(super) fn visible(&self, topic: TopicId) -> Position {
        self.topics.get(&topic).map_or(0, |p| p.visible)
    }

    /// The segment a position is in, if it is in any: and the first position of the one behind it.
    pub(super) fn segment_of(&self, topic: TopicId, from: Position) -> (Option<u64>, Position) {
        let Some(place) = self.topics.get(&topic) else {
            return (None, from);
        };
        let behind = place.segments.partition_point(|(first, _)| *first <= from);
        let segment = behind.checked_sub(1).and_then(|at| place.segments.get(at)).map(|(_, s)| *s);
        let next = place.segments.get(behind).map_or(place.visible, |(first, _)| *first);
        (segment, next)
    }

    /// The segments that hold events of a topic, in rising order.
    pub(super) fn segments(&self, topic: TopicId) -> Option<&VecDeque<(Position, u64)>> {
        self.topics.get(&topic).map(|p| &p.segments)
    }

    /// The segment with the first events of a topic that can be read.
    pub(super) fn front(&self, topic: TopicId) -> Option<u64> {
        self.topics.get(&topic)?.segments.front().map(|(_, segment)| *segment)
    }

    /// Nothing of it can be read any more.
    pub(super) fn pop_front(&mut self, topic: TopicId) {
        if let Some(place) = self.topics.get_mut(&topic) {
            place.segments.pop_front();
        }
    }

    /// A topic is no more.
    pub(super) fn forget(&mut self, topic: TopicId) {
        self.topics.remove(&topic);
    }

    pub(super) fn remove(&mut self, segment: &Sealed) {
        for span in &segment.spans {
            if let Some(place) = self.topics.get_mut(&span.topic) {
                place.segments.retain(|(_, s)| *s != segment.number);
            }
        }
    }
}
