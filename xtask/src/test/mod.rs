//! `test`: everything that must pass, step by step, with one closing line.
//!
//! What each step prints goes to a log below the target directory; the screen
//! gets a line a step, and what failed.

mod cargo_output;
mod lanes;
mod plan;
mod skips;
mod state;
mod steps;

use std::io::Write as _;
use std::time::Instant;

use crate::process::{Log, show};
use crate::workspace::{Workspace, is_ci};
use plan::Step;
use skips::SkipList;
use state::{Record, State};

/// Lines of a failed step that the screen shows; the log has them all.
const EXCERPT_LINES: usize = 120;

/// What to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    filters: Vec<String>,
    all: bool,
    from: Option<Step>,
}

/// How a step ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// What each skipped test needed.
    pub(crate) skipped: Vec<Skip>,
    /// What a person wants to see when it failed.
    pub(crate) excerpt: Vec<String>,
}

/// A test that could not run here.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Skip {
    /// What it needs, as it said.
    pub(crate) needs: String,
    /// The test or step.
    pub(crate) test: String,
}

impl Outcome {
    /// Both.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.excerpt.extend(other.excerpt);
    }

    /// A step that counts as one test.
    pub(crate) fn one(passed: bool, excerpt: Vec<String>) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), skipped: Vec::new(), excerpt }
    }

    /// A step that could not run.
    fn skip(test: &str, needs: &str) -> Self {
        let skip = Skip { needs: needs.to_owned(), test: test.to_owned() };
        Self { skipped: vec![skip], ..Self::default() }
    }
}

impl Options {
    /// Reads the words behind `cargo xtask test`.
    pub(crate) fn parse(words: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--all" => options.all = true,
                "--from" => {
                    let step = words.next().copied().unwrap_or_default();
                    options.from = Some(Step::parse(step)?);
                }
                flag if flag.starts_with('-') => {
                    anyhow::bail!("`cargo xtask test` has no option `{flag}`; it has --all and --from STEP")
                }
                filter => options.filters.push(filter.to_owned()),
            }
        }
        anyhow::ensure!(
            options.filters.is_empty() || !options.all && options.from.is_none(),
            "a filter chooses cargo tests; it cannot stand beside --all or --from"
        );
        Ok(options)
    }
}

/// Runs the plan, or the cargo tests that match the filters.
pub(crate) fn test(workspace: &Workspace, options: &Options) -> anyhow::Result<bool> {
    let steps = if options.filters.is_empty() { Step::plan(options.all) } else { Step::FILTERED };
    let commit = workspace.commit();
    let scratch = workspace.scratch()?;
    let log = Log::open(scratch.join("test.log"), options.from.is_some())?;
    let mut state = match options.from {
        Some(from) => State::resume(&scratch, &commit, options.all, steps, from)?,
        None => State::new(&scratch, &commit, options.all),
    };
    let mut left = steps.get(state.records.len()..).unwrap_or_default();
    let mut room = steps::Room { workspace, log, commit: &commit, options };
    let began = Instant::now();
    while let Some((group, rest)) = left.split_at_checked(Step::together(left, options.all)) {
        left = rest;
        match group {
            [step] => state.records.push(run_step(&mut room, *step)?),
            group => state.records.extend(lanes::beside(&mut room, group)?),
        }
        if options.filters.is_empty() {
            state.save()?;
        }
        if state.records.iter().any(|record| record.step == Step::Build.name() && record.failed > 0) {
            println!("nothing was built, so no later step ran");
            break;
        }
    }
    println!("{:<13}       {:>7.1} s", "whole", began.elapsed().as_secs_f64());
    close(&room, &state)
}

/// Runs the simulation alone, with its output shown.
pub(crate) fn simulation(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    let mut command = workspace.cargo(&["run", "--quiet", "-p", "meshwire-simulation", "--"]);
    if arguments.is_empty() {
        command.args(steps::simulation_arguments(&workspace.commit(), steps::SIMULATION_SEEDS));
    }
    show(command.args(arguments))
}

