//! Sources of languages with braces and semicolons, cut into statements.

/// Without its comments; what is in quotes stays.
pub(crate) fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut quote = None;
    while let Some(next) = rest.chars().next() {
        if let (None, Some(comment)) = (quote, rest.strip_prefix("//")) {
            rest = comment.find('\n').and_then(|end| comment.get(end..)).unwrap_or_default();
            continue;
        }
        if let (None, Some(comment)) = (quote, rest.strip_prefix("/*")) {
            rest = comment.split_once("*/").map_or("", |(_, behind)| behind);
            continue;
        }
        quote = match quote {
            None if matches!(next, '"' | '`') => Some(next),
            Some(open) if open == next => None,
            open => open,
        };
        out.push(next);
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
    }
    out
}

/// How deep brackets are open at the end of a text.
pub(crate) fn depth(text: &str) -> i32 {
    text.chars().map(step).sum()
}

fn step(next: char) -> i32 {
    match next {
        '(' | '{' | '[' => 1,
        ')' | '}' | ']' => -1,
        _ => 0,
    }
}

/// Its statements: each ends with `;` outside brackets, or with the brace that closes it, where `ends_with_brace` says so of its beginning.
pub(crate) fn statements(text: &str, ends_with_brace: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut found, mut open, mut now) = (Vec::new(), 0, String::new());
    for next in text.chars() {
        open += step(next);
        let ends = open == 0 && (next == ';' || next == '}' && ends_with_brace(now.trim_start()));
        if !(ends && next == ';') {
            now.push(next);
        }
        if ends {
            found.push(std::mem::take(&mut now).trim().to_owned());
        }
    }
    found.push(now.trim().to_owned());
    found.retain(|one| !one.is_empty());
    found
}

/// What stands before the first brace, and what between it and the last one.
pub(crate) fn body(statement: &str) -> Option<(&str, &str)> {
    let (head, rest) = statement.split_once('{')?;
    let (inner, _) = rest.rsplit_once('}')?;
    Some((head.trim(), inner))
}
