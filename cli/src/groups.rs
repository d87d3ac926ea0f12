//! `meshwire groups`: consumer groups of a topic, and how they deliver.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use meshwire::{Group, GroupMode, GroupSettings, Mesh, Position, Start};
use meshwire_proto::{GroupKey, GroupName, MemberName, TopicName, counted, options};

use crate::args;
use crate::config::{parse_duration_within as within, show_duration};
use crate::exit::{Exit, Failure};
use crate::server::Server;
use crate::stop::Stop;
use crate::{logs, meant, output, place, shown};

/// List the consumer groups of a topic, make, change, move and remove them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire groups list orders
  meshwire groups create orders audit --start 100
  meshwire groups create orders caches --broadcast
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
    #[command(after_help = "\
Examples:
  meshwire groups list orders
  meshwire groups list orders --json

lag      events that are not settled, those in flight among them
delayed  of them, those that wait for a delay to pass
failing  of them, those that have failed at least once
oldest   how long ago the oldest of them was stored; ? while that is read from the disk")]
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
    /// One of them: how it stands, and how it delivers.
    #[command(after_help = "Example:\n  meshwire groups show orders billing")]
    Show {
        #[command(flatten)]
        which: Which,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Make a group before anybody joins it. One that is there with these settings stays as it is,
    /// wherever it is to begin.
    #[command(after_help = "\
Examples:
  meshwire groups create orders audit --start 100 --max-failures 0
  meshwire groups create orders caches --broadcast --member host1")]
    Create {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        member: Member,
        /// Every member gets every event. Fixed from then on.
        #[arg(long)]
        broadcast: bool,
        #[command(flatten)]
        settings: Settings,
        /// Where it begins: earliest, latest, a position, or the first event stored at a time or
        /// later (2026-11-28T06:30:00Z, or -10m for ten minutes ago). Default: earliest.
        #[arg(long, value_name = "PLACE", allow_hyphen_values = true, value_parser = place::parse)]
        start: Option<Start>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Move a group: every event from there on is delivered as if for the first time. A
    /// broadcast group moves all its durable members.
    #[command(group = ArgGroup::new("place").required(true).args(["position", "to"]),
        override_usage = "meshwire groups seek [OPTIONS] <TOPIC> <GROUP> <POSITION|--to <PLACE>>", after_help = "\
Examples:
  meshwire groups seek orders billing 1
  meshwire groups seek orders billing --to -10m")]
    Seek {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        member: Member,
        /// Position; beyond either end it goes to that end.
        #[arg(value_parser = args::whole::<u64>)]
        position: Option<u64>,
        /// In its place earliest, latest, or the first event stored at a time or later
        /// (2026-11-28T06:30:00Z, or -10m for ten minutes ago).
        #[arg(long, value_name = "PLACE", allow_hyphen_values = true, value_parser = place::parse)]
        to: Option<Start>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Remove a group that has no members, a broadcast group with its durable ones. Its dead
    /// letters stay.
    #[command(after_help = "\
Examples:
  meshwire groups delete orders audit
  meshwire groups delete orders caches --member host1")]
    Delete {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        member: Member,
        /// One JSON object: what it was.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Change settings. Members go on; a lease that has begun keeps its length. A shorter ack wait is for members that
    /// join or come back in a new session afterwards: others rely on the one that they were told.
    #[command(
        visible_alias = "set",
        after_help = "Example:\n  meshwire groups update orders billing --max-failures 10 --max-rate 50"
    )]
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

#[derive(Args)]
struct Member {
    /// Only this durable member of a broadcast group.
    #[arg(long, value_name = "NAME", value_parser = args::member)]
    member: Option<MemberName>,
}

impl Which {
    /// The group, or its member, as the gateway is asked for it.
    fn key(&self, member: &Member) -> String {
        GroupKey { group: self.group.clone(), member: member.member.clone() }.to_string()
    }
}

/// How a group delivers.
#[derive(Args, Debug, Default)]
pub(crate) struct Settings {
    /// How long a delivery may stay unsettled, such as 30s; 1s to 12h.
    #[arg(long, value_name = "DURATION", value_parser = |t: &str| within(&options::ACK_WAIT, t))]
    ack_wait: Option<Duration>,
    /// Failures after which an event is a dead letter; 0: never.
    #[arg(long, value_name = "COUNT", value_parser = args::whole::<u32>)]
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
    /// What the other events of a key do after a dead letter.
    #[arg(long, value_enum)]
    after_dead_letter: Option<AfterDeadLetter>,
    /// How many events of a key may be on their way at once.
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Most unsettled deliveries of all members together, of each in a broadcast group; 0: no limit.
    #[arg(long, value_name = "COUNT", value_parser = args::whole::<u32>)]
    max_in_flight: Option<u32>,
    /// Most deliveries a second of all members together, of each in a broadcast group; 0: no limit.
    #[arg(long, value_name = "COUNT", value_parser = args::whole::<u32>)]
    max_rate: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AfterDeadLetter {
    /// They go on.
    Continue,
    /// They wait until it is redriven and acked, or purged.
    Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Several, to the member that has the key; it handles one after the other.
    ByKey,
    /// One: the next when it is settled.
    Strict,
}

impl From<&Settings> for GroupSettings {
    fn from(asked: &Settings) -> Self {
        let mut settings = Self::new();
        settings.ack_wait = asked.ack_wait;
        settings.max_failures = asked.max_failures;
        settings.max_age = asked.max_age;
        settings.backoff_min = asked.backoff_min;
        settings.backoff_max = asked.backoff_max;
        settings.hold_after_dead_letter = asked.after_dead_letter.map(|after| after == AfterDeadLetter::Hold);
        settings.strict_order = asked.order.map(|order| order == Order::Strict);
        settings.max_in_flight = asked.max_in_flight;
        settings.max_rate = asked.max_rate;
        settings
    }
}

impl Groups {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        if let Command::Update { settings, .. } = &self.command
            && GroupSettings::from(settings) == GroupSettings::new()
        {
            let text = "nothing is to be changed: say --ack-wait, --max-failures, --max-age, --backoff-min, --backoff-max, \
                        --after-dead-letter, --order, --max-in-flight or --max-rate";
            return Err(Failure::new(Exit::Usage, text));
        }
        let (Command::List { server, .. }
        | Command::Show { server, .. }
        | Command::Create { server, .. }
        | Command::Seek { server, .. }
        | Command::Delete { server, .. }
        | Command::Update { server, .. }) = &self.command;
        server
            .print(&mut stop, "interrupted; settings may be changed or not", async |mesh| {
                self.command.explained(mesh).await
            })
            .await
    }
}

impl Command {
    async fn explained(&self, mesh: &Mesh) -> Result<String, Failure> {
        let (topic, group) = match self {
            Self::List { topic, .. } => (topic, None),
            Self::Show { which, .. }
            | Self::Create { which, .. }
            | Self::Seek { which, .. }
            | Self::Delete { which, .. }
            | Self::Update { which, .. } => (&which.topic, Some(which.group.as_str())),
        };
        match self.ask(mesh).await {
            Ok(text) => Ok(text),
            Err(error) => Err(meant::explain(mesh, error, topic.as_str(), group).await),
        }
    }

    /// The text to print.
    async fn ask(&self, mesh: &Mesh) -> meshwire::Result<String> {
        let (groups, json) = match self {
            Self::List { topic, json: false, .. } => {
                let groups = mesh.groups(topic.as_str()).list().await?;
                return Ok(if groups.is_empty() { "no groups\n".to_owned() } else { shown::table(&groups) });
            }
            Self::Show { which: Which { topic, group }, json: false, .. } => {
                return Ok(shown::page(topic.as_str(), &mesh.groups(topic.as_str()).get(group.as_str()).await?));
            }
            Self::List { topic, json, .. } => (mesh.groups(topic.as_str()).list().await?, *json),
            Self::Show { which: Which { topic, group }, json, .. } => {
                (vec![mesh.groups(topic.as_str()).get(group.as_str()).await?], *json)
            }
            Self::Create { which, member, broadcast, settings, start, json, .. } => {
                let settings = GroupSettings::from(settings);
                let settings = if *broadcast { settings.broadcast() } else { settings };
                let (groups, key) = (mesh.groups(which.topic.as_str()), which.key(member));
                // Whatever this one fails of, the next one says.
                let was_there = groups.get(&key).await.is_ok();
                let group = groups.create(&key, settings, *start).await?;
                if was_there {
                    output::note(there_already(&which.topic, &key, start.is_some()));
                }
                (vec![group], *json)
            }
            Self::Update { which: Which { topic, group }, settings, json, .. } => {
                (vec![mesh.groups(topic.as_str()).update(group.as_str(), settings.into()).await?], *json)
            }
            Self::Seek { which, member, position, to, json, .. } => {
                // One of them is there.
                let to = to.unwrap_or_else(|| Position::from_number(position.unwrap_or_default()).into());
                (vec![mesh.groups(which.topic.as_str()).seek(&which.key(member), to).await?], *json)
            }
            Self::Delete { which, member, json, .. } => {
                (vec![mesh.groups(which.topic.as_str()).delete(&which.key(member)).await?], *json)
            }
        };
        let mut text = String::new();
        for group in &groups {
            if json { output::object(group, &mut text) } else { line(group, &mut text) }
        }
        Ok(text)
    }
}

/// What a group that is to be made is told by.
fn there_already(topic: &TopicName, key: &str, with_start: bool) -> String {
    let start = if with_start { "; its place was not changed: meshwire groups seek moves it" } else { "" };
    format!("group {key} of topic {topic} is there already, and stays as it is{start}")
}

pub(crate) fn millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

fn line(group: &Group, out: &mut String) {
    let Group {
        name, settled_through, members, in_flight, lag, delayed, failing, dead_letters, expired, settings, ..
    } = group;
    let shown = |duration| show_duration(millis(duration));
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{name}: settled through {settled_through}, {}, {in_flight} in flight, {lag} waiting ({delayed} delayed, {failing} failing), {}; \
         ack wait {}, {}, back-off {} to {}{}",
        counted((*members).into(), "member"),
        counted(*dead_letters, "dead letter"),
        shown(settings.ack_wait),
        counted(settings.max_failures.unwrap_or_default().into(), "failure"),
        shown(settings.backoff_min),
        shown(settings.backoff_max),
        if *expired > 0 { format!("; {expired} expired") } else { String::new() },
    );
    if settings.mode == Some(GroupMode::Broadcast) {
        out.truncate(out.trim_end().len());
        out.push_str("; broadcast\n");
    }
    for member in &group.durable_members {
        let meshwire::Member { name, settled_through, in_flight, lag, delayed, dead_letters, .. } = member;
        let state = if member.connected { "connected" } else { "away" };
        let _ = writeln!(
            out,
            "  member {name}: {state}, settled through {settled_through}, {in_flight} in flight, {lag} waiting ({delayed} delayed), {}",
            counted(*dead_letters, "dead letter")
        );
    }
}
