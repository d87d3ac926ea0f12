//! What each step does.

use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use super::cargo_output::{self, Tests};
use super::plan::Step;
use super::{Options, Outcome, Skip};
use crate::process::{Finished, Log};
use crate::tidy::findings;
use crate::workspace::{Profile, Workspace};
use crate::{bindings, conformance, demo, foreign};

/// Seeds of the simulation alone, `test sim`.
pub(crate) const SIMULATION_SEEDS: u32 = 1_000;
/// The same in `test`: a tenth of all.
const SEEDS: u32 = 500;
/// The same in `test --all`.
const ALL_SEEDS: u32 = 5_000;
/// Kills of the kill test in `test`: a tenth.
const KILLS: u32 = 2;
/// The same in `test --all`.
const ALL_KILLS: u32 = 20;
/// Consumers killed in `test`.
const CRASHES: u32 = 10;
/// The same in `test --all`.
const ALL_CRASHES: u32 = 100;
/// Modules of the tests that kill the gateway and its consumers.
const KILLING: [&str; 2] = ["kill::", "crashes::"];
/// Modules of the tests that measure on the real clock.
const ON_TIME: [&str; 1] = ["on_time::"];
/// Those of them beside which nothing else may run.
const BY_THEMSELVES: [&str; 1] = ["floods::"];
/// How long rustup may take to bring a target. A guess: it takes seconds or never ends.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);
/// How long a row of the guards may take: four times what it takes on two cores.
const GUARD_LIMIT: Duration = Duration::from_secs(120);
/// How long the floods may take: three times what they take on two cores.
const FLOODS_LIMIT: Duration = Duration::from_secs(300);
/// How long the programs of others may take, with all that they install the first time.
const FOREIGN_LIMIT: Duration = Duration::from_secs(900);
/// How long rustup may take to bring an interpreter. A guess, as above; it is larger.
const MIRI_LIMIT: Duration = Duration::from_secs(300);
const NIGHTLY: &str = "nightly";
const WASM: &str = "wasm32-unknown-unknown";
/// Lines at the end of a program's output that tell why it failed.
const TAIL: usize = 40;

/// What a step works with.
pub(crate) struct Room<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) log: Log,
    pub(crate) commit: &'a str,
    pub(crate) options: &'a Options,
}

/// Runs one step.
///
/// # Errors
/// A program that cannot be started, or a log that cannot be written.
pub(crate) fn run(room: &mut Room<'_>, step: Step) -> anyhow::Result<Outcome> {
    let all = room.options.all;
    match step {
        Step::Build => {
            let build = room.workspace.cargo(&["build", "--workspace", "--all-targets"]);
            room.one(build)
        }
        Step::Tidy => tidy(room),
        Step::Generated => {
            // The whole workspace is named, here and below, so that cargo keeps the one set of features it built.
            let mut command = room.workspace.cargo(&["test", "--workspace", "--test", "it", "generated"]);
            command.env_remove("MESHWIRE_GEN");
            let (finished, tests) = room.tests(command)?;
            Ok(Outcome::one(finished.success && tests.passed > 0, tests.failures))
        }
        Step::Tests => tests(room),
        Step::DocTests => {
            let command = room.workspace.cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
            room.counted(command)
        }
        Step::Wasm => wasm(room),
        Step::Loom => loom(room),
        Step::Miri => miri(room),
        Step::Release => release(room),
        Step::Sizes => bindings::users(room.workspace, &mut room.log),
        Step::Simulation => {
            let (workspace, profile) = (room.workspace, if all { Profile::Release } else { Profile::Dev });
            // In the time that others leave, even those that measure time.
            let mut command = workspace.program("chrt");
            command.args(["--idle", "0"]).arg(workspace.built(profile, "meshwire-simulation"));
            command.args(simulation_arguments(room.commit, if all { ALL_SEEDS } else { SEEDS }));
            room.one(command)
        }
        Step::Kill => alone(room, &KILLING),
        Step::OnTime => {
            let mut outcome = alone(room, &ON_TIME)?;
            outcome.add(alone(room, &BY_THEMSELVES)?);
            Ok(outcome)
        }
        Step::Bindings => {
            let languages = bindings::named(&[])?;
            let (workspace, log) = (room.workspace, &mut room.log);
            bindings::run(workspace, log, &languages, all, |_| {})
        }
        Step::Conformance => conformance(room),
        Step::Foreign => foreign(room),
        Step::Demo => {
            let command = demo::command(room.workspace, &bindings::installed(room.workspace))?;
            room.one(command)
        }
        Step::Floods => bench(room, &["floods"], FLOODS_LIMIT),
        Step::BenchGuards => bench_guards(room),
    }
}

