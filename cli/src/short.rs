//! Numbers and ages in few characters, for tables.

use std::time::Duration;

/// At most five characters: `999`, `12.3k`, `4.5M`.
pub(crate) fn count(number: u64) -> String {
    const UNITS: [(u64, char); 4] = [(1_000_000_000_000, 'T'), (1_000_000_000, 'G'), (1_000_000, 'M'), (1_000, 'k')];
    match UNITS.iter().find(|(size, _)| number >= *size) {
        None => number.to_string(),
        Some((size, unit)) => match (number / size, number % size * 10 / size) {
            (whole @ ..100, tenth) => format!("{whole}.{tenth}{unit}"),
            (whole, _) => format!("{whole}{unit}"),
        },
    }
}

/// Events a second: with a tenth below ten.
pub(crate) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 { format!("{rate:.1}") } else { count(rate.round() as u64) }
}

/// In its largest unit, cut: `0s`, `59s`, `59m`, `47h`, `12d`.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        secs @ ..60 => format!("{secs}s"),
        secs @ ..3_600 => format!("{}m", secs / 60),
        secs @ ..172_800 => format!("{}h", secs / 3_600),
        secs => format!("{}d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_at_most_five_characters() {
        let shown = |number| (number, count(number));
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0k"),
            (99_999, "99.9k"),
            (100_000, "100k"),
            (2_500_000, "2.5M"),
            (7_000_000_000, "7.0G"),
        ] {
            assert_eq!(shown(number), (number, text.to_owned()));
        }
    }

    #[test]
    fn an_age_is_cut_to_its_largest_unit() {
        let shown = |secs| age(Duration::from_secs(secs));
        let ages = [0, 59, 60, 3_599, 3_600, 172_799, 172_800].map(shown);
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
    }
}
