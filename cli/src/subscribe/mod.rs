//! `meshwire sub`: events to standard output, acknowledged once they are out.

use std::io;
use std::time::Duration;

use clap::Args;
use meshwire::{Delivery, ErrorKind, Mesh, Start, Subscription};
use meshwire_proto::{GroupName, MemberName, TopicName, counted, options};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::args;
use crate::config::parse_duration;
use crate::exit::{Exit, Failure};
use crate::server::{GRACE, Server, leave};
use crate::stop::Stop;
use crate::{logs, meant, output, place};

mod idle;
mod show;

use idle::Idle;

/// Most bytes written before they are flushed and acknowledged: what a slow reader of a pipe takes within any ack wait. One
/// event may pass over it.
const BATCH_BYTES: usize = 4 << 10;

/// Receive a topic's events and print them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire sub orders                                    from now on, until it is stopped
  meshwire sub orders --start earliest --until-idle 2s   all there is
  meshwire sub orders --start -10m                       what was stored in the last ten minutes
  meshwire sub orders --group billing --json | bill      each event once for the group
  meshwire sub orders --group billing --count 10
  meshwire sub orders --group caches --broadcast --member host1   every event, from where host1 was

An event is acknowledged once it is written: into a pipe, not once its reader has read it
(a pipe holds 64 KiB; --count takes no more than asked for). What is not written comes
again to the group, also when the reader of a pipe ends first.

Exit codes:
  0  it ended as asked: --count, --until-idle, a signal, or its reader is gone
  1  some events could not be printed or acknowledged (the others were), or the output
     could not be written
  2  wrong arguments
  3  no gateway could be reached
  4  the gateway refused the login or the subscription, or ended it")]
pub(crate) struct Subscribe {
    /// The topic.
    #[arg(value_parser = args::topic)]
    topic: TopicName,
    /// Share the events with the other members of this group, and go on where it was.
    #[arg(long, value_parser = args::group)]
    group: Option<GroupName>,
    /// Every member of the group gets every event: from now on, or with --member from where
    /// that member was.
    #[arg(long, requires = "group")]
    broadcast: bool,
    /// Be this durable member of the broadcast group: it has a place of its own, and one
    /// subscription at a time.
    #[arg(long, value_name = "NAME", value_parser = args::member, requires = "broadcast")]
    member: Option<MemberName>,
    /// Where a new group, a new member or a subscription without a group begins: earliest,
    /// latest, a position, or the first event stored at a time or later (2026-11-28T06:30:00Z,
    /// or -10m for ten minutes ago). Default: earliest for a group and for a member with a name,
    /// else latest. A group that exists goes on where it was, and says so. A position or time
    /// that no event has yet begins with the topic's next event.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true, value_parser = place::parse)]
    start: Option<Start>,
    /// Print CloudEvents in JSON, one a line.
    #[arg(long)]
    json: bool,
    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = args::some)]
    count: Option<u64>,
    /// End when no event came for so long while connected, such as 2s.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    until_idle: Option<Duration>,
    #[command(flatten)]
    server: Server,
}

impl Subscribe {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        logs::start_from_environment()?;
        let Some(mesh) = self.server.connect(&mut stop).await? else {
            return Ok(Exit::Done);
        };
        let exit = self.receive(&mesh, &mut stop).await;
        leave(&mesh, &mut stop).await;
        exit
    }

    async fn receive(&self, mesh: &Mesh, stop: &mut Stop) -> Result<Exit, Failure> {
        let subscription = tokio::select! {
            subscription = self.subscribe(mesh) => match subscription {
                Ok(subscription) => subscription,
                Err(error) => return Err(meant::explain(mesh, error, self.topic.as_str(), None).await),
            },
            () = stop.requested() => return Ok(Exit::Done),
        };
        let idle = Idle::new(self.until_idle, mesh.state());
        // Dropped at the end, it gives back what is unsettled.
        let mut printer =
            Printer { options: self, subscription, unsettled: Vec::new(), left: self.count, failures: 0, end: None };
        printer.run(idle, stop).await?;
        Ok(if printer.failures == 0 { Exit::Done } else { Exit::Failed })
    }

    async fn subscribe(&self, mesh: &Mesh) -> meshwire::Result<Subscription> {
        let mut subscribe = mesh.subscribe(self.topic.as_str());
        if let Some(group) = &self.group {
            subscribe = subscribe.group(group.as_str());
        }
        if self.broadcast {
            subscribe = subscribe.broadcast();
        }
        if let Some(member) = &self.member {
            subscribe = subscribe.member(member.as_str());
        }
        if let Some(start) = self.start {
            subscribe = subscribe.start(start);
        }
        if let Some(count) = self.count {
            // Other members of the group get what will not be printed here.
            let events = options::PREFETCH_EVENTS.default.min(count);
            subscribe = subscribe.prefetch(events, options::PREFETCH_BYTES.default);
        }
        subscribe.await
    }
}

struct Printer<'a> {
    options: &'a Subscribe,
    subscription: Subscription,
    /// Not known to be out. Dropped after the subscription, whose end gives them back.
    unsettled: Vec<Delivery>,
    /// Events still to print; `None`: all.
    left: Option<u64>,
    /// Events that could not be printed, or not be acknowledged.
    failures: u64,
    /// Why no more events come, once that is known.
    end: Option<Failure>,
}

