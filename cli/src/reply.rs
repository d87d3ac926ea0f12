//! `meshwire reply`: answer a topic's requests with fixed data, or with what a command says.

use std::sync::atomic::{AtomicU64, Ordering};

use clap::{ArgGroup, Args};
use meshwire::{Event, Request, codec};
use meshwire_proto::{GroupName, TopicName, options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::args;
use crate::events;
use crate::exit::{Exit, Failure};
use crate::logs;
use crate::running::Running;
use crate::server::{Server, leave};
use crate::stop::Stop;

/// Most bytes that a command may answer with: as large as an event may be by default.
const ANSWER_BYTES: u64 = options::MAX_EVENT_BYTES.default;

/// Answer the requests to a topic.
#[derive(Args)]
#[command(group = ArgGroup::new("answer").required(true).args(["exec", "data"]), after_help = "\
Examples:
  meshwire reply ping --data pong
  meshwire reply upper --exec 'tr a-z A-Z'
  meshwire reply quote --exec ./quote --json --concurrency 4

A command is run by sh for each request, with the request's data on standard input. What it
prints, without the last line break, is the data of the reply: JSON if it is an object or an
array, else text. When it ends with another code than 0 the request fails and says that code;
what it writes to its error stream is seen here. When the requester waits no more it is killed,
with what it started. All who serve a topic share its requests.

At SIGTERM no more requests are taken, and commands that run may finish; Ctrl-C (SIGINT) or
another signal kills them, and those who wait are told RESPONDER_LOST.

Exit codes:
  0  it ended as asked: --count, or a signal
  1  the connection was lost for good
  2  wrong arguments
  3  no gateway could be reached
  4  the gateway refused")]
pub(crate) struct Reply {
    /// The topic.
    #[arg(value_parser = args::topic)]
    topic: TopicName,
    /// Run this command for each request.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Answer each request with this: JSON if it is an object or an array, else text.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    data: Option<String>,
    /// Give the command the whole request, a CloudEvent in JSON, on one line.
    #[arg(long, conflicts_with = "data")]
    json: bool,
    /// The type of the replies. Default: the topic's name.
    #[arg(long = "type", value_name = "TYPE", value_parser = args::attribute)]
    kind: Option<String>,
    /// A name for those who serve together.
    #[arg(long, value_parser = args::group)]
    group: Option<GroupName>,
    /// Most commands that run at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    concurrency: u64,
    /// End after so many requests.
    #[arg(long, value_name = "N", value_parser = args::some)]
    count: Option<u64>,
    #[command(flatten)]
    server: Server,
}

impl Reply {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let Some(mesh) = self.server.connect(&mut stop).await? else {
            return Ok(Exit::Done);
        };
        let (answered, enough) = (AtomicU64::new(0), Notify::new());
        let prefetch = self.count.unwrap_or(u64::MAX).min(options::PREFETCH_EVENTS.default);
        let mut serve = mesh.serve(self.topic.as_str()).concurrency(self.concurrency.min(prefetch));
        serve = serve.prefetch(prefetch, options::PREFETCH_BYTES.default);
        if let Some(group) = &self.group {
            serve = serve.group(group.as_str());
        }
        let until = async {
            tokio::select! { () = stop.requested() => {}, () = enough.notified() => {} }
        };
        let served = serve.until(until).run(async |request: &Request| {
            let answer = self.answer(request).await;
            if Some(answered.fetch_add(1, Ordering::Relaxed) + 1) == self.count {
                enough.notify_one();
            }
            answer
        });
        let mut signals = Stop::listen()?;
        let served = tokio::select! {
            // It hears a signal first, so that the farewell waits for another one.
            biased;
            served = served => served,
            // Dropped, each handler kills its command.
            () = signals.at_once() => Ok(()),
        };
        leave(&mesh, &mut stop).await;
        Ok(served.map(|()| Exit::Done)?)
    }

    async fn answer(&self, request: &Request) -> Result<Event, String> {
        let kind = self.kind.as_deref().unwrap_or_default();
        match (&self.exec, &self.data) {
            (Some(command), _) => self.execute(command, request).await,
            (None, data) => Ok(events::of_data(kind, data.as_deref().unwrap_or_default())),
        }
    }

    async fn execute(&self, command: &str, request: &Request) -> Result<Event, String> {
        let cannot = |cause: std::io::Error| format!("the command cannot be run: {cause}");
        let mut asked = String::new();
        let input = if self.json {
            codec::json::write_line(&request.event(), &mut asked)
                .map_err(|e| format!("the request has no form in JSON: {e}"))?;
            asked.push('\n');
            asked.as_bytes()
        } else {
            request.event().data().bytes()
        };
        let mut child = Running::start(command).map_err(cannot)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A command that does not read its input is none that failed.
                let _ = stdin.write_all(input).await;
            }
        };
        let read = async {
            let mut said = Vec::new();
            match stdout {
                Some(stdout) => stdout.take(ANSWER_BYTES + 1).read_to_end(&mut said).await.map(|_| said),
                None => Ok(said),
            }
        };
        let ((), said) = tokio::join!(write, read);
        let said = said.map_err(cannot)?;
        if said.len() as u64 > ANSWER_BYTES {
            return Err(format!("the command answers with more than {ANSWER_BYTES} bytes"));
        }
        let status = child.wait().await.map_err(cannot)?;
        if !status.success() {
            return Err(format!("the command ended with {status}"));
        }
        let kind = self.kind.as_deref().unwrap_or_default();
        Ok(match String::from_utf8(said) {
            Ok(text) => events::of_data(kind, text.strip_suffix('\n').unwrap_or(&text)),
            Err(bytes) => Event::bytes(kind, bytes.into_bytes()),
        })
    }
}
