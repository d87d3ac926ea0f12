//! What a subscription holds, and deliveries that nobody has seen.

use super::{Mesh, TopicRef, shard};
use crate::engine::{Credit, Leaving, SubscriptionKey};

impl Mesh {
    /// Deliveries that a subscription holds unsettled, and their bytes.
    #[must_use]
    pub fn holds(&self, topic: TopicRef, key: SubscriptionKey) -> (u32, u64) {
        self.shard(topic).map_or((0, 0), |mutex| shard::lock(mutex).engine.held_by(topic.id, key))
    }

    /// Whether a subscription, or another member of its group, waits for something that is being read from the disk.
    #[must_use]
    pub fn is_being_read(&self, topic: TopicRef, key: SubscriptionKey) -> bool {
        self.shard(topic).is_ok_and(|mutex| shard::lock(mutex).engine.is_being_read(topic.id, key))
    }

    /// Takes a subscription's credit away; deliveries from `next` on were seen by nobody and come again as if they had
    /// never been made. Gives what it holds then.
    pub fn pause(&self, topic: TopicRef, key: SubscriptionKey, next: u64) -> (u32, u64) {
        let Ok(mutex) = self.shard(topic) else { return (0, 0) };
        self.inner.with(mutex, |engine, _| {
            engine.credit(topic.id, key, Credit { events: 0, bytes: 0 });
            engine.resume(topic.id, key, next);
            engine.held_by(topic.id, key)
        })
    }

    /// Ends a subscription, as [`Mesh::leave`]; deliveries from `next` on were seen by nobody.
    pub fn leave_unseen(&self, topic: TopicRef, key: SubscriptionKey, next: u64, how: Leaving) {
        let Ok(mutex) = self.shard(topic) else { return };
        shard::lock(mutex).sinks.remove(&key);
        self.inner.with(mutex, |engine, now| {
            engine.resume(topic.id, key, next);
            engine.leave(now, topic.id, key, how);
        });
    }
}
