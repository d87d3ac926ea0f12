//! Durations, sizes and counts as people write them, both ways.

use std::time::Duration;

use super::Bounded;

/// Units of a duration in milliseconds, longest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of a size in bytes that are written back, largest first.
const SIZES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Units of a size that are read besides [`SIZES`].
const OTHER_SIZES: [(&str, u64); 6] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1), ("", 1)];

/// The digits and what follows them.
fn split(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits.replace('_', "").parse().ok(), unit.trim())
}

/// Reads `500ms`, `30s`, `10m`, `2h` or `7d`; `0` needs no unit.
///
/// # Errors
/// What is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let accepted = || format!("{text:?} is not a duration; write a whole number and ms, s, m, h or d, such as 30s");
    let (Some(number), unit) = split(text) else {
        return Err(accepted());
    };
    let millis = match TIMES.iter().find(|(name, _)| *name == unit) {
        Some((_, millis)) => number.checked_mul(*millis),
        None if unit.is_empty() && number == 0 => Some(0),
        None => None,
    };
    millis.map(Duration::from_millis).ok_or_else(accepted)
}

/// Reads a duration within an option's bounds.
///
/// # Errors
/// What is accepted.
pub fn parse_duration_within(option: &Bounded, text: &str) -> Result<Duration, String> {
    option
        .check_duration(parse_duration(text)?)
        .map_err(|_| format!("from {} to {} is accepted", show_duration(option.min), show_duration(option.max)))
}

/// Reads `64MiB`, `1GB` or a plain number of bytes.
///
/// # Errors
/// What is accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    SIZES
        .iter()
        .chain(&OTHER_SIZES)
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .and_then(|(_, bytes)| number?.checked_mul(*bytes))
        .ok_or_else(|| {
            format!("{text:?} is not a size; write a whole number of bytes, or one with KiB, MiB or GiB, such as 64MiB")
        })
}

/// Reads a whole number.
///
/// # Errors
/// What is accepted.
pub fn parse_count(text: &str) -> Result<u64, String> {
    match split(text) {
        (Some(number), "") => Ok(number),
        _ => Err(format!("{text:?} is not a whole number")),
    }
}

/// Writes with the largest unit of which it is a whole number.
fn with_unit(number: u64, units: &[(&str, u64)]) -> Option<String> {
    let (name, size) = units.iter().find(|(_, size)| number >= *size && number.is_multiple_of(*size))?;
    Some(format!("{}{name}", number / size))
}

/// Writes milliseconds as [`parse_duration`] reads them.
#[must_use]
pub fn show_duration(millis: u64) -> String {
    with_unit(millis, &TIMES).unwrap_or_else(|| "0s".to_owned())
}

/// Writes bytes as [`parse_size`] reads them.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    with_unit(bytes, &SIZES).unwrap_or_else(|| bytes.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_said_with_its_unit() {
        let said = |millis| crate::options::ACK_WAIT.check_duration(Duration::from_millis(millis)).err();
        assert_eq!(said(5).as_deref(), Some("ack_wait is 5ms; from 1s to 12h is accepted"));
        assert_eq!(said(1000), None);
        let count = crate::options::PREFETCH_EVENTS.check(0).err();
        assert_eq!(count.as_deref(), Some("prefetch_events is 0; from 1 to 65536 is accepted"));
    }

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("2 h", Some(7_200_000)),
            ("7d", Some(604_800_000)),
            ("0", Some(0)),
            ("30", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1w", None),
            ("99999999999999999d", None),
            ("", None),
        ] {
            let read = parse_duration(text);
            assert_eq!(read.clone().ok(), millis.map(Duration::from_millis), "{text}: {read:?}");
        }
    }

    #[test]
    fn a_size_is_bytes_or_has_a_unit_in_any_case() {
        for (text, bytes) in [
            ("1024", Some(1024)),
            ("64MiB", Some(64 << 20)),
            ("64 mib", Some(64 << 20)),
            ("1_000kB", Some(1_000_000)),
            ("1GB", Some(1_000_000_000)),
            ("2B", Some(2)),
            ("1.5MiB", None),
            ("MiB", None),
            ("1 Mio", None),
            ("99999999999TiB", None),
        ] {
            let read = parse_size(text);
            assert_eq!(read.clone().ok(), bytes, "{text}: {read:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for number in [1, 500, 1_000, 1_024, 90_000, 604_800_000, 16 << 20, 3 << 30] {
            assert_eq!(parse_duration(&show_duration(number)), Ok(Duration::from_millis(number)));
            assert_eq!(parse_size(&show_size(number)), Ok(number));
        }
        assert_eq!((show_duration(600_000), show_size(64 << 20)), ("10m".to_owned(), "64MiB".to_owned()));
    }
}
