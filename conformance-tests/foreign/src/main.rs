//! Strangers' programs against a real gateway: each publishes the fidelity set and receives it, in every mode it has.
//!
//! - [`plan`]: `clients.toml`: who takes part, and what is known of each;
//! - [`plain`]: events as JSON: the set, tasks and answers;
//! - [`install`], [`program`], [`route`]: getting, starting and asking programs; proxies between;
//! - [`play`], [`seen`]: rows, and what two events are compared by;
//! - [`table`]: how it is told.
//!
//! *Invariant:* knows a stranger only as a process that takes tasks and gives answers, a line of JSON each.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks on its standard streams")]

mod install;
mod plain;
mod plan;
mod play;
mod program;
mod route;
mod seen;
#[cfg(test)]
mod snippets;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser;
use meshwire::testing::Gateway;

use install::{Folders, Missing};
use plan::Client;
use play::{Way, World};
use program::Program;
use table::{Cell, LEGEND, Row};

/// The gateway takes no larger events, so that one that is too large is soon made.
const MOST_BYTES: &str = "2097152";
/// Clients at once: they wait for each other little.
const AT_ONCE: usize = 2;
/// A whole run has so many cells at least.
const LEAST_CELLS: usize = 100;

/// Let programs of other projects publish to a gateway and receive from it.
#[derive(Debug, Parser)]
struct Options {
    /// Only this client, and no routes; may be given often.
    #[arg(long, value_name = "NAME")]
    client: Vec<String>,
    /// Where what the clients need is installed and built.
    #[arg(long, value_name = "FOLDER")]
    built: PathBuf,
    /// Milliseconds that a task may take.
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    patience_ms: u64,
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

/// What a run gave.
#[derive(Default)]
struct Results {
    rows: Vec<Row>,
    /// Who did not take part, and what was missing.
    skipped: Vec<(String, String)>,
}

fn run(options: &Options) -> anyhow::Result<bool> {
    let set = plain::read_set(&options.folder.join("fidelity.json"))?;
    let plan = plan::read(&options.folder, &set)?;
    let root = options.folder.ancestors().nth(2).context("the folder lies outside a checkout")?;
    std::fs::create_dir_all(&options.built)?;
    let built = options.built.canonicalize()?;
    let folders = Folders { source: options.folder.clone(), root: root.to_path_buf(), built };
    let chosen = |client: &&Client| options.client.is_empty() || options.client.contains(&client.name);
    let clients: Vec<&Client> = plan.client.iter().filter(chosen).collect();
    ensure!(clients.len() >= options.client.len().max(1), "there is no client of such a name");
    let gateway = Gateway::with_args(&["--memory", "--max-event-bytes", MOST_BYTES])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let judge = runtime.block_on(async { meshwire::connect(&gateway.url()).await })?;
    let patience = Duration::from_millis(options.patience_ms);
    let world = World { plan: &plan, set: &set, runtime: &runtime, judge, patience };
    let mut results = Results::default();
    for part in all_direct(&world, &folders, &clients, gateway.address())? {
        results.rows.extend(part.rows);
        results.skipped.extend(part.skipped);
    }
    if options.client.is_empty() {
        through_routes(&world, &folders, gateway.address(), &mut results)?;
    }
    Ok(report(&results, &world.columns(), options.client.is_empty()))
}

/// Each client's rows, some clients at once.
fn all_direct(
    world: &World<'_>,
    folders: &Folders,
    clients: &[&Client],
    address: &str,
) -> anyhow::Result<Vec<Results>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut parts = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(client) = clients.get(at) else { return anyhow::Ok(parts) };
            let (began, mut part) = (Instant::now(), Results::default());
            direct(world, folders, client, address, &mut part)?;
            println!("{:<20} {:>5.1} s", client.name, began.elapsed().as_secs_f64());
            parts.push((at, part));
        }
    };
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a client's thread panicked"))?).collect()
    });
    let mut parts: Vec<(usize, Results)> = anyhow::Result::<Vec<Vec<_>>>::from(parts)?.into_iter().flatten().collect();
    parts.sort_by_key(|(at, _)| *at);
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// A client's rows without anything between it and the gateway.
fn direct(
    world: &World<'_>,
    folders: &Folders,
    client: &Client,
    address: &str,
    results: &mut Results,
) -> anyhow::Result<()> {
    let place = match install::client(folders, client).with_context(|| format!("{} was not built", client.name))? {
        Ok(place) => place,
        Err(Missing(what)) => {
            results.skipped.push((client.name.clone(), what));
            return Ok(());
        }
    };
    if !client.own.is_empty() {
        let mut words = folders.filled(&client.own, &place);
        words.iter_mut().for_each(|word| *word = word.replace("{address}", address));
        results.rows.push(table::own(&client.name, &program::printed(&words, &place, world.patience)?));
    }
    if client.run.is_empty() {
        return Ok(());
    }
    let way = Way { name: "direct", address };
    with_program(folders, client, &place, results, |program| {
        let publish = client.publish.iter().map(|mode| (false, mode));
        let receive = client.receive.iter().map(|mode| (true, mode));
        let rows = publish.chain(receive).map(|(receives, mode)| {
            if receives { world.receive(client, program, mode, way) } else { world.publish(client, program, mode, way) }
        });
        rows.collect()
    })
}

fn with_program(
    folders: &Folders,
    client: &Client,
    place: &Path,
    results: &mut Results,
    play: impl FnOnce(&mut Program) -> Vec<Row>,
) -> anyhow::Result<()> {
    let mut program = Program::start(&folders.filled(&client.run, place), place)?;
    let rows = play(&mut program);
    let said = program.end();
    if rows.iter().flat_map(|row| &row.cells).any(|cell| matches!(cell, Cell::Failed(_))) && !said.is_empty() {
        println!("{} said:\n{said}", client.name);
    }
    results.rows.extend(rows);
    Ok(())
}

/// The rows that go through the proxies of others.
fn through_routes(world: &World<'_>, folders: &Folders, gateway: &str, results: &mut Results) -> anyhow::Result<()> {
    for route in &world.plan.route {
        if let Err(Missing(what)) = install::require(&route.needs, &route.apt) {
            results.skipped.push((route.name.clone(), what));
            continue;
        }
        let running = route::start(folders, route, gateway)?;
        let address = running.address.to_string();
        let way = Way { name: &route.name, address: &address };
        let began = Instant::now();
        for (name, mode) in &route.rows {
            let client = world.plan.client.iter().find(|client| client.name == *name).context("an unknown client")?;
            // One that lacks something was named already.
            if let Ok(place) = install::client(folders, client)? {
                let publishes = client.publish.contains(mode);
                let row = |program: &mut Program| {
                    vec![if publishes {
                        world.publish(client, program, mode, way)
                    } else {
                        world.receive(client, program, mode, way)
                    }]
                };
                with_program(folders, client, &place, results, row)?;
            }
        }
        println!("{:<20} {:>5.1} s", route.name, began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Prints the table and what failed; `true` when nothing did.
fn report(results: &Results, columns: &[String], whole: bool) -> bool {
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
    if whole && results.skipped.is_empty() && counts.passed + counts.failed < LEAST_CELLS {
        println!("F only {} cells, not {LEAST_CELLS}", counts.passed + counts.failed);
        counts.failed += 1;
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, results.skipped.len());
    counts.failed == 0
}
