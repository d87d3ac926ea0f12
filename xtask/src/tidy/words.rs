//! Names and words that must not be there, and some that must.

use std::collections::BTreeSet;

use super::Finding;
use super::files::{Files, Text};
use super::source::{Source, line_of, starts_word};

/// Names that say nothing of what is inside.
const NAMELESS: [&str; 5] = ["util", "common", "helpers", "manager", "types"];
/// Put together here so that this file is no finding.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/tmp/", "target")];
const UNFINISHED: [&str; 2] = ["todo!", "unimplemented!"];
const SLEEPS: [&str; 3] = ["thread::sleep", "time::sleep", "sleep("];
/// What a newcomer must find at the top of the README.
const COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];
const DOCUMENTS: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"];

/// Rules for Rust files.
pub(crate) fn check_source(source: &Source) -> Vec<Finding> {
    let finding = |line, rule, text| Finding { path: source.path().to_owned(), line, rule, text };
    let mut findings = Vec::new();
    let nameless = |word: &str| NAMELESS.contains(&word.strip_suffix(".rs").unwrap_or(word));
    if let Some(word) = source.path().split('/').find(|word| nameless(word)) {
        let text = format!("`{word}` says nothing of what is inside: name the idea");
        findings.push(finding(0, "module-name", text));
    }
    for word in UNFINISHED {
        for (at, _) in source.code().match_indices(word).filter(|(at, _)| starts_word(source.code(), *at)) {
            findings.push(finding(
                line_of(source.code(), at),
                "unfinished",
                format!("`{word}`: finish it or leave it out"),
            ));
        }
    }
    for (line, attribute) in attributes(source.code()) {
        let lowers = ["allow(", "expect("]
            .iter()
            .any(|lint| attribute.match_indices(lint).any(|(at, _)| starts_word(&attribute, at)));
        if lowers && !attribute.contains("reason =") {
            findings.push(finding(line, "lint-reason", "a lint is lowered without `reason = \"...\"`".to_owned()));
        }
    }
    for line in sleeps(&source.tests()) {
        let text = "a test sleeps: let time come in, or wait for the thing itself".to_owned();
        findings.push(finding(line, "sleep", text));
    }
    findings
}

/// Lines on which a test waits for real time to pass.
fn sleeps(tests: &str) -> Vec<usize> {
    // Under tokio's paused clock a sleep is a step of virtual time.
    let is_virtual = tests.contains("start_paused = true");
    let words: &[&str] = if is_virtual { &["thread::sleep"] } else { &SLEEPS };
    let places = words.iter().flat_map(|word| tests.match_indices(word));
    let places = places.filter(|(at, _)| starts_word(tests, *at));
    let lines: BTreeSet<usize> = places.map(|(at, _)| line_of(tests, at)).collect();
    lines.into_iter().collect()
}

/// Rules for every text file.
pub(crate) fn check_text(text: &Text) -> Vec<Finding> {
    let found = MACHINE_PATHS.iter().filter_map(|path| Some((path, text.content.find(path)?)));
    let finding = |(path, at): (&&str, usize)| Finding {
        path: text.path.clone(),
        line: line_of(&text.content, at),
        rule: "machine-path",
        text: format!("`{path}` is a path of one machine"),
    };
    found.map(finding).collect()
}

/// Documents that must be there and what they must say.
pub(crate) fn check_documents(files: &Files) -> Vec<Finding> {
    let finding = |path: &str, text| Finding { path: path.to_owned(), line: 0, rule: "document", text };
    let absent = DOCUMENTS.iter().filter(|path| files.text(path).is_none_or(|t| t.trim().is_empty()));
    let mut findings: Vec<Finding> = absent.map(|path| finding(path, "is missing".to_owned())).collect();
    if files.text("LICENSE").is_some_and(|t| !t.contains("Apache License")) {
        findings.push(finding("LICENSE", "is not the Apache License 2.0".to_owned()));
    }
    let readme = files.text("README.md").unwrap_or_default();
    for command in COMMANDS.iter().filter(|command| !readme.contains(**command)) {
        findings.push(finding("README.md", format!("does not show `{command}`")));
    }
    findings
}

/// The attributes of a file: line and text between the brackets.
fn attributes(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices('#') {
        let rest = code.get(at + 1..).unwrap_or_default();
        let Some(rest) = rest.trim_start_matches('!').strip_prefix('[') else {
            continue;
        };
        let mut depth = 1_u32;
        let end = rest.find(|c| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        found.push((line_of(code, at), rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::files::{Files, Text};
    use super::super::source::Source;
    use super::{check_documents, check_source, check_text};

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check_source(&Source::new(path, text)).into_iter().map(|f| f.rule).collect()
    }

    #[test]
    fn a_lint_is_lowered_only_with_a_reason() {
        assert_eq!(rules("a/src/b.rs", "#[allow(dead_code)] fn a() {}"), ["lint-reason"]);
        assert_eq!(rules("a/src/b.rs", "#[cfg_attr(x, expect(unused))] fn a() {}"), ["lint-reason"]);
        assert!(rules("a/src/b.rs", "#![allow(\n a,\n reason = \"b\"\n)] fn a() { x.expect(1) }").is_empty());
    }

    #[test]
    fn modules_that_name_no_idea_are_found() {
        assert_eq!(rules("a/src/util/x.rs", ""), ["module-name"]);
        assert_eq!(rules("a/src/helpers.rs", ""), ["module-name"]);
        assert!(rules("a/src/utility.rs", "").is_empty());
    }

    #[test]
    fn unfinished_code_is_found() {
        assert_eq!(rules("a/src/b.rs", concat!("fn a() { to", "do!() }")), ["unfinished"]);
    }

    #[test]
    fn a_sleep_is_found_in_tests_only() {
        let text = "fn a() { std::thread::sleep(x) }";
        assert!(rules("a/src/b.rs", text).is_empty());
        assert_eq!(rules("a/tests/it/b.rs", text), ["sleep"]);
    }

    #[test]
    fn a_step_of_virtual_time_is_no_sleep() {
        let text = "#[tokio::test(start_paused = true)] async fn a() { sleep(x).await }";
        assert!(rules("a/tests/it/b.rs", text).is_empty());
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = Text { path: "a.md".to_owned(), content: concat!("see\n/ro", "ot/x").to_owned() };
        assert_eq!(check_text(&text).first().map(|f| f.line), Some(2));
    }

    #[test]
    fn the_readme_shows_both_commands() {
        let readme = Text { path: "README.md".to_owned(), content: "cargo xtask demo".to_owned() };
        let texts: Vec<String> = check_documents(&Files::new(vec![readme])).into_iter().map(|f| f.text).collect();
        assert!(texts.contains(&"does not show `cargo xtask test`".to_owned()), "{texts:?}");
    }
}
