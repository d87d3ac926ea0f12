//! One picture of the table, as large as the terminal.

use super::look::{Row, table};
use crate::table::cut;

/// What is to be drawn.
pub(super) struct Frame<'a> {
    /// `None`: nothing was seen yet.
    pub(super) rows: Option<&'a [Row]>,
    /// The first line.
    pub(super) head: &'a str,
    /// How many rows are above what is shown.
    pub(super) top: usize,
}

impl Frame<'_> {
    /// Its lines for a terminal of so many columns and lines, and how many rows are above
    /// them: never so many that the last row leaves the bottom.
    pub(super) fn lines(&self, columns: usize, height: usize) -> (Vec<String>, usize) {
        let mut lines = vec![cut(self.head, columns)];
        let Some(rows) = self.rows else {
            return (lines, 0);
        };
        if rows.is_empty() {
            lines.push(cut("no topics", columns));
            lines.truncate(height.max(1));
            return (lines, 0);
        }
        let mut table = table(rows).lines(columns).into_iter();
        lines.extend(table.next());
        // The first two lines stay, and one may be needed to say what is not shown.
        let room = height.saturating_sub(lines.len());
        let (room, fits) = if rows.len() <= room { (room, true) } else { (room.saturating_sub(1), false) };
        let top = self.top.min(rows.len().saturating_sub(room));
        lines.extend(table.skip(top).take(room));
        if !fits {
            let below = rows.len().saturating_sub(top + room);
            lines.push(cut(&format!("{top} rows above, {below} below; j and k move, or name topics"), columns));
        }
        lines.truncate(height.max(1));
        (lines, top)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn rows(count: usize) -> Vec<Row> {
        let row = |n| {
            let mut row = Row::default();
            row[0] = format!("topic-with-a-name-that-is-rather-long-{n}");
            row[1] = "12.3k".to_owned();
            row
        };
        (0..count).map(row).collect()
    }

    fn frame(rows: &[Row], top: usize, size: (usize, usize)) -> (Vec<String>, usize) {
        Frame { rows: Some(rows), head: "head", top }.lines(size.0, size.1)
    }

    #[test]
    fn no_picture_is_larger_than_its_terminal() {
        for columns in [1, 10, 80, 200] {
            for height in [1, 2, 3, 24, 50] {
                for count in [0, 1, 21, 22, 23, 100] {
                    let (lines, _) = frame(&rows(count), 5, (columns, height));
                    assert!(lines.len() <= height, "{lines:?}");
                    assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns}: {lines:?}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_moved_to_but_not_beyond_the_last_row() {
        let all = rows(30);
        let (lines, top) = frame(&all, 0, (80, 24));
        assert_eq!((lines.len(), top), (24, 0));
        assert_eq!(lines[23], "0 rows above, 9 below; j and k move, or name topics");
        let (lines, top) = frame(&all, 99, (80, 24));
        assert_eq!(top, 9);
        assert!(lines[23].starts_with("9 rows above, 0 below"), "{lines:?}");
        let (lines, _) = frame(&rows(22), 0, (80, 24));
        assert_eq!(lines.len(), 24, "all rows fit");
        assert!(!lines[23].contains("above"), "{lines:?}");
    }
}
