//! When an event is delivered: said to the gateway beside the event, and no part of it.

use std::time::{Duration, SystemTime};

use super::Event;
use crate::UnixMillis;

/// When events of a run are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Not before, by the gateway's clock; 0 or in the past: at once.
    pub deliver_at: UnixMillis,
    /// So long, in milliseconds, from when they are stored or due; 0: for ever.
    pub expires_in_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Begin {
    At(SystemTime),
    After(Duration),
}

/// An event, and when it is delivered; made by [`Event::deliver_at`], [`Event::deliver_after`] and
/// [`Event::expires_in`]. Consumers get the event alone.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedEvent {
    event: Event,
    begin: Option<Begin>,
    expires_in: Option<Duration>,
}

impl From<Event> for TimedEvent {
    fn from(event: Event) -> Self {
        Self { event, begin: None, expires_in: None }
    }
}

impl Event {
    /// Delivers it at a time and never before, by the gateway's clock: as a rule within 50 ms. In the past: at once. The
    /// publish is answered as soon as the event is kept, without a position; until then nobody sees it.
    /// Its place in the topic, also behind others of its key, is that of the moment when it is delivered. A gateway
    /// takes times up to its option `max_delay` ahead, 365 days by default.
    #[must_use]
    pub fn deliver_at(self, time: SystemTime) -> TimedEvent {
        TimedEvent::from(self).deliver_at(time)
    }

    /// As [`Event::deliver_at`], counted from when it is published. The client takes into account by how much the
    /// gateway's clock differs from this machine's, as far as that shows at its login.
    #[must_use]
    pub fn deliver_after(self, delay: Duration) -> TimedEvent {
        TimedEvent::from(self).deliver_after(delay)
    }

    /// Delivers it no more when this has passed since it was stored, or since it was due. Who has it by then may
    /// still settle it. At least 1 ms; it ends at most a thousandth early.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> TimedEvent {
        TimedEvent::from(self).expires_in(time)
    }
}

impl TimedEvent {
    /// As [`Event::deliver_at`]; the last one counts.
    #[must_use]
    pub const fn deliver_at(mut self, time: SystemTime) -> Self {
        self.begin = Some(Begin::At(time));
        self
    }

    /// As [`Event::deliver_after`]; the last one counts.
    #[must_use]
    pub const fn deliver_after(mut self, delay: Duration) -> Self {
        self.begin = Some(Begin::After(delay));
        self
    }

    /// As [`Event::expires_in`].
    #[must_use]
    pub const fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// The event alone.
    #[must_use]
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// The same for another event in its place.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn try_map<E>(self, change: impl FnOnce(Event) -> Result<Event, E>) -> Result<Self, E> {
        Ok(Self { event: change(self.event)?, ..self })
    }

    /// What the gateway is told of an event that is published now.
    #[must_use]
    pub fn timing(&self, now: UnixMillis) -> Timing {
        let deliver_at = match self.begin {
            None => 0,
            // Before 1970 is in the past.
            Some(Begin::At(time)) => time.duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| whole(since).max(1)),
            Some(Begin::After(delay)) if delay.is_zero() => 0,
            Some(Begin::After(delay)) => now.0.saturating_add(whole(delay)),
        };
        let expires_in_ms =
            self.expires_in.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1));
        Timing { deliver_at: UnixMillis(deliver_at), expires_in_ms }
    }
}

/// Milliseconds, up to the next whole one: never early.
fn whole(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_whole_milliseconds_never_early_and_zero_says_at_once() {
        let now = UnixMillis(1000);
        let at = |nanos| Event::new("t").deliver_at(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)).timing(now);
        assert_eq!([at(5_000_000), at(5_000_001)].map(|t| t.deliver_at.0), [5, 6]);
        let past = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Event::new("t").deliver_at(past).timing(now).deliver_at.0, 1);
        let after = |micros| Event::new("t").deliver_after(Duration::from_micros(micros)).timing(now).deliver_at.0;
        assert_eq!([after(0), after(1), after(2000), after(u64::MAX)], [0, 1001, 1002, 18_446_744_073_710_552]);
        let expires = |time| Event::new("t").expires_in(time).timing(now);
        assert_eq!(expires(Duration::ZERO).expires_in_ms, 1);
        assert_eq!(expires(Duration::MAX).expires_in_ms, u64::MAX);
        assert_eq!(TimedEvent::from(Event::new("t")).timing(now), Timing::default());
    }
}
