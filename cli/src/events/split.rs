//! Cuts a stream of bytes into lines or JSON values, holding one at a time.

use std::io::{self, BufRead, BufReader, Read};

/// Longest text of one event. Data of 64 MiB, the most that can be configured,
/// fits with every byte escaped as `\n` is. Longer ones are skipped, not held.
const MAX_ITEM_BYTES: usize = 144 << 20;

/// One cut-out text or what is in its place, and the line it begins on.
pub(super) struct Piece {
    pub(super) line: u64,
    pub(super) text: Result<Vec<u8>, &'static str>,
}

const TOO_LONG: &str = "longer than 144 MiB, which no event can be";
const NO_END: &str = "the array ends without its ]; the file may be cut short";

/// What the stream holds, told by its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One event a line (NDJSON): a bad one does not hide the next.
    Lines,
    /// An array: events between commas.
    Array,
    /// Objects over several lines each: the first line is nothing but `{`.
    Objects,
    /// The stream has ended.
    Over,
}

pub(super) struct Splitter<R> {
    reader: BufReader<R>,
    line: u64,
    form: Option<Form>,
    /// Read to tell the form, and a part of the first piece.
    head: Vec<u8>,
}

impl<R: Read> Splitter<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, reader), line: 1, form: None, head: Vec::new() }
    }

    /// Whether events are lines, so that line and number say the same.
    pub(super) fn has_lines(&self) -> bool {
        self.form == Some(Form::Lines)
    }

    /// Whether another piece may be here without waiting for the source.
    pub(super) fn has_more(&self) -> bool {
        self.reader.buffer().contains(&b'}')
    }

    /// The next piece; `None` at the end. A piece is never blank.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        let form = match self.form {
            Some(form) => form,
            None => self.begin()?,
        };
        match form {
            Form::Lines => self.next_line(),
            Form::Array | Form::Objects => self.next_value(form),
            Form::Over => Ok(None),
        }
    }

    /// Tells the form without consuming what belongs to a piece.
    fn begin(&mut self) -> io::Result<Form> {
        self.skip(|b| b.is_ascii_whitespace() || matches!(b, 0xEF | 0xBB | 0xBF))?;
        let form = match self.reader.fill_buf()?.first() {
            None => Form::Over,
            Some(b'[') => {
                self.reader.consume(1);
                Form::Array
            }
            Some(_) => {
                let mut head = Vec::new();
                self.take_line(&mut head)?;
                let alone = head.trim_ascii() == b"{";
                self.head = head;
                if alone { Form::Objects } else { Form::Lines }
            }
        };
        self.form = Some(form);
        Ok(form)
    }

    /// Consumes while `wanted`.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let count = buffer.iter().take_while(|b| wanted(**b)).count();
            let (all, empty) = (count == buffer.len(), buffer.is_empty());
            self.line += newlines(buffer.get(..count).unwrap_or_default());
            self.reader.consume(count);
            if empty || !all {
                return Ok(());
            }
        }
    }

    /// Appends up to and with the next line break; whether it stayed within bounds.
    fn take_line(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut fits = true;
        loop {
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|b| *b == b'\n').map(|n| n + 1);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let (count, over) = (part.len(), part.is_empty() || end.is_some());
            fits &= keep(into, part);
            self.reader.consume(count);
            if over {
                return Ok(fits);
            }
        }
    }

    fn next_line(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let mut text = std::mem::take(&mut self.head);
            let fits = if text.is_empty() { self.take_line(&mut text)? } else { text.len() <= MAX_ITEM_BYTES };
            if fits && text.is_empty() {
                self.form = Some(Form::Over);
                return Ok(None);
            }
            let line = self.line;
            self.line += 1;
            if !fits || !text.trim_ascii().is_empty() {
                return Ok(Some(Piece { line, text: if fits { Ok(text) } else { Err(TOO_LONG) } }));
            }
        }
    }

    fn next_value(&mut self, form: Form) -> io::Result<Option<Piece>> {
        let mut scan = Scan::default();
        let mut text = std::mem::take(&mut self.head);
        let line = if text.is_empty() {
            self.skip(|b| b.is_ascii_whitespace() || (form == Form::Array && b == b','))?;
            self.line
        } else {
            scan.feed(&text);
            self.line += newlines(&text);
            self.line - 1
        };
        let mut fits = true;
        while !scan.ended {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(self.end_of_values(form, line, text));
            }
            let count = scan.feed(buffer);
            let part = buffer.get(..count).unwrap_or_default();
            self.line += newlines(part);
            fits &= keep(&mut text, part);
            self.reader.consume(count);
        }
        if !text.is_empty() {
            return Ok(Some(Piece { line, text: if fits { Ok(text) } else { Err(TOO_LONG) } }));
        }
        // A bracket or comma that ends no value.
        let stray = self.reader.fill_buf()?.first().copied();
        self.reader.consume(1);
        if form == Form::Array && stray == Some(b']') {
            // What follows, if anything, begins anew.
            self.form = None;
            return self.next();
        }
        Ok(Some(Piece { line, text: Ok(stray.into_iter().collect()) }))
    }

    /// The stream ended inside of a value, or where one could begin.
    fn end_of_values(&mut self, form: Form, line: u64, text: Vec<u8>) -> Option<Piece> {
        self.form = Some(Form::Over);
        if !text.trim_ascii().is_empty() {
            return Some(Piece { line, text: Ok(text) });
        }
        (form == Form::Array).then_some(Piece { line, text: Err(NO_END) })
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// Appends unless it is too long; whether it was kept.
fn keep(into: &mut Vec<u8>, part: &[u8]) -> bool {
    let fits = into.len() + part.len() <= MAX_ITEM_BYTES;
    if fits {
        into.extend_from_slice(part);
    }
    fits
}

/// Finds the end of a JSON value without understanding it.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
    ended: bool,
}

impl Scan {
    /// How many bytes belong to the value.
    fn feed(&mut self, bytes: &[u8]) -> usize {
        for (n, byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                // The bracket that closes the whole array, or a comma behind a value.
                b'}' | b']' | b',' if self.depth == 0 => {
                    self.ended = true;
                    return n;
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.ended = true;
                        return n + 1;
                    }
                }
                _ => {}
            }
        }
        bytes.len()
    }
}
