//! Code of a page of the documentation, which is run as it stands there.

use crate::test::Outcome;

/// A piece of code, and what it prints where the page says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snippet {
    /// Where it begins in the page.
    pub(super) line: usize,
    pub(super) code: String,
    /// The block of text behind it.
    pub(super) prints: Option<String>,
}

/// The fenced blocks of one language in a page. A block of `text` right behind one is what that prints.
pub(super) fn snippets(page: &str, language: &str) -> Vec<Snippet> {
    let mut found: Vec<Snippet> = Vec::new();
    let mut open: Option<(String, usize, String)> = None;
    let mut follows = false;
    for (at, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind.to_owned(), at + 2, String::new())),
            (Some((_, _, code)), None) => {
                code.push_str(line);
                code.push('\n');
            }
            (Some((kind, line, code)), Some(_)) => {
                let (kind, line, code) = (std::mem::take(kind), *line, std::mem::take(code));
                open = None;
                let is_text = kind == "text" && follows;
                follows = kind == language;
                if follows {
                    found.push(Snippet { line, code, prints: None });
                } else if is_text && let Some(last) = found.last_mut() {
                    last.prints = Some(code);
                }
            }
            (None, None) => follows &= line.is_empty(),
        }
    }
    found
}

/// Whether each block of a page is of one of these languages, which are run.
pub(super) fn all_are_run(page: &str, name: &str, run: &[&str]) -> Outcome {
    // Every second fence ends a block.
    let opened = page.lines().filter_map(|line| line.strip_prefix("```")).step_by(2);
    let others = opened.filter(|language| !run.contains(language));
    let shown: Vec<String> = others.map(|language| format!("{name}: no test runs its block of `{language}`")).collect();
    Outcome::one(shown.is_empty(), shown)
}

#[cfg(test)]
mod tests {
    use super::{Snippet, all_are_run, snippets};

    #[test]
    fn blocks_of_a_language_are_found_with_the_text_right_behind_them() {
        let page =
            "a\n```c\none;\n```\n\n```text\n1\n```\nwords\n```sh\nls\n```\n```c\ntwo;\n```\nwords\n```text\n2\n```\n";
        let all = [(3, "one;\n", Some("1\n")), (14, "two;\n", None)];
        let all =
            all.map(|(line, code, prints)| Snippet { line, code: code.into(), prints: prints.map(str::to_owned) });
        assert_eq!(snippets(page, "c"), all);
    }

    #[test]
    fn a_block_of_a_language_that_nobody_runs_is_named() {
        let page = "```c\none;\n```\n```ts\ntwo\n```\n";
        assert_eq!(all_are_run(page, "c.md", &["c", "ts"]).passed, 1);
        assert_eq!(all_are_run(page, "c.md", &["c"]).excerpt, ["c.md: no test runs its block of `ts`"]);
    }
}