/// Other seeds for every commit, the same ones for the same commit.
pub(crate) fn simulation_arguments(commit: &str, seeds: u32) -> [String; 4] {
    let prefix = commit.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(1);
    // Far enough apart that the seeds of two commits do not overlap.
    let base = prefix * 10_000;
    ["--seeds".into(), seeds.to_string(), "--first-seed".into(), base.to_string()]
}

impl Room<'_> {
    /// A program that counts as one test.
    fn one(&mut self, mut command: Command) -> anyhow::Result<Outcome> {
        let finished = self.log.run(&mut command, None)?;
        Ok(Outcome::one(finished.success, tail(finished.lines)))
    }

    /// `cargo test`, its tests counted one by one.
    fn counted(&mut self, command: Command) -> anyhow::Result<Outcome> {
        let (finished, tests) = self.tests(command)?;
        Ok(outcome(finished, tests))
    }

    fn tests(&mut self, mut command: Command) -> anyhow::Result<(Finished, Tests)> {
        let finished = self.log.run(&mut command, None)?;
        let tests = cargo_output::read(&finished.lines);
        Ok((finished, tests))
    }
}

fn outcome(finished: Finished, tests: Tests) -> Outcome {
    let skipped_inside = tests.said_skipped.len();
    let silent_failure = !finished.success && tests.failed == 0;
    let excerpt = if tests.failures.is_empty() { tail(finished.lines) } else { tests.failures };
    let mut skipped: Vec<Skip> = tests.said_skipped;
    skipped.extend(tests.ignored);
    Outcome {
        passed: tests.passed.saturating_sub(u32::try_from(skipped_inside).unwrap_or(u32::MAX)),
        failed: tests.failed + u32::from(silent_failure),
        skipped,
        excerpt,
    }
}

fn tidy(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    let lines: Vec<String> = findings(&room.workspace.root)?.iter().map(ToString::to_string).collect();
    for line in &lines {
        room.log.line(line)?;
    }
    Ok(Outcome::one(lines.is_empty(), lines))
}

/// One build per package: a joint one would give the gateway the features of the simulation.
fn release(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    for package in ["meshwire-cli", "meshwire-simulation", "meshwire-bench"] {
        let build = room.workspace.cargo(&["build", "--release", "-p", package]);
        let built = room.one(build)?;
        if built.failed > 0 {
            return Ok(built);
        }
    }
    Ok(Outcome::one(true, Vec::new()))
}

fn tests(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    let mut command = room.workspace.cargo(&["test", "--workspace", "--all-targets", "--no-fail-fast"]);
    command.env("MESHWIRE_BIN", room.workspace.built(Profile::Dev, "meshwire")).env("RUST_TEST_THREADS", threads());
    command.args(["--", "--show-output"]).args(&room.options.filters);
    if room.options.filters.is_empty() {
        // They have a step of their own.
        command.args(KILLING.iter().chain(&ON_TIME).chain(&BY_THEMSELVES).flat_map(|module| ["--skip", module]));
    }
    let mut outcome = room.counted(command)?;
    if outcome.passed == 0 && outcome.failed == 0 && outcome.skipped.is_empty() {
        outcome.failed = 1;
        outcome.excerpt = vec!["no test has such a name".to_owned()];
    }
    Ok(outcome)
}

