//! Until when events of a topic are delivered: what the engine knows of it, and how little that stays.

use meshwire_proto::UnixMillis;

use super::topic::Topic;
use super::{Engine, Source};
use crate::store::{Durability, Expiries, Op, Position, Times, TopicId};

/// Most ranges of one topic that expire each at a time of its own, about 3 MiB; with as many, none is published that
/// expires. Those that wait for their time by then (`delayed_events` at most) may still come on top. A guess.
pub const MAX_EXPIRIES: usize = 65_536;

impl Topic {
    pub(super) fn has_most_expiries(&self) -> bool {
        self.expiries.len() >= MAX_EXPIRIES
    }

    fn wants_first(&self) -> bool {
        self.expiries.is_crowding() || self.has_most_expiries()
    }
}

impl Engine {
    /// Whether to call [`Engine::forget_expiries`] before more is published that expires.
    #[must_use]
    pub fn wants_first(&self, id: TopicId) -> bool {
        self.topics.get(&id).is_some_and(Topic::wants_first)
    }

    /// Whether none is published that expires.
    #[must_use]
    pub fn has_most_expiries(&self, id: TopicId) -> bool {
        self.topics.get(&id).is_some_and(Topic::has_most_expiries)
    }

    /// Retention took the events of a topic below `first`: when they expire is forgotten.
    pub fn forget_expiries(&mut self, id: TopicId, first: Position) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.expiries.forget_below(first);
        }
    }

    /// The same, if there is reason to.
    pub(super) fn tidy_expiries(&mut self, id: TopicId, source: &mut dyn Source) {
        if self.wants_first(id) {
            self.forget_expiries(id, source.first(id));
        }
    }

    /// Events that expire, from the log.
    pub fn restore_expiries(&mut self, id: TopicId, expiries: Expiries) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.expiries = expiries;
        }
    }

    /// Events of a topic expire.
    pub(super) fn expire(&mut self, id: TopicId, (first, count): (Position, u32), at: UnixMillis) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        topic.expiries.add(first, count, at, topic.stored);
        if topic.settings.durability != Durability::Memory {
            self.ops.push(Op::Times(Times::Expires { topic: id, first, count, at }));
        }
    }
}
