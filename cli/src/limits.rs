//! `meshwire limits`: limits of the whole gateway, seen and changed while it runs.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use meshwire::{GatewayLimits, LimitsInForce, Mesh};
use meshwire_proto::options::{self, Bounded};

use crate::config::{parse_size, show_size};
use crate::exit::{Exit, Failure};
use crate::server::Server;
use crate::stop::Stop;
use crate::{logs, output};

/// Show the gateway's limits for publishers and deliveries, and change them while it runs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire limits show
  meshwire limits set --publish-rate 5000
  meshwire limits set --deliver-rate 0 --deliver-bytes-rate 10MiB")]
pub(crate) struct Limits {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What is in force, and how much of it is used.
    #[command(after_help = "Examples:\n  meshwire limits show\n  meshwire limits show --json")]
    Show {
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Change what is named, at once. It holds until it is changed or the gateway ends; then its options hold again.
    #[command(after_help = "\
Examples:
  meshwire limits set --publish-rate 5000
  meshwire limits set --publish-rate 0 --deliver-bytes-rate 10MiB

Who publishes faster than its rate is slowed down; refused with BUSY is what a call would wait for more than 5 s
for, and what a session has waiting after 5 s without memory for it.
What is over the delivery rate waits in its topic. A group has a rate of its own: meshwire groups update --help")]
    Set {
        #[command(flatten)]
        changes: Changes,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Most events a second of all publishers together. 0: no limit.
    #[arg(long, value_name = "EVENTS", value_parser = publish_rate)]
    publish_rate: Option<u64>,
    /// The same in bytes of events, such as 10MiB. 0: no limit.
    #[arg(long, value_name = "SIZE", value_parser = publish_bytes_rate)]
    publish_bytes_rate: Option<u64>,
    /// Most bytes that are accepted and not yet kept, such as 8MiB; at most what the gateway was started with.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    publish_budget_bytes: Option<u64>,
    /// Most deliveries a second to all subscriptions together. 0: no limit.
    #[arg(long, value_name = "EVENTS", value_parser = deliver_rate)]
    deliver_rate: Option<u64>,
    /// The same in bytes of events, such as 10MiB. 0: no limit.
    #[arg(long, value_name = "SIZE", value_parser = deliver_bytes_rate)]
    deliver_bytes_rate: Option<u64>,
}

fn events(option: &Bounded, text: &str) -> Result<u64, String> {
    let number = text.parse().map_err(|_| format!("{text:?} is not a whole number"))?;
    option.check(number)
}

fn publish_rate(text: &str) -> Result<u64, String> {
    events(&options::MAX_PUBLISH_RATE, text)
}

fn deliver_rate(text: &str) -> Result<u64, String> {
    events(&options::MAX_DELIVER_RATE, text)
}

fn publish_bytes_rate(text: &str) -> Result<u64, String> {
    options::MAX_PUBLISH_BYTES_RATE.check(parse_size(text)?)
}

fn deliver_bytes_rate(text: &str) -> Result<u64, String> {
    options::MAX_DELIVER_BYTES_RATE.check(parse_size(text)?)
}

impl Changes {
    fn limits(&self) -> GatewayLimits {
        let mut limits = GatewayLimits::new();
        limits.publish_rate = self.publish_rate;
        limits.publish_bytes_rate = self.publish_bytes_rate;
        limits.publish_budget_bytes = self.publish_budget_bytes;
        limits.deliver_rate = self.deliver_rate;
        limits.deliver_bytes_rate = self.deliver_bytes_rate;
        limits
    }
}

impl Limits {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let (Command::Show { server, .. } | Command::Set { server, .. }) = &self.command;
        server
            .print(&mut stop, "interrupted; limits may be changed or not", async |mesh| {
                Ok(self.command.ask(mesh).await?)
            })
            .await
    }
}

impl Command {
    /// The text to print.
    async fn ask(&self, mesh: &Mesh) -> meshwire::Result<String> {
        let (in_force, json) = match self {
            Self::Show { json, .. } => (mesh.limits().get().await?, *json),
            Self::Set { changes, json, .. } => (mesh.limits().set(changes.limits()).await?, *json),
        };
        if !json {
            return Ok(table(&in_force));
        }
        let mut text = String::new();
        output::object(&in_force, &mut text);
        Ok(text)
    }
}

fn table(in_force: &LimitsInForce) -> String {
    let limits = &in_force.limits;
    let rate = |rate: Option<u64>, shown: fn(u64) -> String| match rate {
        None | Some(0) => "no limit".to_owned(),
        Some(rate) => format!("{}/s", shown(rate)),
    };
    let events = |rate| format!("{rate} events");
    let rows = [
        ("publish rate", rate(limits.publish_rate, events)),
        ("publish bytes rate", rate(limits.publish_bytes_rate, show_size)),
        (
            "publish budget",
            format!(
                "{}, of which {} wait to be kept",
                show_size(limits.publish_budget_bytes.unwrap_or_default()),
                show_size(in_force.unkept_bytes)
            ),
        ),
        ("deliver rate", rate(limits.deliver_rate, events)),
        ("deliver bytes rate", rate(limits.deliver_bytes_rate, show_size)),
        (
            "sent ahead",
            format!(
                "at most {}, of which {} wait for clients",
                show_size(in_force.sending_most),
                show_size(in_force.sending_bytes)
            ),
        ),
    ];
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:18}  {value}");
        text
    })
}
