//! Times of the system, and text, as places to begin.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use meshwire_proto::options::parse_duration;
use meshwire_proto::{ErrorKind, UnixMillis};

use crate::session::Start;
use crate::{Error, Position};

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

impl FromStr for Start {
    type Err = Error;

    /// `earliest`, `latest`, a position, a time of RFC 3339, or how long ago, as `-10m`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let accepted = "write earliest, latest, a position, a time such as 2026-11-28T06:30:00Z, or how long ago, such as -10m";
            Error::new(ErrorKind::Invalid, "start", accepted)
        };
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(number) = text.parse() {
            return Ok(Self::Position(Position::from_number(number)));
        }
        if let Some(ago) = text.strip_prefix('-') {
            let ago = parse_duration(ago).map_err(|_| wrong())?;
            return SystemTime::now().checked_sub(ago).map(Self::from).ok_or_else(wrong);
        }
        text.parse::<UnixMillis>().map(Self::Time).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_place_is_a_word_a_number_a_time_or_so_long_ago() {
        let parse = |text: &str| text.parse::<Start>().map_err(|error| error.message().to_owned());
        assert_eq!(parse("earliest"), Ok(Start::Earliest));
        assert_eq!(parse("latest"), Ok(Start::Latest));
        assert_eq!(parse("7"), Ok(Start::Position(Position::from_number(7))));
        assert_eq!(parse("1970-01-01T00:00:01.5Z"), Ok(Start::Time(UnixMillis(1500))));
        let Start::Time(now) = Start::from(SystemTime::now()) else { panic!("a time") };
        let Start::Time(ago) = parse("-10m").unwrap() else { panic!("a time") };
        assert!((now.0 - 600_000..now.0 - 590_000).contains(&ago.0), "{ago} of {now}");
        for wrong in ["", "soon", "-", "-x", "10m", "-1"] {
            assert!(parse(wrong).unwrap_err().contains("2026-11-28T06:30:00Z"), "{wrong}");
        }
    }
}
