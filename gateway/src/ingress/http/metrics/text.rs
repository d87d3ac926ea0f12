//! OpenMetrics text, version 1.0.0. Written by hand: the values are kept elsewhere already, and a registry would keep
//! them twice.

use std::fmt::{Display, Write as _};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises, from 0 at the start.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, and its samples one behind the other.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
    suffix: &'static str,
}

/// Begins a metric.
pub(super) fn family<'a>(text: &'a mut String, (name, kind, help): (&'static str, Kind, &str)) -> Family<'a> {
    // Writing to a string does not fail.
    let _ = write!(text, "# TYPE {name} {}\n# HELP {name} {help}\n", kind.name());
    Family { text, name, suffix: if kind == Kind::Counter { "_total" } else { "" } }
}

impl Family<'_> {
    /// A sample with labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line(self.suffix, labels, value)
    }

    /// A sample of a histogram.
    pub(super) fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if place == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_counters_end_in_total() {
        let mut text = String::new();
        family(&mut text, ("a", Kind::Counter, "How many."))
            .sample(&[("x", "a\"b\\c\nd"), ("y", "z")], 1)
            .sample(&[], 2.5);
        assert_eq!(
            text,
            "# TYPE a counter\n# HELP a How many.\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"z\"} 1\na_total 2.5\n"
        );
    }
}
