//! `meshwire dead-letters`: what groups gave up: look at it, give it back, remove it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::{Args, Subcommand};
use meshwire::{DeadLetter, DeadLetters as Letters, Mesh, codec};
use meshwire_proto::{GroupKey, GroupName, MemberName, TopicName, counted};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args;
use crate::exit::{Exit, Failure};
use crate::logs;
use crate::meant;
use crate::output::{self, one_line};
use crate::server::Server;
use crate::stop::Stop;

/// Most characters of an error on a line for people.
const ERROR: usize = 80;

/// Most groups that are named to people.
const GROUPS: usize = 10;

/// Look at events that groups gave up, give them back, or remove them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire dead-letters list orders
  meshwire dead-letters show orders 3
  meshwire dead-letters redrive orders --group billing --all
  meshwire dead-letters purge orders 3 4")]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Of {
    /// The topic.
    #[arg(value_parser = args::topic)]
    topic: TopicName,
    /// Only those of this group.
    #[arg(long, value_parser = args::group)]
    group: Option<GroupName>,
    /// Only those of this durable member of the broadcast group.
    #[arg(long, value_name = "NAME", value_parser = args::member, requires = "group")]
    member: Option<MemberName>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Numbers from `list`.
    #[arg(value_parser = args::whole::<u64>)]
    numbers: Vec<u64>,
    /// All of them, of the group or of the topic.
    #[arg(long)]
    all: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Each on a line: number, group, reason, failures, what the consumer said.
    #[command(after_help = "\
Examples:
  meshwire dead-letters list orders --group billing
  meshwire dead-letters list orders --json")]
    List {
        #[command(flatten)]
        of: Of,
        /// One JSON object a line, with the event.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// One, with its event.
    #[command(
        after_help = "Examples:\n  meshwire dead-letters show orders 3\n  meshwire dead-letters show orders 3 --json"
    )]
    Show {
        #[command(flatten)]
        of: Of,
        /// Its number, from `list`.
        #[arg(value_parser = args::whole::<u64>)]
        number: u64,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Give them back to the groups that gave them up. Each is gone once it is acked. Those of a group that does not
    /// exist any more are left: exit code 4.
    #[command(
        override_usage = "meshwire dead-letters redrive [OPTIONS] <TOPIC> <NUMBERS|--all>",
        after_help = "\
Examples:
  meshwire dead-letters redrive orders 3 4
  meshwire dead-letters redrive orders --group billing --all"
    )]
    Redrive {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        which: Which,
        /// A JSON object: how many, and how many were left of groups that do not exist any more.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Remove them for good.
    #[command(
        override_usage = "meshwire dead-letters purge [OPTIONS] <TOPIC> <NUMBERS|--all>",
        after_help = "\
Examples:
  meshwire dead-letters purge orders 3 4
  meshwire dead-letters purge orders --all"
    )]
    Purge {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        which: Which,
        /// A JSON object: how many.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
}

impl DeadLetters {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let (Command::List { server, .. }
        | Command::Show { server, .. }
        | Command::Redrive { server, .. }
        | Command::Purge { server, .. }) = &self.command;
        let done = server
            .ask(&mut stop, "interrupted; a part may be done", async |mesh| self.command.explained(mesh).await)
            .await?;
        Ok(done.unwrap_or(Exit::Failed))
    }
}

impl Of {
    fn letters(&self, mesh: &Mesh) -> Letters {
        let letters = mesh.dead_letters(self.topic.as_str());
        match &self.group {
            None => letters,
            Some(group) => letters.group(GroupKey { group: group.clone(), member: self.member.clone() }.to_string()),
        }
    }
}

impl Command {
    async fn explained(&self, mesh: &Mesh) -> Result<Exit, Failure> {
        let (Self::List { of, .. } | Self::Show { of, .. } | Self::Redrive { of, .. } | Self::Purge { of, .. }) = self;
        match self.carry_out(mesh).await {
            Ok(exit) => Ok(exit),
            Err(error) => {
                let group = of.group.as_ref().map(GroupName::as_str);
                Err(meant::explain(mesh, error, of.topic.as_str(), group).await)
            }
        }
    }

    async fn carry_out(&self, mesh: &Mesh) -> meshwire::Result<Exit> {
        match self {
            Self::List { of, json, .. } => list(of.letters(mesh), *json).await,
            Self::Show { of, number, json, .. } => {
                let letter = of.letters(mesh).get(*number).await?;
                let mut text = String::new();
                if *json {
                    object(&letter, &mut text)
                } else {
                    page(of.topic.as_str(), &letter, &mut text)
                }
                Ok(print(&text))
            }
            Self::Redrive { of, which, json, .. } => {
                let letters = of.letters(mesh);
                let done =
                    if which.all { letters.redrive_all().await? } else { letters.redrive(&which.distinct()).await? };
                let left = done.left.iter().map(|(group, count)| (group.as_str(), *count)).collect();
                let line = Changed { redriven: Some(done.count), left: Some(left), ..Changed::default() };
                Ok(line.print(which, *json))
            }
            Self::Purge { of, which, json, .. } => {
                let letters = of.letters(mesh);
                let done =
                    if which.all { letters.purge_all().await? } else { letters.purge(&which.distinct()).await? };
                Ok(Changed { purged: Some(done), ..Changed::default() }.print(which, *json))
            }
        }
    }
}

