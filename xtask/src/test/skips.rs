//! The list of tests that may be skipped: `xtask/skips.toml`.

use std::path::Path;

use anyhow::Context;

use super::Skip;

/// What may be skipped, why, and where.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkipList {
    #[serde(default)]
    skip: Vec<Allowed>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// Equal to what stands behind `skipped: needs `.
    what: String,
    /// For the reader.
    #[serde(rename = "why")]
    _why: String,
    /// `everywhere`, or in words the machines that lack it.
    #[serde(rename = "where")]
    place: String,
}

impl SkipList {
    /// Reads the list of a workspace.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join("xtask/skips.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a list of skips", path.display()))
    }

    /// Skips that are not listed; in a whole run also entries for everywhere that ran here.
    pub(crate) fn faults(&self, skips: &[&Skip], whole: bool) -> Vec<String> {
        let unlisted = skips.iter().filter(|s| !self.skip.iter().any(|a| a.what == s.needs));
        let unlisted = unlisted.map(|s| format!("not listed in xtask/skips.toml: {} needs {}", s.test, s.needs));
        let stale = self.skip.iter().filter(|a| whole && a.place == "everywhere");
        let stale = stale.filter(|a| !skips.iter().any(|s| s.needs == a.what));
        let stale = stale.map(|a| format!("stale in xtask/skips.toml: {} was there, so nothing was skipped", a.what));
        unlisted.chain(stale).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{Skip, SkipList};

    fn list(place: &str) -> SkipList {
        toml::from_str(&format!("[[skip]]\nwhat = \"tape\"\nwhy = \"no drive\"\nwhere = \"{place}\"\n")).unwrap()
    }

    fn skip(needs: &str) -> Skip {
        Skip { needs: needs.to_owned(), test: "t".to_owned() }
    }

    #[test]
    fn a_listed_skip_is_no_fault() {
        assert!(list("everywhere").faults(&[&skip("tape")], true).is_empty());
    }

    #[test]
    fn a_skip_that_is_not_listed_is_a_fault() {
        assert_eq!(list("ships").faults(&[&skip("drum")], false), ["not listed in xtask/skips.toml: t needs drum"]);
    }

    #[test]
    fn an_entry_that_ran_is_stale_unless_it_names_its_machines() {
        assert_eq!(list("everywhere").faults(&[], true).len(), 1);
        assert!(list("machines without a tape drive").faults(&[], true).is_empty());
        assert!(list("everywhere").faults(&[], false).is_empty());
    }
}
