//! Deliveries of one consumer that it has not taken yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use meshwire_proto::frame::DeliverRun;

use crate::delivery::Sink;
use crate::mesh::Memory;

/// Filled under a shard's lock, emptied by the consumer. What waits is bounded by the consumer's credit, and by
/// [`Memory::allowance`] over all connections; one event may pass over it.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    memory: Arc<Memory>,
}

#[derive(Debug, Default)]
struct Queue {
    runs: VecDeque<DeliverRun>,
    /// Bytes of their events and of the run that the consumer has in hand, which are in the sum of all connections.
    bytes: u64,
    in_hand: u64,
    /// There would be more, had there been room.
    starved: bool,
    /// The topic was deleted.
    ended: bool,
    waker: Option<Waker>,
}

/// What a consumer finds.
#[derive(Debug)]
pub(super) enum Found {
    Run(DeliverRun),
    /// There is room again: ask the mesh for more.
    Room,
    /// Nothing comes any more.
    Ended,
}

impl Inbox {
    pub(super) fn new(memory: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), memory })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is now.
    pub(super) fn take(&self) -> Option<Found> {
        self.find(&mut self.queue())
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Found> {
        let mut queue = self.queue();
        if let Some(found) = self.find(&mut queue) {
            return Poll::Ready(found);
        }
        match &mut queue.waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn find(&self, queue: &mut Queue) -> Option<Found> {
        // Whoever asks for more is done with what it had.
        let done = std::mem::take(&mut queue.in_hand);
        if done > 0 {
            self.set_bytes(queue, queue.bytes.saturating_sub(done));
        }
        if let Some(run) = queue.runs.pop_front() {
            queue.in_hand = bytes_of(&run);
            return Some(Found::Run(run));
        }
        if queue.ended {
            return Some(Found::Ended);
        }
        if std::mem::take(&mut queue.starved) { Some(Found::Room) } else { None }
    }

    /// Drops what nobody has taken.
    pub(super) fn clear(&self) {
        let mut queue = self.queue();
        queue.runs.clear();
        queue.in_hand = 0;
        self.set_bytes(&mut queue, 0);
    }

    fn set_bytes(&self, queue: &mut Queue, bytes: u64) {
        self.memory.change(queue.bytes, bytes);
        queue.bytes = bytes;
    }
}

fn bytes_of(run: &DeliverRun) -> u64 {
    run.events.as_bytes().len() as u64
}

fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Sink for Inbox {
    fn deliver(&self, run: DeliverRun) {
        let mut queue = self.queue();
        let bytes = queue.bytes + bytes_of(&run);
        self.set_bytes(&mut queue, bytes);
        queue.runs.push_back(run);
        wake(queue);
    }

    fn ended(&self, _: u32) {
        let mut queue = self.queue();
        queue.ended = true;
        wake(queue);
    }

    fn room(&self) -> u64 {
        let waiting = self.queue().bytes;
        let room = self.memory.allowance().saturating_sub(waiting);
        // One event always passes.
        if waiting == 0 { room.max(1) } else { room }
    }

    fn starved(&self, _: u32) {
        let mut queue = self.queue();
        queue.starved = true;
        // It may have taken everything meanwhile, and look no more by itself.
        if queue.runs.is_empty() {
            wake(queue);
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.clear();
    }
}
