//! Requests of one connection whose access records wait for their last replies. While nobody asks for records there are none.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment, options};

use crate::ingress::access::Kept;

/// The requester measures the same time, from a little earlier on: at its end it may say that it waits no more just before the gateway
/// says so. A guess: what a frame may take.
const EARLIER: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Open {
    record: Kept,
    stream: bool,
    /// Its deadline.
    until: Moment,
}

/// By their numbers on the connection; as many as it may have open.
#[derive(Debug, Default)]
pub(super) struct RecordedRequests(BTreeMap<u64, Open>);

impl RecordedRequests {
    /// One was sent on.
    pub(super) fn add(&mut self, now: Moment, request: &wire::Request, record: Kept) {
        if record.is_none() {
            return;
        }
        let timeout =
            if request.timeout_ms == 0 { options::REQUEST_TIMEOUT.default } else { request.timeout_ms.into() };
        let until = now + Duration::from_millis(timeout);
        self.0.insert(request.number, Open { record, stream: request.stream, until });
    }

    /// A frame goes out: it may be what a record waits for.
    pub(super) fn told(&mut self, frame: &ServerFrame) {
        if self.0.is_empty() {
            return;
        }
        let ServerFrame::Reply(reply) = frame else { return };
        let over = |open: &Open| reply.end || reply.code != 0 || !open.stream;
        if self.0.get(&reply.number).is_some_and(over)
            && let Some(mut open) = self.0.remove(&reply.number)
        {
            let answered = if reply.code == 0 { Ok(()) } else { Err(ErrorKind::from_number(reply.code)) };
            open.record.answered(answered);
        }
    }

    /// Nobody waits for its replies any more.
    pub(super) fn cancelled(&mut self, now: impl FnOnce() -> Moment, number: u64) {
        if let Some(mut open) = self.0.remove(&number) {
            let in_time = now() + EARLIER < open.until;
            open.record.answered(Err(if in_time { ErrorKind::Cancelled } else { ErrorKind::Timeout }));
        }
    }

    /// The connection is gone: nobody waits for any of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
