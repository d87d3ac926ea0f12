//! House rules that no compiler checks: who imports whom, sizes, names, reasons.
//!
//! Runs as `cargo xtask tidy`, as a step of `check` and `test`, and as a test of
//! this crate. Exceptions stand in `xtask/tidy.toml`, each with a reason.

mod arrows;
mod exceptions;
mod files;
mod manifests;
mod paths;
mod programs;
mod sizes;
mod source;
mod words;

use std::fmt;
use std::path::Path;

use crate::workspace::Workspace;
use exceptions::Exceptions;
use files::Files;

/// Something against a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Below the root, with `/`.
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    /// The word that an exception names.
    rule: &'static str,
    /// What is wrong and what to do.
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {} ({})", self.path, self.text, self.rule),
            line => write!(f, "{}:{line}: {} ({})", self.path, self.text, self.rule),
        }
    }
}

/// Prints every finding; `true` when there is none.
pub(crate) fn report(workspace: &Workspace) -> anyhow::Result<bool> {
    let findings = findings(&workspace.root)?;
    for finding in &findings {
        println!("{finding}");
    }
    Ok(findings.is_empty())
}

/// Everything against a rule that no exception covers, in the order of the files.
///
/// # Errors
/// A file that cannot be read, a manifest or a list of exceptions that is none.
pub(crate) fn findings(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let files = Files::read(root)?;
    let mut findings = manifests::check(&files)?;
    for source in &files.sources {
        findings.extend(arrows::check(source));
        findings.extend(sizes::check(source));
        findings.extend(words::check_source(source));
    }
    for text in &files.texts {
        findings.extend(words::check_text(text));
    }
    findings.extend(words::check_documents(&files));
    let exceptions = Exceptions::read(root)?;
    findings.extend(programs::check(root, exceptions.programs())?);
    let mut findings = exceptions.apply(findings);
    findings.sort();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    #[test]
    fn the_workspace_keeps_its_house_rules() {
        let workspace = crate::workspace::Workspace::find().unwrap();
        let findings: Vec<String> = super::findings(&workspace.root).unwrap().iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
