//! `bench bindings`: every language's client beside that of Rust and beside the native client of NATS JetStream, in alternating pairs.

use std::time::Duration;

use anyhow::Context;

use super::figures::{Bar, FEWEST, Spread, events_for, read};
use super::servers::{self, Nats};
use super::table::{self, Found, Row};
use crate::bindings::{self, Measured, Program, Quality, Shop};
use crate::process::Log;
use crate::workspace::{Profile, Workspace};

/// Publishes one after the other, of which the middle one's time is told.
const ROUND_TRIPS: u64 = 5_000;

/// Publishes over whose last four fifths memory is watched.
const SLOPE: u64 = 1_000_000;

/// Runs that watch memory: a runtime's own moves are as large as what is looked for.
const SLOPES: usize = 3;

/// The program that does the same in Rust.
const RUST: &str = "meshwire-bench-crate";

/// How long a program may take; the longest take a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// What a language is held to: receive, then publish.
struct Bars {
    language: &'static str,
    rust: Option<[Bar; 2]>,
    peer: Option<(&'static str, Option<[Bar; 2]>)>,
}

const BARS: [Bars; 4] = [
    Bars { language: "c", rust: Some([Bar::at_least(0.9, 0.95); 2]), peer: None },
    Bars {
        language: "python",
        rust: None,
        peer: Some(("nats-py", Some([Bar::at_least(3.0, 5.0), Bar::at_least(2.5, 4.0)]))),
    },
    Bars {
        language: "node",
        rust: None,
        peer: Some(("nats.js", Some([Bar::at_least(1.5, 2.0), Bar::at_least(1.2, 1.5)]))),
    },
    Bars { language: "go", rust: Some([Bar::at_least(0.8, 0.9); 2]), peer: Some(("nats.go", None)) },
];

/// Microseconds that a binding adds to the middle one of publishes that are waited for.
const ADDED: Bar = Bar::at_most(200.0, 100.0);

/// Bytes of resident memory that a publish leaves.
const RESIDENT: Bar = Bar::at_most(1.0, 1.0);

/// The words behind `bench bindings`.
#[derive(Debug, PartialEq)]
struct Options<'a> {
    names: Vec<&'a str>,
    pairs: usize,
    seconds: f64,
    quality: Quality,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a str]) -> anyhow::Result<Self> {
        let mut options = Self { names: Vec::new(), pairs: 5, seconds: 2.0, quality: Quality::Release };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match *word {
                "--pairs" => options.pairs = value()?.parse().context("--pairs is a number")?,
                "--seconds" => options.seconds = value()?.parse().context("--seconds is a number")?,
                "--profile" => {
                    options.quality = match *value()? {
                        "release" => Quality::Release,
                        "dist" => Quality::Dist,
                        _ => anyhow::bail!("--profile is release or dist"),
                    }
                }
                flag if flag.starts_with('-') => anyhow::bail!("`cargo xtask bench bindings` has no option `{flag}`"),
                name => options.names.push(name),
            }
        }
        anyhow::ensure!((1..=100).contains(&options.pairs), "--pairs is from 1 to 100");
        anyhow::ensure!((0.1..=60.0).contains(&options.seconds), "--seconds is from 0.1 to 60");
        Ok(options)
    }
}

/// Builds, packs and installs these bindings, all without a name, and measures them; `false`: a bar was not met.
pub(crate) fn bindings(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    let options = Options::parse(arguments)?;
    let mut log = Log::open(workspace.scratch()?.join("bench.log"), false)?;
    let mut shop = Shop::open(workspace, &mut log, options.quality);
    let chosen = bindings::named(&options.names)?;
    // One build per package: a joint one would give each the features of the others.
    for (package, program) in [("meshwire-cli", "meshwire"), ("meshwire-bench", RUST)] {
        shop.must(&mut workspace.cargo(&["build", "--release", "-p", package, "--bin", program]))?;
    }
    let rust = Program::new(workspace.built(Profile::Release, RUST));
    let nats = servers::find_nats();
    let mut rows = Vec::new();
    for binding in chosen {
        let bars = BARS.iter().find(|bars| bars.language == binding.name()).context("a binding without bars")?;
        let mut measure = || {
            let measured = match bindings::measured(&mut shop, binding)? {
                Ok(measured) => measured,
                Err(needs) => return Ok(bars.skipped(&needs)),
            };
            let mut bench = Bench { shop: &mut shop, bars, rust: &rust, measured: &measured, nats: nats.as_deref() };
            bench.all(&options)
        };
        let found = measure();
        rows.extend(found.unwrap_or_else(|error: anyhow::Error| bars.failed(&error)));
    }
    for line in table::lines(&rows) {
        println!("{line}");
    }
    let (line, good) = table::close(&rows);
    println!("log: {}\n{line}", workspace.shown(log.path()));
    Ok(good)
}

