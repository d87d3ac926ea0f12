//! `meshwire pub`: events from a file, or one from the command line.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clap::{ArgGroup, Args};
use meshwire::{ErrorKind, Event, Mesh, PendingReceipt, Receipt};
use meshwire_proto::TopicName;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::args;
use crate::events::{self, Batch, Item, Place, read_in_background};
use crate::exit::{Exit, Failure};
use crate::progress::{self, Part, Progress};
use crate::server::{GRACE, Server, leave};
use crate::stop::Stop;
use crate::timing::When;
use crate::{logs, meant, output};

mod busy;
mod failures;
mod offline;
mod tally;

use busy::Busy;
use offline::OfflineFile;
use tally::{Earlier, Tally};

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

A gateway that is too busy, or over its publish rate, slows publishers down and refuses what it
has no memory for after 5 s (BUSY): nothing of that is kept, and it is published again when the
gateway says. It counts as failed after 30 s in which nothing was taken, or after --wait if that is
said; at once if the gateway names a wait that is longer. Behind an event that is published again
others of its file may be kept already.

Interrupted, it says how many are acknowledged.

With --offline-file events are first put into that file, and published from there: what an earlier
command left goes first. Without a gateway they stay in it, which is no failure, and the next
command with the same file publishes them. There it waits out a gateway that is too busy.

Exit codes:
  0  every event is published, or was there already; or waits in the --offline-file
  1  anything else: some failed and others did not, they failed in different ways, what
     became of one is not known, the --offline-file is in use, its disk full, or it cannot be
     opened just now, or it was interrupted
  2  wrong arguments, or a file that they name; or no event was published, and all of them
     are wrong in themselves
  3  no gateway could be reached, or none that is trusted: nothing was sent
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
    /// Print each receipt, one JSON object a line, in the order of the events; those that had to
    /// be published again come later. An event that failed is a line with code and message,
    /// as soon as that is known.
    #[arg(long)]
    json: bool,
    /// Show no progress on a terminal.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    offline: OfflineFile,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    server: Server,
}

impl Publish {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let (mut source, part) = self.source()?;
        let Some(mesh) = self.connect(&mut stop).await? else {
            output::note("published 0, interrupted before a gateway was reached");
            return Ok(Exit::Failed);
        };
        let topic = self.topic.as_str();
        let name = self.file.as_deref().map_or_else(String::new, source_name);
        let mut tally = Tally::new(self.json, Progress::new(self.quiet, part));
        tally.file = self.offline.name();
        let (pending, busy) = (VecDeque::new(), Busy::new(self.server.patience()));
        let mut publisher = Publisher { mesh: &mesh, topic, when: self.when, source: name, pending, busy, tally };
        let interrupted = publisher.feed(&mut source, &mut stop).await;
        drop(source);
        let finished = if self.offline.is_used() {
            let wait = if interrupted { Duration::ZERO } else { self.server.wait() };
            tokio::select! { () = publisher.finish_offline(interrupted, wait) => true, () = stop.requested() => false }
        } else if interrupted {
            let waiting = timeout(GRACE, publisher.finish());
            tokio::select! { done = waiting => done.is_ok(), () = stop.requested() => false }
        } else {
            tokio::select! { () = publisher.finish() => true, () = stop.requested() => false }
        };
        let Publisher { pending, busy, mut tally, .. } = publisher;
        tally.interrupted = interrupted || !finished;
        for Sent { place, .. } in pending {
            tally.unanswered(place);
        }
        for (item, error) in busy.into_waiting() {
            tally.refused(item.place, &error);
        }
        tally.earlier(Earlier::of(&mesh.stats()));
        tally.tell_failures();
        if tally.no_topic
            && let Some(hint) = meant::hint(&mesh, ErrorKind::TopicNotFound, topic, None).await
        {
            output::note(hint);
        }
        let exit = tally.tell();
        leave(&mesh, &mut stop).await;
        Ok(exit)
    }

    async fn connect(&self, stop: &mut Stop) -> Result<Option<Mesh>, Failure> {
        let connected = self.server.connect_with(stop, |connect| self.offline.apply(connect)).await;
        if !self.offline.is_used() {
            return connected;
        }
        // No gateway was asked: it is the file.
        connected.map_err(|mut failure| {
            // What passes, such as that another command has it or its disk is full, is no mistake in what was typed.
            failure.exit = if failure.passes { Exit::Failed } else { Exit::Usage };
            failure
        })
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
    pending: VecDeque<Sent>,
    busy: Busy,
    tally: Tally,
}

/// An event on its way, kept for when the gateway is too busy for it.
struct Sent {
    place: Place,
    event: Event,
    receipt: PendingReceipt,
}

