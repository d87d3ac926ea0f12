//! Every chore of the project, in one program that is built with cargo alone.
//!
//! `cargo xtask` alone lists the commands. CI calls the same words as people do.
//!
//! *Invariant:* imports none of our crates; it starts programs and reads files.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks on its standard streams")]

mod bench;
mod bindings;
mod check;
mod conformance;
mod demo;
mod foreign;
mod payloads;
mod process;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  check                      may I push: format, clippy, docs, tidy, generated files
  test [FILTER...]           what CI runs; with a filter only the cargo tests it names
       [--all]               release builds and full counts too; ends with a receipt
       [--from STEP]         go on where an earlier run of this commit stopped
  test bindings [NAME...]    C, Python, Node and Go: packed, installed where nothing is, tested there
  package [NAME...]          the same packages for users, in dist/
          [--profile dev]    quickly built ones, in target/dist-dev
  test sim [ARGS...]         the simulation alone, 1,000 seeds; ARGS go to it (try --help)
  conformance [ARGS...]      every case with every client; ARGS go to the runner (try --help)
  foreign [ARGS...]          programs of other projects publish and receive; ARGS go to the runner
  demo [--keep]              329 GitHub events, a kill -9 in the middle, nothing lost
  gen                        write every generated file anew
  tidy                       house rules that no compiler checks
  bench smoke                throughput beside NATS and Redis, release build
  bench bindings [NAME...]   each language beside Rust and the native client of NATS JetStream
       [--pairs 5] [--seconds 2] [--profile dist]
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Carries out one command: `false` when something it checked is not as it should be.
fn run(words: &[&str]) -> anyhow::Result<bool> {
    let workspace = Workspace::find()?;
    match words {
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(true)
        }
        ["check"] => check::check(&workspace),
        ["package", arguments @ ..] => bindings::package(&workspace, arguments),
        ["test", "bindings", names @ ..] => bindings::test(&workspace, names),
        ["test", "sim", arguments @ ..] => test::simulation(&workspace, arguments),
        ["test", arguments @ ..] => test::test(&workspace, &test::Options::parse(arguments)?),
        ["conformance", arguments @ ..] => conformance::conformance(&workspace, arguments),
        ["foreign", arguments @ ..] => foreign::foreign(&workspace, arguments),
        ["demo"] => demo::demo(&workspace, false),
        ["demo", "--keep"] => demo::demo(&workspace, true),
        ["gen"] => check::generate(&workspace),
        ["tidy"] => tidy::report(&workspace),
        ["bench", "smoke", arguments @ ..] => bench::smoke(&workspace, arguments),
        ["bench", "bindings", arguments @ ..] => bench::bindings(&workspace, arguments),
        _ => anyhow::bail!("unknown command `{}`\n\n{HELP}", words.join(" ")),
    }
}
