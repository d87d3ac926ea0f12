//! How much an HTTP/2 connection may send that no handler has read: all of them together have a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most of one connection, in all and of one stream: what a fast peer needs on a long way.
const MOST: u32 = 1 << 20;

/// What each may however many there are: what HTTP/2 begins with.
const LEAST: u32 = 65_535;

/// The windows of all connections. Each that is opened has at most half of what is left, for as long as it is open: HTTP/2 takes no
/// window back.
#[derive(Debug)]
pub(super) struct Windows {
    limit: u64,
    used: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Window {
    of: Arc<Windows>,
    bytes: u32,
}

impl Windows {
    /// Windows that have so many bytes together beyond what each has in any case.
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    pub(super) fn open(self: &Arc<Self>) -> Window {
        let share = |used: u64| u64::from(MOST - LEAST).min(self.limit.saturating_sub(used) / 2);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used + share(used)));
        let more = taken.map_or(0, share);
        Window { of: Arc::clone(self), bytes: LEAST + u32::try_from(more).unwrap_or(0) }
    }
}

impl Window {
    pub(super) const fn bytes(&self) -> u32 {
        self.bytes
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.of.used.fetch_sub((self.bytes - LEAST).into(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_connections_have_large_windows_and_a_thousand_together_no_more_than_there_is() {
        let windows = Windows::new(4 << 20);
        let open: Vec<Window> = (0..1000).map(|_| windows.open()).collect();
        assert!(open.iter().take(2).all(|window| window.bytes() == MOST));
        assert!(open.iter().all(|window| window.bytes() >= LEAST));
        let beyond: u64 = open.iter().map(|window| u64::from(window.bytes() - LEAST)).sum();
        assert!(beyond <= 4 << 20 && beyond == windows.used.load(Ordering::Relaxed), "{beyond}");
        drop(open);
        assert_eq!((windows.used.load(Ordering::Relaxed), windows.open().bytes()), (0, MOST));
    }
}
