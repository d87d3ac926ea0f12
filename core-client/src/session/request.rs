//! Requests on their way to whoever serves their topic, and their replies.
//!
//! A request is sent once: with the connection that carried it its outcome is unknown,
//! unless its caller allows a retry. One that is sent again may be back before those who serve: that nobody does is then
//! no answer before its deadline.
//!
//! Numbers of requests rise on a connection, so what is sent again over the same one has a number there that its caller
//! does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::ClientFrame;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment, Retry, TopicName};

#[cfg(feature = "testing")]
use super::defect::{Defect, is_set};
use super::{Failure, Output, Session};

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSpec {
    /// Those who serve this topic.
    pub topic: TopicName,
    /// The encoded event.
    pub event: Bytes,
    /// Until the last reply, sent or not.
    pub timeout: Duration,
    /// Whether there are many replies, and how many may come at first.
    pub stream: Option<u32>,
    /// It may be sent, and handled, more than once.
    pub retry: bool,
}

#[derive(Debug)]
struct Open {
    spec: RequestSpec,
    deadline: Moment,
    /// Its number on this connection while the gateway has it.
    wire: Option<u64>,
    /// Also while it waits to be sent again.
    sent: bool,
    answered: bool,
    /// 0 unless it was sent before, over a connection that was lost; then one more each time that nobody serves.
    rounds: u32,
    /// When it is sent again.
    again: Option<Moment>,
}

/// First and longest wait until a request is sent again that nobody served; it doubles in between.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Invariants: `deadlines` holds each of `open`, and `again` those that wait; `renamed` leads from the number of this
/// connection to each of `open` that has another one there than its own.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<u64, Open>,
    deadlines: BTreeSet<(Moment, u64)>,
    again: BTreeSet<(Moment, u64)>,
    renamed: BTreeMap<u64, u64>,
    /// The last number that was given away, to a caller or on this connection.
    last: u64,
}

impl Requests {
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.deadlines.first().into_iter().chain(self.again.first()).map(|(at, _)| *at).min()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        self.deadlines.remove(&(open.deadline, number));
        if let Some(at) = open.again {
            self.again.remove(&(at, number));
        }
        if let Some(wire) = open.wire {
            self.renamed.remove(&wire);
        }
        Some(open)
    }

    /// The caller's number of a request that has this one on the connection, and is open there.
    fn of_wire(&self, wire: u64) -> Option<u64> {
        let number = self.renamed.get(&wire).copied().unwrap_or(wire);
        self.open.get(&number).filter(|open| open.wire == Some(wire)).map(|_| number)
    }

    /// A number that no request of this connection had, for one that is sent again.
    fn rename(&mut self, number: u64) -> u64 {
        #[cfg(feature = "testing")]
        if is_set(Defect::NumberReused) {
            return number;
        }
        self.last += 1;
        self.renamed.insert(self.last, number);
        self.last
    }
}

impl Open {
    /// Whether the gateway may have had it, over this connection or one before.
    const fn was_sent(&self) -> bool {
        self.sent || self.rounds > 0
    }

    fn frame(&self, number: u64, now: Moment) -> wire::Request {
        let left = self.deadline.since(now).as_millis().max(1);
        wire::Request {
            number,
            topic: self.spec.topic.to_string(),
            timeout_ms: u32::try_from(left).unwrap_or(u32::MAX),
            stream: self.spec.stream.is_some(),
            credit: self.spec.stream.unwrap_or_default(),
            retry: self.spec.retry,
            event: self.spec.event.clone(),
            ..wire::Request::default()
        }
    }
}

impl Session {
    /// Asks; gives the request's number. [`Output::Replied`] brings the replies, and is
    /// what ends it: at its deadline at the latest.
    pub fn request(&mut self, now: Moment, spec: RequestSpec) -> u64 {
        self.requests.last += 1;
        let number = self.requests.last;
        let deadline = now + spec.timeout;
        let open = Open { spec, deadline, wire: None, sent: false, answered: false, rounds: 0, again: None };
        self.requests.open.insert(number, open);
        self.requests.deadlines.insert((deadline, number));
        if self.is_up() && !self.is_leaving() {
            self.send_requests(now);
        }
        number
    }

    /// Nobody waits for a request any more.
    pub fn cancel_request(&mut self, number: u64) {
        if let Some(number) = self.requests.remove(number).and_then(|open| open.wire) {
            self.send(&ClientFrame::Cancel(wire::Cancel { number }));
        }
    }

    /// So many more replies of a stream may come.
    pub fn grant(&mut self, number: u64, events: u32) {
        let Some(open) = self.requests.open.get_mut(&number) else { return };
        // What is sent again takes all with it that it was granted.
        if let Some(credit) = open.spec.stream.as_mut().filter(|_| !open.answered) {
            *credit = credit.saturating_add(events);
        }
        if let Some(number) = open.wire {
            self.send(&ClientFrame::ReplyCredit(wire::ReplyCredit { number, events }));
        }
    }

    /// Requests without their last reply, and those of others that are not answered.
    #[must_use]
    pub fn unfinished_requests(&self) -> usize {
        self.requests.len() + self.serves.tasks()
    }