/// What became of dead letters, as it is printed with `--json`.
#[derive(Default, Serialize)]
struct Changed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    redriven: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purged: Option<u64>,
    /// Of those named.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_there: Option<u64>,
    /// How many, by group.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<BTreeMap<&'a str, u64>>,
}

impl Which {
    /// The numbers, each once.
    fn distinct(&self) -> Vec<u64> {
        let numbers: BTreeSet<u64> = self.numbers.iter().copied().collect();
        numbers.into_iter().collect()
    }
}

impl Changed<'_> {
    fn print(mut self, which: &Which, json: bool) -> Exit {
        let (done, text) = match self.purged {
            Some(purged) => (purged, "purged"),
            None => (self.redriven.unwrap_or(0), "redriven"),
        };
        let left = self.left.iter().flatten().map(|(_, count)| count).sum::<u64>();
        let wanted = which.distinct().len() as u64;
        let absent = wanted.saturating_sub(done).saturating_sub(left);
        if absent > 0 {
            output::note(format_args!("{absent} of {wanted} are not there"));
        }
        for (group, count) in self.left.iter().flatten().take(GROUPS) {
            let hint = "create it, or subscribe with it, and try again";
            output::note(format_args!("{count} left: group {group} does not exist any more; {hint}"));
        }
        let more = self.left.as_ref().map_or(0, BTreeMap::len).saturating_sub(GROUPS);
        if more > 0 {
            output::note(format_args!("and more of {more} other groups that do not exist any more"));
        }
        let mut line = format!("{text} {done}\n");
        if json {
            self.not_there = Some(absent).filter(|_| !which.all);
            line.clear();
            output::object(&self, &mut line);
        }
        match print(&line) {
            Exit::Done if left > 0 => Exit::Refused,
            Exit::Done if absent > 0 => Exit::Failed,
            exit => exit,
        }
    }
}

fn print(text: &str) -> Exit {
    output::write(text).map_or(Exit::Failed, |()| Exit::Done)
}

async fn list(letters: Letters, json: bool) -> meshwire::Result<Exit> {
    let mut pages = letters.pages(json);
    let mut any = false;
    while let Some(page) = pages.next().await? {
        let mut text = String::new();
        for letter in &page {
            any = true;
            if json { object(letter, &mut text) } else { line(letter, &mut text) }
        }
        if output::write(&text).is_err() {
            return Ok(Exit::Failed);
        }
    }
    Ok(if any || json { Exit::Done } else { print("no dead letters\n") })
}

fn line(letter: &DeadLetter, out: &mut String) {
    let DeadLetter { number, group, position, failures, .. } = letter;
    let (reason, last) = (letter.reason.name(), letter.last_failure);
    // Writing to a string does not fail.
    let member = letter.member.as_ref().map(|name| format!(" member {name}")).unwrap_or_default();
    let _ = write!(
        out,
        "{number:>6}  group {group}{member}  at {position}  {reason}  {}, the last {last}",
        counted((*failures).into(), "failure")
    );
    if letter.redriven {
        out.push_str("  redriven");
    }
    if !letter.error.is_empty() {
        let _ = write!(out, "  {}", one_line(&letter.error, ERROR));
    }
    out.push('\n');
}

/// A dead letter as it is printed with `--json`; positions are strings, as in `topics`.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    position: String,
    reason: &'static str,
    failures: u32,
    attempts: u32,
    error: &'a str,
    first_failure: String,
    last_failure: String,
    stored: String,
    redriven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

/// A dead letter, a line for each thing to know.
fn page(topic: &str, letter: &DeadLetter, out: &mut String) {
    let lines = [
        ("group", letter.group.clone()),
        ("member", letter.member.clone().unwrap_or_default()),
        ("position", letter.position.to_string()),
        ("stored", letter.stored.to_string()),
        ("reason", letter.reason.name().to_owned()),
        ("failures", format!("{}, of {}", letter.failures, deliveries(letter.attempts))),
        ("first failure", letter.first_failure.to_string()),
        ("last failure", letter.last_failure.to_string()),
        ("error", one_line(&letter.error, usize::MAX)),
        ("given back", if letter.redriven { "yes, and not settled yet" } else { "" }.to_owned()),
        ("event", event(letter).map(|event| event.get().to_owned()).unwrap_or_default()),
    ];
    // Writing to a string does not fail.
    let _ = writeln!(out, "dead letter {} of topic {topic}", letter.number);
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "  {name:<13}  {value}");
    }
}

fn deliveries(attempts: u32) -> String {
    if attempts == 1 { "1 delivery".to_owned() } else { format!("{attempts} deliveries") }
}

/// Its event in JSON, if it has a form there.
fn event(letter: &DeadLetter) -> Option<Box<RawValue>> {
    let mut text = String::new();
    codec::json::write_line(&letter.event()?, &mut text).ok()?;
    RawValue::from_string(text).ok()
}

fn object(letter: &DeadLetter, out: &mut String) {
    let line = Line {
        number: letter.number,
        group: &letter.group,
        member: letter.member.as_deref(),
        position: letter.position.to_string(),
        reason: letter.reason.name(),
        failures: letter.failures,
        attempts: letter.attempts,
        error: &letter.error,
        first_failure: letter.first_failure.to_string(),
        last_failure: letter.last_failure.to_string(),
        stored: letter.stored.to_string(),
        redriven: letter.redriven,
        event: event(letter),
    };
    output::object(&line, out);
}
