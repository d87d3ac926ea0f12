//! Requests and replies through the waist. All of them are behind one lock of their own,
//! which is taken behind a session's and before nothing but a sink's.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::wire::admin;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, EventView, TopicName, options};

use super::{Action, Caller, Inner, Mesh, Refusal};
use crate::delivery::ReplySink;
use crate::engine::Credit;
use crate::engine::requests::{Counts, Most, NewRequest, Peer, Requests, Trouble};

/// As much of what a responder says of a failure as is passed on: as of a reason to reject.
const MESSAGE_BYTES: usize = 1024;

pub(super) struct Exchange {
    requests: Requests,
    sinks: BTreeMap<Peer, Arc<dyn ReplySink>>,
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self { kind: trouble.kind, message: trouble.message, retry_after_ms: trouble.retry_after_ms }
    }
}

impl Exchange {
    pub(super) fn new(gateway: &str, most: Most) -> Mutex<Self> {
        Mutex::new(Self { requests: Requests::new(gateway, most), sinks: BTreeMap::new() })
    }

    fn tell(&mut self) {
        loop {
            while let Some(told) = self.requests.poll() {
                let taken = self.sinks.get(&told.to).is_none_or(|sink| sink.take(&told.frame));
                if !taken {
                    self.requests.refused(&told);
                }
            }
            let Some(peer) = self.requests.next_to_look_at() else { return };
            let Some(sink) = self.sinks.get(&peer) else { continue };
            if self.requests.pass_on(peer, sink.room()) {
                sink.starved();
            }
        }
    }
}

impl Inner {
    pub(super) fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchanging<R>(&self, change: impl FnOnce(&mut Exchange) -> R) -> R {
        let mut exchange = self.exchange();
        let result = change(&mut exchange);
        exchange.tell();
        let deadline = exchange.requests.deadline();
        drop(exchange);
        if let Some(deadline) = deadline
            && deadline.0 < self.alarm.fetch_min(deadline.0, Ordering::SeqCst)
        {
            self.alarm_set.notify_one();
        }
        result
    }
}

impl Mesh {
    /// Serves requests of a topic. The topic need not exist: nothing is stored.
    ///
    /// # Errors
    /// `INVALID` (the name), `DENIED`; `UNAVAILABLE`: the gateway stops.
    pub fn serve(
        &self,
        caller: &Caller,
        (peer, subscription): (Peer, u32),
        topic: &str,
        credit: Credit,
        sink: Arc<dyn ReplySink>,
    ) -> Result<(), Refusal> {
        let name = topic_name(topic)?;
        self.check_serving()?;
        self.authorize(caller, Action::Serve, name.as_str())?;
        self.inner.exchanging(|exchange| {
            exchange.sinks.insert(peer, sink);
            exchange.requests.serve((peer, subscription), name.as_str(), credit);
        });
        Ok(())
    }

    /// Sets the credit of a serve subscription anew; `false`: there is none.
    #[must_use]
    pub fn serve_credit(&self, peer: Peer, subscription: u32, credit: Credit) -> bool {
        self.inner.exchanging(|exchange| exchange.requests.set_credit((peer, subscription), credit))
    }

    /// Ends a serve subscription; `false`: there is none. What it was given it may still answer.
    #[must_use]
    pub fn serve_no_more(&self, peer: Peer, subscription: u32) -> bool {
        self.inner.exchanging(|exchange| exchange.requests.leave((peer, subscription)))
    }

    /// Hands a request to a member that serves its topic; the reply comes to `sink`.
    ///
    /// # Errors
    /// `INVALID` or `TOO_LARGE` (name, number, event, deadline), `DENIED`, `NO_RESPONDERS`, `BUSY`; `UNAVAILABLE`: the gateway stops.
    pub fn request(
        &self,
        caller: &Caller,
        peer: Peer,
        request: &wire::Request,
        sink: Arc<dyn ReplySink>,
    ) -> Result<(), Refusal> {
        let name = topic_name(&request.topic)?;
        self.check_serving()?;
        self.authorize(caller, Action::Request, name.as_str())?;
        let timeout = timeout(request.timeout_ms)?;
        let event = self.checked(&request.event)?;
        let stream = request.stream.then_some(request.credit);
        let asked = NewRequest { topic: name.as_str().into(), timeout, stream, retry: request.retry, event };
        let now = self.now().mono;
        self.inner.exchanging(|exchange| {
            exchange.sinks.insert(peer, sink);
            exchange.requests.request(now, (peer, request.number), asked).map_err(Into::into)
        })
    }

    /// Whether this may be the number of a peer's next request: they rise.
    #[must_use]
    pub fn request_number(&self, peer: Peer, number: u64) -> bool {
        self.inner.exchange().requests.number(peer, number)
    }

