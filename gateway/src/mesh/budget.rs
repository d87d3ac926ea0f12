//! Bytes that were accepted and are not kept yet: bounded over all connections.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::store::Watermark;

/// From half of the limit on, publishers are slowed down, so that as a rule nobody is refused.
#[derive(Debug)]
pub(super) struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// `(batch, bytes)`, rising: in memory until they are written.
    written: VecDeque<(u64, u64)>,
    /// The same until they are synced: only then they are shown, and in the cache.
    synced: VecDeque<(u64, u64)>,
    /// Publishers that wait for room.
    waiting: BTreeMap<u64, Waker>,
    kept: Watermark,
}

/// Bytes of one batch, by the level that they must reach.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes {
    pub(super) written: u64,
    pub(super) synced: u64,
}

fn add(batches: &mut VecDeque<(u64, u64)>, batch: u64, bytes: u64) {
    match batches.back_mut() {
        _ if bytes == 0 => {}
        Some((last, sum)) if *last == batch => *sum += bytes,
        _ => batches.push_back((batch, bytes)),
    }
}

fn end(batches: &mut VecDeque<(u64, u64)>, through: u64) -> u64 {
    let mut ended = 0;
    while let Some((_, bytes)) = batches.pop_front_if(|(batch, _)| *batch <= through) {
        ended += bytes;
    }
    ended
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit: AtomicU64::new(limit), used: AtomicU64::new(0), open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Who waited is woken by what is kept next, and by time.
    pub(super) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn has_room(&self) -> bool {
        self.used() < self.limit()
    }

    /// Whether publishers need not be slowed down.
    pub(super) fn is_free(&self) -> bool {
        self.used() < (self.limit() / 2).max(1)
    }

    /// Wakes `waker` once publishers need not be slowed down any more; `false` when that is so already.
    pub(super) fn wake_when_free(&self, connection: u64, waker: &Waker) -> bool {
        let mut open = self.open();
        if self.is_free() {
            return false;
        }
        open.waiting.insert(connection, waker.clone());
        true
    }

    pub(super) fn take(&self, batch: u64, bytes: Bytes) {
        if bytes.written + bytes.synced == 0 {
            return;
        }
        let mut open = self.open();
        // The log may have been faster than its caller.
        let written = if batch <= open.kept.written || open.kept.failed { 0 } else { bytes.written };
        let synced = if batch <= open.kept.synced || open.kept.failed { 0 } else { bytes.synced };
        self.used.fetch_add(written + synced, Ordering::Relaxed);
        add(&mut open.written, batch, written);
        add(&mut open.synced, batch, synced);
    }

    /// These bytes no longer wait in memory, and nothing does any more once the log has failed.
    pub(super) fn kept(&self, watermark: Watermark) {
        let mut open = self.open();
        open.kept = watermark;
        let through = |level: u64| if watermark.failed { u64::MAX } else { level };
        let ended =
            end(&mut open.written, through(watermark.written)) + end(&mut open.synced, through(watermark.synced));
        self.used.fetch_sub(ended, Ordering::Relaxed);
        let waiting = if self.is_free() { std::mem::take(&mut open.waiting) } else { BTreeMap::new() };
        drop(open);
        waiting.into_values().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_they_reach_their_level() {
        let budget = Budget::new(100);
        budget.take(1, Bytes { written: 30, synced: 0 });
        budget.take(2, Bytes { written: 0, synced: 30 });
        assert!(!budget.is_free() && budget.has_room());
        budget.take(2, Bytes { written: 0, synced: 50 });
        assert!(!budget.has_room());
        budget.kept(Watermark { written: 2, synced: 0, failed: false, stuck: false });
        assert_eq!(budget.used(), 80);
        assert!(budget.wake_when_free(1, Waker::noop()));
        budget.kept(Watermark { written: 2, synced: 2, failed: false, stuck: false });
        assert_eq!(budget.used(), 0);
        assert!(!budget.wake_when_free(1, Waker::noop()));
        budget.take(2, Bytes { written: 10, synced: 10 });
        assert_eq!(budget.used(), 0, "the log was faster");
    }

    #[test]
    fn nothing_that_is_accepted_waits_for_a_budget_of_one_byte() {
        let budget = Budget::new(1);
        assert!(budget.is_free() && budget.has_room());
    }
}
