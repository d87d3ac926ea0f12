//! Standard output: whole batches, flushed before anybody relies on them.

use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

/// Writes and flushes. Blocks as long as the reader does not read.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// As [`write`], for what may not be text.
pub(crate) fn write_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// How often [`reader_gone`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Resolves once nobody reads standard output any more: a pipe tells who asks, or
/// who writes, and while no event comes nobody writes.
pub(crate) async fn reader_gone() {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        if is_broken() {
            return;
        }
    }
}

#[cfg(unix)]
fn is_broken() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let out = io::stdout();
    let mut asked = [PollFd::new(&out, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&at_once)).is_ok() && asked.iter().any(|a| a.revents().contains(PollFlags::ERR))
}

/// Only a write finds out.
#[cfg(not(unix))]
const fn is_broken() -> bool {
    false
}

/// Appends one JSON object and a line break.
pub(crate) fn object(value: &impl Serialize, out: &mut String) {
    // Structures of strings and numbers can always be written.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
    out.push('\n');
}

/// A line on the error stream, for people.
pub(crate) fn note(line: impl std::fmt::Display) {
    // Nobody is left to tell when the stream is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// At most `limit` characters on one line that no terminal takes for commands.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == limit {
            line.push('…');
            break;
        }
        if c.is_control() || is_reordering(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Characters that change the direction of what follows: they can make a line
/// look like another.
const fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_holds_no_terminal_commands() {
        assert_eq!(one_line("a\nb\u{1b}[31m", 80), "a\\nb\\u{1b}[31m");
        assert_eq!(one_line("x\u{202e}y", 80), "x\\u{202e}y");
        assert_eq!(one_line("äöü…", 3), "äöü…");
        assert_eq!(one_line("äöü", 3), "äöü");
    }
}
