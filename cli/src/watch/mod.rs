//! `meshwire watch`: a live table of topics and groups.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use meshwire::{Mesh, State, Topic};
use meshwire_proto::TopicName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::args;
use crate::config::{nearest, parse_duration, show_duration};
use crate::exit::{Exit, Failure};
use crate::server::{Server, leave};
use crate::stop::Stop;
use crate::{logs, output};

mod frame;
mod keys;
mod look;
mod screen;

use frame::Frame;
use keys::Key;
use look::Look;
use screen::Screen;

/// Bounds of the time between two looks, in milliseconds. A guess: faster is no use to
/// eyes, and a listing costs the gateway as much as a few hundred events.
const LEAST_EVERY: u64 = 200;
const MOST_EVERY: u64 = 3_600_000;

/// Watch topics and groups: rates, lag, what is in flight, what fails.
#[derive(Args)]
#[command(after_help = "\
Examples:
  meshwire watch
  meshwire watch orders payments --every 5s
  meshwire watch --once --json

On a terminal the table is drawn anew at every look; q or Ctrl-C ends it, j and k move it. Elsewhere, and
with --once or --json, each look is printed.

events   events that can be read            in/s     published a second, since the last look
out/s    settled a second                   lag      events that are not settled
flight   of them, those with a member       fail     of them, those that have failed
oldest   age of the oldest of them          dead     dead letters")]
pub(crate) struct Watch {
    /// Only these topics. Default: all.
    #[arg(value_parser = args::topic)]
    topics: Vec<TopicName>,
    /// Time between two looks, such as 2s; from 200ms to 1h.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = every)]
    every: Duration,
    /// Look once, without rates, and end.
    #[arg(long)]
    once: bool,
    /// Print one JSON object a look, on a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text)?;
    let millis = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    if (LEAST_EVERY..=MOST_EVERY).contains(&millis) {
        return Ok(every);
    }
    Err(format!("from {} to {} is accepted", show_duration(LEAST_EVERY), show_duration(MOST_EVERY)))
}

impl Watch {
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        let live = io::stdout().is_terminal() && !self.once && !self.json;
        if live && io::stderr().is_terminal() {
            // Lines of the log would be written over the table.
            logs::start(&tracing::Level::ERROR.into());
        } else {
            logs::start_from_environment()?;
        }
        let Some(mesh) = self.server.connect(&mut stop).await? else {
            return Ok(Exit::Done);
        };
        if let Some(failure) = self.absent(&mesh, &mut stop).await? {
            leave(&mesh, &mut stop).await;
            return Err(failure);
        }
        let exit = if live { self.draw(&mesh, &mut stop).await } else { self.print(&mesh, &mut stop).await };
        leave(&mesh, &mut stop).await;
        exit
    }

    async fn listed(mesh: &Mesh) -> meshwire::Result<Vec<Topic>> {
        mesh.topics().list().await
    }

    /// Why there is nothing to watch: a topic that does not exist at the beginning. One that goes or comes later is none.
    async fn absent(&self, mesh: &Mesh, stop: &mut Stop) -> Result<Option<Failure>, Failure> {
        if self.topics.is_empty() {
            return Ok(None);
        }
        let topics = tokio::select! {
            topics = Self::listed(mesh) => topics?,
            () = stop.requested() => return Ok(None),
        };
        let Some(name) = self.topics.iter().find(|name| topics.iter().all(|topic| topic.name != name.as_str())) else {
            return Ok(None);
        };
        let failure = Failure::new(Exit::Refused, format!("topic {name} does not exist (TOPIC_NOT_FOUND)"));
        let near = nearest(name.as_str(), topics.iter().map(|topic| topic.name.as_str()));
        Ok(Some(match near {
            Some(near) => failure.with_hint(&format!("did you mean {near}?")),
            None => failure,
        }))
    }

    /// The next look, not before that moment.
    async fn look(&self, mesh: &Mesh, at: Instant) -> meshwire::Result<Look> {
        sleep_until(at).await;
        let mut topics = mesh.topics().list().await?;
        if !self.topics.is_empty() {
            topics.retain(|topic| self.topics.iter().any(|name| name.as_str() == topic.name));
        }
        Ok(Look { at: Instant::now(), topics })
    }

    async fn print(&self, mesh: &Mesh, stop: &mut Stop) -> Result<Exit, Failure> {
        let (mut before, mut next) = (None, Instant::now());
        loop {
            let now = tokio::select! {
                now = self.look(mesh, next) => now?,
                () = stop.requested() => return Ok(Exit::Done),
                () = output::reader_gone() => return Ok(Exit::Done),
            };
            let mut text = String::new();
            if self.json {
                output::object(&look::json(before.as_ref(), &now), &mut text);
            } else {
                let lines = look::table(&look::rows(before.as_ref(), &now)).lines(usize::MAX);
                lines.iter().for_each(|line| text += &format!("{line}\n"));
                if !self.once {
                    text.push('\n');
                }
            }
            if output::write(&text).is_err() {
                return Ok(Exit::Failed);
            }
            if self.once {
                return Ok(Exit::Done);
            }
            next = now.at + self.every;
            before = Some(now);
        }
    }

    async fn draw(&self, mesh: &Mesh, stop: &mut Stop) -> Result<Exit, Failure> {
        let no_screen =
            |cause: io::Error| Failure::new(Exit::Failed, format!("the terminal cannot be drawn on: {cause}"));
        let mut resized = signal(SignalKind::window_change()).map_err(no_screen)?;
        let mut state = mesh.state();
        let mut keys = keys::read();
        let screen = Screen::open().map_err(no_screen)?;
        let (mut rows, mut before, mut top) = (None, None, 0);
        let mut looking = std::pin::pin!(self.look(mesh, Instant::now()));
        loop {
            let frame = Frame { rows: rows.as_deref(), head: &self.head(*state.borrow()), top };
            top = screen.draw(&frame).map_err(no_screen)?;
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(Exit::Done),
                Some(key) = keys.recv() => match key {
                    Key::Quit => return Ok(Exit::Done),
                    Key::Down => top += 1,
                    Key::Up => top = top.saturating_sub(1),
                },
                _ = resized.recv() => {}
                Ok(()) = state.changed() => {}
                look = &mut looking => {
                    let now = look?;
                    rows = Some(look::rows(before.as_ref(), &now));
                    looking.set(self.look(mesh, now.at + self.every));
                    before = Some(now);
                }
            }
        }
    }

    fn head(&self, state: State) -> String {
        let every = show_duration(u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX));
        match state {
            State::Connected => format!("meshwire watch, every {every}; q ends"),
            state => format!("meshwire watch: {state:?}, what is shown is old; q ends").to_lowercase(),
        }
    }
}
