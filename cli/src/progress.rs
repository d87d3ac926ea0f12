//! How far a command is, on one line of a terminal that is drawn anew.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::short;

/// How often the line is drawn anew. A guess: slower stutters, faster cannot be read.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// Over how long a rate is taken.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Characters of the bar.
const BAR: usize = 20;

/// How much of a source of known size was read.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) read: Arc<AtomicU64>,
    pub(crate) size: u64,
}

/// The line. On a stream that is no terminal it is never there.
pub(crate) struct Progress {
    on: bool,
    part: Option<Part>,
    drawn: Option<Instant>,
    /// When the rate was taken, and of how many.
    since: (Instant, u64),
    rate: f64,
}

impl Progress {
    /// None yet; with `quiet` there will be none.
    pub(crate) fn new(quiet: bool, part: Option<Part>) -> Self {
        let on = !quiet && io::stderr().is_terminal();
        Self { on, part, drawn: None, since: (Instant::now(), 0), rate: 0.0 }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Draws, if it is time again.
    pub(crate) fn show(&mut self, published: u64, failed: u64, unanswered: usize) {
        let now = Instant::now();
        if !self.on || self.drawn.is_some_and(|at| now - at < EVERY) {
            return;
        }
        let (since, before) = self.since;
        if now - since >= RATE_OVER || self.rate == 0.0 {
            self.rate = published.saturating_sub(before) as f64 / (now - since).as_secs_f64().max(0.001);
            self.since = (now, published);
        }
        let done = self.part.as_ref().map(|part| (part.read.load(Ordering::Relaxed), part.size));
        say(&line(done, (published, failed), self.rate, unanswered));
        self.drawn = Some(now);
    }

    /// Makes room for another line; the next [`Progress::show`] draws again.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            say("");
        }
    }
}

fn say(line: &str) {
    // Nobody is left to tell when the stream is closed.
    let _ = write!(io::stderr(), "\r{line}\x1b[K");
}

fn line(done: Option<(u64, u64)>, (published, failed): (u64, u64), rate: f64, unanswered: usize) -> String {
    let answered = published + failed;
    let mut line = match done {
        Some((read, size @ 1..)) => {
            // Of what was read, as much as was answered. A file may grow while it is read.
            let of = u128::from(answered + unanswered as u64).max(1);
            let done = u128::from(read) * u128::from(answered) / of;
            let percent = (done * 100 / u128::from(size)).min(100) as usize;
            let full = percent * BAR / 100;
            format!("[{}{}] {percent:>3}%  ", "#".repeat(full), ".".repeat(BAR - full))
        }
        _ => String::new(),
    };
    line += &format!("published {published}, {}/s, {unanswered} unanswered", short::rate(rate));
    if failed > 0 {
        line += &format!(", {failed} failed");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_a_bar_only_where_the_end_is_known() {
        assert_eq!(line(None, (1_234, 0), 1_500.0, 12), "published 1234, 1.5k/s, 12 unanswered");
        let half = line(Some((50, 100)), (5, 1), 2.5, 0);
        assert_eq!(half, "[##########..........]  50%  published 5, 2.5/s, 0 unanswered, 1 failed");
        assert!(line(Some((200, 100)), (5, 0), 0.0, 0).starts_with("[####################] 100%"));
        assert!(line(Some((0, 0)), (0, 0), 0.0, 0).starts_with("published 0"));
    }
}
