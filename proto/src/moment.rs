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

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no time of RFC 3339, such as 2026-11-28T06:30:00Z")]
pub struct NoTime(String);

/// RFC 3339; parts of a millisecond are cut off.
impl FromStr for UnixMillis {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let no_time = || NoTime(crate::event::shown(text).into_owned());
        let time = crate::time::read(text).ok_or_else(no_time)?;
        let millis = time.seconds.checked_mul(1000).and_then(|ms| ms.checked_add(i64::from(time.nanos / 1_000_000)));
        millis.map(Self).ok_or_else(no_time)
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
    fn a_time_is_read_as_it_is_written() {
        for time in [0, 1, -1, 1_764_311_400_123, -62_135_596_800_000] {
            assert_eq!(UnixMillis(time).to_string().parse(), Ok(UnixMillis(time)));
        }
        assert_eq!("2026-11-28T07:30:00.0019+01:00".parse(), Ok(UnixMillis(1_795_847_400_001)));
        for text in ["", "soon", "2026-13-01T00:00:00Z", "2026-11-28", "2026-11-28T06:30:00", "10m"] {
            assert!(text.parse::<UnixMillis>().is_err(), "{text}");
        }
    }
}
