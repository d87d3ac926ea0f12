//! Deliveries, requests and replies on their way to one connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use meshwire_proto::frame::{DeliverRun, ServerFrame};
use meshwire_proto::wire::session as wire;

use crate::delivery::{ReplySink, Sink};

/// Filled under shard locks, emptied by the connection. What it holds of deliveries is
/// bounded by the credit of the session's subscriptions; of requests and replies by their
/// bytes here.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// Most bytes of requests and replies that are not written.
    most: usize,
}

#[derive(Debug, Default)]
struct Queue {
    deliveries: Vec<DeliverRun>,
    /// Subscriptions that ended with their topic.
    ended: Vec<u32>,
    /// One of them nobody has looked at.
    news: bool,
    /// Requests, replies and cancels.
    frames: Vec<ServerFrame>,
    /// Bytes of their events.
    bytes: usize,
    /// Credit for reply streams, by request: any number of grants is one frame.
    credit: BTreeMap<u64, u32>,
    /// Bytes that the connection took and the peer did not.
    unwritten: usize,
    /// The connection's task, when it waits.
    waker: Option<Waker>,
    /// Another connection has taken the session over.
    closed: bool,
}

impl Outbox {
    pub(super) fn new(most: u64) -> Self {
        Self { queue: Mutex::default(), most: usize::try_from(most).unwrap_or(usize::MAX) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps the deliveries that are queued into `into`, which is empty.
    pub(super) fn take(&self, into: &mut Vec<DeliverRun>) {
        std::mem::swap(&mut self.queue().deliveries, into);
    }

    /// Takes out the subscriptions that ended, unless `waits` for their beginning.
    pub(super) fn take_ended(&self, waits: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut queue = self.queue();
        queue.news = false;
        queue.ended.extract_if(.., |number| !waits(*number)).collect()
    }

    /// Moves the requests and replies that are queued behind what is in `into`.
    pub(super) fn take_frames(&self, into: &mut Vec<ServerFrame>) {
        let mut queue = self.queue();
        into.append(&mut queue.frames);
        queue.unwritten += std::mem::take(&mut queue.bytes);
        let credit = std::mem::take(&mut queue.credit);
        let frame = |(number, events)| ServerFrame::ReplyCredit(wire::ReplyCredit { number, events });
        into.extend(credit.into_iter().map(frame));
    }

    /// What the connection has to write, all in all.
    pub(super) fn set_unwritten(&self, bytes: usize) {
        self.queue().unwritten = bytes;
    }

    /// Wakes `waker`, once, when something is queued or the outbox is closed;
    /// `false` when that is so already.
    pub(super) fn wake_when_filled(&self, waker: &Waker) -> bool {
        let mut queue = self.queue();
        if queue.closed || queue.news || !queue.deliveries.is_empty() || queue.has_frames() {
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

    fn ended(&self, subscription: u32) {
        let mut queue = self.queue();
        queue.ended.push(subscription);
        queue.news = true;
        wake(queue);
    }
}

impl Queue {
    fn has_frames(&self) -> bool {
        !self.frames.is_empty() || !self.credit.is_empty()
    }
}

impl ReplySink for Outbox {
    fn take(&self, frame: &ServerFrame) -> bool {
        let mut queue = self.queue();
        let bytes = match frame {
            ServerFrame::Request(request) => request.event.len(),
            ServerFrame::Reply(reply) => reply.event.len(),
            ServerFrame::ReplyCredit(credit) => {
                let events = queue.credit.entry(credit.number).or_default();
                *events = events.saturating_add(credit.events);
                wake(queue);
                return true;
            }
            _ => 0,
        };
        // One passes, however large it is.
        let waiting = queue.bytes + queue.unwritten;
        if bytes > 0 && waiting > 0 && waiting + bytes > self.most {
            return false;
        }
        queue.bytes += bytes;
        queue.frames.push(frame.clone());
        wake(queue);
        true
    }
}

fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}