impl Printer<'_> {
    /// Prints until told to stop, idle, at the count, or at a closed pipe.
    async fn run(&mut self, mut idle: Idle, stop: &mut Stop) -> Result<(), Failure> {
        while self.left != Some(0) {
            let first = tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                first = self.subscription.next() => first,
                () = idle.passed() => return Ok(()),
                () = output::reader_gone() => return Ok(()),
            };
            let Some(first) = first else { return Ok(()) };
            idle.heard();
            let Some(first) = self.readable(first)? else {
                continue;
            };
            let (text, written) = self.gather(first);
            let printed = match print(text, stop).await {
                Ok(printed @ (Printed::Out | Printed::OutThenStop)) => printed,
                unknown => {
                    self.unsettled = written;
                    return unknown.map(drop);
                }
            };
            let last = self.left == Some(0) || printed == Printed::OutThenStop;
            self.acknowledge(written, last).await;
            if let Some(failure) = self.end.take() {
                return Err(failure);
            }
            if last {
                return Ok(());
            }
            // Time spent writing is the reader's, not the gateway's.
            idle.heard();
        }
        Ok(())
    }

    /// Writes what is at hand into one text; with it, what is to ack once it is out.
    fn gather(&mut self, first: Delivery) -> (String, Vec<Delivery>) {
        let (mut text, mut written) = (String::new(), Vec::new());
        let mut next = Some(first);
        while let Some(delivery) = next {
            if delivery.gap() > 0 {
                output::note(self.missing(&delivery));
            }
            self.show(delivery, &mut text, &mut written);
            next = if text.len() < BATCH_BYTES && self.left != Some(0) { self.at_hand() } else { None };
        }
        (text, written)
    }

    /// What is said of events that are missing before one.
    fn missing(&self, delivery: &Delivery) -> String {
        let (events, position) = (counted(delivery.gap(), "event"), delivery.position());
        let durable = self.options.group.is_some() && (!self.options.broadcast || self.options.member.is_some());
        if durable {
            return format!("position {position}: retention removed {events} before it");
        }
        format!(
            "position {position}: {events} before it skipped: retention removed them (options retention, retention_bytes, \
             memory_ring_bytes), or this subscription was further behind than option max_lag_events on a topic of durability memory"
        )
    }

    fn at_hand(&mut self) -> Option<Delivery> {
        loop {
            let next = self.subscription.next_now().transpose()?;
            match self.readable(next) {
                Ok(Some(delivery)) => return Some(delivery),
                Ok(None) => {}
                Err(failure) => {
                    self.end = Some(failure);
                    return None;
                }
            }
        }
    }

    /// Acks what is out. The last ack of all is confirmed, and with it those
    /// before: who counts on the exit code is not told too much.
    async fn acknowledge(&mut self, mut written: Vec<Delivery>, last: bool) {
        let confirmed = if last && self.options.group.is_some() { written.pop() } else { None };
        written.into_iter().for_each(Delivery::ack);
        let Some(delivery) = confirmed else { return };
        let position = delivery.position();
        let problem = match timeout(GRACE, delivery.ack_confirmed()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{} ({})", error.message(), error.kind()),
            Err(_) => "the gateway does not answer".to_owned(),
        };
        self.failures += 1;
        output::note(format_args!("position {position}: printed, and it may come again: {problem}"));
    }

    fn show(&mut self, delivery: Delivery, text: &mut String, written: &mut Vec<Delivery>) {
        if !self.options.json {
            show::line(&delivery, text);
        } else if let Err(problem) = show::json(&delivery, text) {
            self.failures += 1;
            output::note(format_args!("position {}: {problem}", delivery.position()));
            if self.options.group.is_some() {
                // Its lease ends by itself, or with this subscription; another member may know the format.
                return drop(delivery);
            }
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        written.push(delivery);
    }

    /// An event that cannot be read is told and passed over; any other error is the end.
    fn readable(&mut self, delivery: meshwire::Result<Delivery>) -> Result<Option<Delivery>, Failure> {
        match delivery {
            Ok(delivery) => Ok(Some(delivery)),
            Err(error) if error.kind() == ErrorKind::Internal => {
                self.failures += 1;
                output::note(error);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// How far a batch came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Printed {
    /// It is out.
    Out,
    /// It is out, and a signal came meanwhile.
    OutThenStop,
    /// The reader is gone, or was too slow when a signal came.
    Unknown,
}

/// Writes and flushes, on a thread that may block.
async fn print(text: String, stop: &mut Stop) -> Result<Printed, Failure> {
    let mut writing = spawn_blocking(move || output::write(&text));
    let (written, printed) = tokio::select! {
        written = &mut writing => (Some(written), Printed::Out),
        // What a slow reader takes within the grace is still acknowledged.
        () = stop.requested() => (timeout(GRACE, &mut writing).await.ok(), Printed::OutThenStop),
    };
    match written.map(|joined| joined.unwrap_or_else(|e| Err(io::Error::other(e)))) {
        Some(Ok(())) => Ok(printed),
        None => Ok(Printed::Unknown),
        Some(Err(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::Unknown),
        Some(Err(cause)) => Err(Failure::new(Exit::Failed, format!("standard output cannot be written: {cause}"))),
    }
}
