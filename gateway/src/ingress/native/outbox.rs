//! Deliveries, requests and replies on their way to one connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use meshwire_proto::frame::{DeliverRun, ServerFrame};
use meshwire_proto::wire::session as wire;

use crate::delivery::{ReplySink, Sink};
use crate::mesh::Memory;

/// Filled under shard locks, emptied by the connection. What waits here and in the
/// connection is bounded: of deliveries by [`Memory::allowance`] (one event may pass over
/// it), of requests and replies by `most`.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// Most bytes of requests and replies that are not written.
    most: u64,
    memory: Arc<Memory>,
}

/// Why a subscription ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    TopicDeleted,
    /// Somebody else took the durable member over while its connection was lost.
    TakenOver,
}

#[derive(Debug, Default)]
struct Queue {
    deliveries: Vec<DeliverRun>,
    /// Bytes of their events.
    delivery_bytes: u64,
    /// Subscriptions that ended by themselves.
    ended: Vec<(u32, End)>,
    /// One of them nobody has looked at.
    news: bool,
    /// Requests, replies and cancels.
    frames: Vec<ServerFrame>,
    /// Bytes of their events.
    bytes: u64,
    /// Credit for reply streams, by request: any number of grants is one frame.
    credit: BTreeMap<u64, u32>,
    /// Bytes that the connection took and the peer did not.
    unwritten: u64,
    /// What of this is in the sum of all connections.
    counted: u64,
    /// Subscriptions that would have been handed more, had there been room: the one that waits longest goes first, so
    /// that one with much to deliver holds up no other of its connection.
    starved: VecDeque<u32>,
    /// The connection's task, when it waits.
    waker: Option<Waker>,
    /// Another connection has taken the session over.
    closed: bool,
}

/// What a connection takes at once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) deliveries: Vec<DeliverRun>,
    pub(super) frames: Vec<ServerFrame>,
    /// A subscription that waited for room, and there is some.
    pub(super) fed: Option<u32>,
}

impl Outbox {
    pub(super) fn new(most: u64, memory: Arc<Memory>) -> Self {
        Self { queue: Mutex::default(), most, memory }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out the subscriptions that ended, unless `waits` for their beginning.
    pub(super) fn take_ended(&self, waits: impl Fn(u32) -> bool) -> Vec<(u32, End)> {
        let mut queue = self.queue();
        queue.news = false;
        queue.ended.extract_if(.., |(number, _)| !waits(*number)).collect()
    }

    /// Tells of a subscription that ended.
    pub(super) fn end(&self, subscription: u32, why: End) {
        let mut queue = self.queue();
        queue.ended.push((subscription, why));
        queue.news = true;
        wake(queue);
    }

    /// Moves what is queued behind what is in `into`, for a connection that has so many bytes to write already.
    pub(super) fn take(&self, unwritten: u64, into: &mut Taken) {
        let mut queue = self.queue();
        into.deliveries.append(&mut queue.deliveries);
        into.frames.append(&mut queue.frames);
        let credit = std::mem::take(&mut queue.credit);
        let frame = |(number, events)| ServerFrame::ReplyCredit(wire::ReplyCredit { number, events });
        into.frames.extend(credit.into_iter().map(frame));
        queue.unwritten = unwritten + std::mem::take(&mut queue.bytes) + std::mem::take(&mut queue.delivery_bytes);
        queue.count(&self.memory);
        if queue.can_feed(&self.memory) {
            into.fed = queue.starved.pop_front();
        }
    }

    /// Nothing of it will be written any more.
    pub(super) fn clear(&self) {
        let mut queue = self.queue();
        queue.deliveries = Vec::new();
        queue.starved.clear();
        (queue.delivery_bytes, queue.unwritten) = (0, 0);
        queue.count(&self.memory);
    }

    /// Wakes `waker`, once, when something is queued or the outbox is closed;
    /// `false` when that is so already. So many bytes are still to be written.
    pub(super) fn wake_when_filled(&self, waker: &Waker, unwritten: u64) -> bool {
        let mut queue = self.queue();
        queue.unwritten = unwritten;
        queue.count(&self.memory);
        let filled = queue.news || !queue.deliveries.is_empty() || queue.has_frames();
        if queue.closed || filled || queue.can_feed(&self.memory) {
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
        queue.delivery_bytes += run.events.as_bytes().len() as u64;
        queue.count(&self.memory);
        queue.deliveries.push(run);
        wake(queue);
    }

    fn ended(&self, subscription: u32) {
        self.end(subscription, End::TopicDeleted);
    }

    fn room(&self) -> u64 {
        let waiting = self.queue().waiting();
        let room = self.memory.allowance().saturating_sub(waiting);
        // One event always passes.
        if waiting == 0 { room.max(1) } else { room }
    }

    fn starved(&self, subscription: u32) {
        let mut queue = self.queue();
        if !queue.starved.contains(&subscription) {
            queue.starved.push_back(subscription);
        }
        // The connection may have written everything meanwhile, and look no more by itself.
        if queue.can_feed(&self.memory) {
            wake(queue);
        }
    }
}

impl Queue {
    fn has_frames(&self) -> bool {
        !self.frames.is_empty() || !self.credit.is_empty()
    }

    const fn waiting(&self) -> u64 {
        self.delivery_bytes + self.bytes + self.unwritten
    }

    /// Whether it is worth while to ask for more deliveries: not for every few bytes.
    fn can_feed(&self, memory: &Memory) -> bool {
        !self.starved.is_empty() && (self.waiting() == 0 || self.waiting() <= memory.allowance() / 2)
    }

    fn count(&mut self, memory: &Memory) {
        let waiting = self.waiting();
        if waiting != self.counted {
            memory.change(std::mem::replace(&mut self.counted, waiting), waiting);
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let counted = self.queue().counted;
        self.memory.change(counted, 0);
    }
}

impl ReplySink for Outbox {
    fn take(&self, frame: &ServerFrame) -> bool {
        let mut queue = self.queue();
        let bytes = match frame {
            ServerFrame::Request(request) => request.event.len() as u64,
            ServerFrame::Reply(reply) => reply.event.len() as u64,
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
        queue.count(&self.memory);
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
