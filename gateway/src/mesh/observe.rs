//! What is looked at from outside: counts and how full what is bounded is. Nothing here changes anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Counts, Mesh};
use crate::store::SyncTimes;

/// A bound, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What is bounded, as a name.
    pub of: &'static str,
    /// How much is used.
    pub used: u64,
    /// How much may be.
    pub most: u64,
}

impl Mesh {
    /// What was done since the start.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.inner.counts
    }

    /// Bytes that are bounded over all connections.
    #[must_use]
    pub fn budgets(&self) -> [Used; 3] {
        let inner = &*self.inner;
        let (memory, answers) = (&inner.memory, &inner.answers);
        [
            Used { of: "unkept", used: inner.budget.used(), most: inner.budget.limit() },
            Used { of: "deliveries", used: memory.used(), most: memory.limit() },
            Used { of: "answers", used: answers.used(), most: answers.limit() },
        ]
    }

    /// Topics and groups, and how many there may be.
    #[must_use]
    pub fn population(&self) -> [Used; 2] {
        let inner = &*self.inner;
        let topics = inner.topics().names.len() as u64;
        let groups = inner.groups.load(Ordering::Relaxed) as u64;
        [
            Used { of: "topics", used: topics, most: inner.config.max_topics as u64 },
            Used { of: "groups", used: groups, most: inner.config.max_groups as u64 },
        ]
    }

    /// How long syncs of the log took; `None` without a log.
    #[must_use]
    pub fn sync_times(&self) -> Option<SyncTimes> {
        self.inner.stores.log.as_ref().and_then(|log| log.sync_times())
    }
}
