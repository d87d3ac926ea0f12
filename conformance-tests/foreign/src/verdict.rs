//! What a run as a whole must have, beside cells that pass.

use crate::install::Missing;
use crate::table::Counts;

/// A whole run plays so many cells at least, whoever is left out.
const LEAST_CELLS: usize = 100;

/// What holds for a run.
#[derive(Clone, Copy)]
pub(crate) struct Bar<'a> {
    /// All clients, not some that were named.
    pub(crate) whole: bool,
    /// On a machine that has all that README asks for.
    pub(crate) ci: bool,
    /// What README asks for.
    pub(crate) asked: &'a [String],
}

impl Bar<'_> {
    /// What the run lacks, a sentence each.
    pub(crate) fn missed(&self, counts: &Counts, skipped: &[(String, String)]) -> Vec<String> {
        let mut missed = Vec::new();
        let played = counts.passed + counts.failed;
        if self.whole && played < LEAST_CELLS {
            missed.push(format!("only {played} cells were played, not {LEAST_CELLS}"));
        }
        for (who, what) in skipped.iter().filter(|(_, what)| self.ci && self.is_promised(what)) {
            missed.push(format!("{who}: README asks for {what}, and with CI set nobody is left out for it"));
        }
        missed
    }

    /// A program that README asks for, a part of one, or what a registry gives.
    fn is_promised(&self, what: &str) -> bool {
        let program = what.split(' ').next().unwrap_or_default();
        Missing::is_of_a_registry(what) || self.asked.iter().any(|asked| asked == program)
    }
}

/// Whether this is the machine that decides; `CI` says so, as everywhere.
pub(crate) fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|text| !["", "0", "false"].contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

    use super::{Bar, Counts};

    #[test]
    fn readme_asks_for_what_nobody_may_be_left_out_for() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let set = crate::plain::read_set(&here.join("fidelity.json")).unwrap();
        let plan = crate::plan::read(here, &set).unwrap();
        let readme = std::fs::read_to_string(here.join("../../README.md")).unwrap();
        assert!(!plan.prerequisites.is_empty());
        for asked in &plan.prerequisites {
            assert!(readme.contains(&format!("`{asked}`")), "README does not name {asked}");
            assert!(plan.client.iter().any(|client| client.needs.contains(asked)), "no client needs {asked}");
        }
    }

    #[test]
    fn a_whole_run_of_few_cells_fails_whoever_was_left_out() {
        let bar = Bar { whole: true, ci: false, asked: &[] };
        let skipped = [("a".to_owned(), "go".to_owned())];
        assert!(bar.missed(&Counts { passed: 99, failed: 0 }, &skipped)[0].contains("only 99 cells"));
        assert!(bar.missed(&Counts { passed: 100, failed: 0 }, &skipped).is_empty());
        assert!(Bar { whole: false, ..bar }.missed(&Counts { passed: 1, failed: 0 }, &[]).is_empty());
    }

    #[test]
    fn on_ci_nobody_is_left_out_for_what_readme_asks_for() {
        let asked = ["npm".to_owned()];
        let bar = Bar { whole: true, ci: true, asked: &asked };
        let skipped = [("a".to_owned(), "npm".to_owned()), ("b".to_owned(), "haproxy".to_owned())];
        let counts = Counts { passed: 100, failed: 0 };
        assert!(bar.missed(&counts, &skipped).iter().all(|missed| missed.starts_with("a: ")));
        assert_eq!(bar.missed(&counts, &skipped).len(), 1);
        assert!(Bar { ci: false, ..bar }.missed(&counts, &skipped).is_empty());
    }

    #[test]
    fn on_ci_nobody_is_left_out_for_a_registry_or_for_a_part_of_a_program() {
        let asked = ["python3".to_owned()];
        let bar = Bar { whole: true, ci: true, asked: &asked };
        let counts = Counts { passed: 100, failed: 0 };
        for what in ["a registry for x", "python3 -m ensurepip --version"] {
            let skipped = [("x".to_owned(), what.to_owned())];
            assert_eq!(bar.missed(&counts, &skipped).len(), 1, "{what}");
            assert!(Bar { ci: false, ..bar }.missed(&counts, &skipped).is_empty());
        }
    }
}
