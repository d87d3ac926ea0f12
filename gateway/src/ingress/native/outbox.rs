//! Deliveries, requests and replies on their way to one connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use meshwire_proto::frame::{DeliverRun, ServerFrame};
use meshwire_proto::wire::session as wire;

use crate::delivery::{ReplySink, Sink};
use crate::mesh::Memory;

/// However many others take nothing, so much of requests, replies and answers may wait on a connection.
pub(super) const LEAST_ANSWERS: u64 = 64 << 10;

/// Memory of a frame that waits, beside its event and its words.
const FRAME_BYTES: u64 = size_of::<ServerFrame>() as u64;

/// Filled under shard locks, emptied by the connection. What waits here and in the connection is bounded, of deliveries and
/// of all else apart, so that who does not take its replies leaves their room to deliveries: deliveries by
/// [`Memory::allowance`], replies of streams likewise, as no more are asked for, and other replies and requests by `most`.
/// One event may pass over it.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// Most bytes of requests and replies that are not written.
    most: u64,
    memory: Arc<Memory>,
    /// The part for requests, replies and answers.
    answers: Arc<Memory>,
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
    /// Memory that they take.
    bytes: u64,
    /// Credit for reply streams, by request: any number of grants is one frame.
    credit: BTreeMap<u64, u32>,
    /// Bytes that the connection took and the peer did not: all of them, and those of deliveries. What is written is
    /// shared out between the two.
    unwritten: u64,
    unwritten_deliveries: u64,
    /// What of this is in the sums of all connections: of deliveries, and of all else.
    counted: (u64, u64),
    /// Subscriptions that would have been handed more, had there been room: the one that waits longest goes first, so
    /// that one with much to deliver holds up no other of its connection.
    starved: VecDeque<u32>,
    /// A reply stream would have been asked for more, had there been room.
    thirsty: bool,
    /// The connection's task, when it waits.
    waker: Option<Waker>,
    /// Another connection has taken the session over.
    closed: bool,
    /// Its connection writes nothing more.
    over: bool,
}

/// What a connection takes at once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) deliveries: Vec<DeliverRun>,
    pub(super) frames: Vec<ServerFrame>,
    /// A subscription that waited for room, and there is some.
    pub(super) fed: Option<u32>,
    /// Reply streams waited for room, and there is some.
    pub(super) refreshed: bool,
}

impl Outbox {
    pub(super) fn new(most: u64, (memory, answers): (Arc<Memory>, Arc<Memory>)) -> Self {
        Self { queue: Mutex::default(), most, memory, answers }
    }

    /// Bytes of deliveries that wait.
    pub(super) fn delivery_bytes(&self) -> u64 {
        self.queue().delivery_bytes
    }

    /// Whether the peer takes its answers too slowly to be asked for more.
    pub(super) fn is_crowded(&self) -> bool {
        self.queue().waiting_answers() > LEAST_ANSWERS.max(self.answers.allowance())
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
        queue.wrote(unwritten);
        let deliveries = std::mem::take(&mut queue.delivery_bytes);
        queue.unwritten_deliveries += deliveries;
        queue.unwritten += std::mem::take(&mut queue.bytes) + deliveries;
        self.count(&mut queue);
        if queue.can_feed(&self.memory) {
            into.fed = queue.starved.pop_front();
        }
        if queue.can_refresh(&self.answers) {
            queue.thirsty = false;
            into.refreshed = true;
        }
    }

    /// Nothing of it will be written any more, and no deliveries are taken.
    pub(super) fn end_taking(&self) {
        let mut queue = self.queue();
        queue.over = true;
        (queue.deliveries, queue.frames) = (Vec::new(), Vec::new());
        queue.starved.clear();
        queue.credit.clear();
        (queue.delivery_bytes, queue.bytes) = (0, 0);
        queue.wrote(0);
        self.count(&mut queue);
    }

