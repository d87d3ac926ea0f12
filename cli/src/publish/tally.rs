//! What became of published events: receipts, failures, the last line and the exit code.

use meshwire::{ErrorKind, Receipt, Stats};
use serde::Serialize;
use tokio::time::Instant;

use super::failures::{Alike, Failures};
use crate::events::Place;
use crate::exit::{self, Exit};
use crate::output;
use crate::progress::Progress;

/// Most lines about failures.
const TOLD_LINES: u64 = 20;

/// What of the offline file is of earlier commands.
#[derive(Clone, Copy)]
pub(super) struct Earlier {
    pub(super) published: u64,
    pub(super) failed: u64,
    pub(super) waiting: u64,
}

impl Earlier {
    pub(super) const fn of(stats: &Stats) -> Self {
        let (published, failed) = (stats.restored_published, stats.restored_failed);
        Self { published, failed, waiting: stats.restored.saturating_sub(published).saturating_sub(failed) }
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
    /// Of the failed: those that a line has told.
    told: u64,
    /// Lines that told them.
    told_lines: u64,
    /// Of the failed: the last ones, which are not told yet.
    untold: Failures,
    /// Of the failed: those that the gateway said no to.
    refused: u64,
    /// Of the failed: those that were never sent, since the input is wrong.
    bad: u64,
    unanswered: u64,
    /// Of this command, those that stay in the offline file.
    waiting: u64,
    /// What was in the file before.
    earlier: Earlier,
    /// The offline file.
    pub(super) file: Option<String>,
    pub(super) interrupted: bool,
    /// Events failed because the topic does not exist.
    pub(super) no_topic: bool,
}

impl Tally {
    pub(super) fn new(json: bool, progress: Progress) -> Self {
        let lines = String::new();
        Self {
            json,
            progress,
            lines,
            published: 0,
            duplicates: 0,
            failed: 0,
            told: 0,
            told_lines: 0,
            untold: Failures::default(),
            refused: 0,
            bad: 0,
            unanswered: 0,
            waiting: 0,
            earlier: Earlier { published: 0, failed: 0, waiting: 0 },
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
        } else if let Some(before) = self.untold.add(place, kind, message) {
            self.tell_of(&before);
        }
        self.print_failure(place, kind, message);
    }

    /// Tells of the last failures, though more that are alike may come.
    pub(super) fn tell_failures(&mut self) {
        if let Some(failures) = self.untold.take() {
            self.tell_of(&failures);
        }
    }

    /// Tells of failures, unless there were too many lines already.
    fn tell_of(&mut self, failures: &Alike) {
        if self.told_lines == TOLD_LINES {
            return;
        }
        self.told += failures.count();
        self.told_lines += 1;
        self.progress.clear();
        output::note(format_args!("{}: {} ({})", failures.places(), failures.message, failures.kind));
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
        self.refused_as(place, error, error.message());
    }

    pub(super) fn refused_as(&mut self, place: Place, error: &meshwire::Error, message: &str) {
        self.no_topic |= error.kind() == ErrorKind::TopicNotFound;
        self.refused += u64::from(exit::of(error.kind()) == Exit::Refused);
        self.failed(place, error.kind(), message);
    }

    /// The source broke off: how many events it had left is not known.
    pub(super) fn unreadable(&mut self, source: &str, cause: &std::io::Error) {
        self.tell_failures();
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

    /// What became of what earlier commands left in the file.
    pub(super) fn earlier(&mut self, earlier: Earlier) {
        self.earlier = earlier;
        if earlier.failed > 0 {
            self.tell_failures();
            self.progress.clear();
            output::note(format_args!("of earlier commands failed {}: refused, or too old", earlier.failed));
            (self.failed, self.told) = (self.failed + earlier.failed, self.told + earlier.failed);
        }
    }

    /// When [`Tally::flush`] has something to tell, whatever else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.untold.due()
    }

    /// Prints the receipts so far, and failures that have waited for others long enough. A reader that is gone does not stop
    /// the publishing.
    pub(super) fn flush(&mut self) {
        if let Some(failures) = self.untold.take_due() {
            self.tell_of(&failures);
        }
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
        self.tell_failures();
        self.flush();
        self.progress.clear();
        if self.failed > self.told {
            let more = self.failed - self.told;
            output::note(format_args!("and {more} more failure{}", if more == 1 { "" } else { "s" }));
        }
        let Earlier { published, waiting, .. } = self.earlier;
        let mut line = format!("published {}", self.published + published);
        if published > 0 {
            line += &format!(" ({published} of earlier commands)");
        }
        match self.duplicates {
            0 => {}
            1 => line += " (1 was there already)",
            many => line += &format!(" ({many} were there already)"),
        }
        if self.failed > 0 {
            line += &format!(", failed {}", self.failed);
        }
        match (&self.file, self.waiting + waiting) {
            (Some(file), 1) => line += &format!(", 1 waits in {file}"),
            (Some(file), many @ 2..) => line += &format!(", {many} wait in {file}"),
            _ => {}
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
        match (self.failed, self.published + self.earlier.published, self.interrupted) {
            (0, _, false) => Exit::Done,
            (failed, 0, false) if failed == self.bad => Exit::Usage,
            (failed, 0, false) if failed == self.refused => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}
