//! `test bindings`: the suites of all languages, each where its package is installed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::{ALL, Binding, Quality, Shop, build, missing, named, provide};
use crate::process::Log;
use crate::test::{Outcome, Skip};
use crate::workspace::Workspace;

/// Suites at once: they wait as much as they compute.
const AT_ONCE: usize = 2;

/// Whose suite begins first: those that take longest.
const ORDER: [&str; 4] = ["c", "go", "python", "node"];

/// Builds, packs, installs and tests them with a line for each; `false`: a test failed.
pub(crate) fn test(workspace: &Workspace, names: &[&str]) -> anyhow::Result<bool> {
    let mut log = Log::open(workspace.scratch()?.join("bindings.log"), false)?;
    let all = names.contains(&"--all");
    let names: Vec<&str> = names.iter().copied().filter(|name| *name != "--all").collect();
    let bindings = named(&names)?;
    let mut programs = workspace.cargo(&["build", "-p", "meshwire-cli", "-p", "meshwire-examples"]);
    anyhow::ensure!(log.run(&mut programs, None)?.success, "the gateway and the examples cannot be built");
    let outcome = run(workspace, &mut log, &bindings, all, |line| println!("{line}"))?;
    for line in &outcome.excerpt {
        println!("    {line}");
    }
    println!("log: {}", workspace.shown(log.path()));
    let Outcome { passed, failed, skipped, .. } = outcome;
    println!("{passed} passed, {failed} failed, {} skipped", skipped.len());
    Ok(failed == 0)
}

/// The same as a part of a run, with the gateway and the examples built already; `tell` gets a line for each.
pub(crate) fn run(
    workspace: &Workspace,
    log: &mut Log,
    bindings: &[&'static dyn Binding],
    all: bool,
    tell: impl Fn(String) + Sync,
) -> anyhow::Result<Outcome> {
    let mut shop = Shop::open(workspace, log, Quality::Dev);
    let named: Vec<&dyn Binding> = bindings.iter().map(|binding| *binding as &dyn Binding).collect();
    provide(shop.log, &named)?;
    build(&mut shop, &ALL)?;
    let mut sum = Outcome::default();
    let mut ready = Vec::new();
    for binding in bindings {
        match missing(*binding) {
            Some(needs) => {
                tell(format!("{} skipped: needs {needs}", binding.name()));
                sum.skipped.push(Skip { needs: needs.to_owned(), test: binding.name().to_owned() });
            }
            // One after the other: all use cargo's folder.
            None => match binding.package(&mut shop) {
                Ok(()) => ready.push(*binding),
                Err(error) => sum.add(failed(*binding, &error)),
            },
        }
    }
    ready.sort_by_key(|binding| ORDER.iter().position(|name| *name == binding.name()));
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(binding) = ready.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let outcome = suite(workspace, *binding, all).unwrap_or_else(|error| failed(*binding, &error));
                    let seconds = began.elapsed().as_secs_f64();
                    let name = binding.name();
                    tell(format!("{name:<8} {} good, {} bad, {seconds:.1} s", outcome.passed, outcome.failed));
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    for outcome in outcomes.into_inner().unwrap_or_default() {
        sum.add(outcome);
    }
    for binding in ready {
        log.append(&suite_log(workspace, binding)?)?;
    }
    Ok(sum)
}

fn failed(binding: &dyn Binding, error: &anyhow::Error) -> Outcome {
    Outcome::one(false, vec![format!("{}: {error:#}", binding.name())])
}

/// Suites that run at once have a log each.
fn suite_log(workspace: &Workspace, binding: &dyn Binding) -> anyhow::Result<std::path::PathBuf> {
    Ok(workspace.scratch()?.join(format!("bindings-{}.log", binding.name())))
}

fn suite(workspace: &Workspace, binding: &dyn Binding, all: bool) -> anyhow::Result<Outcome> {
    let mut log = Log::open(suite_log(workspace, binding)?, false)?;
    let mut shop = Shop::open(workspace, &mut log, Quality::Dev);
    shop.all = all;
    let mut outcome = super::programs::install(&mut shop, binding)?;
    outcome.add(binding.test(&mut shop)?);
    Ok(outcome)
}
