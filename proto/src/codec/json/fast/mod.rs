//! The common case in one pass, borrowed from the text: what gateways get by the thousand.
//!
//! It knows no errors. Whatever is not plain (a required member absent, a name twice, a value of an unusual form) is `None`, and the
//! caller reads again with the parser that says what is wrong.

mod shape;

use std::borrow::Cow;

use base64_simd::STANDARD;
use memchr::memchr2;
use serde_json::value::RawValue;

use super::{Name, is_json};
use crate::event::{MOST_ATTRIBUTES, PartsData};
use crate::{AttributeValue, EventParts, time};
use shape::{Shape, Slot};

/// Bytes that are looked at between two questions whether that is enough.
const LOOKED_AT: usize = 1024;

/// One event.
pub(super) fn parse(text: &str) -> Option<EventParts<'_>> {
    let (mut reader, mut event) = (Reader::new(text), EventParts::default());
    reader.event(&mut event, None)?;
    reader.end(event)
}

/// An array of at most so many events, all of them plain, one by one and all in the same memory: kept until the end, they would be out of
/// the processor's caches by then. `None`: what follows is not.
pub(super) fn parse_batch<'a>(text: &'a str, most: usize, mut each: impl FnMut(&EventParts<'a>)) -> Option<()> {
    let (mut reader, mut event, mut shape) = (Reader::new(text), EventParts::default(), Shape::default());
    reader.pass(b'[')?;
    let (mut left, mut more) = (most, reader.pass(b']').is_none());
    while more {
        reader.next(&mut event, &mut shape)?;
        left = left.checked_sub(1)?;
        each(&event);
        more = reader.goes_on(b']')?;
    }
    reader.end(())
}

/// Text, and how far it is read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// It has control characters somewhere, line breaks as a rule: none may be in a string.
    controls: bool,
}

/// Looks at all there is, not only up to the first: several at once.
fn has_control(text: &[u8]) -> bool {
    text.iter().fold(false, |found, byte| found | (*byte < b' '))
}

