//! Time as numbers: this crate and the state machines never read a clock.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;
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

/// From RFC 3339 with `Z` or an offset, to whole milliseconds.
impl FromStr for UnixMillis {
    /// What is accepted.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = prost_types::Timestamp::from_str(text)
            .map_err(|_| format!("{text:?} is not an RFC 3339 time; write one such as 2030-01-31T08:00:00Z"))?;
        Ok(Self(time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000))))
    }
}

/// RFC 3339, in UTC.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i32::try_from(self.0.rem_euclid(1000) * 1_000_000).unwrap_or(0);
        prost_types::Timestamp { seconds: self.0.div_euclid(1000), nanos }.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_any_zone_and_what_is_none_is_refused() {
        let read = |text: &str| text.parse::<UnixMillis>();
        assert_eq!(read("1970-01-01T00:00:01.5Z"), Ok(UnixMillis(1500)));
        assert_eq!(read("1970-01-01T02:00:00+02:00"), Ok(UnixMillis(0)));
        assert!(read("tomorrow").is_err_and(|text| text.contains("RFC 3339")));
    }
}
