//! Times of the system as places to begin.

use std::time::{Duration, SystemTime};

use meshwire_proto::UnixMillis;

use crate::session::Start;

impl From<SystemTime> for Start {
    /// At the first event stored at this time or later; parts of a millisecond are cut off.
    fn from(time: SystemTime) -> Self {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self::Time(UnixMillis(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        }))
    }
}
