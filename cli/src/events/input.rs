//! Events as they come from a file or standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use meshwire::{Event, codec};
use tokio::sync::mpsc;

use super::split::{Piece, Splitter};
use crate::progress::Part;

/// Most events handed over at once, and most batches read ahead: a source that
/// never ends takes no more memory than that.
const BATCH_EVENTS: usize = 256;
const BATCHES_AHEAD: usize = 4;

/// Where an event stands in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its number, from 1, bad ones counted.
    pub(crate) number: u64,
    /// The line that it begins on, from 1; `None` for what comes from no file.
    pub(crate) line: Option<u64>,
    /// Whether the line says it all.
    pub(crate) by_line: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) if self.by_line => write!(f, "line {line}"),
            Some(line) => write!(f, "event {} (line {line})", self.number),
            None => f.write_str("event"),
        }
    }
}

impl Place {
    /// This one and those behind it up to `last`, in words.
    pub(crate) fn through(&self, last: &Self) -> String {
        match (self.line, last.line) {
            _ if self.number == last.number => self.to_string(),
            (Some(first), Some(last)) if self.by_line => format!("lines {first} to {last}"),
            _ => format!("events {} to {}", self.number, last.number),
        }
    }
}

/// One event, or why it is none.
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) event: Result<Event, String>,
}

/// Consecutive events; an error ends the source.
pub(crate) type Batch = io::Result<Vec<Item>>;

