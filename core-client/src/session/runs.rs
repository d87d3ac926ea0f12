//! Events on their way in: many small ones become few runs.

use bytes::Bytes;
use meshwire_proto::{EventRun, EventRunBuilder, Timing};

/// Largest run, and largest Publish frame unless one event is larger. Measured:
/// larger ones gain nothing and hold up what else the connection carries.
pub(super) const RUN_BYTES: usize = 64 * 1024;

/// Where a run goes, and when it is delivered.
pub(crate) type To = (u32, Timing);

/// Collects encoded events; consecutive ones of a topic, and of one time, share a run.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    to: To,
    open: EventRunBuilder,
    sealed: Vec<(To, EventRun)>,
}

impl RunQueue {
    /// Appends one encoded event.
    pub(crate) fn push(&mut self, to: To, event: &[u8]) {
        if self.to != to || self.open.len() + event.len() > RUN_BYTES {
            self.seal();
            self.to = to;
        }
        if self.open.is_empty() {
            // The frame of an event takes at most six bytes.
            self.open.reserve(event.len() + 6, RUN_BYTES);
        }
        self.open.push(event);
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.sealed.push((self.to, self.open.take()));
        }
    }

    /// Hands over everything in order; `into` is emptied first and its room reused.
    pub(crate) fn take(&mut self, into: &mut Vec<(To, EventRun)>) {
        into.clear();
        self.seal();
        std::mem::swap(&mut self.sealed, into);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }
}

/// `take` events of a run after the first `skip`, sharing its bytes.
pub(super) fn cut(run: &EventRun, skip: u64, take: u64) -> EventRun {
    if skip == 0 && take >= u64::from(run.count()) {
        return run.clone();
    }
    let (mut from, mut to, mut seen) = (0, 0, 0);
    for (framed, _) in run.framed() {
        if seen < skip {
            from += framed.len();
        } else if seen - skip >= take {
            break;
        }
        to += framed.len();
        seen += 1;
    }
    let bytes = if to <= run.as_bytes().len() { run.as_bytes().slice(from..to) } else { Bytes::new() };
    EventRun::from_parts(bytes, u32::try_from(seen.saturating_sub(skip)).unwrap_or(0))
}
