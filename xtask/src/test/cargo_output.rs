//! Reading what `cargo test` prints.

use super::Skip;

/// What the test binaries of one `cargo test` said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    /// As cargo counts: with those that printed that they were skipped.
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// Names of tests that passed, as cargo counts.
    names: Vec<String>,
    /// Tests that printed `skipped: needs X` on a line of its own.
    pub(crate) said_skipped: Vec<Skip>,
    /// Tests marked `#[ignore]`.
    pub(crate) ignored: Vec<Skip>,
    /// What failed tests printed.
    pub(crate) failures: Vec<String>,
}

impl Tests {
    /// Those of these modules, given as `name::`, of which no test passed that was not skipped.
    pub(crate) fn missing<'a>(&self, modules: &[&'a str]) -> Vec<&'a str> {
        let skipped = |name: &String| self.said_skipped.iter().any(|skip| skip.test == *name);
        let ran = |module: &str| self.names.iter().any(|name| name.starts_with(module) && !skipped(name));
        modules.iter().copied().filter(|module| !ran(module)).collect()
    }
}

/// Reads the lines of one `cargo test`.
pub(crate) fn read(lines: &[String]) -> Tests {
    let mut tests = Tests::default();
    let mut section = String::from("a test");
    let mut failing = false;
    for line in lines {
        if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----")) {
            name.clone_into(&mut section);
        } else if let Some(needs) = line.trim().strip_prefix("skipped: needs ") {
            tests.said_skipped.push(Skip { needs: needs.to_owned(), test: section.clone() });
        } else if let Some(skip) = ignored(line) {
            tests.ignored.push(skip);
        } else if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... ok")) {
            tests.names.push(name.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            tests.passed += count(counts, "passed");
            tests.failed += count(counts, "failed");
            failing = false;
        } else if line == "failures:" {
            failing = true;
        }
        if failing && !is_frame(line) {
            tests.failures.push(line.clone());
        }
    }
    tests
}

/// Whether a line is of a backtrace; the log has it, the screen shows what was said.
fn is_frame(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.split_once(": ").is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    numbered || line.starts_with("at ")
}

/// The skip that an ignored test is; its reason says what it needs.
fn ignored(line: &str) -> Option<Skip> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let reason = rest.strip_prefix(", ").unwrap_or_default();
    let needs = match reason.strip_prefix("needs ") {
        Some(needs) => needs.to_owned(),
        None => format!("a reason of the form \"needs X\" in its #[ignore], not {reason:?}"),
    };
    Some(Skip { needs, test: name.to_owned() })
}

/// The number before a word in `ok. 5 passed; 0 failed; 1 ignored; ...`.
fn count(counts: &str, word: &str) -> u32 {
    let words: Vec<&str> = counts.split([' ', ';']).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| *w == word).and_then(|at| at.checked_sub(1));
    at.and_then(|at| words.get(at)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Skip, read};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn skip(test: &str, needs: &str) -> Skip {
        Skip { needs: needs.to_owned(), test: test.to_owned() }
    }

    #[test]
    fn the_counts_of_all_test_binaries_are_added_up() {
        let tests = read(&lines(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ));
        assert_eq!((tests.passed, tests.failed), (12, 2));
    }

    #[test]
    fn a_test_that_says_what_it_needs_is_skipped() {
        let tests = read(&lines("---- store::limits stdout ----\nskipped: needs RLIMIT_FSIZE\n"));
        assert_eq!(tests.said_skipped, [skip("store::limits", "RLIMIT_FSIZE")]);
    }

    #[test]
    fn an_ignored_test_is_a_skip_and_owes_a_reason() {
        let tests = read(&lines("test a ... ignored, needs redis-server\ntest c ... ignored\n"));
        assert_eq!(tests.ignored.first(), Some(&skip("a", "redis-server")));
        assert!(tests.ignored.get(1).is_some_and(|s| s.test == "c" && s.needs.starts_with("a reason")));
    }

    #[test]
    fn a_module_is_missing_when_all_that_passed_is_of_others_or_was_skipped() {
        let tests = read(&lines(
            "test kill::a ... ok\ntest kill::b ... ok\ntest crashes::c ... ok\ntest other::on_time::d ... ok\n\
             test gone::e ... FAILED\n---- crashes::c stdout ----\nskipped: needs root\n\
             test result: FAILED. 4 passed; 1 failed; 0 ignored",
        ));
        assert_eq!(tests.passed, 4);
        assert_eq!(
            tests.missing(&["kill::", "crashes::", "on_time::", "gone::"]),
            ["crashes::", "on_time::", "gone::"]
        );
    }

    #[test]
    fn what_failed_tests_printed_is_kept_without_backtraces() {
        let tests = read(&lines(
            "running 1 test\nfailures:\n---- x stdout ----\nboom\n   0: f\n             at ./x.rs:1\ntest result: FAILED. 0 passed; 1 failed",
        ));
        assert_eq!(tests.failures, ["failures:", "---- x stdout ----", "boom"]);
    }
}
