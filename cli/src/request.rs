//! `meshwire request`: ask those who serve a topic, print what they say.

use std::time::Duration;

use clap::Args;
use meshwire::{ErrorKind, Mesh, Reply, codec};
use meshwire_proto::{TopicName, options};

use crate::args;
use crate::config::parse_duration_within as within;
use crate::events;
use crate::exit::{self, Exit, Failure};
use crate::server::{Server, leave};
use crate::stop::Stop;
use crate::{logs, meant, output};

/// Ask one of those who serve a topic, and print the reply.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire request quote --data '{\"sku\": 1}'
  meshwire request quote --data ping --timeout 500ms --json
  meshwire request report --data today --stream

What is printed is the data of the reply, with a line break behind it unless it ends with one.

Exit codes:
  0  it was answered
  1  it failed, no reply came in time, what became of it is not known, or it was interrupted
  2  wrong arguments
  3  no gateway could be reached: nothing was sent
  4  nobody serves the topic, all who do are busy, or the gateway refused the request")]
pub(crate) struct Request {
    /// The topic.
    #[arg(value_parser = args::topic)]
    topic: TopicName,
    /// What to ask: JSON if it is an object or an array, else text.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    data: String,
    /// The event's type. Default: the topic's name.
    #[arg(long = "type", value_name = "TYPE", value_parser = args::attribute)]
    kind: Option<String>,
    /// How long to wait for the last reply; from 1ms to 12h. Default: 5s.
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,
    /// It may be handled more than once: ask another one when a responder is lost.
    #[arg(long)]
    retry: bool,
    /// Take many replies, until the last one.
    #[arg(long)]
    stream: bool,
    /// Print CloudEvents in JSON, one a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

fn timeout(text: &str) -> Result<Duration, String> {
    within(&options::REQUEST_TIMEOUT, text)
}

impl Request {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let Some(mesh) = self.server.connect(&mut stop).await? else {
            return Ok(Exit::Failed);
        };
        let done = tokio::select! {
            done = self.explained(&mesh) => done,
            () = stop.requested() => Err(Failure::new(Exit::Failed, "interrupted; the responder is told")),
        };
        leave(&mesh, &mut stop).await;
        done
    }

    async fn explained(&self, mesh: &Mesh) -> Result<Exit, Failure> {
        let refused = match self.ask(mesh).await {
            Ok(printed) => return printed,
            Err(error) => error,
        };
        let hint = meant::hint(mesh, refused.kind(), self.topic.as_str(), None).await;
        let failure = failure(&refused);
        Err(hint.iter().fold(failure, |failure, hint| failure.with_hint(hint)))
    }

    /// What became of the printing, unless the request failed.
    async fn ask(&self, mesh: &Mesh) -> meshwire::Result<Result<Exit, Failure>> {
        let event = events::of_text(self.kind.as_deref().unwrap_or_default(), &self.data);
        let timeout = self.timeout.unwrap_or(options::REQUEST_TIMEOUT.default_duration());
        let topic = self.topic.as_str();
        if !self.stream {
            let reply = mesh.request(topic, event).timeout(timeout).retry(self.retry).await?;
            return Ok(self.print(&reply));
        }
        let asked = mesh.request_stream(topic, event).timeout(timeout).retry(self.retry);
        let mut replies = asked.await?;
        while let Some(reply) = replies.try_next().await? {
            let printed = self.print(&reply);
            if !matches!(printed, Ok(Exit::Done)) {
                return Ok(printed);
            }
        }
        Ok(Ok(Exit::Done))
    }

    fn print(&self, reply: &Reply) -> Result<Exit, Failure> {
        let event = reply.event();
        let written = if self.json {
            let mut text = String::new();
            codec::json::write_line(&event, &mut text)
                .map_err(|problem| Failure::new(Exit::Failed, format!("the reply has no form in JSON: {problem}")))?;
            text.push('\n');
            output::write(&text)
        } else {
            let mut data = event.data().bytes().to_vec();
            if data.last() != Some(&b'\n') {
                data.push(b'\n');
            }
            output::write_bytes(&data)
        };
        Ok(written.map_or(Exit::Failed, |()| Exit::Done))
    }
}

/// A gateway was reached: what is unavailable or late is what became of the request.
fn failure(error: &meshwire::Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::ResponderLost | ErrorKind::ResponderFailed => {
            Exit::Failed
        }
        kind => exit::of(kind),
    };
    Failure::of(exit, error)
}
