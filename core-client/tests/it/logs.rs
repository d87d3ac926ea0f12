//! What the client says in the log, for tests that stay on one thread.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps each line of this level and above with its thread.
struct Logs(Level);

/// Keeps the lines of this thread from now on.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Logs(Level::INFO)).unwrap());
    LINES.take();
}

/// Keeps every line of this thread, libraries' too, until what it gives is dropped.
pub(crate) fn keep_all() -> tracing::subscriber::DefaultGuard {
    LINES.take();
    tracing::subscriber::set_default(Logs(Level::TRACE))
}

/// All lines of this thread that were not taken yet.
pub(crate) fn take_all() -> Vec<String> {
    LINES.take()
}

/// The lines of this thread of this level that were not taken yet, message first.
pub(crate) fn take(level: Level) -> Vec<String> {
    let name = level.to_string();
    let lines = LINES.take();
    lines.into_iter().filter_map(|l| Some(l.strip_prefix(&name)?.trim_start().to_owned())).collect()
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}{}", self.0);
        } else {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }
}

impl Subscriber for Logs {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let line = format!("{} {}", event.metadata().level(), line.0);
        // A thread that ends has nobody to tell.
        let _ = LINES.try_with(|lines| lines.borrow_mut().push(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
