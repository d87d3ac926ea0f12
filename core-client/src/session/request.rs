//! Requests on their way to whoever serves their topic, and their replies.
//!
//! A request is sent once: with the connection that carried it its outcome is unknown,
//! unless its caller allows a retry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::ClientFrame;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment, Retry, TopicName};

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
    sent: bool,
    answered: bool,
}

/// Invariant: `deadlines` holds each of `open`.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<u64, Open>,
    deadlines: BTreeSet<(Moment, u64)>,
    last: u64,
}

impl Requests {
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        self.deadlines.remove(&(open.deadline, number));
        Some(open)
    }
}

impl Open {
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
        self.requests.open.insert(number, Open { spec, deadline, sent: false, answered: false });
        self.requests.deadlines.insert((deadline, number));
        if self.is_up() && !self.is_leaving() {
            self.send_requests(now);
        }
        number
    }

    /// Nobody waits for a request any more.
    pub fn cancel_request(&mut self, number: u64) {
        if self.requests.remove(number).is_some_and(|open| open.sent) && self.is_up() {
            self.send(&ClientFrame::Cancel(wire::Cancel { number }));
        }
    }

    /// So many more replies of a stream may come.
    pub fn grant(&mut self, number: u64, events: u32) {
        let Some(open) = self.requests.open.get_mut(&number) else { return };
        if open.sent {
            self.send(&ClientFrame::ReplyCredit(wire::ReplyCredit { number, events }));
        } else if let Some(credit) = &mut open.spec.stream {
            *credit = credit.saturating_add(events);
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
            open.sent = true;
            frames.push(open.frame(*number, now));
            if !open.spec.retry {
                open.spec.event = Bytes::new();
            }
        }
        for frame in frames.into_iter().rev() {
            self.send(&ClientFrame::Request(frame));
        }
    }

    /// A reply. One that nobody waits for any more is dropped.
    pub(super) fn replied(&mut self, reply: wire::Reply) {
        let number = reply.number;
        let Some(open) = self.requests.open.get_mut(&number) else { return };
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
            let sent = open.sent;
            let failure = if sent {
                let which = if open.spec.stream.is_some() { "the last reply did not come" } else { "no reply came" };
                Failure::new(ErrorKind::Timeout, format!("{which} within {timeout:?}"))
            } else {
                let message = format!("there was no connection within {timeout:?}; the request was not sent");
                Failure { retry: Retry::After, ..Failure::new(ErrorKind::Timeout, message) }
            };
            if sent && self.is_up() {
                self.send(&ClientFrame::Cancel(wire::Cancel { number }));
            }
            self.request_over(number, failure);
        }
    }

    /// The connection is gone: what may be asked again waits for the next one.
    pub(super) fn requests_lost(&mut self) {
        let failure = Failure::new(ErrorKind::Unavailable, "the connection to the gateway was lost");
        let sent: Vec<u64> = self.requests.open.iter().filter(|(_, open)| open.sent).map(|(n, _)| *n).collect();
        for number in sent {
            match self.requests.open.get_mut(&number) {
                Some(open) if open.spec.retry && !open.answered => open.sent = false,
                _ => self.request_over(number, failure.unknown_outcome_of("the request")),
            }
        }
    }

    pub(super) fn finish_requests(&mut self, failure: &Failure) {
        for (number, open) in std::mem::take(&mut self.requests).open {
            let failure = if open.sent { failure.unknown_outcome_of("the request") } else { failure.clone() };
            self.output.push_back(Output::Replied { request: number, event: None, end: Some(Err(failure)) });
        }
    }
}