fn run_step(room: &mut steps::Room<'_>, step: Step) -> anyhow::Result<Record> {
    print!("{:<13}", step.name());
    std::io::stdout().flush()?;
    let (outcome, seconds) = timed(room, step)?;
    Ok(told(step, outcome, seconds))
}

/// Runs a step; what came of it, and how long it took.
fn timed(room: &mut steps::Room<'_>, step: Step) -> anyhow::Result<(Outcome, f64)> {
    room.log.line(&format!("==== {}", step.name()))?;
    let began = Instant::now();
    let outcome = steps::run(room, step).unwrap_or_else(|error| Outcome::one(false, vec![format!("{error:#}")]));
    Ok((outcome, began.elapsed().as_secs_f64()))
}

/// Tells how a step ended, behind its name.
fn told(step: Step, outcome: Outcome, seconds: f64) -> Record {
    let word = if outcome.failed > 0 { "FAILED" } else { "ok" };
    let counts = match (outcome.passed, outcome.failed, outcome.skipped.len()) {
        (0 | 1, 0, 0) => String::new(),
        (passed, 0, 0) => format!("  {passed} tests"),
        (passed, failed, skipped) => format!("  {passed} good, {failed} bad, {skipped} left out"),
    };
    println!("{word:<7}{seconds:>7.1} s{counts}");
    if outcome.failed > 0 {
        let hidden = outcome.excerpt.len().saturating_sub(EXCERPT_LINES);
        for line in outcome.excerpt.iter().skip(hidden) {
            println!("    {line}");
        }
    }
    Record {
        step: step.name().to_owned(),
        passed: outcome.passed,
        failed: outcome.failed,
        skipped: outcome.skipped,
        seconds,
    }
}

/// Holds the skips against their list, says what was slow, and prints the closing line.
fn close(room: &steps::Room<'_>, state: &State) -> anyhow::Result<bool> {
    let list = SkipList::read(&room.workspace.root)?;
    let skips: Vec<&Skip> = state.records.iter().flat_map(|r| &r.skipped).collect();
    for skip in &skips {
        println!("left out: {} needs {}", skip.test, skip.needs);
    }
    let whole = room.options.filters.is_empty() && state.records.len() == Step::plan(room.options.all).len();
    let faults = list.faults(&skips, whole, is_ci());
    for fault in &faults {
        println!("{fault}");
    }
    let mut slow: Vec<&Record> = state.records.iter().collect();
    slow.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let slow: Vec<String> = slow.iter().take(3).map(|r| format!("{} {:.1} s", r.step, r.seconds)).collect();
    println!("slowest: {}", slow.join(", "));
    println!("log: {}", room.workspace.shown(room.log.path()));
    let passed: u32 = state.records.iter().map(|r| r.passed).sum();
    let failed: u32 = state.records.iter().map(|r| r.failed).sum::<u32>() + u32::try_from(faults.len())?;
    let counts = format!("{passed} passed, {failed} failed, {} skipped", skips.len());
    if room.options.all {
        println!("receipt {}: {counts}", room.commit);
    } else {
        println!("{counts}");
    }
    Ok(failed == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{Options, Step};

    #[test]
    fn words_that_are_no_option_are_filters() {
        let options = Options::parse(&["lease", "tcp"]).unwrap();
        assert_eq!(options.filters, ["lease", "tcp"]);
    }

    #[test]
    fn a_run_can_go_on_from_a_step_by_name() {
        let options = Options::parse(&["--all", "--from", "kill"]).unwrap();
        assert_eq!(options, Options { filters: Vec::new(), all: true, from: Some(Step::Kill) });
    }

    #[test]
    fn an_unknown_step_or_option_is_refused_with_what_there_is() {
        let error = Options::parse(&["--from", "nowhere"]).unwrap_err().to_string();
        assert!(error.contains("`nowhere`") && error.contains("simulation"), "{error}");
        let error = Options::parse(&["--fast"]).unwrap_err().to_string();
        assert!(error.contains("`--fast`") && error.contains("--from STEP"), "{error}");
    }

    #[test]
    fn a_filter_beside_a_plan_is_refused() {
        assert!(Options::parse(&["lease", "--all"]).is_err());
    }
}
