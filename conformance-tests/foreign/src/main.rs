//! Strangers' programs against a real gateway: each publishes the fidelity set and receives it, in every mode it has.
//!
//! - [`ways`]: each client without anything between, and through the proxies of others and TLS;
//! - [`plan`]: `clients.toml`: who takes part, and what is known of each;
//! - [`plain`]: events as JSON: the set, tasks and answers;
//! - [`install`], [`program`], [`route`]: getting, starting and asking programs; proxies between; [`sums`]: that what came is locked;
//! - [`play`], [`seen`]: rows, and what two events are compared by;
//! - [`certificate`]: the gateway's, for those that speak TLS;
//! - [`table`], [`verdict`]: how it is told, and whether it is enough.
//!
//! *Invariant:* knows a stranger only as a process that takes tasks and gives answers, a line of JSON each.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks on its standard streams")]

mod certificate;
mod install;
mod plan;
mod play;
mod program;
mod route;
mod seen;
#[cfg(test)]
mod snippets;
mod sums;
mod table;
mod verdict;
mod ways;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use meshwire::testing::Gateway;
use meshwire_foreign::plain;

use install::Folders;
use plan::Client;
use play::World;
use table::LEGEND;
use ways::Results;

/// The gateway takes no larger events, so that one that is too large is soon made.
const MOST_BYTES: &str = "2097152";

/// What all topics of a run hold must fit.
const MEMORY: &str = "268435456";

/// Let programs of other projects publish to a gateway and receive from it.
#[derive(Debug, Parser)]
struct Options {
    /// Only this client; may be given often.
    #[arg(long, value_name = "NAME")]
    client: Vec<String>,
    /// Where what the clients need is installed and built.
    #[arg(long, value_name = "FOLDER")]
    built: PathBuf,
    /// Milliseconds that a task may take.
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    patience_ms: u64,
    /// What clients that choose at random begin with.
    #[arg(long, value_name = "N", default_value_t = 5, overrides_with = "seed")]
    seed: u32,
    /// The folder with the clients.
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR")))]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("foreign: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> anyhow::Result<bool> {
    let set = plain::read_set(&options.folder.join("fidelity.json"))?;
    let plan = plan::read(&options.folder, &set)?;
    let root = options.folder.ancestors().nth(2).context("the folder lies outside a checkout")?;
    std::fs::create_dir_all(&options.built)?;
    let built = options.built.canonicalize()?;
    let tls = certificate::Files::new()?;
    let folders = Folders { source: options.folder.clone(), root: root.to_path_buf(), built, tls, seed: options.seed };
    let chosen = |client: &&Client| options.client.is_empty() || options.client.contains(&client.name);
    let clients: Vec<&Client> = plan.client.iter().filter(chosen).collect();
    ensure!(clients.len() >= options.client.len().max(1), "there is no client of such a name");
    let (certificate, key) = (folders.tls.certificate.to_string_lossy(), folders.tls.key.to_string_lossy());
    let tls = ["--tls", "both", "--tls-certificate", &certificate, "--tls-key", &key];
    let gateway = Gateway::with_args(
        &[&["--memory", "--memory-budget", MEMORY, "--max-event-bytes", MOST_BYTES], &tls[..]].concat(),
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let judge = runtime.block_on(async { meshwire::connect(&gateway.url()).await })?;
    let patience = Duration::from_millis(options.patience_ms);
    let world = World { plan: &plan, set: &set, runtime: &runtime, judge, patience };
    println!("seed {}", options.seed);
    let mut results = ways::direct(&world, &folders, &clients, gateway.address())?;
    ways::others(&world, &folders, &clients, gateway.address(), &mut results)?;
    let whole = options.client.is_empty();
    Ok(report(&results, &world.columns(), verdict::Bar { whole, ci: verdict::on_ci(), asked: &plan.prerequisites }))
}

/// Prints the table and what failed; `true` when nothing did.
fn report(results: &Results, columns: &[String], bar: verdict::Bar<'_>) -> bool {
    print!("\n{}", table::table(&results.rows, columns));
    println!("{LEGEND}");
    for row in &results.rows {
        for (why, columns) in row.failures(columns) {
            println!("F {}, {}: {why}", row.name, columns.join(", "));
        }
    }
    for (who, what) in &results.skipped {
        println!("{who} skipped: needs {what}");
    }
    let mut counts = table::counts(&results.rows);
    for short in bar.missed(&counts, &results.skipped) {
        println!("F {short}");
        counts.failed += 1;
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, results.skipped.len());
    counts.failed == 0
}