/// Where a string has its quotation mark or its first escape. Most are short: a search for long ones would take longer to begin.
fn string_end(text: &[u8]) -> Option<usize> {
    const FIRST: usize = 5;
    let (words, _) = text.as_chunks::<8>();
    for (n, word) in words.iter().take(FIRST).enumerate() {
        let found = ends(*word);
        if found != 0 {
            return Some(n * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let looked_at = 8 * words.len().min(FIRST);
    memchr2(b'"', b'\\', text.get(looked_at..)?).map(|at| looked_at + at)
}

/// Formula: a byte of `x` is 0 if it has its highest bit in `(x - 1) & !x`, the lowest such byte at least, as borrows go upwards.
const fn ends(word: [u8; 8]) -> u64 {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let x = u64::from_le_bytes(word);
    let (quotation, escape) = (x ^ each(b'"'), x ^ each(b'\\'));
    let quotations = quotation.wrapping_sub(each(1)) & !quotation;
    let escapes = escape.wrapping_sub(each(1)) & !escape;
    (quotations | escapes) & each(0x80)
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let controls = text.as_bytes().chunks(LOOKED_AT).any(has_control);
        Self { text, at: 0, controls }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.rest().as_bytes();
        let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))?;
        self.at += blanks;
        rest.get(blanks).copied()
    }

    /// Goes behind that byte, if it comes next.
    fn pass(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes behind a comma, or behind what ends the list: then nothing more comes.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        let next = self.peek()?;
        self.at += 1;
        if next == b',' { Some(true) } else { (next == end).then_some(false) }
    }

    /// What was read, if nothing is behind it.
    fn end<T>(mut self, read: T) -> Option<T> {
        self.peek().is_none().then_some(read)
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.pass(b'"')?;
        let rest = self.rest();
        let end = string_end(rest.as_bytes())?;
        let (text, behind) = rest.split_at_checked(end)?;
        if behind.starts_with('\\') {
            return self.escaped(rest, end);
        }
        self.at += end + 1;
        (!self.controls || !has_control(text.as_bytes())).then_some(Cow::Borrowed(text))
    }

    /// A string that has an escape, the first one there; `rest` is behind its quotation mark.
    fn escaped(&mut self, rest: &'a str, first: usize) -> Option<Cow<'a, str>> {
        let mut end = first;
        while rest.as_bytes().get(end)? == &b'\\' {
            end += 2;
            end += memchr2(b'"', b'\\', rest.as_bytes().get(end..)?)?;
        }
        let quoted = self.text.get(self.at - 1..=self.at + end)?;
        self.at += end + 1;
        serde_json::from_str::<Name<'a>>(quoted).ok().map(|Name(text)| Cow::Owned(text.into_owned()))
    }

    /// Any value, as its text.
    fn raw(&mut self) -> Option<&'a str> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<&'a RawValue>();
        let raw = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(raw.get())
    }

    /// The value of an attribute that is neither defined by CloudEvents nor data.
    fn scalar(&mut self) -> Option<AttributeValue<'a>> {
        let next = self.peek()?;
        let rest = self.rest();
        let (value, len) = match next {
            b'"' => return self.string().map(AttributeValue::String),
            b't' => (AttributeValue::Boolean(true), rest.starts_with("true").then_some(4)?),
            b'f' => (AttributeValue::Boolean(false), rest.starts_with("false").then_some(5)?),
            _ => {
                let digits = rest.strip_prefix('-').unwrap_or(rest);
                let digits = digits.bytes().take_while(u8::is_ascii_digit).count();
                let (number, behind) = rest.split_at_checked(usize::from(next == b'-') + digits)?;
                let first = number.bytes().find(u8::is_ascii_digit)?;
                // A fraction, an exponent, or a form that JSON does not have.
                if behind.starts_with(['.', 'e', 'E']) || first == b'0' && number.len() > 1 {
                    return None;
                }
                (AttributeValue::Integer(number.parse().ok()?), number.len())
            }
        };
        self.at += len;
        Some(value)
    }

    fn required(&mut self) -> Option<Cow<'a, str>> {
        self.string().filter(|text| !text.is_empty())
    }

    fn attribute(&mut self, name: &str) -> Option<AttributeValue<'a>> {
        match name {
            "time" => self.string().and_then(|text| time::read(&text)).map(AttributeValue::Timestamp),
            "dataschema" => self.string().map(AttributeValue::Uri),
            "datacontenttype" => self.string().map(AttributeValue::String),
            _ => self.scalar(),
        }
    }

    /// The next event, in the place of another. Where its members are goes to `shape`.
    fn event(&mut self, event: &mut EventParts<'a>, mut shape: Option<&mut Shape<'a>>) -> Option<()> {
        event.clear();
        let (mut version, mut data, mut base64) = (None, None, None);
        let mut count = 0;
        self.pass(b'{')?;
        let mut more = true;
        while more {
            self.peek()?;
            let begins = self.at;
            let name = self.string()?;
            self.pass(b':')?;
            self.peek()?;
            let value = self.at;
            count += 1;
            let (slot, twice) = match &*name {
                "data" => (Slot::Data, data.replace(self.raw()?).is_some()),
                "specversion" => (Slot::Version, version.replace(self.string()?).is_some()),
                "data_base64" => (Slot::Base64, base64.replace(self.string()?).is_some()),
                "id" => (Slot::Id, !std::mem::replace(&mut event.id, self.required()?).is_empty()),
                "source" => (Slot::Source, !std::mem::replace(&mut event.source, self.required()?).is_empty()),
                "type" => (Slot::Kind, !std::mem::replace(&mut event.kind, self.required()?).is_empty()),
                _ => {
                    let value = self.attribute(&name)?;
                    event.push(name.clone(), value);
                    (Slot::Attribute(name, 0), false)
                }
            };
            if twice || count > MOST_ATTRIBUTES {
                return None;
            }
            if let Some(shape) = &mut shape {
                shape.add(self.text.get(begins..self.at)?, value - begins, slot);
            }
            more = self.goes_on(b'}')?;
        }
        let versioned = version.as_deref() == Some("1.0");
        if !versioned || event.id.is_empty() || event.source.is_empty() || event.kind.is_empty() {
            return None;
        }
        set_data(event, data, base64)?;
        event.sort().then_some(())?;
        if let Some(shape) = shape {
            shape.settle(event);
        }
        Some(())
    }
}

/// Data in the place of other data, whose memory may be of use.
fn set_data<'a>(event: &mut EventParts<'a>, data: Option<&'a str>, base64: Option<Cow<'a, str>>) -> Option<()> {
    let mut room = match std::mem::take(&mut event.data) {
        PartsData::Decoded(room) => room,
        _ => Vec::new(),
    };
    room.clear();
    event.data = match (data, base64) {
        (Some(_), Some(_)) => return None,
        (Some(raw), None) => json_data(event, raw)?,
        (None, Some(text)) => PartsData::Decoded(decode(&text, room)?),
        (None, None) => PartsData::Absent,
    };
    Some(())
}

/// What a text in base64 stands for, in this memory.
fn decode(text: &str, mut room: Vec<u8>) -> Option<Vec<u8>> {
    STANDARD.decode_append(text, &mut room).ok()?;
    Some(room)
}

fn json_data<'a>(event: &mut EventParts<'a>, raw: &'a str) -> Option<PartsData<'a>> {
    let name = "datacontenttype";
    let kind = event.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value);
    let text = match kind {
        None => {
            event.push(Cow::Borrowed(name), AttributeValue::String(Cow::Borrowed("application/json")));
            Cow::Borrowed(raw)
        }
        Some(AttributeValue::String(kind)) if is_json(kind) => Cow::Borrowed(raw),
        Some(_) => serde_json::from_str::<Name<'a>>(raw).ok()?.0,
    };
    Some(PartsData::Text(text))
}
