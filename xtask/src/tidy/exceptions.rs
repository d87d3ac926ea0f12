//! Where a rule does not hold, and why, and how long programs may be: `xtask/tidy.toml`.

use std::path::Path;

use anyhow::Context;

use super::Finding;
use super::programs::Bar;

/// The list.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
    #[serde(default)]
    program: Vec<Bar>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// As in the brackets behind a finding.
    rule: String,
    /// File below the root.
    path: String,
    /// A part of the finding's text; absent for all findings of the rule in the file.
    #[serde(default)]
    item: String,
    /// Why the rule does not hold here.
    reason: String,
}

impl Exceptions {
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join("xtask/tidy.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a list of exceptions", path.display()))
    }

    /// How long programs may be.
    pub(crate) fn programs(&self) -> &[Bar] {
        &self.program
    }

    /// The findings that no exception covers, and one for each exception that covers nothing.
    pub(crate) fn apply(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let unused = self.exception.iter().filter(|e| !findings.iter().any(|f| e.covers(f)));
        let unused = unused.map(|e| Finding {
            path: "xtask/tidy.toml".to_owned(),
            line: 0,
            rule: "stale-exception",
            text: format!("the exception from {} for {} {} covers nothing: take it out", e.rule, e.path, e.item),
        });
        let unused: Vec<Finding> = unused.collect();
        let left = findings.into_iter().filter(|f| !self.exception.iter().any(|e| e.covers(f)));
        left.chain(unused).collect()
    }
}

impl Exception {
    /// An exception without a reason covers nothing.
    fn covers(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && self.path == finding.path
            && finding.text.contains(&self.item)
            && !self.reason.trim().is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::super::Finding;
    use super::Exceptions;

    const LIST: &str = "[[exception]]\nrule = \"file-size\"\npath = \"a.rs\"\nreason = \"a table\"\n";

    fn finding(path: &str) -> Finding {
        Finding { path: path.to_owned(), line: 0, rule: "file-size", text: "long".to_owned() }
    }

    #[test]
    fn a_listed_finding_is_none() {
        let list: Exceptions = toml::from_str(LIST).unwrap();
        assert!(list.apply(vec![finding("a.rs")]).is_empty());
        assert_eq!(list.apply(vec![finding("a.rs"), finding("b.rs")]), [finding("b.rs")]);
    }

    #[test]
    fn an_exception_that_covers_nothing_is_a_finding() {
        let list: Exceptions = toml::from_str(LIST).unwrap();
        let rules: Vec<_> = list.apply(Vec::new()).into_iter().map(|f| f.rule).collect();
        assert_eq!(rules, ["stale-exception"]);
    }
}