    /// Passes on a responder's reply. Having been given the request is the leave to answer it.
    ///
    /// # Errors
    /// `INVALID` or `TOO_LARGE`: the event; the request is not that peer's.
    pub fn reply(&self, peer: Peer, mut reply: wire::Reply) -> Result<(), Refusal> {
        reply.message.truncate(reply.message.floor_char_boundary(MESSAGE_BYTES));
        reply.message.shrink_to_fit();
        if reply.code == ErrorKind::Unavailable.number() {
            // A gateway's word that it stops: the requester's client would ask the next one, though there is an answer.
            reply.code = ErrorKind::ResponderFailed.number();
        }
        if reply.code == 0 {
            // There is nothing to say of what did not fail.
            reply.message = String::new();
        }
        if reply.code != 0 {
            reply.event = Bytes::new();
        } else if !reply.event.is_empty() {
            match self.checked(&reply.event) {
                Ok(event) => reply.event = event,
                Err(refusal) => {
                    // The requester is not to wait for what never comes.
                    let message = format!("the responder sent what is not an event: {refusal}");
                    let code = ErrorKind::ResponderFailed.number();
                    let failed = wire::Reply { end: true, code, message, event: Bytes::new(), ..reply };
                    self.inner.exchanging(|exchange| exchange.requests.reply(peer, failed))?;
                    return Err(refusal);
                }
            }
        }
        self.inner.exchanging(|exchange| exchange.requests.reply(peer, reply).map_err(Into::into))
    }

    /// More credit for a reply stream of this peer.
    pub fn reply_credit(&self, peer: Peer, number: u64, events: u32) {
        self.inner.exchanging(|exchange| exchange.requests.grant((peer, number), events));
    }

    /// A requester's connection has room for replies again: see [`ReplySink::starved`].
    pub fn more_replies(&self, peer: Peer) {
        self.inner.exchanging(|exchange| exchange.requests.has_room_again(peer));
    }

    /// A requester waits no more.
    pub fn cancel_request(&self, peer: Peer, number: u64) {
        self.inner.exchanging(|exchange| exchange.requests.cancel((peer, number)));
    }

    /// A peer is gone, as requester and as responder.
    pub fn hang_up(&self, peer: Peer) {
        let now = self.now().mono;
        self.inner.exchanging(|exchange| {
            exchange.sinks.remove(&peer);
            exchange.requests.hang_up(now, peer);
        });
    }

    /// Counts of requests and replies since the gateway began.
    #[must_use]
    pub fn request_counts(&self) -> Counts {
        self.inner.exchange().requests.counts()
    }

    /// Requests that wait for their last reply.
    #[must_use]
    pub fn requests_open(&self) -> usize {
        self.inner.exchange().requests.open()
    }

    /// What there is of a topic that is served.
    pub(super) fn served(&self, topic: &str) -> Option<admin::RequestSummary> {
        let served = self.inner.exchange().requests.served(topic)?;
        Some(admin::RequestSummary {
            members: u32::try_from(served.members).unwrap_or(u32::MAX),
            open: served.open,
            requests: served.requests,
            late_replies: served.late,
        })
    }

    /// Names of topics that are served, behind this one; at most so many.
    pub(super) fn served_after(&self, name: &str, limit: usize) -> Vec<TopicName> {
        let exchange = self.inner.exchange();
        exchange.requests.served_after(name).take(limit).filter_map(|name| TopicName::parse(name).ok()).collect()
    }

    pub(super) fn requests_deadline(&self) -> Option<meshwire_proto::Moment> {
        self.inner.exchange().requests.deadline()
    }

    pub(super) fn tick_requests(&self) {
        let now = self.now().mono;
        self.inner.exchanging(|exchange| exchange.requests.tick(now));
    }

    /// A copy of its own: what is received is a slice of a large buffer.
    fn checked(&self, event: &Bytes) -> Result<Bytes, Refusal> {
        EventView::parse(event, self.limits()).map_err(|e| Refusal::new(e.kind(), e.to_string()))?;
        Ok(Bytes::copy_from_slice(event))
    }
}

fn topic_name(name: &str) -> Result<TopicName, Refusal> {
    TopicName::parse(name).map_err(|e| Refusal::new(ErrorKind::Invalid, e.to_string()))
}

fn timeout(millis: u32) -> Result<Duration, Refusal> {
    let option = options::REQUEST_TIMEOUT;
    match millis {
        0 => Ok(option.default_duration()),
        _ => option.check(millis.into()).map(Duration::from_millis).map_err(|e| Refusal::new(ErrorKind::Invalid, e)),
    }
}