impl Publisher<'_> {
    /// Publishes until the source ends; whether a signal or the client's end came first.
    async fn feed(&mut self, source: &mut mpsc::Receiver<Batch>, stop: &mut Stop) -> bool {
        let mut again = interval(progress::EVERY);
        loop {
            self.take_ready();
            self.tally.flush();
            self.tally.progress(self.pending.len() + self.busy.len());
            let (due, tells) = (self.due(), self.tally.due());
            let batch = tokio::select! {
                biased;
                () = stop.requested() => return true,
                _ = again.tick(), if self.tally.progress.is_on() => continue,
                () = sleep_until(tells.unwrap_or_else(Instant::now)), if tells.is_some() => continue,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
                () = self.take_next(), if !self.pending.is_empty() => continue,
                // What waits goes before what is new.
                batch = source.recv(), if self.busy.is_empty() => Some(batch),
            };
            let Some(batch) = batch else {
                tokio::select! {
                    biased;
                    () = stop.requested() => return true,
                    closed = self.publish_again() => if closed { return false },
                }
                continue;
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
        let mut is_closed = false;
        let mut good = Vec::with_capacity(items.len());
        for Item { place, event } in items {
            match event {
                Ok(event) => good.push((place, event)),
                Err(problem) => {
                    // What is wrong is told in the order of the source.
                    is_closed |= self.start(std::mem::take(&mut good)).await;
                    self.tally.bad(place, ErrorKind::Invalid, &problem);
                }
            }
        }
        is_closed | self.start(good).await
    }

    /// [`Publisher::publish`], of events that are none the worse so far.
    async fn start(&mut self, good: Vec<(Place, Event)>) -> bool {
        let mut is_closed = false;
        let events = good.iter().map(|(_, event)| self.when.of(event.clone())).collect();
        let started = self.mesh.publish_start_all(self.topic, events).await;
        for ((place, event), started) in good.into_iter().zip(started) {
            match started {
                Ok(receipt) => self.pending.push_back(Sent { place, event, receipt }),
                Err(error) => {
                    match error.kind() {
                        // Found out here, before it was sent.
                        ErrorKind::Invalid | ErrorKind::TooLarge => {
                            self.tally.bad(place, error.kind(), error.message());
                        }
                        _ => self.tally.refused(place, &error),
                    }
                    is_closed |= error.kind() == ErrorKind::Closed;
                }
            }
        }
        is_closed
    }

    /// When what the gateway was too busy for is published again: once all else is answered, to keep its order as far as
    /// can be.
    fn due(&self) -> Option<Instant> {
        self.busy.due().filter(|_| self.pending.is_empty())
    }

    /// The same as [`Publisher::publish`], with what waits.
    async fn publish_again(&mut self) -> bool {
        let items = self.busy.take();
        self.publish(items).await
    }

    /// Takes every receipt that is there.
    fn take_ready(&mut self) {
        while let Some(sent) = self.pending.front_mut() {
            match Pin::new(&mut sent.receipt).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return,
                Poll::Ready(result) => self.answered(result),
            }
        }
    }

    /// Waits for the oldest receipt.
    async fn take_next(&mut self) {
        if let Some(sent) = self.pending.front_mut() {
            let result = (&mut sent.receipt).await;
            self.answered(result);
        }
    }

    /// The oldest one is answered.
    fn answered(&mut self, result: meshwire::Result<Receipt>) {
        let Some(Sent { place, event, .. }) = self.pending.pop_front() else {
            return;
        };
        match result {
            Ok(receipt) => {
                self.busy.over();
                self.tally.published(place, &receipt);
            }
            Err(error) if self.tally.file.is_some() && error.kind() == ErrorKind::Closed => self.tally.waits(place),
            Err(error) if self.busy.waits_for(&error) => {
                if self.busy.is_new() {
                    self.tally.progress.clear();
                    output::note(format_args!("it is published again when the gateway says: {}", error.message()));
                }
                self.busy.push(Item { place, event: Ok(event) }, error);
            }
            Err(error) => match self.busy.why_not(&error) {
                Some(why) => self.tally.refused_as(place, &error, &format!("{}; {why}", error.message())),
                None => self.tally.refused(place, &error),
            },
        }
    }

    /// Waits for all receipts.
    async fn finish(&mut self) {
        let mut again = interval(progress::EVERY);
        while !self.pending.is_empty() || !self.busy.is_empty() {
            self.tally.progress(self.pending.len() + self.busy.len());
            let (due, tells) = (self.due(), self.tally.due());
            let is_due = tokio::select! {
                _ = again.tick(), if self.tally.progress.is_on() => continue,
                () = sleep_until(tells.unwrap_or_else(Instant::now)), if tells.is_some() => false,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => true,
                () = self.take_next(), if !self.pending.is_empty() => false,
            };
            if is_due && self.publish_again().await {
                return;
            }
            self.take_ready();
            self.tally.flush();
        }
    }
}
