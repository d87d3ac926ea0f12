//! Room for one more: of publishes without a receipt, and of requests.

use meshwire_proto::{ErrorKind, Timing};

use super::{Admission, Limits, Outbox};
use crate::session::State;
use crate::{Error, Result};

impl Outbox {
    /// As [`Outbox::admit`], but waits for room.
    pub(crate) async fn admit_when_room(&self, topic: &str, event: &[u8], timing: Timing) -> Result<(u32, u64)> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Registered before the look at the window, so that no wake is missed.
            room.as_mut().enable();
            self.lock().waiting += 1;
            let waiting = Waiting(self);
            if let Admission::Admitted { alias, sequence } = self.admit(topic, event, timing)? {
                return Ok((alias, sequence));
            }
            // A gateway makes room soon; without one it may be days.
            if self.is_offline && *self.state.borrow() != State::Connected {
                return Err(self.buffer_full(topic));
            }
            room.await;
            drop(waiting);
        }
    }

    /// There is no room, and nobody waits for it.
    pub(crate) fn buffer_full(&self, topic: &str) -> Error {
        let Limits { events, bytes } = self.limits;
        let message = if self.is_offline {
            format!(
                "the offline buffer is full: {events} events or {bytes} bytes wait for a gateway (option offline_max_bytes)"
            )
        } else {
            format!(
                "{events} events or {bytes} bytes wait for their receipts (options publish_window_events and publish_window_bytes)"
            )
        };
        Error::new(ErrorKind::BufferFull, "publish", message).with("topic", topic)
    }

    /// A place in the window of requests, given back with [`Outbox::request_over`].
    pub(crate) fn begin_request(&self, bytes: u64) -> Result<()> {
        let mut pending = self.lock();
        let (open, limits) = (pending.requests, self.request_limits);
        if open.events >= limits.events || (open.events > 0 && open.bytes + bytes > limits.bytes) {
            let message = format!(
                "{} requests of {} bytes wait for their replies (option request_window: {}, and {} bytes)",
                open.events, open.bytes, limits.events, limits.bytes
            );
            return Err(Error::new(ErrorKind::BufferFull, "request", message));
        }
        pending.requests = Limits { events: open.events + 1, bytes: open.bytes + bytes };
        Ok(())
    }

    pub(crate) fn request_over(&self, bytes: u64) {
        let requests = &mut self.lock().requests;
        requests.events = requests.events.saturating_sub(1);
        requests.bytes = requests.bytes.saturating_sub(bytes);
    }
}

/// Counts one publisher that waits for room.
struct Waiting<'a>(&'a Outbox);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}
