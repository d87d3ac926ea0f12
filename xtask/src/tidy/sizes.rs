//! How long files and functions may be.

use super::Finding;
use super::source::Source;

/// Lines of a file people wrote, its tests included.
const FILE_LINES: usize = 500;
/// Lines of a function from `fn` to the closing brace.
const FUNCTION_LINES: usize = 60;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let file = source.lines();
    if file > FILE_LINES {
        findings.push(Finding {
            path: source.path().to_owned(),
            line: 0,
            rule: "file-size",
            text: format!("{file} lines, over {FILE_LINES}: cut it along a seam"),
        });
    }
    for function in source.functions().into_iter().filter(|f| f.lines > FUNCTION_LINES) {
        findings.push(Finding {
            path: source.path().to_owned(),
            line: function.line,
            rule: "function-size",
            text: format!("`{}` has {} lines, over {FUNCTION_LINES}", function.name, function.lines),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::check;

    #[test]
    fn a_file_and_a_function_over_the_limit_are_found() {
        let text = format!("fn long() {{\n{}}}\n", "x;\n".repeat(600));
        let rules: Vec<_> = check(&Source::new("a/src/b.rs", &text)).into_iter().map(|f| f.rule).collect();
        assert_eq!(rules, ["file-size", "function-size"]);
    }

    #[test]
    fn tests_may_be_long() {
        let text = format!("fn long() {{\n{}}}\n", "x;\n".repeat(600));
        assert!(check(&Source::new("a/tests/it/b.rs", &text)).is_empty());
    }
}
