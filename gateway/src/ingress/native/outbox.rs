//! Deliveries on their way to one connection.

use std::sync::{Mutex, PoisonError};

use meshwire_proto::frame::DeliverRun;
use tokio::sync::Notify;

use crate::delivery::Sink;

/// Filled under shard locks, emptied by the connection. What it holds is bounded
/// by the credit of the session's subscriptions.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    deliveries: Vec<DeliverRun>,
    /// Another connection has taken the session over.
    closed: bool,
}

impl Outbox {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps what is queued into `into`, which is empty.
    pub(super) fn take(&self, into: &mut Vec<DeliverRun>) {
        std::mem::swap(&mut self.queue().deliveries, into);
    }

    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Tells the connection that its session is another's now.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.filled.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue().closed
    }
}

impl Sink for Outbox {
    fn deliver(&self, run: DeliverRun) {
        let mut queue = self.queue();
        queue.deliveries.push(run);
        let first = queue.deliveries.len() == 1;
        drop(queue);
        if first {
            self.filled.notify_one();
        }
    }
}
