//! Rows in columns, for people: the first column to the left, the others to the right.

/// The first column is never narrower, whatever it costs at the right end.
const LEAST_FIRST: usize = 8;

/// A table with a head.
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Its lines, the head first, at most so wide: a long first column loses its end.
    pub(crate) fn lines(&self, width: usize) -> Vec<String> {
        let widest =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..N).map(|column| widest(column).unwrap_or_default()).collect();
        let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
        let first = width.saturating_sub(others).max(LEAST_FIRST);
        let line = |row: &[String; N]| {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    let width = (*width).min(first);
                    line += &format!("{:width$}", cut(cell, width));
                } else {
                    line += &format!("  {cell:>width$}");
                }
            }
            line.truncate(line.trim_end().len());
            cut(&line, width)
        };
        self.rows.iter().map(line).collect()
    }
}

/// As much of a text as fits.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_a_long_name_loses_its_end() {
        let mut table = Table::new(["group", "lag"]);
        table.row(["billing-of-europe".to_owned(), "12345".to_owned()]);
        table.row(["a".to_owned(), String::new()]);
        assert_eq!(table.lines(15), ["group       lag", "billing…  12345", "a"]);
        assert_eq!(table.lines(80).get(1).map(String::as_str), Some("billing-of-europe  12345"));
    }
}
