//! What is printed: notes, and one line a bar with its verdict.

use std::io::Write;

/// Prints a line.
pub(crate) fn say(line: &str) {
    // A closed pipe must not end a measurement: the exit code still tells.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Counts the bars met and not met.
#[derive(Debug, Default)]
pub(crate) struct Report {
    met: u32,
    not_met: u32,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line that is no verdict.
    #[expect(clippy::unused_self, reason = "everything printed goes through the report")]
    pub(crate) fn note(&self, line: &str) {
        say(line);
    }

    /// A value beside its bar.
    pub(crate) fn bar(&mut self, what: &str, value: &str, bar: &str, met: bool) {
        *(if met { &mut self.met } else { &mut self.not_met }) += 1;
        let verdict = if met { "met" } else { "NOT MET" };
        self.note(&format!("  {what:<26} {value:<34} bar {bar:<10} {verdict}"));
    }

    /// A bar that could not be measured.
    pub(crate) fn missed(&mut self, what: &str, why: &str) {
        self.not_met += 1;
        self.note(&format!("  {what:<26} not measured: {why}   NOT MET"));
    }

    /// Prints the last line; `true`: every bar was met.
    pub(crate) fn close(self) -> bool {
        self.note(&format!("{} met, {} not met", self.met, self.not_met));
        self.not_met == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn what_was_not_measured_counts_as_not_met() {
        let mut report = Report::new();
        report.bar("a", "1", "2", true);
        assert!(Report { met: 1, ..Report::new() }.close());
        report.missed("b", "absent");
        assert_eq!((report.met, report.not_met), (1, 1));
        assert!(!report.close());
    }
}
