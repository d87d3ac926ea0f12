//! When published events are delivered.

use std::time::{Duration, SystemTime};

use clap::Args;
use meshwire::{Event, TimedEvent, UnixMillis};
use meshwire_proto::NoTime;

use crate::config::parse_duration;

/// The flags of `meshwire pub`; without one of them events are delivered at once, and for ever.
#[derive(Args, Clone, Copy)]
pub(crate) struct When {
    /// Deliver the events at this time, such as 2030-01-31T08:00:00Z; in the past: at once.
    /// They are kept at once and shown to nobody before.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "deliver_after")]
    deliver_at: Option<SystemTime>,
    /// Deliver the events so long after they were published, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    deliver_after: Option<Duration>,
    /// Deliver the events no more once so much time has passed since they were stored, or were due, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = expiry)]
    expires_in: Option<Duration>,
}

impl When {
    /// The event as it is published.
    pub(crate) fn of(self, event: Event) -> TimedEvent {
        let mut event = TimedEvent::from(event);
        if let Some(time) = self.deliver_at {
            event = event.deliver_at(time);
        }
        if let Some(delay) = self.deliver_after {
            event = event.deliver_after(delay);
        }
        if let Some(time) = self.expires_in {
            event = event.expires_in(time);
        }
        event
    }
}

fn time(text: &str) -> Result<SystemTime, String> {
    let since: UnixMillis = text.parse().map_err(|e: NoTime| e.to_string())?;
    let since = Duration::from_millis(u64::try_from(since.0).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).ok_or_else(|| format!("{text:?} is too far ahead"))
}

fn expiry(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => {
            Err("an event that expires at once would be delivered to nobody; write at least 1ms".to_owned())
        }
        time => Ok(time),
    }
}
