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
    /// The README asks for it.
    #[serde(default)]
    not_on_ci: bool,
}

impl SkipList {
    /// Reads the list of a workspace.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join("xtask/skips.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a list of skips", path.display()))
    }

    /// Skips that are not listed, and on CI those of what the README asks for; in a whole run also entries for everywhere that ran here.
    pub(crate) fn faults(&self, skips: &[&Skip], whole: bool, is_ci: bool) -> Vec<String> {
        let unlisted = skips.iter().filter(|s| !self.skip.iter().any(|a| a.what == s.needs));
        let unlisted = unlisted.map(|s| format!("not listed in xtask/skips.toml: {} needs {}", s.test, s.needs));
        let stale = self.skip.iter().filter(|a| whole && a.place == "everywhere");
        let stale = stale.filter(|a| !skips.iter().any(|s| s.needs == a.what));
        let stale = stale.map(|a| format!("stale in xtask/skips.toml: {} was there, so nothing was skipped", a.what));
        let asked = |s: &&&Skip| is_ci && self.skip.iter().any(|a| a.what == s.needs && a.not_on_ci);
        let asked = skips.iter().filter(asked);
        let asked =
            asked.map(|s| format!("not to be left out on CI: {} needs {}, as the README says", s.test, s.needs));
        unlisted.chain(asked).chain(stale).collect()
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
        assert!(list("everywhere").faults(&[&skip("tape")], true, true).is_empty());
    }

    #[test]
    fn a_skip_that_is_not_listed_is_a_fault() {
        assert_eq!(
            list("ships").faults(&[&skip("drum")], false, false),
            ["not listed in xtask/skips.toml: t needs drum"]
        );
    }

    #[test]
    fn an_entry_that_ran_is_stale_unless_it_names_its_machines() {
        assert_eq!(list("everywhere").faults(&[], true, false).len(), 1);
        assert!(list("machines without a tape drive").faults(&[], true, false).is_empty());
        assert!(list("everywhere").faults(&[], false, false).is_empty());
    }

    #[test]
    fn what_the_readme_asks_for_may_be_absent_but_not_on_ci() {
        let text = "[[skip]]\nwhat = \"tape\"\nwhy = \"no drive\"\nwhere = \"ships\"\nnot_on_ci = true\n";
        let list: SkipList = toml::from_str(text).unwrap();
        assert!(list.faults(&[&skip("tape")], false, false).is_empty());
        assert_eq!(list.faults(&[&skip("tape")], false, true).len(), 1);
    }
}