/// Reads events one after the other.
pub(crate) struct Input<R> {
    pieces: Splitter<R>,
    number: u64,
    /// Whether it was said that an event stands on one line.
    hinted: bool,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { pieces: Splitter::new(reader), number: 0, hinted: false }
    }

    /// The next event, good or bad; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Item>> {
        let Some(Piece { line, text }) = self.pieces.next()? else {
            return Ok(None);
        };
        self.number += 1;
        let by_line = self.pieces.has_lines();
        let event = text.map_err(str::to_owned).and_then(|text| {
            parse(&text, by_line).map_err(|mut problem| {
                if by_line && !self.hinted && goes_on(&text) {
                    self.hinted = true;
                    problem += ONE_A_LINE;
                }
                problem
            })
        });
        Ok(Some(Item { place: Place { number: self.number, line: Some(line), by_line }, event }))
    }

    /// What is here without waiting, at least one event; `None` at the end.
    fn batch(&mut self) -> io::Result<Option<Vec<Item>>> {
        let mut batch = Vec::new();
        while let Some(item) = self.next()? {
            batch.push(item);
            if batch.len() == BATCH_EVENTS || !self.pieces.has_more() {
                break;
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

/// A file that tells how much of it was read.
struct Counting {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

const ONE_A_LINE: &str = "; one event a line; this looks like one object over several lines";

/// Whether a line is the beginning of an object that a program broke into lines.
fn goes_on(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.starts_with(b"{") && matches!(line.last(), Some(b',' | b'{' | b'['))
}

fn parse(text: &[u8], by_line: bool) -> Result<Event, String> {
    let text =
        std::str::from_utf8(text.trim_ascii_end()).map_err(|e| format!("not UTF-8 behind byte {}", e.valid_up_to()))?;
    codec::json::parse(text).map_err(|e| {
        let problem = e.to_string();
        if by_line {
            // The reader saw one line only; which one is said in front.
            problem.replace(" at line 1 column ", " at column ")
        } else {
            problem
        }
    })
}

/// Opens a file, or standard input for `-`, and reads it on a thread of its own,
/// which may hang in a read for ever; the process does not wait for it.
///
/// With it, how much of a file was read.
pub(crate) fn read_in_background(path: &Path) -> io::Result<(mpsc::Receiver<Batch>, Option<Part>)> {
    let mut part = None;
    let source: Box<dyn Read + Send> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let file = File::open(path)?;
        let about = file.metadata()?;
        // A directory can be opened; only its first read would fail.
        if about.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        // A pipe has no size.
        let read = Arc::new(AtomicU64::new(0));
        part = about.is_file().then(|| Part { read: read.clone(), size: about.len() });
        Box::new(Counting { file, read })
    };
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut input = Input::new(source);
        loop {
            let batch = match input.batch() {
                Ok(None) => return,
                Ok(Some(batch)) => Ok(batch),
                Err(cause) => Err(cause),
            };
            let last = batch.is_err();
            if sender.blocking_send(batch).is_err() || last {
                return;
            }
        }
    })?;
    Ok((receiver, part))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    /// Gives one byte a read, as a slow pipe may.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (Some((first, rest)), Some(to)) = (self.0.split_first(), buffer.first_mut()) else {
                return Ok(0);
            };
            *to = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn shown(reader: impl Read) -> Vec<String> {
        let mut input = Input::new(reader);
        let mut all = Vec::new();
        while let Some(item) = input.next().unwrap() {
            let outcome = match item.event {
                // Filled in, so that it can be read back.
                Ok(event) => {
                    let bytes = event.kind("t").source("s").encode().unwrap();
                    meshwire::EventView::parse(&bytes, meshwire_proto::EventLimits::default()).unwrap().id().to_owned()
                }
                Err(problem) => problem,
            };
            all.push(format!("{}: {outcome}", item.place));
        }
        all
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(shown(text.as_bytes()), expected, "{text}");
        assert_eq!(shown(Drip(text.as_bytes())), expected, "dripping: {text}");
    }

    #[test]
    fn lines_are_events_and_blank_ones_are_skipped() {
        check("{\"id\":\"a\"}\n\n  \n{\"id\":\"b\"}", &["line 1: a", "line 4: b"]);
        check("\u{FEFF}\n{\"id\":\"a\"}\r\n{\"id\":\"b\"}\r\n", &["line 2: a", "line 3: b"]);
        check("", &[]);
        check("\n \n", &[]);
    }

    #[test]
    fn a_bad_line_is_named_and_the_next_is_read() {
        check(
            "{\"id\":\n{\"id\":\"b\"}\nnonsense\n{\"id\":\"d\"}\n[]\n{\"id\":7}\n",
            &[
                "line 1: not a CloudEvent in JSON: it ends where a value must be at column 6",
                "line 2: b",
                "line 3: not a CloudEvent in JSON: there is a word other than true, false and null at column 2",
                "line 4: d",
                "line 5: not a CloudEvent in JSON: an object is accepted, and this is an array",
                "line 6: attribute id must be a string",
            ],
        );
    }

    #[test]
    fn an_array_is_read_event_by_event() {
        check("[{\"id\":\"a\"},{\"id\":\"b\"}]", &["event 1 (line 1): a", "event 2 (line 1): b"]);
        check(
            "\n[\n  {\n    \"id\": \"a]},{\\\"\"\n  },\n  3,\n  {\"id\": \"c\"}\n]\n",
            &[
                "event 1 (line 3): a]},{\"",
                "event 2 (line 6): not a CloudEvent in JSON: an object is accepted, and this is a number",
                "event 3 (line 7): c",
            ],
        );
        check("[]", &[]);
        check(
            "[{\"id\":\"a\"},{\"id\":",
            &[
                "event 1 (line 1): a",
                "event 2 (line 1): not a CloudEvent in JSON: it ends where a value must be at line 1 column 6",
            ],
        );
    }

    #[test]
    fn a_broken_array_hides_nothing() {
        check(
            "[{\"id\":\"a\"}\n",
            &["event 1 (line 1): a", "event 2 (line 2): the array ends without its ]; the file may be cut short"],
        );
        check(
            "[{\"id\":\"a\"}}, {\"id\":\"b\"}] {\"id\":\"c\"}",
            &[
                "event 1 (line 1): a",
                "event 2 (line 1): not a CloudEvent in JSON: there is no value where one must be at line 1 column 1",
                "event 3 (line 1): b",
                "line 1: c",
            ],
        );
        check("[{\"id\":\"a\"}]\n[{\"id\":\"b\"}]\n", &["event 1 (line 1): a", "event 2 (line 2): b"]);
    }

    #[test]
    fn objects_over_several_lines_are_read_when_the_first_line_is_a_lone_brace() {
        check("{\n  \"id\": \"a\"\n}\n{\n  \"id\": \"b\"\n}\n", &["event 1 (line 1): a", "event 2 (line 4): b"]);
    }

    #[test]
    fn an_object_over_several_lines_behind_a_first_line_of_its_own_is_told_once_to_be_one_event_a_line() {
        let all = shown(&b"{ \"id\": \"a\",\n  \"source\": \"s\"\n}\n{ \"id\": \"b\",\n}\n"[..]);
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all[0].starts_with("line 1: ") && all[0].ends_with("one object over several lines"), "{all:?}");
        assert!(all.iter().skip(1).all(|line| !line.contains("several lines")), "{all:?}");
        let cut = shown(&b"{\"id\":\n"[..]);
        assert!(!cut[0].contains("several lines"), "{cut:?}");
    }

    #[test]
    fn what_is_here_is_handed_over_without_waiting_for_more() {
        let mut input = Input::new(Drip(b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n"));
        assert_eq!(input.batch().unwrap().unwrap().len(), 1);
        let mut input = Input::new(&b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n"[..]);
        assert_eq!(input.batch().unwrap().unwrap().len(), 2);
        assert!(input.batch().unwrap().is_none());
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_a_bad_line() {
        let text = b"{\"id\":\"\xff\"}\n{\"id\":\"b\"}\n";
        assert_eq!(shown(&text[..]), ["line 1: not UTF-8 behind byte 7", "line 2: b"]);
    }
}