impl Bars {
    fn row(&self, what: impl Into<String>, found: Found, bar: Option<Bar>) -> Row {
        Row { language: self.language, what: what.into(), found, bar }
    }

    fn skipped(&self, needs: &str) -> Vec<Row> {
        vec![self.row("all", Found::Needs(needs.to_owned()), None)]
    }

    fn failed(&self, error: &anyhow::Error) -> Vec<Row> {
        let why = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
        vec![self.row("all", Found::Failed(why), None)]
    }
}

/// What one side gave, a value a pair.
#[derive(Default)]
struct Side {
    /// In a run.
    events: u64,
    publish: Vec<f64>,
    receive: Vec<f64>,
    round_trip: Vec<f64>,
}

impl Side {
    /// Of one of [`each`].
    fn rates(&self, what: &str) -> &[f64] {
        if what == "publish" { &self.publish } else { &self.receive }
    }
}

#[derive(Default)]
struct Sides {
    rust: Side,
    ours: Side,
    peer: Side,
}

impl Sides {
    const fn of(&mut self, who: Who) -> &mut Side {
        match who {
            Who::Rust => &mut self.rust,
            Who::Ours => &mut self.ours,
            Who::Peer => &mut self.peer,
        }
    }
}

/// One language, measured.
struct Bench<'a, 'b> {
    shop: &'a mut Shop<'b>,
    bars: &'a Bars,
    rust: &'a Program,
    measured: &'a Measured,
    nats: Option<&'a std::path::Path>,
}

/// Who has a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Rust,
    Ours,
    Peer,
}

impl Bench<'_, '_> {
    fn all(&mut self, options: &Options<'_>) -> anyhow::Result<Vec<Row>> {
        let peer = self.peer();
        let mut whom = vec![Who::Rust, Who::Ours];
        whom.extend(matches!(peer, Some(Ok(()))).then_some(Who::Peer));
        let mut sides = Sides::default();
        for who in &whom {
            // Not counted: it says how many events take their time, and what is read from the disk first is read.
            let lines = self.run(*who, "both", FEWEST)?;
            sides.of(*who).events = events_for(options.seconds, read(&lines, "publish")?, read(&lines, "receive")?);
        }
        for pair in 1..=options.pairs {
            for who in &whom {
                let side = sides.of(*who);
                let lines = self.run(*who, "both", side.events)?;
                println!("{} {pair}/{} {who:?}: {}", self.bars.language, options.pairs, lines.join(", "));
                side.publish.push(read(&lines, "publish")?);
                side.receive.push(read(&lines, "receive")?);
                if *who != Who::Peer {
                    side.round_trip.push(read(&self.run(*who, "round-trip", ROUND_TRIPS)?, "round-trip")?);
                }
            }
            // Whoever was first is last in the next pair.
            whom.reverse();
        }
        let mut slopes = Vec::new();
        for _ in 0..options.pairs.min(SLOPES) {
            slopes.push(read(&self.run(Who::Ours, "slope", SLOPE)?, "slope")?);
        }
        self.rows(&sides, &slopes, peer)
    }

    /// Whether there is a native client to compare with, and what it needs; none: there is none for this language.
    fn peer(&self) -> Option<Result<(), String>> {
        self.bars.peer?;
        Some(match (&self.measured.theirs, self.nats) {
            (_, None) => Err("nats-server".to_owned()),
            (Err(needs), _) => Err(needs.clone()),
            (Ok(_), Some(_)) => Ok(()),
        })
    }

