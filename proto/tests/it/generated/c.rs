//! The table of errors in the page on C.

use std::fmt::Write as _;

use super::tables::{number, rows, text};

/// What to do, in C's words.
fn again(retry: &str) -> &'static str {
    match retry {
        "never" => "`MW_RETRY_NEVER`",
        "now" => "`MW_RETRY_NOW`",
        "after" => "`MW_RETRY_AFTER`",
        "unknown_outcome" => "`MW_RETRY_UNKNOWN_OUTCOME`",
        other => panic!("a retry class without a name in C: {other}"),
    }
}

pub(super) fn error_page(source: &str) -> String {
    let mut out = String::from("| code | number | `mw_error_retry` | meaning |\n|---|---|---|---|\n");
    for row in rows(source, "error") {
        let (code, retry, meaning) = (text(&row, "code"), text(&row, "retry"), text(&row, "meaning"));
        let _ = writeln!(out, "| `MW_{code}` | {} | {} | {meaning} |", number(&row, "number"), again(retry));
    }
    out
}
