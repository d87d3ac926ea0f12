//! What connections hold in memory, over all of them: shared so that one that is stuck leaves enough to all others, and
//! of deliveries bounded as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes that wait for one connection's peer, however much is free: behind it stands the socket's own buffer.
const MOST_AHEAD: u64 = 1 << 20;

/// Bytes that wait in connections, and how many may: one sum of deliveries, another of requests, replies, answers and
/// publishes that are held, so that neither uses up the other's room.
///
/// A connection may let wait at most half of what is free, and in any case one event. So the more are stuck, the less each
/// of them holds; whoever takes what it is sent is not held up by them. Over the limit are at most one event of each
/// connection, and in the second sum what each connection may have however little is free, the first replies of streams,
/// whose size is not known, and replies to requests without a stream: of those `session_bytes` of each connection is the
/// bound.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    used: AtomicU64,
}

impl Memory {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Bytes that wait in all connections.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Most bytes that may wait in all connections, but for what is said above.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Most bytes that may wait in one connection now.
    #[must_use]
    pub fn allowance(&self) -> u64 {
        (self.limit.saturating_sub(self.used()) / 2).min(MOST_AHEAD)
    }

    /// What a connection holds has changed.
    pub(crate) fn change(&self, before: u64, after: u64) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_are_stuck_the_sum_stays_below_the_limit_and_something_is_left_for_others() {
        let memory = Memory::new(8 << 20);
        for _ in 0..1000 {
            let all = memory.allowance();
            memory.change(0, all);
            assert!(memory.used() < 8 << 20);
        }
        assert!(memory.allowance() <= 1);
        memory.change(1 << 20, 0);
        assert!(memory.allowance() >= 1 << 19);
    }
}
