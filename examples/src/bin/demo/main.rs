//! The demo: real webhook payloads as CloudEvents through a gateway that is
//! killed in the middle. Ends with a table, and with code 1 if the table shows
//! anything but zero losses and zero duplicates.
//!
//! `cargo xtask demo` builds what this needs and gives it its arguments.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the demo is what it prints")]

mod consumers;
mod doors;
mod gateway;
mod languages;
mod report;
mod story;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

const USAGE: &str = "usage: meshwire-demo --payloads FILE [--sample-because REASON] [--player NAME=PROGRAM]... [--absent WHO]... [--keep]";

/// What was asked for.
struct Arguments {
    /// JSON: `[{name, examples: [payload, ...]}, ...]`.
    payloads: PathBuf,
    /// Why the payloads are our own sample and not the real ones.
    sample_because: Option<String>,
    /// Programs in other languages.
    players: Vec<languages::Player>,
    /// Languages that there is no program in here, and why.
    absent: Vec<String>,
    /// Leave the gateway up.
    keep: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut payloads, mut sample_because, mut keep) = (None, None, false);
        let (mut players, mut absent) = (Vec::new(), Vec::new());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--payloads" => payloads = words.next().map(PathBuf::from),
                "--sample-because" => sample_because = words.next(),
                "--player" => players.push(languages::Player::parse(&words.next().unwrap_or_default())?),
                "--absent" => absent.extend(words.next()),
                "--keep" => keep = true,
                other => anyhow::bail!("unknown argument `{other}`; {USAGE}"),
            }
        }
        Ok(Self { payloads: payloads.context(USAGE)?, sample_because, players, absent, keep })
    }
}

// One thread: nothing moves while the story counts what is unanswered and kills.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<bool> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let events = webhooks::read(&arguments.payloads, arguments.sample_because.is_some())?;
    match &arguments.sample_because {
        None => {
            println!("{} GitHub webhook payloads as CloudEvents (@octokit/webhooks-examples 7.6.1)\n", events.len())
        }
        Some(reason) => println!(
            "{reason}: a small sample of our own, repeated to {} events, stands in for the real GitHub payloads\n",
            events.len()
        ),
    }
    story::tell(events, &arguments.players, &arguments.absent, arguments.keep).await
}
