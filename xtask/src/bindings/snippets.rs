//! Code of a page of the documentation, which is run as it stands there.

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

#[cfg(test)]
mod tests {
    use super::{Snippet, snippets};

    #[test]
    fn blocks_of_a_language_are_found_with_the_text_right_behind_them() {
        let page =
            "a\n```c\none;\n```\n\n```text\n1\n```\nwords\n```sh\nls\n```\n```c\ntwo;\n```\nwords\n```text\n2\n```\n";
        let all = [(3, "one;\n", Some("1\n")), (14, "two;\n", None)];
        let all =
            all.map(|(line, code, prints)| Snippet { line, code: code.into(), prints: prints.map(str::to_owned) });
        assert_eq!(snippets(page, "c"), all);
    }
}
