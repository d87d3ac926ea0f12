//! Runs many seeds and says what they came to.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Instant;

use clap::Parser;
use meshwire_simulation::defects::{Planted, plant};
use meshwire_simulation::{Outcome, Totals, panics_found, run as run_seed};

/// Runs a seed; a panic in it is a finding as any other.
fn run(seed: u64) -> Outcome {
    panics_found(|| run_seed(seed))
}

/// Clients, engine and log in one thread, in virtual time, from a seed.
#[derive(Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Replay one seed and say everything that is broken in it.
    #[arg(long)]
    seed: Option<u64>,
    /// Leave out the planted defects.
    #[arg(long)]
    no_defects: bool,
}

/// So many seeds are run twice, to see that a seed decides everything.
const RUN_TWICE: u64 = 20;

/// A planted defect must be caught within so many seeds, always the same ones:
/// whether a check sees anything must not hang on the day's seeds. The rarest show in about one of some hundred.
const CATCH_WITHIN: u64 = 600;

fn main() -> ExitCode {
    match report(&Args::parse(), &mut std::io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        // Whoever read it has gone, or seeds failed: either way it is not known to be well.
        _ => ExitCode::FAILURE,
    }
}

/// Whether all is well.
fn report(args: &Args, out: &mut impl Write) -> io::Result<bool> {
    if let Some(seed) = args.seed {
        let outcome = run(seed);
        writeln!(out, "seed {seed}: trace {:016x}", outcome.trace)?;
        for broken in &outcome.broken {
            writeln!(out, "  {broken}")?;
        }
        return Ok(outcome.broken.is_empty());
    }
    let seeds = args.first_seed..args.first_seed + args.seeds;
    let mut failed = false;
    if !args.no_defects {
        for (planted, caught) in on_all_cores(&Planted::ALL, catch) {
            match caught {
                Some((after, ref by)) => writeln!(out, "planted: {} caught by seed {after}: {by}", planted.name())?,
                None => writeln!(out, "planted: {} NOT caught within {CATCH_WITHIN} seeds", planted.name())?,
            }
            failed |= caught.is_none();
        }
        if failed {
            writeln!(out, "some of the planted defects were not caught, see above")?;
        }
    }
    // Last: who reads only the end of a failed run is to find its seed there.
    failed |= run_all(seeds, out)?;
    Ok(!failed)
}

/// Whether some failed.
fn run_all(seeds: std::ops::Range<u64>, out: &mut impl Write) -> io::Result<bool> {
    let began = Instant::now();
    let count = seeds.end - seeds.start;
    let (mut totals, mut failed) = (Totals::default(), 0);
    let twice = seeds.start + RUN_TWICE;
    let run_one = |seed| {
        let outcome = run(seed);
        let same = seed >= twice || run(seed).trace == outcome.trace;
        (outcome, same)
    };
    for (seed, (outcome, same)) in on_all_cores(&seeds.collect::<Vec<_>>(), run_one) {
        totals += outcome.totals;
        if !same || !outcome.broken.is_empty() {
            failed += 1;
            writeln!(out, "seed {seed} failed; replay it with: cargo xtask test sim --seed {seed}")?;
            for broken in outcome.broken.iter().take(5) {
                writeln!(out, "  {broken}")?;
            }
            if !same {
                writeln!(out, "  the same seed gave another trace")?;
            }
        }
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    writeln!(out, "{count} seeds, {failed} failed, {rate:.0} seeds per second")?;
    let mut empty = false;
    for (name, total) in totals.rows() {
        writeln!(out, "  {name}: {total}")?;
        empty |= total == 0 && count >= 100;
    }
    if empty {
        writeln!(out, "  a total is 0: these seeds did not reach what they are for")?;
    }
    Ok(failed > 0 || empty)
}

/// One thread a core; each simulation stays in one. Gives what came of each, in order.
fn on_all_cores<T: Copy + Sync + Send, R: Send>(all: &[T], work: impl Fn(T) -> R + Sync) -> Vec<(T, R)> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(at) else { return done };
            done.push((at, (*one, work(*one))));
        }
    };
    let cores = available_parallelism().map_or(1, Into::into);
    let mut done: Vec<(usize, (T, R))> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(take)).collect();
        // A panic outside a simulation is a defect of this program.
        threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, one)| one).collect()
}

/// The first of the seeds that sees a planted defect, and what it says of it.
fn catch(planted: Planted) -> Option<(u64, String)> {
    let first = planted.first_seed();
    plant(Some(planted));
    let caught = (first..first + CATCH_WITHIN).find_map(|seed| Some((seed, run(seed).broken.into_iter().next()?)));
    plant(None);
    caught.filter(|(seed, _)| run(*seed).broken.is_empty())
}