    /// Has a program do something with a server of its own.
    fn run(&mut self, who: Who, what: &str, events: u64) -> anyhow::Result<Vec<String>> {
        let (program, measured) = (self.rust, self.measured);
        let run = |shop: &mut Shop<'_>, program: &Program, url: &str| {
            let mut command = program.command();
            command.args([what, url, &events.to_string()]);
            let finished = shop.log.run(&mut command, Some(LIMIT))?;
            anyhow::ensure!(finished.success, "{who:?} `{what}` failed: {}", finished.lines.join(" / "));
            Ok(finished.lines)
        };
        match (who, &measured.theirs, self.nats) {
            (Who::Peer, Ok(theirs), Some(nats)) => {
                let folder = self.shop.workspace.scratch()?.join("nats");
                let server = Nats::start(nats, folder)?;
                run(self.shop, theirs, &server.url)
            }
            (Who::Peer, ..) => anyhow::bail!("there is no peer"),
            (Who::Rust | Who::Ours, ..) => {
                let gateway = servers::gateway(self.shop.workspace)?;
                run(self.shop, if who == Who::Rust { program } else { &measured.ours }, &gateway.url())
            }
        }
    }

    fn rows(&self, sides: &Sides, slopes: &[f64], peer: Option<Result<(), String>>) -> anyhow::Result<Vec<Row>> {
        let (bars, Sides { rust, ours, peer: theirs }) = (self.bars, sides);
        let mut rows = Vec::new();
        for (what, bar) in each(bars.rust) {
            let found = ratio(ours.rates(what), rust.rates(what), "Rust").context("no pair was run")?;
            rows.push(bars.row(format!("{what} / Rust"), found, bar));
        }
        if let (Some((name, limits)), Some(peer)) = (bars.peer, peer) {
            for (what, bar) in each(limits) {
                let found = match &peer {
                    Ok(()) => ratio(ours.rates(what), theirs.rates(what), name).context("no pair was run")?,
                    Err(needs) => Found::Needs(needs.clone()),
                };
                rows.push(bars.row(format!("{what} / {name}"), found, bar));
            }
        }
        let added = Spread::of_pairs(&ours.round_trip, &rust.round_trip, |ours, rust| ours - rust);
        let sides = beside(&ours.round_trip, &rust.round_trip, "us", "Rust");
        let found = Found::Measured { spread: added.context("no pair was run")?, sides };
        rows.push(bars.row("added p50, us", found, Some(ADDED)));
        let spread = Spread::of(slopes).context("memory was not watched")?;
        let found = Found::Measured { spread, sides: String::new() };
        rows.push(bars.row("resident bytes a publish", found, Some(RESIDENT)));
        Ok(rows)
    }
}

/// Both forms, with their bars.
fn each(bars: Option<[Bar; 2]>) -> [(&'static str, Option<Bar>); 2] {
    let [receive, publish] = bars.map_or([None; 2], |bars| bars.map(Some));
    [("receive", receive), ("publish", publish)]
}

fn ratio(ours: &[f64], theirs: &[f64], name: &str) -> Option<Found> {
    let spread = Spread::of_pairs(ours, theirs, |ours, theirs| ours / theirs)?;
    Some(Found::Measured { spread, sides: beside(ours, theirs, "/s", name) })
}

fn beside(ours: &[f64], theirs: &[f64], unit: &str, name: &str) -> String {
    let median = |values| Spread::of(values).map_or(0.0, |spread| spread.median);
    format!("{:.0}{unit}, {name} {:.0}{unit}", median(ours), median(theirs))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn words_are_names_and_options_and_others_are_refused() {
        let parsed = Options::parse(&["go", "--pairs", "3", "c", "--seconds", "0.5", "--profile", "dist"]).unwrap();
        let wanted = Options { names: vec!["go", "c"], pairs: 3, seconds: 0.5, quality: Quality::Dist };
        assert_eq!(parsed, wanted);
        assert_eq!(Options::parse(&[]).unwrap().pairs, 5);
        for wrong in [&["--pairs"][..], &["--pairs", "0"], &["--seconds", "x"], &["--seconds", "0"], &["--fast"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_binding_has_bars() {
        for binding in bindings::named(&[]).unwrap() {
            assert!(BARS.iter().any(|bars| bars.language == binding.name()), "{}", binding.name());
        }
    }
}
