//! Requests and their replies.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;

use super::Calls;
use crate::delivery::ReplySink;
use crate::ingress::access::{Kept, Record, Waiting};
use crate::mesh::{Caller, Memory, Refusal};

/// Replies that may be on their way or wait at once.
const CREDIT: u32 = 16;

/// Its number at its peer, which has no other.
const NUMBER: u64 = 1;

/// What is asked.
#[derive(Clone, Debug)]
pub struct RequestCall<'a> {
    /// Of whom: those who serve this topic.
    pub topic: &'a str,
    /// The protobuf bytes of the event.
    pub event: Bytes,
    /// Until the last reply; `None`: option `request_timeout`.
    pub timeout: Option<Duration>,
    /// Many replies may come; else one does.
    pub stream: bool,
    /// Another responder may get it when the first is lost: it may then be handled twice.
    pub retry: bool,
}

/// Replies to a request. Dropped before the last one, the request is called off.
#[derive(Debug)]
pub struct Replies {
    calls: Arc<Calls>,
    peer: u64,
    inbox: Arc<Inbox>,
    stream: bool,
    over: bool,
    record: Kept,
}

#[derive(Debug)]
struct Inbox {
    queue: Mutex<Queue>,
    memory: Arc<Memory>,
    most: u64,
}

#[derive(Debug, Default)]
struct Queue {
    replies: VecDeque<wire::Reply>,
    /// Of their events.
    bytes: u64,
    /// More would have been asked for, had there been room.
    thirsty: bool,
    waker: Option<Waker>,
}

impl Calls {
    /// Sends a request to who serves its topic.
    ///
    /// # Errors
    /// `INVALID` or `TOO_LARGE` (name, event, timeout), `DENIED`, `NO_RESPONDERS`, `BUSY`; `UNAVAILABLE`: the gateway stops.
    pub fn request(self: &Arc<Self>, caller: &Caller, asked: RequestCall<'_>) -> Result<Replies, Refusal> {
        let record = Record { operation: "request", topic: asked.topic, events: 1, ..Record::default() };
        let call = Waiting::begin(&self.mesh, caller, record);
        match self.begin(caller, asked) {
            Ok(mut replies) => {
                replies.record = call.keep();
                Ok(replies)
            }
            Err(refusal) => {
                call.end(Some(refusal.kind));
                Err(refusal)
            }
        }
    }

    fn begin(self: &Arc<Self>, caller: &Caller, asked: RequestCall<'_>) -> Result<Replies, Refusal> {
        let (memory, most) = (self.mesh.answers(), self.config.session_bytes);
        let inbox = Arc::new(Inbox { queue: Mutex::default(), memory, most });
        let timeout_ms = match asked.timeout.map(|timeout| timeout.as_millis()) {
            None => 0,
            Some(0) => return Err(Refusal::new(ErrorKind::Timeout, "the deadline has passed already")),
            Some(millis) => u32::try_from(millis).unwrap_or(u32::MAX),
        };
        let request = wire::Request {
            number: NUMBER,
            topic: asked.topic.to_owned(),
            timeout_ms,
            stream: asked.stream,
            credit: if asked.stream { CREDIT } else { 0 },
            retry: asked.retry,
            event: asked.event,
            ..wire::Request::default()
        };
        let peer = self.mesh.new_session();
        let (calls, stream, record) = (Arc::clone(self), asked.stream, Kept::default());
        let replies = Replies { calls, peer, inbox: inbox.clone(), stream, over: false, record };
        self.mesh.request(caller, peer, &request, inbox).map(|()| replies)
    }
}

impl Replies {
    /// The next reply: the protobuf bytes of its event; `None` behind the last one.
    ///
    /// # Errors
    /// `TIMEOUT`, `RESPONDER_FAILED` with what the responder said, `RESPONDER_LOST`, `TOO_LARGE`: then nothing more comes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        while !self.over {
            let (reply, more) = poll_fn(|cx| self.inbox.poll(cx)).await;
            if more {
                self.calls.mesh.more_replies(self.peer);
            }
            let Some(reply) = reply else { continue };
            self.over = reply.end || reply.code != 0;
            if reply.code != 0 {
                let kind = ErrorKind::from_number(reply.code);
                self.record.answered(Err(kind));
                return Err(Refusal::new(kind, reply.message).after(reply.retry_after_ms));
            }
            if self.over || !self.stream {
                self.record.answered(Ok(()));
            }
            if self.stream && !self.over {
                self.calls.mesh.reply_credit(self.peer, NUMBER, 1);
            }
            if !reply.event.is_empty() {
                return Ok(Some(reply.event));
            }
        }
        Ok(None)
    }

    /// The reply that came was not passed on, and who asked is told why.
    pub fn refuse(&mut self, kind: ErrorKind) {
        self.record.answered(Err(kind));
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.calls.mesh.hang_up(self.peer);
    }
}

impl Inbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply, or that there is room for more.
    fn poll(&self, cx: &Context<'_>) -> Poll<(Option<wire::Reply>, bool)> {
        let mut queue = self.queue();
        let reply = queue.replies.pop_front();
        if let Some(reply) = &reply {
            let left = queue.bytes.saturating_sub(reply.event.len() as u64);
            self.set_bytes(&mut queue, left);
        }
        let more = queue.bytes == 0 && std::mem::take(&mut queue.thirsty);
        if reply.is_some() || more {
            return Poll::Ready((reply, more));
        }
        match &mut queue.waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn set_bytes(&self, queue: &mut Queue, bytes: u64) {
        self.memory.change(queue.bytes, bytes);
        queue.bytes = bytes;
    }
}

impl ReplySink for Inbox {
    fn take(&self, frame: &ServerFrame) -> bool {
        let ServerFrame::Reply(reply) = frame else { return true };
        let mut queue = self.queue();
        let bytes = queue.bytes + reply.event.len() as u64;
        // One passes, however large it is, and so does the end.
        if !reply.event.is_empty() && queue.bytes > 0 && bytes > self.most {
            return false;
        }
        self.set_bytes(&mut queue, bytes);
        queue.replies.push_back(reply.clone());
        wake(queue);
        true
    }

    fn room(&self) -> u64 {
        let waiting = self.queue().bytes;
        let room = self.memory.allowance().saturating_sub(waiting);
        if waiting == 0 { room.max(1) } else { room }
    }

    fn starved(&self) {
        let mut queue = self.queue();
        queue.thirsty = true;
        if queue.bytes == 0 {
            wake(queue);
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.queue();
        self.set_bytes(&mut queue, 0);
    }
}

fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}
