//! Places in a topic, as they are written on the command line.

use std::time::SystemTime;

use meshwire::{Position, Start, UnixMillis};

use crate::config::parse_duration;

/// earliest, latest, a position, a time of RFC 3339, or so long ago.
pub(crate) fn parse(text: &str) -> Result<Start, String> {
    let wrong = || {
        "write earliest, latest, a position, a time such as 2026-11-28T06:30:00Z, or how long ago, such as -10m"
            .to_owned()
    };
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Ok(Start::Position(Position::from_number(number)));
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = parse_duration(ago).map_err(|_| wrong())?;
        return SystemTime::now().checked_sub(ago).map(Start::from).ok_or_else(wrong);
    }
    text.parse::<UnixMillis>().map(Start::Time).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_place_is_a_word_a_number_a_time_or_so_long_ago() {
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
