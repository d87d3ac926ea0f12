//! `meshwire pub`: events from a file, or one from the command line.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use clap::{ArgGroup, Args};
use meshwire::{ErrorKind, Event, Mesh, PendingReceipt, Receipt};
use meshwire_proto::TopicName;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::args;
use crate::events::{self, Batch, Item, Place, read_in_background};
use crate::exit::{self, Exit, Failure};
use crate::progress::{self, Part, Progress};
use crate::server::{GRACE, Server, leave};
use crate::stop::Stop;
use crate::timing::When;
use crate::{logs, meant, output};

/// Most failures told one by one.
const TOLD_FAILURES: u64 = 20;

/// Publish events to a topic and wait for their receipts.
#[derive(Args)]
#[command(group = ArgGroup::new("source").required(true).args(["file", "data"]), after_help = "\
Examples:
  meshwire pub orders --file events.ndjson
  generate | meshwire pub orders --file - --json
  meshwire pub orders --data '{\"id\": 1}' --type order.created --key customer-7
  meshwire pub reminders --data 'call back' --deliver-after 10m --expires-in 1h

A file holds CloudEvents in JSON: one object a line, or an array. A bad one is told
with its place and the others are published, in their order.

What is absent is filled in: specversion 1.0; id, a new one (UUIDv7); source,
//HOST/PROGRAM; type, the topic's name; time, now; datacontenttype, application/json
for data in a file, and text/plain for --data that is no JSON object or array.
What is there stays as it is.

Interrupted, it says how many are acknowledged.

Exit codes:
  0  every event is published, or was there already
  1  anything else: some failed and others did not, they failed in different ways, what
     became of one is not known, or it was interrupted
  2  wrong arguments; or no event was published, and all of them are wrong in themselves
  3  no gateway could be reached: nothing was sent
  4  no event was published, and the gateway refused all of them, or the login")]
pub(crate) struct Publish {
    /// The topic.
    #[arg(value_parser = args::topic)]
    topic: TopicName,
    /// Publish the CloudEvents of this file; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Publish one event with this data: JSON if it is an object or an array, else text.
    /// What begins like JSON and is none is text, with a warning. A whole CloudEvent is data
    /// too, with a warning.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    data: Option<String>,
    /// The one event's type. Default: the topic's name.
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "file", value_parser = args::attribute)]
    kind: Option<String>,
    /// The one event's partitionkey: events of one key are delivered in order.
    #[arg(long, conflicts_with = "file", value_parser = args::attribute)]
    key: Option<String>,
    /// The one event's id. Default: a new one.
    #[arg(long, conflicts_with = "file", value_parser = args::attribute)]
    id: Option<String>,
    /// Print each receipt, one JSON object a line, in the order of the events. An event
    /// that failed is a line with code and message, as soon as that is known.
    #[arg(long)]
    json: bool,
    /// Show no progress on a terminal.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    server: Server,
}

impl Publish {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let (mut source, part) = self.source()?;
        let Some(mesh) = self.server.connect(&mut stop).await? else {
            output::note("published 0, interrupted before a gateway was reached");
            return Ok(Exit::Failed);
        };
        let topic = self.topic.as_str();
        let name = self.file.as_deref().map_or_else(String::new, source_name);
        let tally = Tally::new(self.json, Progress::new(self.quiet, part));
        let mut publisher =
            Publisher { mesh: &mesh, topic, when: self.when, source: name, pending: VecDeque::new(), tally };
        let interrupted = publisher.feed(&mut source, &mut stop).await;
        drop(source);
        let finished = if interrupted {
            let waiting = timeout(GRACE, publisher.finish());
            tokio::select! { done = waiting => done.is_ok(), () = stop.requested() => false }
        } else {
            tokio::select! { () = publisher.finish() => true, () = stop.requested() => false }
        };
        let Publisher { pending, mut tally, .. } = publisher;
        tally.interrupted = interrupted || !finished;
        for (place, _) in pending {
            tally.unanswered(place);
        }
        if tally.no_topic
            && let Some(hint) = meant::hint(&mesh, ErrorKind::TopicNotFound, topic, None).await
        {
            output::note(hint);
        }
        let exit = tally.tell();
        leave(&mesh, &mut stop).await;
        Ok(exit)
    }

    fn source(&self) -> Result<(mpsc::Receiver<Batch>, Option<Part>), Failure> {
        if let Some(path) = &self.file {
            return read_in_background(path)
                .map_err(|cause| Failure::new(Exit::Usage, format!("{} cannot be read: {cause}", source_name(path))));
        }
        let place = Place { number: 1, line: None, by_line: false };
        let (sender, source) = mpsc::channel(1);
        // The channel has room for the one event.
        let _ = sender.try_send(Ok(vec![Item { place, event: Ok(self.event()) }]));
        Ok((source, None))
    }

    fn event(&self) -> Event {
        let (kind, data) = (self.kind.as_deref(), self.data.as_deref());
        let mut event = events::of_text(kind.unwrap_or_default(), data.unwrap_or_default());
        if let Some(key) = &self.key {
            event = event.key(key);
        }
        if let Some(id) = &self.id {
            event = event.id(id);
        }
        event
    }
}