    /// Wakes `waker`, once, when something is queued or the outbox is closed;
    /// `false` when that is so already. So many bytes are still to be written.
    pub(super) fn wake_when_filled(&self, waker: &Waker, unwritten: u64) -> bool {
        let mut queue = self.queue();
        queue.wrote(unwritten);
        self.count(&mut queue);
        let filled = queue.news || !queue.deliveries.is_empty() || queue.has_frames();
        if queue.closed || filled || queue.can_feed(&self.memory) || queue.can_refresh(&self.answers) {
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

    /// Brings the sums of all connections up to date.
    fn count(&self, queue: &mut Queue) {
        let waiting = (queue.waiting(), queue.waiting_answers());
        let before = std::mem::replace(&mut queue.counted, waiting);
        if before.0 != waiting.0 {
            self.memory.change(before.0, waiting.0);
        }
        if before.1 != waiting.1 {
            self.answers.change(before.1, waiting.1);
        }
    }
}

impl Sink for Outbox {
    fn deliver(&self, run: DeliverRun) {
        let mut queue = self.queue();
        if queue.over {
            return;
        }
        queue.delivery_bytes += run.events.as_bytes().len() as u64;
        self.count(&mut queue);
        queue.deliveries.push(run);
        wake(queue);
    }

    fn ended(&self, subscription: u32) {
        self.end(subscription, End::TopicDeleted);
    }

    fn room(&self) -> u64 {
        let queue = self.queue();
        if queue.over {
            return 0;
        }
        let waiting = queue.waiting();
        drop(queue);
        let room = self.memory.allowance().saturating_sub(waiting);
        // One event always passes.
        if waiting == 0 { room.max(1) } else { room }
    }

    fn starved(&self, subscription: u32) {
        let mut queue = self.queue();
        if queue.over {
            return;
        }
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

    /// Bytes of deliveries.
    const fn waiting(&self) -> u64 {
        self.delivery_bytes + self.unwritten_deliveries
    }

    /// Bytes of all else.
    const fn waiting_answers(&self) -> u64 {
        self.bytes + self.unwritten.saturating_sub(self.unwritten_deliveries)
    }

    /// So many bytes are still to be written: of what the connection was handed before, or more answers.
    fn wrote(&mut self, unwritten: u64) {
        if unwritten < self.unwritten {
            let part = u128::from(self.unwritten_deliveries) * u128::from(unwritten) / u128::from(self.unwritten);
            self.unwritten_deliveries = u64::try_from(part).unwrap_or(0);
        }
        self.unwritten = unwritten;
    }

    /// Whether it is worth while to ask for more deliveries: not for every few bytes.
    fn can_feed(&self, memory: &Memory) -> bool {
        !self.starved.is_empty() && (self.waiting() == 0 || self.waiting() <= memory.allowance() / 2)
    }

    /// Whether it is worth while to ask for more replies.
    fn can_refresh(&self, answers: &Memory) -> bool {
        self.thirsty && self.waiting_answers() <= LEAST_ANSWERS.max(answers.allowance()) / 2
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let (deliveries, answers) = self.queue().counted;
        self.memory.change(deliveries, 0);
        self.answers.change(answers, 0);
    }
}

impl ReplySink for Outbox {
    fn take(&self, frame: &ServerFrame) -> bool {
        let mut queue = self.queue();
        let (event, words) = match frame {
            ServerFrame::Request(request) => (request.event.len(), request.topic.len() + request.reply_to.len()),
            ServerFrame::Reply(reply) => (reply.event.len(), reply.message.len()),
            ServerFrame::ReplyCredit(credit) => {
                let events = queue.credit.entry(credit.number).or_default();
                *events = events.saturating_add(credit.events);
                wake(queue);
                return true;
            }
            _ => (0, 0),
        };
        let bytes = FRAME_BYTES + (event + words) as u64;
        // One passes, however large it is, and so does the end of a request: there are no more of them than requests.
        let waiting = queue.waiting_answers();
        if event > 0 && waiting > 0 && waiting + bytes > self.most {
            return false;
        }
        queue.bytes += bytes;
        self.count(&mut queue);
        queue.frames.push(frame.clone());
        wake(queue);
        true
    }

    fn room(&self) -> u64 {
        let waiting = self.queue().waiting_answers();
        LEAST_ANSWERS.max(self.answers.allowance()).saturating_sub(waiting)
    }

    fn starved(&self) {
        let mut queue = self.queue();
        queue.thirsty = true;
        // The connection may have written everything meanwhile, and look no more by itself.
        if queue.can_refresh(&self.answers) {
            wake(queue);
        }
    }
}

fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}
