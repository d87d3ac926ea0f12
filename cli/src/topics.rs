//! `meshwire topics`: what topics there are, and new ones.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use meshwire::{Durability, Lagging, Mesh, Topic, TopicSettings};
use meshwire_proto::{TopicName, counted, options};

use crate::args;
use crate::config::{parse_duration_within, parse_size, show_duration, show_size};
use crate::exit::{Exit, Failure};
use crate::server::Server;
use crate::stop::Stop;
use crate::{logs, meant, output, shown};

/// List topics, create and delete them, and change how long their events are kept.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire topics list
  meshwire topics list --json
  meshwire topics create orders --durability written --retention 30d
  meshwire topics set orders --retention 7d
  meshwire topics delete orders")]
pub(crate) struct Topics {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every topic with its events and groups.
    #[command(after_help = "\
Examples:
  meshwire topics list
  meshwire topics list --json --server mesh://127.0.0.1:7400

bytes    of events that can be read
on disk  those of events that are gone too, as far as their segments of the log are still there: topics share
         segments, and one of up to 64 MiB is given back as a whole, when nothing in it is needed any more")]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Change how long and how much of a topic is kept.
    #[command(
        visible_alias = "update",
        after_help = "\
Examples:
  meshwire topics set orders --retention 30d
  meshwire topics set orders --retention-bytes 10GiB --lagging block"
    )]
    Set {
        /// Its name.
        #[arg(value_parser = args::topic)]
        topic: TopicName,
        #[command(flatten)]
        retention: Retention,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Delete a topic with its events, groups and dead letters, for good.
    #[command(after_help = "\
Examples:
  meshwire topics delete orders
  meshwire topics delete orders --force

A topic of the same name may be made again at once. A publisher makes it anew with its next
event, unless the gateway's option auto_create is off. Disk space comes back when everything
else in the same segment of the log is gone, too.")]
    Delete {
        /// Its name.
        #[arg(value_parser = args::topic)]
        topic: TopicName,
        /// Also while it has subscriptions: they end.
        #[arg(long)]
        force: bool,
        /// One JSON object: what it was.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Create a topic. One that is there with the same settings is left as it is.
    #[command(after_help = "\
Examples:
  meshwire topics create orders
  meshwire topics create clicks --durability memory --retention 1h")]
    Create {
        /// Its name.
        #[arg(value_parser = args::topic)]
        topic: TopicName,
        /// When a publish is answered. Default: synced, with `serve --memory` memory.
        #[arg(long, value_enum)]
        durability: Option<Level>,
        #[command(flatten)]
        retention: Retention,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
}

/// How long and how much is kept.
#[derive(Args)]
struct Retention {
    /// How long events are kept, such as 7d; what is older than a shorter one goes soon.
    #[arg(long, value_name = "DURATION", value_parser = retention)]
    retention: Option<Duration>,
    /// Most bytes of events, such as 10GiB; over it the oldest go.
    #[arg(long, value_name = "SIZE", value_parser = retention_bytes)]
    retention_bytes: Option<u64>,
    /// What happens when that overtakes a group.
    #[arg(long, value_enum)]
    lagging: Option<Overtaken>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Overtaken {
    /// It goes on with what is left, and is told how many events are missing.
    Drop,
    /// Publishers get TOPIC_FULL until the group has settled what would have to go.
    Block,
}

impl Retention {
    const fn is_said(&self) -> bool {
        self.retention.is_some() || self.retention_bytes.is_some() || self.lagging.is_some()
    }

    fn settings(&self) -> TopicSettings {
        let mut settings = TopicSettings::new();
        settings.retention = self.retention;
        settings.retention_bytes = self.retention_bytes;
        settings.lagging = self.lagging.map(|lagging| match lagging {
            Overtaken::Drop => Lagging::Drop,
            Overtaken::Block => Lagging::Block,
        });
        settings
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    /// At once; events are gone when the gateway restarts.
    Memory,
    /// When the event survives the gateway's process.
    Written,
    /// When the event survives power loss.
    Synced,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Memory => Self::Memory,
            Level::Written => Self::Written,
            Level::Synced => Self::Synced,
        }
    }
}

fn retention(text: &str) -> Result<Duration, String> {
    parse_duration_within(&options::RETENTION, text)
}

fn retention_bytes(text: &str) -> Result<u64, String> {
    options::RETENTION_BYTES.check(parse_size(text)?)
}

impl Topics {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        if matches!(&self.command, Command::Set { retention, .. } if !retention.is_said()) {
            let text = "nothing is to be changed: say --retention, --retention-bytes or --lagging";
            return Err(Failure::new(Exit::Usage, text));
        }
        let server = match &self.command {
            Command::List { server, .. }
            | Command::Create { server, .. }
            | Command::Delete { server, .. }
            | Command::Set { server, .. } => server,
        };
        server
            .print(&mut stop, "interrupted; a topic may be created, changed or deleted, or not", async |mesh| {
                self.command.explained(mesh).await
            })
            .await
    }
}

impl Command {
    async fn explained(&self, mesh: &Mesh) -> Result<String, Failure> {
        let topic = match self {
            Self::List { .. } => "",
            Self::Set { topic, .. } | Self::Create { topic, .. } | Self::Delete { topic, .. } => topic.as_str(),
        };
        match self.ask(mesh).await {
            Ok(text) => Ok(text),
            Err(error) => Err(meant::explain(mesh, error, topic, None).await),
        }
    }

    /// The text to print.
    async fn ask(&self, mesh: &Mesh) -> meshwire::Result<String> {
        let mut text = String::new();
        match self {
            Self::List { json, .. } => {
                let topics = mesh.topics().list().await?;
                if !json {
                    return Ok(table(&topics));
                }
                topics.iter().for_each(|topic| output::object(topic, &mut text));
            }
            Self::Set { topic, retention, json, .. } => {
                let topic = mesh.topics().update(topic.as_str(), retention.settings()).await?;
                if !json {
                    return Ok(format!("topic {}: {}\n", topic.name, settings(&topic)));
                }
                output::object(&topic, &mut text);
            }
            Self::Delete { topic, force, json, .. } => {
                let topic = mesh.topics().delete(topic.as_str(), *force).await?;
                if !json {
                    return Ok(deleted(&topic));
                }
                output::object(&topic, &mut text);
            }
            Self::Create { topic, durability, retention, json, .. } => {
                let mut asked = retention.settings();
                asked.durability = durability.map(Durability::from);
                let topic = mesh.topics().create(topic.as_str(), asked).await?;
                if !json {
                    return Ok(format!("topic {}: {}\n", topic.name, settings(&topic)));
                }
                output::object(&topic, &mut text);
            }
        }
        Ok(text)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn settings(topic: &Topic) -> String {
    let lagging = if topic.lagging == Lagging::Block { ", lagging block" } else { "" };
    format!("durability {}, retention {}{lagging}", topic.durability.name(), kept(topic))
}

/// How long and how much of a topic is kept.
fn kept(topic: &Topic) -> String {
    let bytes = if topic.retention_bytes == 0 { "any bytes".to_owned() } else { show_size(topic.retention_bytes) };
    format!("{}, {bytes}", show_duration(millis(topic.retention)))
}

/// What went with a topic, events that were still to come included.
fn deleted(topic: &Topic) -> String {
    let waited = match topic.delayed {
        0 => String::new(),
        delayed => format!(", and {delayed} that waited for their time"),
    };
    format!("topic {}: deleted, {}{waited}\n", topic.name, counted(events(topic), "event"))
}

const fn events(topic: &Topic) -> u64 {
    topic.next.number().saturating_sub(topic.first.number())
}

fn table(topics: &[Topic]) -> String {
    if topics.is_empty() {
        return "no topics\n".to_owned();
    }
    let width = topics.iter().map(|t| t.name.len()).max().unwrap_or_default().max(5);
    // Bytes of what can be read, and of what is on disk.
    let mut text = format!(
        "{:width$}  {:10}  {:14}  {:>10}  {:>12}  {:>12}\n",
        "topic", "durability", "retention", "events", "bytes", "on disk"
    );
    for t in topics {
        // Of a topic that is only served nothing is kept.
        let served = t.durability == Durability::NotStored;
        let (durability, kept) = if served { ("-", "-".to_owned()) } else { (t.durability.name(), kept(t)) };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:width$}  {durability:10}  {kept:14}  {:>10}  {:>12}  {:>12}",
            t.name,
            events(t),
            show_size(t.bytes),
            show_size(t.physical_bytes)
        );
        if t.lagging == Lagging::Block || t.overtaken > 0 {
            let (lagging, gone) = (t.lagging.name(), counted(t.overtaken, "event"));
            let _ = writeln!(text, "  lagging {lagging}, {gone} gone before a group had them");
        }
        if t.delayed > 0 {
            let wait = if t.delayed == 1 { "waits for its" } else { "wait for their" };
            let _ = writeln!(text, "  {} {wait} time", counted(t.delayed, "event"));
        }
        if let Some(requests) = &t.requests {
            let _ = writeln!(text, "  {}", shown::requests(requests));
        }
        for g in &t.groups {
            let _ = writeln!(
                text,
                "  group {}: {}, {} in flight, {} waiting",
                g.name,
                counted(g.members.into(), "member"),
                g.in_flight,
                g.lag
            );
        }
    }
    text
}
