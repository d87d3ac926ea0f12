//! Deliveries on their way to one connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use meshwire_proto::frame::DeliverRun;

use crate::delivery::Sink;

/// Filled under shard locks, emptied by the connection. What it holds is bounded
/// by the credit of the session's subscriptions.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    deliveries: Vec<DeliverRun>,
    /// The connection's task, when it waits.
    waker: Option<Waker>,
    /// Another connection has taken the session over.
    closed: bool,
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps what is queued into `into`, which is empty.
    pub(super) fn take(&self, into: &mut Vec<DeliverRun>) {
        std::mem::swap(&mut self.queue().deliveries, into);
    }

    /// Wakes `waker`, once, when something is queued or the outbox is closed;
    /// `false` when that is so already.
    pub(super) fn wake_when_filled(&self, waker: &Waker) -> bool {
        let mut queue = self.queue();
        if queue.closed || !queue.deliveries.is_empty() {
            return false;
        }
        match &mut queue.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    /// Tells the connection that its session is another's now.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        wake(queue);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue().closed
    }
}

impl Sink for Outbox {
    fn deliver(&self, run: DeliverRun) {
        let mut queue = self.queue();
        queue.deliveries.push(run);
        wake(queue);
    }
}

fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}
