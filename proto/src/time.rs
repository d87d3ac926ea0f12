//! Times as RFC 3339 writes them: an event has one, so the usual form is read without the general parser.

use prost_types::Timestamp;

/// Reads a time; `None`: it is none.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    usual(text.as_bytes()).or_else(|| has_form(text.as_bytes()).then(|| text.parse().ok())?)
}

/// Whether it looks as RFC 3339 writes a time. The general parser takes more: a date alone, a blank for the T, no offset.
fn has_form(text: &[u8]) -> bool {
    let Some((date, rest)) = text.split_first_chunk::<19>() else { return false };
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T' | b't', _, _, b':', _, _, b':', _, _] = date else { return false };
    let fraction = match rest {
        [fraction @ .., b'Z' | b'z'] => fraction,
        [fraction @ .., b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|b| b.is_ascii_digit()) => fraction,
        _ => return false,
    };
    match fraction {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// `2026-11-28T06:30:00Z`, with a fraction or none. Whatever else there is goes to the general parser.
fn usual(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = text.split_first_chunk::<19>()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = date else {
        return None;
    };
    let number = |from: usize, to: usize| digits(date.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year == 0 || day == 0 || day > days_of(year, month)? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match rest.split_last()? {
        (b'Z', []) => 0,
        (b'Z', [b'.', fraction @ ..]) if (1..=9).contains(&fraction.len()) => {
            digits(fraction)? * 10_u32.pow(9 - fraction.len() as u32)
        }
        _ => return None,
    };
    let seconds = days(year.into(), month.into(), day.into()) * 86_400
        + i64::from(hour) * 3600
        + i64::from(minute) * 60
        + i64::from(second);
    Some(Timestamp { seconds, nanos: i32::try_from(nanos).ok()? })
}

/// At most nine of them.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

fn days_of(year: u32, month: u32) -> Option<u32> {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    Some(match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    })
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. The year is counted from March, so that a leap day is its last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_usual_form_is_read_as_the_general_parser_reads_it(
            seconds in -62_135_596_800_i64..=253_402_300_799,
            nanos in prop_oneof![Just(0), Just(500_000_000), Just(123_000_000), 0..1_000_000_000],
        ) {
            let text = Timestamp { seconds, nanos }.to_string();
            prop_assert_eq!(usual(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn what_is_read_of_any_fields_is_what_the_general_parser_reads(
            fields in (0..10_000, 0..14, 0..33, 0..25, 0..61, 0..62),
            end in prop_oneof!["Z", "\\.[0-9]{0,10}Z", "[+-]0[0-9]:00", "z", ""],
        ) {
            let (year, month, day, hour, minute, second) = fields;
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{end}");
            let usual = usual(text.as_bytes());
            prop_assert!(usual.is_none() || usual == text.parse().ok(), "{}: {:?}", text, usual);
        }
    }

    #[test]
    fn a_time_is_read_in_every_form_of_rfc_3339() {
        let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", time(0, 0)),
            ("2026-11-28T12:00:00.123Z", time(1_795_867_200, 123_000_000)),
            ("2024-02-29T23:59:59.000000001Z", time(1_709_251_199, 1)),
            ("2026-11-28T13:00:00+01:00", time(1_795_867_200, 0)),
            ("0001-01-01T00:00:00Z", time(-62_135_596_800, 0)),
            ("2026-11-28t12:00:00z", time(1_795_867_200, 0)),
            ("2026-11-28T05:00:00.5-07:00", time(1_795_867_200, 500_000_000)),
            ("2026-11-28T12:00:00.1234567899Z", time(1_795_867_200, 123_456_789)),
            ("2026-11-28", None),
            ("2026-11-28Z", None),
            ("2026-11-28T12:00:00", None),
            ("2026-11-28T12:00:00.5", None),
            ("2026-11-28 12:00:00Z", None),
            ("2026-11-28T12:00:00 Z", None),
            ("2026-11-28T12:00:00+07", None),
            ("2026-11-28T12:00:00+0700", None),
            ("2026-11-28T12:00:00+07:0", None),
            ("2026-11-28T12:00:00.Z", None),
            ("+2026-11-28T12:00:00Z", None),
            ("-2026-11-28T12:00:00Z", None),
            ("2026-11-28T12:00Z", None),
            ("2026-11-28T12:00:0\u{e9}Z", None),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
