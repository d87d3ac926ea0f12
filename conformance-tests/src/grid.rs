//! The grid: a row a cell, a column a testee.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Pass,
    /// Why.
    Fail(String),
    /// The trace is not the blessed one.
    Differs(String),
    /// What the testee cannot do, because its host cannot.
    Skip(String),
    /// Failed, and is known to.
    Known(String),
    /// Passed, and is known to fail: the list is stale.
    Unexpected(String),
}

impl Mark {
    pub(crate) const fn letter(&self) -> char {
        match self {
            Self::Pass => 'P',
            Self::Fail(_) => 'F',
            Self::Differs(_) => 'D',
            Self::Skip(_) => '-',
            Self::Known(_) => 'x',
            Self::Unexpected(_) => 'U',
        }
    }

    /// Whether the run fails by it.
    pub(crate) const fn is_bad(&self) -> bool {
        matches!(self, Self::Fail(_) | Self::Differs(_) | Self::Unexpected(_))
    }

    /// What a person wants to know of it.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Fail(why) | Self::Differs(why) | Self::Skip(why) | Self::Known(why) | Self::Unexpected(why) => why,
        }
    }

    /// As it stands once the list of known failures was read.
    pub(crate) fn with_known(self, reason: Option<&str>) -> Self {
        match (self, reason) {
            (Self::Pass, Some(reason)) => Self::Unexpected(format!("it passes, and the list says: {reason}")),
            (Self::Fail(_) | Self::Differs(_), Some(reason)) => Self::Known(reason.to_owned()),
            (mark, _) => mark,
        }
    }
}

/// A cell that was played with one testee.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// The case's sentence.
    pub(crate) name: String,
    pub(crate) testee: String,
    pub(crate) mark: Mark,
    pub(crate) seconds: f64,
    /// What the testee logged, when it matters.
    pub(crate) logs: String,
}

pub(crate) const LEGEND: &str = "P pass, F fail, D different from the blessed trace, - its host cannot, x known failure, U passes though listed as failing";

/// Rows by cell, columns by testee.
pub(crate) fn table(rows: &[Row], testees: &[String]) -> String {
    let width = rows.iter().map(|row| row.id.len()).max().unwrap_or_default();
    let mut text = format!("{:width$}  {}\n", "", testees.join("  "));
    let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    ids.dedup();
    for id in ids {
        let letter = |testee: &String| {
            let row = rows.iter().find(|row| row.id == id && row.testee == *testee);
            format!("{:<w$}", row.map_or('-', |row| row.mark.letter()), w = testee.len())
        };
        let letters: Vec<String> = testees.iter().map(letter).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{id:width$}  {}", letters.join("  ").trim_end());
    }
    text
}

/// The last line of a run.
pub(crate) fn totals(rows: &[Row]) -> String {
    let count = |is: fn(&Mark) -> bool| rows.iter().filter(|row| is(&row.mark)).count();
    let failed = count(Mark::is_bad);
    let skipped = count(|mark| matches!(mark, Mark::Skip(_) | Mark::Known(_)));
    format!("{} passed, {failed} failed, {skipped} skipped", rows.len() - failed - skipped)
}

/// Testees whose host is said to keep them from more than a tenth of the cells.
pub(crate) fn idle(rows: &[Row], testees: &[String]) -> Vec<String> {
    let of = |testee: &String, is: fn(&Mark) -> bool| {
        rows.iter().filter(|row| row.testee == *testee && is(&row.mark)).count()
    };
    let line = |testee: &String| {
        let (cells, left) = (of(testee, |_| true), of(testee, |mark| matches!(mark, Mark::Skip(_))));
        (left * 10 > cells).then(|| format!("{testee} leaves out {left} of {cells} cells: more than a tenth"))
    };
    testees.iter().filter_map(line).collect()
}

/// The cells that a testee is known to fail: lines `CELL: REASON`.
pub(crate) fn read_known(folder: &Path, testee: &str) -> anyhow::Result<Vec<(String, String)>> {
    let path = folder.join(format!("{testee}.txt"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(Vec::new());
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (cell, reason) = line.split_once(": ").with_context(|| format!("{line:?} has no reason"))?;
        Ok((cell.to_owned(), reason.to_owned()))
    };
    lines.map(entry).collect::<anyhow::Result<_>>().with_context(|| format!("in {}", path.display()))
}

/// JUnit's XML, for those who collect it.
pub(crate) fn junit(rows: &[Row]) -> String {
    let bad = rows.iter().filter(|row| row.mark.is_bad()).count();
    let skipped = rows.iter().filter(|row| matches!(row.mark, Mark::Skip(_) | Mark::Known(_))).count();
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"conformance\" tests=\"{}\" failures=\"{bad}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">\n",
        rows.len()
    );
    for row in rows {
        let (class, name, why) = (escaped(&row.testee), escaped(&row.id), escaped(row.mark.why()));
        let inside = match &row.mark {
            Mark::Pass => String::new(),
            mark if mark.is_bad() => {
                format!("<failure type=\"{}\" message=\"{why}\">{}</failure>", mark.letter(), escaped(&row.logs))
            }
            _ => format!("<skipped message=\"{why}\"/>"),
        };
        let _ = writeln!(
            text,
            "  <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\">{inside}</testcase>",
            row.seconds
        );
    }
    text + "</testsuite>\n"
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            c if c.is_control() => safe.push('\u{FFFD}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{Mark, Row, idle, junit, table, totals};

    fn row(id: &str, mark: Mark) -> Row {
        Row {
            id: id.to_owned(),
            name: "a sentence".to_owned(),
            testee: "rust".to_owned(),
            mark,
            seconds: 0.5,
            logs: "a <log>".to_owned(),
        }
    }

    #[test]
    fn the_grid_has_a_row_a_cell_and_the_totals_count_what_failed() {
        let rows = [row("a/b/log", Mark::Pass), row("c/d/peer", Mark::Fail("x".to_owned()))];
        assert_eq!(table(&rows, &["rust".to_owned()]), "          rust\na/b/log   P\nc/d/peer  F\n");
        assert_eq!(totals(&rows), "1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_testee_may_leave_out_a_tenth_of_the_cells_and_no_more() {
        let rows = |left: usize| -> Vec<Row> {
            (0..20).map(|n| row("a", if n < left { Mark::Skip("x".to_owned()) } else { Mark::Pass })).collect()
        };
        let names = ["rust".to_owned()];
        assert_eq!(idle(&rows(2), &names), Vec::<String>::new());
        assert_eq!(idle(&rows(3), &names), ["rust leaves out 3 of 20 cells: more than a tenth"]);
    }

    #[test]
    fn a_known_failure_is_no_failure_and_one_that_passes_is() {
        let failed = || Mark::Differs("line 1".to_owned());
        assert!(!failed().with_known(Some("why")).is_bad());
        assert!(failed().with_known(None).is_bad());
        assert!(Mark::Pass.with_known(Some("why")).is_bad());
    }

    #[test]
    fn junit_names_each_cell_and_escapes_what_was_said() {
        let text = junit(&[row("a/b/log", Mark::Fail("1 < \"2\"".to_owned()))]);
        assert!(text.contains("tests=\"1\" failures=\"1\""), "{text}");
        assert!(text.contains("message=\"1 &lt; &quot;2&quot;\">a &lt;log&gt;</failure>"), "{text}");
    }
}
