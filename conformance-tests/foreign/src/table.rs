//! The table: a row for each client, direction and mode, a column for each payload.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The same byte for byte, attribute by attribute.
    Same,
    /// The same but for what the client is known not to keep.
    Nearly,
    /// The client cannot say it; no cell.
    Cannot,
    /// Why.
    Failed(String),
}

/// The cells that a client plays and judges itself, of its output.
pub(crate) fn own(name: &str, printed: &str) -> Row {
    let cells = printed.lines().filter_map(|line| match line.split_whitespace().next() {
        Some("ok") => Some(Cell::Same),
        Some("FAILED") => Some(Cell::Failed(line.to_owned())),
        _ => None,
    });
    let cells: Vec<Cell> = cells.collect();
    let cells = if cells.is_empty() { vec![Cell::Failed(format!("it played nothing: {printed}"))] } else { cells };
    Row { name: format!("{name} its own"), cells }
}

/// One client in one mode.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// One for each payload, then one for each error.
    pub(crate) cells: Vec<Cell>,
}

impl Row {
    pub(crate) fn has_failed(&self) -> bool {
        self.cells.iter().any(|cell| matches!(cell, Cell::Failed(_)))
    }

    /// Each reason of a failure, and the columns that it holds for.
    pub(crate) fn failures<'a>(&'a self, columns: &'a [String]) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut failures: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (at, cell) in self.cells.iter().enumerate() {
            if let Cell::Failed(why) = cell {
                failures.entry(why).or_default().push(columns.get(at).map_or("its own", String::as_str));
            }
        }
        failures
    }
}

/// How many cells there are of each outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

pub(crate) const LEGEND: &str = "= the same, ~ the same but for what clients.toml says, - the client cannot say it, \
    F failed";

pub(crate) fn table(rows: &[Row], columns: &[String]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (number, name) in columns.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:>width$}  {}{name}", "", "| ".repeat(number));
    }
    for row in rows {
        let letters: Vec<&str> = row.cells.iter().map(Cell::letter).collect();
        let _ = writeln!(text, "{:width$}  {}", row.name, letters.join(" ").trim_end());
    }
    text
}

pub(crate) fn counts(rows: &[Row]) -> Counts {
    let mut counts = Counts::default();
    for cell in rows.iter().flat_map(|row| &row.cells) {
        match cell {
            Cell::Same | Cell::Nearly => counts.passed += 1,
            Cell::Failed(_) => counts.failed += 1,
            Cell::Cannot => {}
        }
    }
    counts
}

impl Cell {
    fn letter(&self) -> &'static str {
        match self {
            Self::Same => "=",
            Self::Nearly => "~",
            Self::Cannot => "-",
            Self::Failed(_) => "F",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Counts, Row, counts, own, table};

    #[test]
    fn cells_that_a_client_judges_itself_are_counted_and_none_is_a_failure() {
        let row = own("a", "begins\nok      one\nFAILED  two: why\n1 passed, 1 failed\n");
        assert_eq!(row.cells, [Cell::Same, Cell::Failed("FAILED  two: why".to_owned())]);
        assert_eq!(counts(&[own("a", "")]), Counts { passed: 0, failed: 1 });
    }

    #[test]
    fn a_cell_that_no_client_can_say_is_not_counted_and_a_failed_one_is() {
        let cells = vec![Cell::Same, Cell::Nearly, Cell::Cannot, Cell::Failed("why".to_owned())];
        let rows = [Row { name: "curl publish".to_owned(), cells }];
        assert_eq!(counts(&rows), Counts { passed: 2, failed: 1 });
        let columns = ["a", "b", "c", "d"].map(str::to_owned);
        let text = table(&rows, &columns);
        assert!(text.ends_with("curl publish  = ~ - F\n"), "{text}");
        assert!(text.contains("  | | c\n"), "{text}");
    }
}
