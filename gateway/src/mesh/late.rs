//! Deliveries by a task of their own: who publishes a single event with each call leaves them to it, and one look at the readers of a
//! shard serves all who published in that round of the runtime. What is published in batches is delivered at once, by who brings it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::{Inner, Mesh, shard};

/// Who delivers late.
#[derive(Debug)]
pub(super) struct Late {
    /// Nobody does before there are tasks for it.
    begun: AtomicBool,
    /// One of each shard.
    news: Vec<Notify>,
}

impl Late {
    pub(super) fn new(shards: usize) -> Self {
        Self { begun: AtomicBool::new(false), news: (0..shards).map(|_| Notify::new()).collect() }
    }

    /// Leaves it to the shard's task, if there is one.
    pub(super) fn leave(&self, shard: usize) -> bool {
        let begun = self.begun.load(Ordering::Acquire);
        if let Some(news) = self.news.get(shard).filter(|_| begun) {
            news.notify_one();
        }
        begun
    }
}

impl Mesh {
    /// Delivers what was left to it, for ever: tasks of the runtime's own, one a shard.
    #[must_use]
    pub fn deliver_late(&self) -> Vec<impl Future<Output = ()> + Send + 'static> {
        self.inner.late.begun.store(true, Ordering::Release);
        (0..self.inner.shards.len()).map(|shard| deliver(Arc::clone(&self.inner), shard)).collect()
    }
}

async fn deliver(inner: Arc<Inner>, place: usize) {
    let (Some(news), Some(mutex)) = (inner.late.news.get(place), inner.shards.get(place)) else { return };
    loop {
        news.notified().await;
        // Behind all who are ready now: they may publish too.
        yield_now().await;
        let mut shard = shard::lock(mutex);
        let now = inner.clock.now();
        inner.deliver(&mut shard, now, None);
    }
}
