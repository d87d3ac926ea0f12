//! What the client logs, kept for a host that fetches it: no thread of ours calls a logger of the host.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use meshwire::{Error, ErrorKind, Result};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::subscriber::{self, Interest};
use tracing::{Event, Metadata, Subscriber};

#[cfg(unix)]
use crate::bell::Bell;
use crate::process::PerProcess;

/// Most records that wait to be fetched; more push out the oldest.
const MOST: usize = 1024;

/// Most bytes of a record's text.
const TEXT_BYTES: usize = 4096;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Of use to whoever works on the library.
    Trace = 0,
    /// Of use when something is looked for.
    Debug = 1,
    /// As it should be.
    Info = 2,
    /// Something went wrong, and goes on.
    Warn = 3,
    /// Something went wrong for good.
    Error = 4,
}

/// One thing that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How grave it is.
    pub level: Level,
    /// When, by the system's clock.
    pub time: SystemTime,
    /// The part of the client, as `meshwire::driver`.
    pub target: String,
    /// The sentence, with ` name=value` behind it for each field; in double quotes where a value has blanks. At most 4 KiB.
    pub text: String,
    /// How much of it is the sentence.
    sentence: usize,
    /// What it is about, by name, for a host whose logs have fields of their own.
    pub fields: Vec<(&'static str, String)>,
}

impl Record {
    /// The sentence alone.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.text.get(..self.sentence).unwrap_or(&self.text)
    }
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Record>,
    dropped: u64,
    /// From which level on. `None`: not yet, or not any more.
    least: Option<Level>,
    closed: bool,
    #[cfg(unix)]
    bell: Option<Bell>,
}

impl Kept {
    fn keep_from(&mut self, least: Level) {
        self.least = Some(least);
        LEAST.store(least as u8, Ordering::Relaxed);
    }

    /// What an event loop sees of it.
    fn ring(&mut self) {
        #[cfg(unix)]
        if let Some(bell) = &mut self.bell {
            bell.set(!self.records.is_empty() || self.closed);
        }
    }
}

/// Records that wait, of one process.
#[derive(Debug, Default)]
struct Logs {
    kept: Mutex<Kept>,
    changed: Condvar,
}

fn logs() -> &'static Logs {
    static LOGS: PerProcess<Logs> = PerProcess::new();
    LOGS.here(|_| Logs::default())
}

impl Logs {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: Record) {
        let mut kept = self.kept();
        if kept.least.is_none_or(|least| record.level < least) {
            return;
        }
        if kept.records.len() == MOST {
            kept.records.pop_front();
            kept.dropped += 1;
        }
        kept.records.push_back(record);
        kept.ring();
        drop(kept);
        self.changed.notify_one();
    }
}

/// The level that this process keeps logs from: what is below it costs a look at this.
static LEAST: AtomicU8 = AtomicU8::new(u8::MAX);

/// Keeps from now on what the client logs at this level and above, for [`take_logs`]; for the whole process, and once. A child of `fork`
/// asks for its own.
///
/// # Errors
/// `ALREADY_EXISTS`: logs are kept already, or a Rust program around this library has a subscriber of its own.
pub fn keep_logs(least: Level) -> Result<()> {
    static OURS: OnceLock<bool> = OnceLock::new();
    let ours = *OURS.get_or_init(|| subscriber::set_global_default(Keeper).is_ok());
    let mut kept = logs().kept();
    if !ours || kept.least.is_some() || kept.closed {
        let text = "the logs of this process go somewhere already: they can be directed once";
        return Err(Error::of_host(ErrorKind::AlreadyExists, "logs", text));
    }
    kept.keep_from(least);
    Ok(())
}

/// Keeps it from another level on, in place of that of [`keep_logs`].
///
/// # Errors
/// `INVALID`: no logs are kept.
pub fn keep_logs_from(least: Level) -> Result<()> {
    let mut kept = logs().kept();
    if kept.least.is_none() {
        let text = "no logs are kept in this process: say first that they are to be";
        return Err(Error::of_host(ErrorKind::Invalid, "logs", text));
    }
    kept.keep_from(least);
    Ok(())
}

/// Waits for records, for at most so long (`None`: as long as it takes), and gives those that wait, and how many were pushed out since the
/// last time since nobody fetched them. `None`: they are kept no more, or are not kept at all.
#[must_use]
pub fn take_logs(wait: Option<Duration>) -> Option<(Vec<Record>, u64)> {
    let logs = logs();
    let until = wait.and_then(|wait| Instant::now().checked_add(wait));
    let mut kept = logs.kept();
    while kept.records.is_empty() && kept.least.is_some() {
        kept = match (wait, until) {
            (Some(_), Some(until)) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Some((Vec::new(), 0));
                }
                logs.changed.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0
            }
            _ => logs.changed.wait(kept).unwrap_or_else(PoisonError::into_inner),
        };
    }
    if kept.records.is_empty() {
        return None;
    }
    let records = kept.records.drain(..).collect();
    kept.ring();
    Some((records, std::mem::take(&mut kept.dropped)))
}

/// Keeps no more records; whoever waits gets those that are there, and then the end. For the end of the process.
pub fn close_logs() {
    let mut kept = logs().kept();
    (kept.least, kept.closed) = (None, true);
    kept.ring();
    drop(kept);
    logs().changed.notify_all();
}

/// A descriptor that is readable while there are records to take, or no more come, as
/// [`Queue::descriptor`](crate::Queue::descriptor) of completions.
///
/// # Errors
/// `INTERNAL`: the system gives none.
#[cfg(unix)]
pub fn logs_descriptor() -> Result<std::os::fd::RawFd> {
    let mut kept = logs().kept();
    let bell = match kept.bell.take() {
        Some(bell) => bell,
        None => Bell::new()?,
    };
    let descriptor = bell.descriptor();
    kept.bell = Some(bell);
    kept.ring();
    Ok(descriptor)
}

/// What `tracing` tells.
struct Keeper;

impl From<&tracing::Level> for Level {
    fn from(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

impl Subscriber for Keeper {
    // Nothing is remembered of a place in the code: a child of `fork` may ask for more than its parent did.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let ours = metadata.is_event() && metadata.target().starts_with("meshwire");
        if ours { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("meshwire");
        metadata.is_event() && ours && Level::from(metadata.level()) as u8 >= LEAST.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line { mut text, fields } = line;
        let sentence = text.len();
        for (name, value) in &fields {
            // Writing to a string does not fail.
            let _ = if value.is_empty() || value.contains(|letter: char| letter.is_whitespace() || letter == '"') {
                write!(text, " {name}={value:?}")
            } else {
                write!(text, " {name}={value}")
            };
        }
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        let metadata = event.metadata();
        let (level, target) = (metadata.level().into(), metadata.target().to_owned());
        logs().push(Record { level, time: SystemTime::now(), target, text, sentence, fields });
    }

    // There are no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A record's text while it is put together.
#[derive(Default)]
struct Line {
    text: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match field.name() {
            // Writing to a string does not fail.
            "message" => drop(self.text.write_fmt(value)),
            name => {
                let mut value = value.to_string();
                value.truncate(value.floor_char_boundary(TEXT_BYTES));
                self.fields.push((name, value));
            }
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, format_args!("{value:?}"));
    }
}
