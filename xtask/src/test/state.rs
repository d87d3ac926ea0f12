//! What a run has done so far, so that `--from` can go on.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Skip;
use super::plan::Step;

/// A run of one commit.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct State {
    #[serde(skip)]
    path: PathBuf,
    commit: String,
    all: bool,
    /// The steps that ended, in order.
    #[serde(default)]
    pub(crate) records: Vec<Record>,
}

/// A step that ended.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Record {
    pub(crate) step: String,
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) skipped: Vec<Skip>,
}

impl State {
    /// A run from the beginning.
    pub(crate) fn new(folder: &Path, commit: &str, all: bool) -> Self {
        Self { path: folder.join("state.toml"), commit: commit.to_owned(), all, records: Vec::new() }
    }

    /// The steps before `from` as an earlier run of the same commit left them.
    ///
    /// # Errors
    /// No such run, another commit, or a step before `from` that did not run.
    pub(crate) fn resume(folder: &Path, commit: &str, all: bool, plan: &[Step], from: Step) -> anyhow::Result<Self> {
        let path = folder.join("state.toml");
        let text = std::fs::read_to_string(&path).context("no earlier run to go on from; leave --from out")?;
        let mut state: Self = toml::from_str(&text).context("the earlier run's record is damaged; leave --from out")?;
        anyhow::ensure!(
            state.commit == commit && state.all == all,
            "the earlier run was of {}{}, this one is of {commit}{}; leave --from out",
            state.commit,
            flag(state.all),
            flag(all)
        );
        let before = plan.iter().position(|step| *step == from);
        let before = before.with_context(|| format!("step {} is only in --all", from.name()))?;
        let names = |n| plan.iter().take(n).map(|step| step.name());
        let found = state.records.iter().map(|r| r.step.as_str());
        let done = names(plan.len()).zip(found).take_while(|(a, b)| a == b).count();
        anyhow::ensure!(
            done >= before,
            "the earlier run ended before step {}; go on from there",
            plan.get(done).map_or("build", |step| step.name())
        );
        state.records.truncate(before);
        state.path = path;
        Ok(state)
    }

    /// Keeps what is there for a later `--from`.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("the run's record")?;
        std::fs::write(&self.path, text).with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

const fn flag(all: bool) -> &'static str {
    if all { " with --all" } else { "" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::path::Path;

    use super::{Record, State, Step};

    fn earlier_run(folder: &Path, steps: &[&str]) {
        let mut state = State::new(folder, "abc", false);
        for step in steps {
            state.records.push(Record {
                step: (*step).to_owned(),
                passed: 2,
                failed: 0,
                seconds: 0.5,
                skipped: Vec::new(),
            });
        }
        state.save().unwrap();
    }

    fn resume(folder: &Path, commit: &str, from: Step) -> Result<usize, String> {
        let state = State::resume(folder, commit, false, Step::plan(false), from);
        state.map(|state| state.records.len()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_run_goes_on_with_the_counts_of_the_steps_before() {
        let folder = tempfile::tempdir().unwrap();
        earlier_run(folder.path(), &["build", "tidy", "generated", "kill"]);
        assert_eq!(resume(folder.path(), "abc", Step::Generated), Ok(2));
        assert_eq!(resume(folder.path(), "abc", Step::OnTime), Ok(4));
    }

    #[test]
    fn a_run_of_another_commit_or_one_that_did_not_come_so_far_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |commit, from| resume(folder.path(), commit, from).unwrap_err();
        assert!(refusal("abc", Step::Tests).contains("no earlier run"));
        earlier_run(folder.path(), &["build", "tidy"]);
        assert!(refusal("def", Step::Tidy).contains("was of abc"));
        assert!(refusal("abc", Step::Tests).contains("before step generated"));
        assert!(refusal("abc", Step::Release).contains("only in --all"));
    }
}