/// Most tests wait for processes and clocks: two for each core.
fn threads() -> String {
    available_parallelism().map_or(2, |cores| cores.get() * 2).to_string()
}

/// Tests of real processes, without any of other modules beside them that take their time.
fn alone(room: &mut Room<'_>, modules: &[&str]) -> anyhow::Result<Outcome> {
    let all = room.options.all;
    let (mut command, kills, crashes) = if all {
        (room.workspace.cargo(&["test", "--release", "-p", "meshwire-cli", "--test", "it"]), ALL_KILLS, ALL_CRASHES)
    } else {
        (room.workspace.cargo(&["test", "--workspace", "--all-targets"]), KILLS, CRASHES)
    };
    command.args(["--no-fail-fast", "--", "--show-output"]).args(modules);
    if *modules == ON_TIME {
        command.env("RUST_TEST_THREADS", threads());
    }
    command.env("MESHWIRE_KILLS", kills.to_string()).env("MESHWIRE_CRASHES", crashes.to_string());
    command.env("MESHWIRE_FULL", if all { "1" } else { "0" });
    // What was built is written first: the gateway's own syncs are timed, and beside gigabytes of others one takes a quarter of a second.
    room.log.run(&mut room.workspace.program("sync"), None)?;
    let (finished, tests) = room.tests(command)?;
    let missing = tests.missing(modules);
    let outcome = outcome(finished, tests);
    if outcome.failed == 0 && !missing.is_empty() {
        let missing = format!("no test passed in the modules {}", missing.join(" "));
        return Ok(Outcome::one(false, vec![missing]));
    }
    Ok(outcome)
}

/// One pair of each row, with bars that only a broken bound misses; the measurement itself is `cargo xtask bench smoke`.
fn bench_guards(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    let mut sum = Outcome::default();
    for row in ["slow-reader", "healthy"] {
        sum.add(bench(room, &[row, "--guard", "--pairs", "1", "--seconds", "1", "--warm-up", "1"], GUARD_LIMIT)?);
    }
    Ok(sum)
}

/// A row of the bench, with the gateway as users get it.
fn bench(room: &mut Room<'_>, arguments: &[&str], limit: Duration) -> anyhow::Result<Outcome> {
    let mut bench = room.workspace.program(&room.workspace.built(Profile::Release, "meshwire-bench"));
    bench.args(arguments).env("MESHWIRE_BIN", room.workspace.built(Profile::Release, "meshwire"));
    let finished = room.log.run(&mut bench, Some(limit))?;
    let excerpt = if finished.success { Vec::new() } else { tail(finished.lines) };
    Ok(Outcome::one(finished.success, excerpt))
}

/// The cases with every testee that was installed, then the same with their expectations spoiled, then every planted defect. What a host
/// cannot do the runner counts as skipped, and it sees to how much that may be.
fn conformance(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    let mut sum = Outcome::default();
    let testees = bindings::testees(room.workspace);
    let mut commands = Vec::new();
    for arguments in conformance::runs(room.commit, room.options.all, &testees) {
        let mut command = conformance::command(room.workspace);
        command.args(arguments);
        commands.push(command);
    }
    if room.options.all {
        let planted = bindings::plant(room.workspace, &mut room.log)?;
        commands.push(conformance::planted(room.workspace, &planted, &testees));
    }
    for mut command in commands {
        let finished = room.log.run(&mut command, None)?;
        let counted = finished.lines.last().and_then(|line| conformance::totals(line));
        let (passed, failed, _) = counted.unwrap_or((0, 1, 0));
        sum.passed += passed;
        sum.failed += if finished.success { failed } else { failed.max(1) };
        if sum.failed > 0 {
            sum.excerpt = tail(finished.lines);
            break;
        }
    }
    Ok(sum)
}