fn source_name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Keeps many publishes on their way and takes their receipts in order.
struct Publisher<'a> {
    mesh: &'a Mesh,
    topic: &'a str,
    when: When,
    /// The name of what is read.
    source: String,
    pending: VecDeque<(Place, PendingReceipt)>,
    tally: Tally,
}

impl Publisher<'_> {
    /// Publishes until the source ends; whether a signal or the client's end came first.
    async fn feed(&mut self, source: &mut mpsc::Receiver<Batch>, stop: &mut Stop) -> bool {
        let mut again = interval(progress::EVERY);
        loop {
            self.take_ready();
            self.tally.flush();
            self.tally.progress(self.pending.len());
            let batch = tokio::select! {
                biased;
                () = stop.requested() => return true,
                _ = again.tick(), if self.tally.progress.is_on() => continue,
                () = self.take_next(), if !self.pending.is_empty() => continue,
                batch = source.recv() => batch,
            };
            let items = match batch {
                None => return false,
                Some(Err(cause)) => {
                    self.tally.unreadable(&self.source, &cause);
                    return false;
                }
                Some(Ok(items)) => items,
            };
            tokio::select! {
                biased;
                () = stop.requested() => return true,
                closed = self.publish(items) => if closed { return false },
            }
        }
    }

    /// Starts to publish; whether the client has ended, so that more is no use.
    async fn publish(&mut self, items: Vec<Item>) -> bool {
        for Item { place, event } in items {
            let event = match event {
                Ok(event) => event,
                Err(problem) => {
                    self.tally.bad(place, ErrorKind::Invalid, &problem);
                    continue;
                }
            };
            match self.mesh.publish_start(self.topic, self.when.of(event)).await {
                Ok(receipt) => self.pending.push_back((place, receipt)),
                Err(error) => {
                    match error.kind() {
                        // Found out here, before it was sent.
                        ErrorKind::Invalid | ErrorKind::TooLarge => {
                            self.tally.bad(place, error.kind(), error.message());
                        }
                        _ => self.tally.refused(place, &error),
                    }
                    if error.kind() == ErrorKind::Closed {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Takes every receipt that is there.
    fn take_ready(&mut self) {
        while let Some((place, receipt)) = self.pending.front_mut() {
            let place = *place;
            match Pin::new(receipt).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return,
                Poll::Ready(result) => self.answered(place, result),
            }
        }
    }

    /// Waits for the oldest receipt.
    async fn take_next(&mut self) {
        if let Some((place, receipt)) = self.pending.front_mut() {
            let place = *place;
            let result = receipt.await;
            self.answered(place, result);
        }
    }

    fn answered(&mut self, place: Place, result: meshwire::Result<Receipt>) {
        self.pending.pop_front();
        match result {
            Ok(receipt) => self.tally.published(place, &receipt),
            Err(error) => self.tally.refused(place, &error),
        }
    }

    /// Waits for all receipts.
    async fn finish(&mut self) {
        let mut again = interval(progress::EVERY);
        while !self.pending.is_empty() {
            self.tally.progress(self.pending.len());
            tokio::select! {
                _ = again.tick(), if self.tally.progress.is_on() => continue,
                () = self.take_next() => {}
            }
            self.take_ready();
            self.tally.flush();
        }
    }
}

/// A receipt as it is printed with `--json`. Positions are strings: they are
/// opaque, and numbers of JSON end at 2^53.
#[derive(Serialize)]
struct ReceiptLine {
    /// Which event of the source, from 1.
    event: u64,
    line: Option<u64>,
    /// `null` when it became known by a reconnect only that the event is kept, and while it waits for its time.
    position: Option<String>,
    duplicate: bool,
}

/// An event that failed, or whose answer was not waited for, as it is printed with `--json`.
#[derive(Serialize)]
struct FailureLine<'a> {
    event: u64,
    line: Option<u64>,
    code: &'static str,
    message: &'a str,
}

/// What became of the events, for the last line and the exit code.
struct Tally {
    json: bool,
    progress: Progress,
    lines: String,
    published: u64,
    duplicates: u64,
    failed: u64,
    /// Of the failed: those told one by one.
    told: u64,
    /// Of the failed: those that the gateway said no to.
    refused: u64,
    /// Of the failed: those that were never sent, since the input is wrong.
    bad: u64,
    unanswered: u64,
    interrupted: bool,
    /// Events failed because the topic does not exist.
    no_topic: bool,
}

impl Tally {
    const fn new(json: bool, progress: Progress) -> Self {
        let lines = String::new();
        Self {
            json,
            progress,
            lines,
            published: 0,
            duplicates: 0,
            failed: 0,
            told: 0,
            refused: 0,
            bad: 0,
            unanswered: 0,
            interrupted: false,
            no_topic: false,
        }
    }

    fn progress(&mut self, unanswered: usize) {
        self.progress.show(self.published, self.failed, unanswered);
    }

    fn published(&mut self, place: Place, receipt: &Receipt) {
        self.published += 1;
        self.duplicates += u64::from(receipt.duplicate);
        if self.json {
            let line = ReceiptLine {
                event: place.number,
                line: place.line,
                position: receipt.position.map(|p| p.to_string()),
                duplicate: receipt.duplicate,
            };
            output::object(&line, &mut self.lines);
        }
    }

    /// The command and its topic are known: a place, a sentence and a code say it all.
    fn failed(&mut self, place: Place, kind: ErrorKind, message: &str) {
        self.failed += 1;
        if self.told < TOLD_FAILURES {
            self.told += 1;
            self.progress.clear();
            output::note(format_args!("{place}: {message} ({kind})"));
        }
        self.print_failure(place, kind, message);
    }

    fn print_failure(&mut self, place: Place, kind: ErrorKind, message: &str) {
        if self.json {
            let line = FailureLine { event: place.number, line: place.line, code: kind.code(), message };
            output::object(&line, &mut self.lines);
        }
    }

    fn bad(&mut self, place: Place, kind: ErrorKind, message: &str) {
        self.bad += 1;
        self.failed(place, kind, message);
    }

    fn refused(&mut self, place: Place, error: &meshwire::Error) {
        self.no_topic |= error.kind() == ErrorKind::TopicNotFound;
        self.refused += u64::from(exit::of(error.kind()) == Exit::Refused);
        self.failed(place, error.kind(), error.message());
    }

    /// The source broke off: how many events it had left is not known.
    fn unreadable(&mut self, source: &str, cause: &std::io::Error) {
        (self.failed, self.bad, self.told) = (self.failed + 1, self.bad + 1, self.told + 1);
        self.progress.clear();
        output::note(format_args!("{source}: cannot be read further: {cause}"));
    }

    /// The command ends before the answer to this one.
    fn unanswered(&mut self, place: Place) {
        self.unanswered += 1;
        let message = "interrupted before its answer; it may be kept or not";
        self.print_failure(place, ErrorKind::Cancelled, message);
    }

    /// Prints the receipts so far. A reader that is gone does not stop the publishing.
    fn flush(&mut self) {
        if !self.lines.is_empty() {
            self.progress.clear();
        }
        if !self.lines.is_empty() && output::write(&self.lines).is_err() {
            self.json = false;
        }
        self.lines.clear();
    }

    /// Prints the last lines; the exit code.
    fn tell(mut self) -> Exit {
        self.flush();
        self.progress.clear();
        if self.failed > self.told {
            output::note(format_args!("and {} more failures", self.failed - self.told));
        }
        let mut line = format!("published {}", self.published);
        if self.duplicates > 0 {
            line += &format!(" ({} were there already)", self.duplicates);
        }
        if self.failed > 0 {
            line += &format!(", failed {}", self.failed);
        }
        if self.interrupted {
            line += ", interrupted";
        }
        if self.unanswered > 0 {
            line += &format!("; {} without an answer, which may be kept or not", self.unanswered);
        }
        // Receipts own standard output when they are asked for.
        if self.json {
            output::note(line);
        } else if let Err(cause) = output::write(&format!("{line}\n")) {
            output::note(format_args!("standard output: {cause}; {line}"));
        }
        self.exit()
    }

    const fn exit(&self) -> Exit {
        match (self.failed, self.published, self.interrupted) {
            (0, _, false) => Exit::Done,
            (failed, 0, false) if failed == self.bad => Exit::Usage,
            (failed, 0, false) if failed == self.refused => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}
