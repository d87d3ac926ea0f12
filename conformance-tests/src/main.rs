//! Plays cases against a client and a gateway, and compares what happened.
//!
//! - [`case`]: cases as data;
//! - [`testee`]: the client under test, a process in any language;
//! - [`transport`], [`certificate`]: what carries a session; [`share`]: how many cases each plays;
//! - [`proxy`], [`frames`]: faults, and what the gateway says of the frames that came through;
//! - [`peer`], [`bridge`], [`wire`]: a gateway that lies;
//! - [`play`]: one case from its first step to its last;
//! - [`witness`]: what the case shows of the gateway, judged as a history;
//! - [`trace`], [`expect`], [`grid`]: what is compared, and how it is told;
//! - [`planted`], [`spoil`]: the runner and its cases held against mistakes that are known.
//!
//! *Invariant:* knows frames from the table in [`wire`] alone, and the client only as a process.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks on its standard streams")]

mod bridge;
mod case;
mod certificate;
mod expect;
mod frames;
mod grid;
mod peer;
mod planted;
mod play;
mod proxy;
mod run;
mod share;
mod spoil;
mod testee;
mod trace;
mod transport;
mod wire;
mod witness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;

use case::{Case, Cell};
use grid::{LEGEND, Mark, Row, idle, junit, table, totals};
use run::{Folders, Run};
use testee::Program;
use transport::Transport;

/// Play conformance cases against clients and a real gateway.
#[derive(Debug, Parser)]
struct Options {
    /// Only cells whose name contains this; may be given often.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Only this testee; may be given often.
    #[arg(long, value_name = "NAME")]
    testee: Vec<String>,
    /// Over this transport, or `all`; may be given often.
    #[arg(long, value_name = "NAME", default_value = "tcp")]
    transport: Vec<String>,
    /// Write the traces instead of comparing them.
    #[arg(long)]
    bless: bool,
    /// Write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Cells at once. Most of a cell is waiting.
    #[arg(long, value_name = "N", default_value_t = 12)]
    jobs: usize,
    /// Milliseconds that a step may take that does not say.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    patience_ms: u64,
    /// Plant each defect of planted.toml and see that its case catches it; with --testee those of every client, in these.
    #[arg(long)]
    planted: bool,
    /// The folder with the programs of testees; that of the other programs if absent.
    #[arg(long, value_name = "FOLDER")]
    testees_in: Option<PathBuf>,
    /// Each case with one store alone: the log where it has it.
    #[arg(long)]
    one_store: bool,
    /// Start testees that can play many cases once for all that a job plays, where such a start takes longer than a case.
    #[arg(long)]
    quickly: bool,
    /// Make one expectation of each case wrong, and see that it fails, with one store.
    #[arg(long, conflicts_with_all = ["bless", "planted"])]
    spoil: bool,
    /// The folder with cases, traces and lists.
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR")))]
    folder: PathBuf,
    /// The folder with the built programs; that of this program if absent.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = match &options.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().context("this program lies nowhere")?.to_path_buf(),
    };
    let testees_in = options.testees_in.as_ref().unwrap_or(&programs);
    if options.planted {
        return planted::check(&options.folder, (&programs, testees_in), &options.testee, options.jobs);
    }
    let folders = Folders::below(&options.folder);
    let mut cases = case::read_all(&folders.cases)?;
    let shares = share::shares(&cases)?;
    if options.spoil {
        for case in &mut cases {
            ensure!(spoil::spoil(case), "case {} expects nothing: it proves nothing", case.id);
        }
    }
    let chosen = |cell: &Cell<'_>| options.filter.is_empty() || options.filter.iter().any(|f| cell.id().contains(f));
    let one_store = options.one_store || options.spoil;
    let cells: Vec<Cell<'_>> = transports(&options.transport)?
        .into_iter()
        .flat_map(|transport| cases.iter().flat_map(move |case| cells(case, transport, one_store)))
        .filter(chosen)
        .collect();
    ensure!(!cells.is_empty(), "no case has such a name");
    let testees = read_testees(&options.folder, testees_in, &options.testee, options.quickly)?;
    let run = Run {
        folders: &folders,
        testees: &testees,
        jobs: options.jobs,
        patience: Duration::from_millis(options.patience_ms),
        bless: options.bless,
    };
    let rows = run.all(&cells)?;
    testees.iter().for_each(Program::end);
    if options.spoil {
        return Ok(report_spoiled(&rows));
    }
    let names: Vec<String> = testees.iter().map(|testee| testee.name.clone()).collect();
    print!("{}", table(&rows, &names));
    println!("{LEGEND}");
    for row in rows.iter().filter(|row| row.mark != Mark::Pass) {
        println!("\n{} {} {}: {}\n  {}", row.mark.letter(), row.testee, row.id, row.name, row.mark.why());
        for line in row.logs.lines() {
            println!("  | {line}");
        }
    }
    if let Some(path) = &options.junit {
        std::fs::write(path, junit(&rows)).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    for line in &shares {
        println!("{line}");
    }
    let idle = idle(&rows, &names);
    for line in &idle {
        println!("{line}");
    }
    println!("{} cases; {}", cases.len(), totals(&rows));
    Ok(idle.is_empty() && !rows.iter().any(|row| row.mark.is_bad()))
}

/// The cells of a case; with one store the last of them, which is that of the log.
fn cells(case: &Case, transport: Transport, one_store: bool) -> Vec<Cell<'_>> {
    let cells = case.cells(transport);
    if one_store { cells.into_iter().next_back().into_iter().collect() } else { cells }
}

fn transports(names: &[String]) -> anyhow::Result<Vec<Transport>> {
    if names.iter().any(|name| name == "all") {
        return Ok(Transport::ALL.to_vec());
    }
    names.iter().map(|name| Transport::parse(name)).collect()
}

/// Tells which spoiled cells passed; `true` when none did.
fn report_spoiled(rows: &[Row]) -> bool {
    let blind: Vec<&Row> =
        rows.iter().filter(|row| !matches!(row.mark, Mark::Fail(_) | Mark::Skip(_) | Mark::Known(_))).collect();
    for row in &blind {
        println!("BLIND    {} {}: it passes with a wrong expectation", row.testee, row.id);
    }
    println!("spoiled cells; {} passed, {} failed, 0 skipped", rows.len() - blind.len(), blind.len());
    blind.is_empty()
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TesteeList {
    testee: Vec<TesteeEntry>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TesteeEntry {
    name: String,
    /// Below the folder of built programs.
    program: PathBuf,
    /// Played only when it is asked for by name.
    #[serde(default)]
    on_request: bool,
    /// It knows `--many`.
    #[serde(default)]
    many: bool,
}

/// The testees of `testees.toml`.
fn read_testees(folder: &Path, programs: &Path, names: &[String], quickly: bool) -> anyhow::Result<Vec<Program>> {
    let path = folder.join("testees.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let list: TesteeList = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let wanted = |entry: &&TesteeEntry| if names.is_empty() { !entry.on_request } else { names.contains(&entry.name) };
    let found: Vec<Program> = list
        .testee
        .iter()
        .filter(wanted)
        .map(|entry| Program::new(&entry.name, programs.join(&entry.program), quickly && entry.many))
        .collect();
    ensure!(!found.is_empty() && found.len() >= names.len(), "not every testee is in {}", path.display());
    Ok(found)
}