/// The cells of the table, and who could not take part.
fn foreign(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    let mut command = foreign::command(room.workspace)?;
    let finished = room.log.run(&mut command, Some(FOREIGN_LIMIT))?;
    // A proxy's last words may come behind the runner's.
    let totals = finished.lines.iter().rev().find_map(|line| conformance::totals(line));
    let (passed, failed, _) = totals.unwrap_or((0, 1, 0));
    let skips = finished.lines.iter().filter_map(|line| foreign::skip(line));
    let skipped = skips.map(|(who, needs)| Skip { needs: needs.to_owned(), test: who.to_owned() }).collect();
    let failed = if finished.success { failed } else { failed.max(1) };
    let excerpt = if failed > 0 { tail(finished.lines) } else { Vec::new() };
    Ok(Outcome { passed, failed, skipped, excerpt })
}

fn wasm(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    if !has_wasm(room)? {
        let mut add = room.workspace.program("rustup");
        add.args(["target", "add", WASM]);
        // Without rustup, or without its server, the target stays absent.
        let added = room.log.run(&mut add, Some(RUSTUP_LIMIT)).is_ok_and(|finished| finished.success);
        if !added || !has_wasm(room)? {
            return Ok(Outcome::skip("wasm", WASM));
        }
    }
    let check = room.workspace.cargo(&["check", "-p", "meshwire-proto", "--target", WASM]);
    room.one(check)
}

/// With a cfg that changes what threads are, so with a target directory of its own.
fn loom(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    let mut test = room.workspace.cargo(&["test", "--release", "-p", "meshwire-embed-model"]);
    test.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", room.workspace.target.join("loom"));
    room.counted(test)
}

fn miri(room: &mut Room<'_>) -> anyhow::Result<Outcome> {
    if !has_miri(room) {
        let mut add = room.workspace.program("rustup");
        add.args(["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "miri,rust-src"]);
        // Without rustup, or without its server, it stays absent.
        let added = room.log.run(&mut add, Some(MIRI_LIMIT)).is_ok_and(|finished| finished.success);
        if !added || !has_miri(room) {
            return Ok(Outcome::skip("miri", "miri"));
        }
    }
    let mut test = room.workspace.program("rustup");
    test.args([
        "run",
        NIGHTLY,
        "cargo",
        "miri",
        "test",
        "-p",
        "meshwire-embed",
        "--no-default-features",
        "--lib",
        "--",
    ]);
    test.args(["handles", "queue", "draft"]).env("MIRIFLAGS", "-Zmiri-disable-isolation");
    test.env_remove("RUSTC").env_remove("CARGO").env("CARGO_TARGET_DIR", room.workspace.target.join("miri"));
    room.counted(test)
}

fn has_miri(room: &mut Room<'_>) -> bool {
    let mut ask = room.workspace.program("rustup");
    ask.args(["run", NIGHTLY, "cargo", "miri", "--version"]);
    room.log.run(&mut ask, None).is_ok_and(|finished| finished.success)
}

fn has_wasm(room: &mut Room<'_>) -> anyhow::Result<bool> {
    let mut rustc = room.workspace.program("rustc");
    rustc.args(["--print", "target-libdir", "--target", WASM]);
    let finished = room.log.run(&mut rustc, None)?;
    Ok(finished.success && finished.lines.iter().any(|line| Path::new(line).is_dir()))
}

fn tail(lines: Vec<String>) -> Vec<String> {
    let hidden = lines.len().saturating_sub(TAIL);
    lines.into_iter().skip(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::{ALL_SEEDS, SEEDS, SIMULATION_SEEDS, simulation_arguments};

    #[test]
    fn the_simulation_alone_plays_a_thousand_seeds_and_a_test_run_a_tenth_of_all() {
        assert_eq!((SIMULATION_SEEDS, SEEDS * 10), (1_000, ALL_SEEDS));
    }

    #[test]
    fn a_commit_gives_its_own_seeds_and_none_gives_the_first() {
        let [_, _, _, base] = simulation_arguments("0000001fabcdef", 500);
        assert_eq!(base, "310000");
        let [_, seeds, _, base] = simulation_arguments("none", 500);
        assert_eq!((seeds.as_str(), base.as_str()), ("500", "10000"));
    }
}
