//! Time as numbers: this crate and the state machines never read a clock.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A point on a monotonic clock: microseconds since an origin that only the
/// clock's owner knows. Deadlines are moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z. What is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// RFC 3339, in UTC.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i32::try_from(self.0.rem_euclid(1000) * 1_000_000).unwrap_or(0);
        prost_types::Timestamp { seconds: self.0.div_euclid(1000), nanos }.fmt(f)
    }
}
