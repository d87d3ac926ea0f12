//! How far things are kept, and who is to be woken when more is.
//!
//! Whoever waits leaves a waker with the batch that it waits for: a sync wakes
//! those whose batch it kept, and nobody else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;

use crate::store::{Durability, Ticket, Watermark};

type ByBatch = BTreeMap<u64, Vec<Waker>>;

pub(super) struct Kept {
    state: Mutex<State>,
    due: Notify,
}

#[derive(Default)]
struct State {
    watermark: Watermark,
    written: ByBatch,
    synced: ByBatch,
    /// Their batch is kept, and they were not told yet.
    due: Vec<Waker>,
}

impl Kept {
    pub(super) fn new(watermark: Watermark) -> Self {
        Self { state: Mutex::new(State { watermark, ..State::default() }), due: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watermark(&self) -> Watermark {
        self.state().watermark
    }

    /// `false`: nothing is to be waited for, since it is kept or never will be.
    pub(super) fn wake_when(&self, ticket: Ticket, waker: &Waker) -> bool {
        let mut state = self.state();
        if state.watermark.failed || state.watermark.covers(ticket) {
            return false;
        }
        let waiting = match ticket.level {
            Durability::Synced => &mut state.synced,
            Durability::Written | Durability::Memory => &mut state.written,
        };
        waiting.entry(ticket.batch).or_default().push(waker.clone());
        true
    }

    pub(super) fn advance(&self, watermark: Watermark) {
        let mut state = self.state();
        let State { watermark: before, written, synced, due } = &mut *state;
        for (waiting, through) in [(&mut *written, watermark.written), (&mut *synced, watermark.synced)] {
            while let Some(batch) = waiting.first_entry().filter(|b| watermark.failed || *b.key() <= through) {
                due.append(&mut batch.remove());
            }
        }
        if watermark.stuck && !before.stuck {
            // Who waits for as long as it takes does so, and stays where it is.
            due.extend(written.values().chain(synced.values()).flatten().cloned());
        }
        *before = watermark;
        let ring = !state.due.is_empty();
        drop(state);
        if ring {
            self.due.notify_one();
        }
    }

    /// Wakes who is due, for ever. The log's thread wakes the one task that runs
    /// this, and that one wakes the many from inside the runtime, without a lock
    /// and a system call each.
    pub(super) async fn announce(&self) {
        let mut due = Vec::new();
        loop {
            self.due.notified().await;
            std::mem::swap(&mut self.state().due, &mut due);
            due.drain(..).for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const fn ticket(batch: u64, level: Durability) -> Ticket {
        Ticket { batch, level }
    }

    fn woken(kept: &Kept) -> usize {
        let due = std::mem::take(&mut kept.state().due);
        due.len()
    }

    #[test]
    fn only_those_are_woken_whose_batch_reached_its_level() {
        let kept = Kept::new(Watermark::default());
        let waker = Waker::from(Arc::<Count>::default());
        assert!(kept.wake_when(ticket(1, Durability::Synced), &waker));
        assert!(kept.wake_when(ticket(2, Durability::Written), &waker));
        assert!(kept.wake_when(ticket(3, Durability::Synced), &waker));
        kept.advance(Watermark { written: 1, synced: 0, failed: false, stuck: false });
        assert_eq!(woken(&kept), 0);
        kept.advance(Watermark { written: 3, synced: 2, failed: false, stuck: false });
        assert_eq!(woken(&kept), 2);
        kept.advance(Watermark { written: 3, synced: 3, failed: false, stuck: false });
        assert_eq!(woken(&kept), 1);
    }

    #[test]
    fn all_who_wait_are_told_once_that_the_disk_is_full_and_again_when_theirs_is_kept() {
        let kept = Kept::new(Watermark::default());
        let waker = Waker::from(Arc::<Count>::default());
        assert!(kept.wake_when(ticket(2, Durability::Synced), &waker));
        assert!(kept.wake_when(ticket(3, Durability::Written), &waker));
        kept.advance(Watermark { written: 1, synced: 1, failed: false, stuck: true });
        assert_eq!(woken(&kept), 2);
        kept.advance(Watermark { written: 1, synced: 1, failed: false, stuck: true });
        assert_eq!(woken(&kept), 0);
        kept.advance(Watermark { written: 3, synced: 3, failed: false, stuck: false });
        assert_eq!(woken(&kept), 2);
    }

    #[test]
    fn nobody_waits_for_what_is_kept_or_for_a_log_that_failed() {
        let kept = Kept::new(Watermark { written: 5, synced: 4, failed: false, stuck: false });
        let waker = Waker::noop();
        assert!(!kept.wake_when(Ticket::KEPT, waker));
        assert!(!kept.wake_when(ticket(5, Durability::Written), waker));
        assert!(kept.wake_when(ticket(5, Durability::Synced), waker));
        kept.advance(Watermark { written: 5, synced: 4, failed: true, stuck: false });
        assert_eq!(woken(&kept), 1);
        assert!(!kept.wake_when(ticket(9, Durability::Synced), waker));
    }

    #[tokio::test]
    async fn the_announcing_task_wakes_whoever_is_due() {
        let kept = Arc::new(Kept::new(Watermark::default()));
        let announcing = tokio::spawn({
            let kept = kept.clone();
            async move { kept.announce().await }
        });
        let waited = std::future::poll_fn(|cx| {
            if kept.wake_when(ticket(1, Durability::Synced), cx.waker()) {
                kept.advance(Watermark { written: 1, synced: 1, failed: false, stuck: false });
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        });
        waited.await;
        announcing.abort();
    }
}
