//! `meshwire groups`: consumer groups of a topic, and how they deliver.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use meshwire::{Group, GroupSettings, Mesh, Position};
use meshwire_proto::{GroupName, TopicName, options};
use serde::Serialize;

use crate::args;
use crate::config::{parse_duration_within as within, show_duration};
use crate::exit::{Exit, Failure};
use crate::server::{Server, leave};
use crate::stop::Stop;
use crate::{logs, output};

/// List the consumer groups of a topic, make, change, move and remove them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire groups list orders
  meshwire groups create orders audit --start 100
  meshwire groups update orders billing --max-failures 10 --backoff-max 10m
  meshwire groups seek orders billing 1
  meshwire groups delete orders audit")]
pub(crate) struct Groups {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Each with members, what is in flight, what waits, and its dead letters.
    #[command(after_help = "Example:\n  meshwire groups list orders --json")]
    List {
        /// The topic.
        #[arg(value_parser = args::topic)]
        topic: TopicName,
        /// One JSON object a line, with all settings.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Make a group before anybody joins it.
    #[command(after_help = "Example:\n  meshwire groups create orders audit --start 100 --max-failures 0")]
    Create {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        settings: Settings,
        /// Position of its first event. Default: the first that can be read.
        #[arg(long, value_name = "POSITION")]
        start: Option<u64>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Move a group: every event from there on is delivered as if for the first time.
    #[command(after_help = "Example:\n  meshwire groups seek orders billing 1")]
    Seek {
        #[command(flatten)]
        which: Which,
        /// Position; beyond either end it goes to that end.
        position: u64,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Remove a group that has no members. Its dead letters stay.
    #[command(after_help = "Example:\n  meshwire groups delete orders audit")]
    Delete {
        #[command(flatten)]
        which: Which,
        /// One JSON object: what it was.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Change settings. Members go on; a lease that has begun keeps its length.
    #[command(after_help = "Example:\n  meshwire groups update orders billing --max-failures 10 --max-rate 50")]
    Update {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        settings: Settings,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Args)]
struct Which {
    /// The topic.
    #[arg(value_parser = args::topic)]
    topic: TopicName,
    /// The group.
    #[arg(value_parser = args::group)]
    group: GroupName,
}

/// How a group delivers.
#[derive(Args, Debug, Default)]
pub(crate) struct Settings {
    /// How long a delivery may stay unsettled, such as 30s; 1s to 12h.
    #[arg(long, value_name = "DURATION", value_parser = |t: &str| within(&options::ACK_WAIT, t))]
    ack_wait: Option<Duration>,
    /// Failures after which an event is a dead letter; 0: never.
    #[arg(long, value_name = "COUNT")]
    max_failures: Option<u32>,
    /// An event that has failed and is older is a dead letter; 0: never.
    #[arg(long, value_name = "DURATION", value_parser = |t: &str| within(&options::MAX_AGE, t))]
    max_age: Option<Duration>,
    /// Delay after an event's first nack that names none; it doubles with each failure.
    #[arg(long, value_name = "DURATION", value_parser = |t: &str| within(&options::BACKOFF_MIN, t))]
    backoff_min: Option<Duration>,
    /// The longest such delay.
    #[arg(long, value_name = "DURATION", value_parser = |t: &str| within(&options::BACKOFF_MAX, t))]
    backoff_max: Option<Duration>,
    /// Most unsettled deliveries of all members together; 0: no limit.
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<u32>,
    /// Most deliveries a second of all members together; 0: no limit.
    #[arg(long, value_name = "COUNT")]
    max_rate: Option<u32>,
}

impl From<&Settings> for GroupSettings {
    fn from(asked: &Settings) -> Self {
        let mut settings = Self::new();
        settings.ack_wait = asked.ack_wait;
        settings.max_failures = asked.max_failures;
        settings.max_age = asked.max_age;
        settings.backoff_min = asked.backoff_min;
        settings.backoff_max = asked.backoff_max;
        settings.max_in_flight = asked.max_in_flight;
        settings.max_rate = asked.max_rate;
        settings
    }
}

impl Groups {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let (Command::List { server, .. }
        | Command::Create { server, .. }
        | Command::Seek { server, .. }
        | Command::Delete { server, .. }
        | Command::Update { server, .. }) = &self.command;
        let Some(mesh) = server.connect(&mut stop).await? else {
            return Ok(Exit::Failed);
        };
        let answer = tokio::select! {
            answer = self.command.ask(&mesh) => answer.map_err(Failure::from),
            () = stop.requested() => Err(Failure::new(Exit::Failed, "interrupted; settings may be changed or not")),
        };
        leave(&mesh, &mut stop).await;
        output::write(&answer?).map_or(Ok(Exit::Failed), |()| Ok(Exit::Done))
    }
}

impl Command {
    /// The text to print.
    async fn ask(&self, mesh: &Mesh) -> meshwire::Result<String> {
        let (groups, json) = match self {
            Self::List { topic, json, .. } => (mesh.groups(topic.as_str()).list().await?, *json),
            Self::Create { which: Which { topic, group }, settings, start, json, .. } => {
                let start = start.map(Position::from_number);
                (vec![mesh.groups(topic.as_str()).create(group.as_str(), settings.into(), start).await?], *json)
            }
            Self::Update { which: Which { topic, group }, settings, json, .. } => {
                (vec![mesh.groups(topic.as_str()).update(group.as_str(), settings.into()).await?], *json)
            }
            Self::Seek { which: Which { topic, group }, position, json, .. } => {
                let to = Position::from_number(*position);
                (vec![mesh.groups(topic.as_str()).seek(group.as_str(), to).await?], *json)
            }
            Self::Delete { which: Which { topic, group }, json, .. } => {
                (vec![mesh.groups(topic.as_str()).delete(group.as_str()).await?], *json)
            }
        };
        let mut text = String::new();
        for group in &groups {
            if json { object(group, &mut text) } else { line(group, &mut text) }
        }
        Ok(if groups.is_empty() && !json { "no groups\n".to_owned() } else { text })
    }
}

fn millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

fn line(group: &Group, out: &mut String) {
    let Group { name, settled_through, members, in_flight, lag, delayed, dead_letters, expired, settings, .. } = group;
    let shown = |duration| show_duration(millis(duration));
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{name}: settled through {settled_through}, {members} members, {in_flight} in flight, {lag} waiting ({delayed} delayed), {dead_letters} dead letters; \
         ack wait {}, {} failures, back-off {} to {}{}",
        shown(settings.ack_wait),
        settings.max_failures.unwrap_or_default(),
        shown(settings.backoff_min),
        shown(settings.backoff_max),
        if *expired > 0 { format!("; {expired} expired") } else { String::new() },
    );
}

/// A group as it is printed with `--json`; positions are strings, as in `topics`.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    settled_through: String,
    members: u32,
    in_flight: u64,
    lag: u64,
    delayed: u64,
    dead_letters: u64,
    expired: u64,
    ack_wait_ms: u64,
    max_failures: Option<u32>,
    max_age_ms: u64,
    backoff_min_ms: u64,
    backoff_max_ms: u64,
    hold_after_dead_letter: Option<bool>,
    strict_order: Option<bool>,
    max_in_flight: Option<u32>,
    max_rate: Option<u32>,
}

fn object(group: &Group, out: &mut String) {
    let settings = &group.settings;
    let line = Line {
        name: &group.name,
        settled_through: group.settled_through.to_string(),
        members: group.members,
        in_flight: group.in_flight,
        lag: group.lag,
        delayed: group.delayed,
        dead_letters: group.dead_letters,
        expired: group.expired,
        ack_wait_ms: millis(settings.ack_wait),
        max_failures: settings.max_failures,
        max_age_ms: millis(settings.max_age),
        backoff_min_ms: millis(settings.backoff_min),
        backoff_max_ms: millis(settings.backoff_max),
        hold_after_dead_letter: settings.hold_after_dead_letter,
        strict_order: settings.strict_order,
        max_in_flight: settings.max_in_flight,
        max_rate: settings.max_rate,
    };
    output::object(&line, out);
}
