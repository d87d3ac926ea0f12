//! Deliveries by a task of their own: a call that publishes little to a topic in memory leaves them to it, and one look at the readers of a
//! shard serves all who published in that round of the runtime. What comes in larger runs, or in a session, is delivered at once.
//!
//! *Invariant:* what is left has no more than [`LEFT_BYTES`], less than the smallest ring: nobody who has credit misses an event that was
//! overwritten before it was offered. And a shard without its task is left nothing.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::sync::Notify;

use super::shard::{self, Shard};
use super::{Inner, Mesh};

/// A run is left if it is smaller: a look at the readers is little beside a larger one, whose bytes are still in the processor's cache.
const RUN_BYTES: u64 = 8 * 1024;

/// Most that is left to one look.
const LEFT_BYTES: u64 = 32 * 1024;

/// Who delivers late: one task a shard.
#[derive(Debug)]
pub(super) struct Late(Vec<OfShard>);

#[derive(Debug, Default)]
struct OfShard {
    /// There is a task, and it has not ended.
    runs: AtomicBool,
    news: Notify,
}

impl Late {
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| OfShard::default()).collect())
    }

    /// Leaves a run of so many bytes to the task of its shard; `false`: it must be delivered at once.
    pub(super) fn leave(&self, shard: &mut Shard, bytes: u64) -> bool {
        let Some(of) = self.0.get(shard.place).filter(|of| of.runs.load(Ordering::Acquire)) else { return false };
        if bytes >= RUN_BYTES || shard.left + bytes > LEFT_BYTES {
            return false;
        }
        shard.left += bytes;
        of.news.notify_one();
        true
    }
}

/// Takes back that a task runs when it ends, by a panic too.
struct Runs<'a>(&'a AtomicBool);

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Mesh {
    /// Delivers what is left to it, for ever: tasks of the runtime's own, one a shard. Before they run, and when they are dropped, nothing is.
    #[must_use]
    pub fn deliver_late(&self) -> Vec<impl Future<Output = ()> + Send + 'static> {
        (0..self.inner.shards.len()).map(|place| deliver_left(Arc::clone(&self.inner), place)).collect()
    }
}

impl Inner {
    /// Delivers what was left to its task.
    pub(super) fn deliver_left(&self, shard: &mut Shard) {
        if shard.left > 0 {
            self.deliver(shard, self.clock.now(), None);
        }
    }
}

async fn deliver_left(inner: Arc<Inner>, place: usize) {
    let (Some(of), Some(mutex)) = (inner.late.0.get(place), inner.shards.get(place)) else { return };
    of.runs.store(true, Ordering::Release);
    let _runs = Runs(&of.runs);
    loop {
        of.news.notified().await;
        behind_all_ready().await;
        inner.deliver_left(&mut shard::lock(mutex));
    }
}

/// Lets those run first who are ready: they may publish too. By a wake of its own, and not as one that yields, which only this thread
/// would take up again.
async fn behind_all_ready() {
    let mut woken = false;
    poll_fn(|cx| {
        if woken {
            return Poll::Ready(());
        }
        woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