    /// Sends what was not sent.
    pub(super) fn send_requests(&mut self, now: Moment) {
        let mut frames = Vec::new();
        for (number, open) in self.requests.open.iter_mut().rev().take_while(|(_, open)| !open.sent) {
            (open.sent, open.wire) = (true, Some(*number));
            frames.push(open.frame(*number, now));
            if !open.spec.retry {
                open.spec.event = Bytes::new();
            }
        }
        for frame in frames.into_iter().rev() {
            self.send(&ClientFrame::Request(frame));
        }
    }

    /// A reply. One that nobody waits for any more is dropped and counted, and so is one to an earlier try: the gateway
    /// passed it on before it heard of the end, and does not count it.
    pub(super) fn replied(&mut self, now: Moment, reply: wire::Reply) {
        let Some(number) = self.requests.of_wire(reply.number) else {
            // Without an event it only ends what is ended.
            self.stats.replies_late += u64::from(!reply.event.is_empty() && reply.code == 0);
            return;
        };
        if reply.code == ErrorKind::NoResponders.number() && self.is_served_later(now, number) {
            return;
        }
        let put_off = self.is_put_off(ErrorKind::from_number(reply.code));
        let Some(open) = self.requests.open.get_mut(&number) else { return };
        if put_off && open.spec.retry && !open.answered {
            // With the connection it is over, and sent again over the next one.
            return;
        }
        open.answered = true;
        let over = reply.end || reply.code != 0 || open.spec.stream.is_none();
        if over {
            self.requests.remove(number);
        }
        let event = (!reply.event.is_empty() && reply.code == 0).then_some(reply.event);
        let end = over.then(|| match reply.code {
            0 => Ok(()),
            code => Err(Failure::from_wire(code, &reply.message, reply.retry_after_ms)),
        });
        self.output.push_back(Output::Replied { request: number, event, end });
    }

    /// Whether a request that nobody serves is to wait for those who did before the connection was lost.
    fn is_served_later(&mut self, now: Moment, number: u64) -> bool {
        let Some(open) = self.requests.open.get_mut(&number).filter(|open| open.rounds > 0 && !open.answered) else {
            return false;
        };
        let (first, longest) = AGAIN;
        let wait = first.saturating_mul(1 << open.rounds.saturating_sub(1).min(10)).min(longest);
        open.rounds = open.rounds.saturating_add(1);
        if let Some(wire) = open.wire.take() {
            self.requests.renamed.remove(&wire);
        }
        let at = now + self.backoff.beyond(wait);
        open.again = Some(at);
        self.requests.again.insert((at, number));
        true
    }

    /// Sends again what nobody served; to a gateway that is about to stop nothing, it goes out with the next connection.
    pub(super) fn request_again(&mut self, now: Moment) {
        while let Some((at, number)) = self.requests.again.first().copied().filter(|(at, _)| *at <= now) {
            self.requests.again.remove(&(at, number));
            let leaving = self.is_leaving();
            let wire = if leaving { None } else { Some(self.requests.rename(number)) };
            let Some(open) = self.requests.open.get_mut(&number) else { continue };
            (open.again, open.wire) = (None, wire);
            if let Some(wire) = wire {
                let frame = open.frame(wire, now);
                self.send(&ClientFrame::Request(frame));
            }
        }
    }

    fn request_over(&mut self, number: u64, failure: Failure) {
        self.requests.remove(number);
        self.output.push_back(Output::Replied { request: number, event: None, end: Some(Err(failure)) });
    }

    /// Ends what is over its deadline.
    pub(super) fn expire_requests(&mut self, now: Moment) {
        while let Some((_, number)) = self.requests.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            let Some(open) = self.requests.open.get(&number) else {
                self.requests.deadlines.pop_first();
                continue;
            };
            let timeout = open.spec.timeout;
            let wire = open.wire;
            let failure = if open.was_sent() {
                let which = if open.spec.stream.is_some() { "the last reply did not come" } else { "no reply came" };
                Failure::new(ErrorKind::Timeout, format!("{which} within {timeout:?}"))
            } else {
                let message = format!("there was no connection within {timeout:?}; the request was not sent");
                Failure { retry: Retry::After, ..Failure::new(ErrorKind::Timeout, message) }
            };
            if let Some(number) = wire {
                self.send(&ClientFrame::Cancel(wire::Cancel { number }));
            }
            self.request_over(number, failure);
        }
    }

    /// The connection is gone: what may be asked again waits for the next one.
    pub(super) fn requests_lost(&mut self) {
        let failure = Failure::new(ErrorKind::Unavailable, "the connection to the gateway was lost");
        // They are sent with the others once there is a connection.
        for (_, number) in std::mem::take(&mut self.requests.again) {
            self.requests.open.entry(number).and_modify(|open| open.again = None);
        }
        self.requests.renamed.clear();
        self.requests.open.values_mut().for_each(|open| open.wire = None);
        let sent: Vec<u64> = self.requests.open.iter().filter(|(_, open)| open.sent).map(|(n, _)| *n).collect();
        for number in sent {
            match self.requests.open.get_mut(&number) {
                Some(open) if open.spec.retry && !open.answered => {
                    open.sent = false;
                    open.rounds = 1;
                }
                _ => self.request_over(number, failure.unknown_outcome_of("the request")),
            }
        }
    }

    pub(super) fn finish_requests(&mut self, failure: &Failure) {
        for (number, open) in std::mem::take(&mut self.requests).open {
            let failure = if open.was_sent() { failure.unknown_outcome_of("the request") } else { failure.clone() };
            self.output.push_back(Output::Replied { request: number, event: None, end: Some(Err(failure)) });
        }
    }
}
