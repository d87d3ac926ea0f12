//! What became of published events: receipts, failures, the last line and the exit code.

use meshwire::{ErrorKind, Receipt};
use serde::Serialize;

use crate::events::Place;
use crate::exit::{self, Exit};
use crate::output;
use crate::progress::Progress;

/// Most failures told one by one.
const TOLD_FAILURES: u64 = 20;

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

/// An event that stays in the offline file, as it is printed with `--json`.
#[derive(Serialize)]
struct WaitingLine {
    event: u64,
    line: Option<u64>,
    waiting: bool,
}

/// What became of the events, for the last line and the exit code.
pub(super) struct Tally {
    json: bool,
    pub(super) progress: Progress,
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
    /// Of this command, those that stay in the offline file.
    waiting: u64,
    /// The offline file.
    pub(super) file: Option<String>,
    pub(super) interrupted: bool,
    /// Events failed because the topic does not exist.
    pub(super) no_topic: bool,
}

impl Tally {
    pub(super) const fn new(json: bool, progress: Progress) -> Self {
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
            waiting: 0,
            file: None,
            interrupted: false,
            no_topic: false,
        }
    }

    pub(super) fn progress(&mut self, unanswered: usize) {
        self.progress.show(self.published, self.failed, unanswered);
    }

    pub(super) fn published(&mut self, place: Place, receipt: &Receipt) {
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
        if self.json {
            // It is a line of the output, and no second one for people.
            self.told += 1;
        } else if self.told < TOLD_FAILURES {
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

    pub(super) fn bad(&mut self, place: Place, kind: ErrorKind, message: &str) {
        self.bad += 1;
        self.failed(place, kind, message);
    }

    pub(super) fn refused(&mut self, place: Place, error: &meshwire::Error) {
        self.no_topic |= error.kind() == ErrorKind::TopicNotFound;
        self.refused += u64::from(exit::of(error.kind()) == Exit::Refused);
        self.failed(place, error.kind(), error.message());
    }

    /// The source broke off: how many events it had left is not known.
    pub(super) fn unreadable(&mut self, source: &str, cause: &std::io::Error) {
        (self.failed, self.bad, self.told) = (self.failed + 1, self.bad + 1, self.told + 1);
        self.progress.clear();
        output::note(format_args!("{source}: cannot be read further: {cause}"));
    }

    /// The command ends before the answer to this one.
    pub(super) fn unanswered(&mut self, place: Place) {
        self.unanswered += 1;
        let message = "interrupted before its answer; it may be kept or not";
        self.print_failure(place, ErrorKind::Cancelled, message);
    }

    /// The gateway does not have it; the file does.
    pub(super) fn waits(&mut self, place: Place) {
        self.waiting += 1;
        if self.json {
            let line = WaitingLine { event: place.number, line: place.line, waiting: true };
            output::object(&line, &mut self.lines);
        }
    }

    /// Earlier commands left so many.
    pub(super) fn restored(&self, events: u64) {
        if let (Some(file), 1..) = (&self.file, events) {
            output::note(format_args!("{events} events that wait in {file} are published first"));
        }
    }

    /// Prints the receipts so far. A reader that is gone does not stop the publishing.
    pub(super) fn flush(&mut self) {
        if !self.lines.is_empty() {
            self.progress.clear();
        }
        if !self.lines.is_empty() && output::write(&self.lines).is_err() {
            self.json = false;
        }
        self.lines.clear();
    }

    /// Prints the last lines; the exit code.
    pub(super) fn tell(mut self) -> Exit {
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
        if let (Some(file), 1..) = (&self.file, self.waiting) {
            line += &format!(", {} wait in {file}", self.waiting);
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
