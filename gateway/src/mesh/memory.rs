//! What connections hold in memory, over all of them: shared so that one that is stuck leaves enough to all others, and
//! of deliveries bounded as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes that wait for one connection's peer, however much is free: behind it stands the socket's own buffer.
const MOST_AHEAD: u64 = 1 << 20;

/// How far replies that a requester waits for may pass over the limit, before those who hold most are refused theirs. A
/// guess: a client whose thousand questions are answered at once is not to lose some of the answers.
const OVER: u64 = 4;

/// Bytes that wait in connections, and how many may: one sum of deliveries, another of requests, replies, answers and
/// publishes that are held, so that neither uses up the other's room.
///
/// A connection may let wait at most half of what is free, and in any case one event. So the more are stuck, the less each
/// of them holds; whoever takes what it is sent is not held up by them. Over the limit are at most one event of each
/// connection, and in the second sum what each connection may have however little is free, the first replies of streams,
/// whose size is not known, and replies to requests without a stream: those are refused when all hold [`OVER`] times the
/// limit, and only to who holds more than its part of that.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    used: AtomicU64,
    /// Connections that hold more than [`Memory::LEAST`].
    holders: AtomicU64,
}

impl Memory {
    /// However many others take nothing, so many bytes of requests, replies and answers may wait on a connection.
    pub const LEAST: u64 = 64 << 10;

    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0), holders: AtomicU64::new(0) }
    }

    /// Bytes that wait in all connections.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Most bytes that may wait in one connection now.
    #[must_use]
    pub fn allowance(&self) -> u64 {
        (self.limit.saturating_sub(self.used()) / 2).min(MOST_AHEAD)
    }

    /// Whether a connection that holds so much may not hold so much: all hold too much, and it more than its part. Who
    /// came first may have more, from before others came: the sum grows with the logarithm of their number.
    pub(crate) fn is_too_much(&self, before: u64, after: u64) -> bool {
        let most = self.limit.saturating_mul(OVER);
        let holders = self.holders.load(Ordering::Relaxed) + u64::from(before <= Self::LEAST);
        after > Self::LEAST.max(most / holders.max(1)) && self.used() + (after - before) > most
    }

    /// What a connection holds has changed.
    pub(crate) fn change(&self, before: u64, after: u64) {
        match (before > Self::LEAST, after > Self::LEAST) {
            (false, true) => drop(self.holders.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.holders.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    const LEAST: u64 = Memory::LEAST;

    #[test]
    fn who_holds_most_is_refused_more_and_who_holds_little_is_not() {
        let memory = Memory::new(1 << 20);
        let fill = || {
            let mut held = 0;
            while !memory.is_too_much(held, held + LEAST) {
                memory.change(held, held + LEAST);
                held += LEAST;
            }
            held
        };
        let held: Vec<u64> = (0..64).map(|_| fill()).collect();
        assert_eq!(held[..3], [4 << 20, 2 << 20, (4 << 20) / 3 / LEAST * LEAST]);
        assert!(memory.used() < 5 * (4 << 20), "{} bytes", memory.used());
        assert!(!memory.is_too_much(0, LEAST) && memory.is_too_much(LEAST, 2 * LEAST));
        // Those who are gone leave their part to others.
        held.iter().skip(1).for_each(|held| memory.change(*held, 0));
        assert!(memory.is_too_much(held[0], held[0] + 1) && !memory.is_too_much(0, 2 << 20));
    }

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
