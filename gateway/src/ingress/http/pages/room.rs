//! How many calls of a page are open at once. A request may wait for hours: those over the bound are refused. All other calls end soon, so
//! that a page may send many without waiting: over the bound the connection is not read from until one is answered, but not for
//! long, as whatever it sends meanwhile is not heard.

use std::time::Duration;

use meshwire_proto::ErrorKind;
use tokio::time::Instant;

use crate::mesh::Refusal;

/// Most requests without a reply.
const MOST_REQUESTS: usize = 64;

/// Most other calls without an answer.
const MOST_CALLS: usize = 64;

/// How long the connection is not read from while none of them is answered; behind that, calls over the bound are refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// When who was refused should try again.
const RETRY_MS: u32 = 1000;

#[derive(Debug, Default)]
pub(super) struct Room {
    requests: usize,
    calls: usize,
    /// Since when there have been as many calls as may be.
    full: Option<Instant>,
}

impl Room {
    fn of(&mut self, op: &str) -> &mut usize {
        if op == "request" { &mut self.requests } else { &mut self.calls }
    }

    /// # Errors
    /// `BUSY`: there is none for a call that has to wait for its answer.
    pub(super) fn check(&self, op: &str) -> Result<(), Refusal> {
        let (open, most) = match op {
            "request" => (self.requests, MOST_REQUESTS),
            "publish" | "subscribe" | "settle" => (self.calls, MOST_CALLS),
            _ => return Ok(()),
        };
        if open < most {
            return Ok(());
        }
        let what = if op == "request" { "requests" } else { "calls" };
        let text = format!("{open} {what} of this connection have no answer yet, which is all there may be");
        Err(Refusal::new(ErrorKind::Busy, text).after(RETRY_MS))
    }

    pub(super) fn begun(&mut self, op: &str) {
        *self.of(op) += 1;
    }

    pub(super) fn answered(&mut self, op: &str) {
        let open = self.of(op);
        *open = open.saturating_sub(1);
    }

    /// Until when nothing more is read, unless a call is answered before.
    pub(super) fn full_until(&mut self, now: Instant) -> Option<Instant> {
        if self.calls < MOST_CALLS {
            self.full = None;
            return None;
        }
        let until = *self.full.get_or_insert(now) + PATIENCE;
        (now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn requests_leave_other_calls_their_room_and_are_refused_over_their_own() {
        let (mut room, now) = (Room::default(), Instant::now());
        for _ in 0..MOST_REQUESTS {
            room.check("request").unwrap();
            room.begun("request");
        }
        let refused = room.check("request").unwrap_err();
        assert_eq!((refused.kind, refused.retry_after_ms), (ErrorKind::Busy, RETRY_MS));
        assert!(room.check("settle").is_ok() && room.full_until(now).is_none());
        room.answered("request");
        assert!(room.check("request").is_ok());
    }

    #[test]
    fn other_calls_wait_to_be_read_while_they_are_answered_and_are_refused_once_none_is_for_long() {
        let (mut room, now) = (Room::default(), Instant::now());
        (0..MOST_CALLS).for_each(|_| room.begun("publish"));
        assert_eq!(room.full_until(now), Some(now + PATIENCE));
        let later = now + PATIENCE - Duration::from_millis(1);
        assert_eq!(room.full_until(later), Some(now + PATIENCE), "it counts from when it was full");
        room.answered("publish");
        assert_eq!(room.full_until(later), None);
        room.begun("settle");
        assert_eq!(room.full_until(later), Some(later + PATIENCE), "one was answered");
        assert_eq!(room.full_until(later + PATIENCE), None, "it is read from again");
        assert_eq!(room.check("publish").unwrap_err().kind, ErrorKind::Busy);
        assert!(room.check("unsubscribe").is_ok() && room.check("request").is_ok());
    }
}
