//! How long programs in other languages may be, that are to be read whole: testees and examples. Blank lines and comments are not counted.

use std::path::Path;

use anyhow::Context;

use super::Finding;
use super::files::walk;

/// A bar of `xtask/tidy.toml`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bar {
    /// Files below the root, or folders with a `/` at their end, of which all programs are meant.
    files: Vec<String>,
    /// Each file by itself; else all of them together.
    #[serde(default)]
    each: bool,
    /// As many lines are accepted.
    most: usize,
    /// As many were wanted, where it is fewer; then there is a reason.
    #[serde(default)]
    wanted: Option<usize>,
    #[serde(default)]
    reason: String,
}

/// Ends of names of programs.
const ENDS: [&str; 6] = ["py", "mjs", "c", "h", "go", "rs"];

/// Everything over its bar, and bars that say something that is not so.
pub(crate) fn check(root: &Path, bars: &[Bar]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for bar in bars {
        let mut counted = Vec::new();
        for file in &bar.files {
            let before = counted.len();
            count(root, file, &mut counted)?;
            if counted.len() == before {
                findings.push(finding(file, "there is no program: mend its bar in xtask/tidy.toml".to_owned()));
            }
        }
        findings.extend(bar.findings(&counted));
    }
    Ok(findings)
}

/// Counts the lines of a file, or of those in a folder.
fn count(root: &Path, path: &str, counted: &mut Vec<(String, usize)>) -> anyhow::Result<()> {
    let Some(folder) = path.strip_suffix('/') else {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("{path} cannot be read"))?;
        counted.push((path.to_owned(), lines(&text, path.ends_with(".py"))));
        return Ok(());
    };
    let is_program = |name: &str| name.rsplit_once('.').is_some_and(|(_, end)| ENDS.contains(&end));
    let mut texts = Vec::new();
    walk(&root.join(folder), folder, &is_program, &mut texts)?;
    texts.sort_by(|a, b| a.path.cmp(&b.path));
    counted.extend(texts.into_iter().map(|text| {
        let count = lines(&text.content, text.path.ends_with(".py"));
        (text.path, count)
    }));
    Ok(())
}

impl Bar {
    fn findings(&self, counted: &[(String, usize)]) -> Vec<Finding> {
        let sum: usize = counted.iter().map(|(_, lines)| lines).sum();
        let name = self.files.first().map_or("", String::as_str);
        let all = [(name.to_owned(), sum)];
        let counted = if self.each { counted } else { &all };
        let over = counted.iter().filter(|(_, lines)| *lines > self.most);
        let mut findings: Vec<Finding> = over
            .map(|(path, lines)| {
                let wanted = self.wanted.map_or(String::new(), |wanted| format!(" ({wanted} were wanted)"));
                let text =
                    format!("{lines} lines without blanks and comments, over {}{wanted}: make it smaller", self.most);
                finding(path, text)
            })
            .collect();
        let is_needed = |wanted| self.most > wanted && counted.iter().any(|(_, lines)| *lines > wanted);
        if self.wanted.is_some_and(|wanted| !is_needed(wanted) || self.reason.trim().is_empty()) {
            let text = "its bar is above what was wanted without a reason, or without need: mend it in xtask/tidy.toml";
            findings.push(finding(name, text.to_owned()));
        }
        findings
    }
}

fn finding(path: &str, text: String) -> Finding {
    Finding { path: path.to_owned(), line: 0, rule: "program-size", text }
}

/// Lines that are neither blank nor comment; a docstring is a comment.
fn lines(text: &str, is_python: bool) -> usize {
    let (open, close, line) = if is_python { ("\"\"\"", "\"\"\"", "#") } else { ("/*", "*/", "//") };
    let mut count = 0;
    let mut inside = false;
    for mut rest in text.lines().map(str::trim) {
        loop {
            if inside {
                let Some((_, behind)) = rest.split_once(close) else { break };
                (inside, rest) = (false, behind.trim());
            }
            let Some(behind) = rest.strip_prefix(open) else {
                count += usize::from(!rest.is_empty() && !rest.starts_with(line));
                break;
            };
            (inside, rest) = (true, behind);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{Bar, check, lines};

    fn bar(text: &str) -> Bar {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn blank_lines_and_comments_of_each_language_are_not_counted() {
        let c = "/* a\n b */\n\n// c\nint x; /* d */\n/* e */ int y;\n  int z;\n";
        assert_eq!(lines(c, false), 3);
        let python =
            "\"\"\"Says\n\nmuch.\"\"\"\n\nimport x\n# no\ndef f():\n    \"\"\"One line.\"\"\"\n    return \"#\"\n";
        assert_eq!(lines(python, true), 3);
    }

    #[test]
    fn a_program_over_its_bar_is_found_and_files_are_added_up_unless_each_is_meant() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        for file in ["a/one.py", "a/b/two.py", "a/notes.md"] {
            std::fs::write(root.path().join(file), "x\n".repeat(10)).unwrap();
        }
        let found = |text: &str| check(root.path(), &[bar(text)]).unwrap().len();
        assert_eq!(found("files = ['a/']\nmost = 20"), 0);
        assert_eq!(found("files = ['a/']\nmost = 19"), 1);
        assert_eq!(found("files = ['a/']\neach = true\nmost = 10"), 0);
        assert_eq!(found("files = ['a/']\neach = true\nmost = 9"), 2);
        assert_eq!(found("files = ['a/one.py', 'a/b/']\nmost = 20"), 0);
        std::fs::create_dir(root.path().join("empty")).unwrap();
        assert_eq!(found("files = ['empty/']\nmost = 20"), 1);
    }

    #[test]
    fn a_bar_above_what_was_wanted_needs_a_reason_and_a_program_that_needs_it() {
        let counted = [("a".to_owned(), 15)];
        let found = |text: &str| bar(&format!("files = ['a']\n{text}")).findings(&counted).len();
        assert_eq!(found("most = 15\nwanted = 10\nreason = 'more commands than were foreseen'"), 0);
        assert_eq!(found("most = 15\nwanted = 10"), 1);
        assert_eq!(found("most = 18\nwanted = 15\nreason = 'it was longer'"), 1);
    }
}
