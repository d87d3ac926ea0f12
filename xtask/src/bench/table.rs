//! The table of `bench bindings`: a line a figure, with its bar and its goal.

use super::figures::{Bar, Spread, Verdict};

/// One figure of a language.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) language: &'static str,
    pub(crate) what: String,
    pub(crate) found: Found,
    /// What it is held to; none: it is told beside the others.
    pub(crate) bar: Option<Bar>,
}

#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// What the pairs gave, and in which words the two sides are told.
    Measured { spread: Spread, sides: String },
    /// What was not there.
    Needs(String),
    /// It failed, in words.
    Failed(String),
}

impl Row {
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match (&self.found, self.bar) {
            (Found::Measured { spread, .. }, Some(bar)) => Some(bar.judge(spread.median)),
            (Found::Failed(_), _) => Some(Verdict::NotMet),
            (Found::Measured { .. }, None) | (Found::Needs(_), _) => None,
        }
    }

    fn cells(&self) -> [String; 7] {
        let (language, what) = (self.language.to_owned(), self.what.clone());
        let limit = |pick: fn(Bar) -> f64| self.bar.map_or_else(String::new, |bar| number(pick(bar)));
        let (bar, goal) = (limit(|bar| bar.bar), limit(|bar| bar.goal));
        let (value, sides, verdict) = match &self.found {
            Found::Measured { spread, sides } => {
                let value =
                    format!("{} ({} to {})", number(spread.median), number(spread.smallest), number(spread.largest));
                (value, sides.clone(), self.verdict().map_or_else(String::new, |verdict| verdict.to_string()))
            }
            Found::Needs(needs) => (String::new(), String::new(), format!("skipped: needs {needs}")),
            Found::Failed(why) => (why.clone(), String::new(), Verdict::NotMet.to_string()),
        };
        [language, what, value, sides, bar, goal, verdict]
    }
}

/// As many digits as say something.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

const HEAD: [&str; 7] = ["language", "figure", "median", "beside", "bar", "goal", ""];

/// The lines of the table, as Markdown has it.
pub(crate) fn lines(rows: &[Row]) -> Vec<String> {
    let all: Vec<[String; 7]> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let mut widths = [0; 7];
    for cells in &all {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: &[String; 7]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}", cells.collect::<String>())
    };
    let mut lines: Vec<String> = all.iter().map(line).collect();
    lines.insert(1, format!("|{}", widths.map(|width| "-".repeat(width + 2) + "|").concat()));
    lines
}

/// The last line, and whether every bar that was measured is met.
pub(crate) fn close(rows: &[Row]) -> (String, bool) {
    let count = |wanted: &[Verdict]| rows.iter().filter_map(Row::verdict).filter(|v| wanted.contains(v)).count();
    let (met, goals, not_met) =
        (count(&[Verdict::Met, Verdict::Goal]), count(&[Verdict::Goal]), count(&[Verdict::NotMet]));
    let skipped = rows.iter().filter(|row| matches!(row.found, Found::Needs(_))).count();
    (format!("{met} met ({goals} with their goal), {not_met} not met, {skipped} skipped"), not_met == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(found: Found, bar: Option<Bar>) -> Row {
        Row { language: "go", what: "publish / Rust".to_owned(), found, bar }
    }

    fn measured(median: f64) -> Found {
        let spread = Spread { median, smallest: median - 0.1, largest: median + 250.0 };
        Found::Measured { spread, sides: "9 and 10".to_owned() }
    }

    #[test]
    fn each_figure_has_a_line_with_bar_goal_and_verdict() {
        let bar = Some(Bar::at_least(0.8, 0.9));
        let rows = [
            row(measured(0.85), bar),
            row(measured(0.5), bar),
            row(measured(2.0), None),
            row(Found::Needs("nats-server".to_owned()), bar),
        ];
        let lines = lines(&rows);
        assert!(lines.first().is_some_and(|head| head.starts_with("| language | figure")), "{lines:#?}");
        let has = |at: usize, texts: &[&str]| {
            let line = lines.get(at).cloned().unwrap_or_default();
            assert!(texts.iter().all(|text| line.contains(text)), "{texts:?} in {line}");
        };
        has(2, &["| go ", "| publish / Rust |", "| 0.85 (0.75 to 251)", "| 9 and 10", "| 0.80 | 0.90 | met "]);
        has(3, &["| NOT MET"]);
        has(4, &["| 2.00 (1.90 to 252)", "|      |      | "]);
        has(5, &["| skipped: needs nats-server |"]);
        let widths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| Some(width) == widths.first()), "{lines:#?}");
    }

    #[test]
    fn one_bar_that_is_not_met_or_failed_is_the_run_s_verdict_and_a_skip_is_not() {
        let bar = Some(Bar::at_most(1.0, 1.0));
        let needs = row(Found::Needs("npm".to_owned()), bar);
        let good = [row(measured(0.5), bar), row(measured(7.0), None), needs.clone()];
        assert_eq!(close(&good), ("1 met (1 with their goal), 0 not met, 1 skipped".to_owned(), true));
        let bad = [row(measured(1.5), bar), row(Found::Failed("it hung".to_owned()), None), needs];
        assert_eq!(close(&bad), ("0 met (0 with their goal), 2 not met, 1 skipped".to_owned(), false));
    }
}
