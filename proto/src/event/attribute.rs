//! Attributes: names, typed values and their canonical strings.

use std::borrow::Cow;
use std::fmt;

use prost_types::Timestamp;

use super::scan::{Field, Scanner, utf8};
use super::{EventError, shown};
use crate::UnixMillis;

/// A value of the CloudEvents type system.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the CloudEvents type names")]
pub enum AttributeValue<'a> {
    Boolean(bool),
    Integer(i32),
    String(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Uri(Cow<'a, str>),
    UriReference(Cow<'a, str>),
    Timestamp(Timestamp),
}

/// The canonical string of CloudEvents 1.0.2, section "Type System".
impl fmt::Display for AttributeValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::Engine as _;
        match self {
            Self::Boolean(v) => v.fmt(f),
            Self::Integer(v) => v.fmt(f),
            Self::String(v) | Self::Uri(v) | Self::UriReference(v) => f.write_str(v),
            Self::Binary(v) => f.write_str(&base64::engine::general_purpose::STANDARD.encode(v)),
            Self::Timestamp(v) => v.fmt(f),
        }
    }
}

impl From<&str> for AttributeValue<'static> {
    fn from(value: &str) -> Self {
        Self::String(Cow::Owned(value.to_owned()))
    }
}

impl From<String> for AttributeValue<'static> {
    fn from(value: String) -> Self {
        Self::String(Cow::Owned(value))
    }
}

impl From<bool> for AttributeValue<'static> {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for AttributeValue<'static> {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

impl From<UnixMillis> for AttributeValue<'static> {
    fn from(time: UnixMillis) -> Self {
        super::parts::timestamp(time)
    }
}

impl AttributeValue<'static> {
    /// A time as RFC 3339 writes it; `None`: it is none.
    #[must_use]
    pub fn time(text: &str) -> Option<Self> {
        crate::time::read(text).map(Self::Timestamp)
    }
}

impl AttributeValue<'_> {
    const fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "Boolean",
            Self::Integer(_) => "Integer",
            Self::String(_) => "String",
            Self::Binary(_) => "Binary",
            Self::Uri(_) => "URI",
            Self::UriReference(_) => "URI-reference",
            Self::Timestamp(_) => "Timestamp",
        }
    }
}

/// What is wrong with text that is none.
pub(super) const EMPTY: &str = "is empty; leave it out instead";

/// Names that most events have: neither their letters nor their bytes need a look.
const KNOWN: [&str; 5] = ["time", "datacontenttype", "subject", "partitionkey", "dataschema"];

/// The rule for names: CloudEvents 1.0.2, "Naming Conventions".
pub(super) fn check_name(name: &str) -> Result<(), EventError> {
    if KNOWN.contains(&name) {
        return Ok(());
    }
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fits && !matches!(name, "id" | "source" | "type" | "specversion" | "data") {
        Ok(())
    } else {
        Err(EventError::Name(name.chars().take(60).collect()))
    }
}

/// Text that the type system's String can hold: CloudEvents 1.0.2, "Type System".
pub(super) fn check_text(name: &str, value: &str) -> Result<(), EventError> {
    if is_printable(value.as_bytes()) {
        return Ok(());
    }
    let Some(wrong) = value.chars().find(|c| c.is_control() || is_noncharacter(*c)) else { return Ok(()) };
    let what = if wrong.is_control() { "control character" } else { "noncharacter" };
    Err(EventError::value(name, format!("holds the {what} {:#04x}", u32::from(wrong))))
}

/// The 66 code points that Unicode keeps from being characters.
fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE
}

/// Whether text is all printable ASCII, eight bytes at a time: these texts are short, and every event has several. Others are looked at
/// by character.
pub(super) fn is_printable(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    !words.iter().any(|word| any_other(*word)) && rest.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Formulas: a byte of `x` is below `n` (at most 0x80) if `(x - n) & !x` has its highest bit, all borrows included; and it is
/// 0x7F if it is below 1 in `x ^ 0x7F`. Borrows may add bytes, but only behind one that is meant. Above, its highest bit is its own.
const fn any_other(word: [u8; 8]) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let x = u64::from_le_bytes(word);
    let delete = x ^ each(0x7F);
    let below = x.wrapping_sub(each(0x20)) & !x;
    let equal = delete.wrapping_sub(each(1)) & !delete;
    (below | equal | x) & each(0x80) != 0
}

/// A moment that RFC 3339 can write, whatever it is an attribute of.
fn check_time(name: &str, time: &Timestamp) -> Result<(), EventError> {
    if !YEARS.contains(&time.seconds) {
        return Err(EventError::value(name, "is outside the years 1 to 9999"));
    }
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(EventError::value(name, format!("has {} nanoseconds; it must be 0 to 999999999", time.nanos)));
    }
    Ok(())
}

/// The rules for one attribute.
pub(super) fn check(name: &str, value: &AttributeValue<'_>) -> Result<(), EventError> {
    check_name(name)?;
    check_value(name, value)
}

/// The rules for the value of an attribute whose name is good.
pub(super) fn check_value(name: &str, value: &AttributeValue<'_>) -> Result<(), EventError> {
    match value {
        AttributeValue::String(text) | AttributeValue::Uri(text) | AttributeValue::UriReference(text) => {
            check_text(name, text)?;
        }
        AttributeValue::Timestamp(time) => check_time(name, time)?,
        _ => {}
    }
    let wanted = match (name, value) {
        ("time", AttributeValue::Timestamp(_))
        | ("subject" | "datacontenttype" | "partitionkey", AttributeValue::String(_))
        | ("dataschema", AttributeValue::Uri(_) | AttributeValue::String(_)) => None,
        ("time", _) => Some("Timestamp"),
        ("subject" | "datacontenttype" | "partitionkey", _) => Some("String"),
        ("dataschema", _) => Some("URI"),
        _ => return Ok(()),
    };
    if let Some(wanted) = wanted {
        return Err(EventError::value(name, format!("is of type {}; it must be {wanted}", value.type_name())));
    }
    match value {
        AttributeValue::String(text) | AttributeValue::Uri(text) if text.is_empty() => {
            Err(EventError::value(name, EMPTY))
        }
        _ => Ok(()),
    }
}

/// Seconds of the years 1 to 9999, the range of `google.protobuf.Timestamp`.
const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// One entry of the attribute map: its key and its value's message.
pub(super) fn entry(body: &[u8]) -> Result<(&str, &[u8]), EventError> {
    if let Some((name, value)) = usual_entry(body) {
        let name = KNOWN.into_iter().find(|known| known.as_bytes() == name).map_or_else(|| utf8(name, "name"), Ok);
        return Ok((name?, value));
    }
    let (mut key, mut value) = (None, None);
    let mut scan = Scanner::new(body);
    while let Some(field) = scan.next()? {
        match field {
            (1, Field::Bytes(v)) if key.is_none() => key = Some(utf8(v, "name")?),
            (2, Field::Bytes(v)) if value.is_none() => value = Some(v),
            (1 | 2, _) => {
                return Err(EventError::Malformed("an attribute entry with a field twice or of a wrong type"));
            }
            _ => {}
        }
    }
    Ok((key.unwrap_or_default(), value.unwrap_or_default()))
}

/// Both, as every encoder writes them: one behind the other, each shorter than 128 bytes.
pub(super) fn usual_entry(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = short(1, body)?;
    let (value, rest) = short(2, rest)?;
    rest.is_empty().then_some((name, value))
}

/// A field of bytes at the front whose number and length are one byte each, and what is behind it.
pub(super) fn short(number: u8, body: &[u8]) -> Option<(&[u8], &[u8])> {
    let [tag, len @ ..0x80, rest @ ..] = body else {
        return None;
    };
    (*tag == number << 3 | 2).then(|| rest.split_at_checked(usize::from(*len)))?
}

/// A value that is a string of printable ASCII, and not empty: good for every attribute that may be a string.
pub(super) fn plain_string(body: &[u8]) -> Option<&[u8]> {
    let (string, rest) = short(3, body)?;
    (rest.is_empty() && !string.is_empty() && is_printable(string)).then_some(string)
}

/// The value of one attribute.
pub(super) fn value<'a>(name: &str, body: &'a [u8]) -> Result<AttributeValue<'a>, EventError> {
    let text =
        |v: &'a [u8]| std::str::from_utf8(v).map(Cow::Borrowed).map_err(|_| EventError::value(name, "is not UTF-8"));
    if let Some((string, [])) = short(3, body) {
        return text(string).map(AttributeValue::String);
    }
    let mut found = None;
    let mut scan = Scanner::new(body);
    while let Some((number, field)) = scan.next()? {
        let value = match (number, field) {
            (1, Field::Varint(v)) => AttributeValue::Boolean(v != 0),
            (2, Field::Varint(v)) => AttributeValue::Integer(v as i32),
            (3, Field::Bytes(v)) => AttributeValue::String(text(v)?),
            (4, Field::Bytes(v)) => AttributeValue::Binary(Cow::Borrowed(v)),
            (5, Field::Bytes(v)) => AttributeValue::Uri(text(v)?),
            (6, Field::Bytes(v)) => AttributeValue::UriReference(text(v)?),
            (7, Field::Bytes(v)) => AttributeValue::Timestamp(timestamp(v)?),
            (1..=7, _) => return Err(EventError::value(name, "has a field of a wrong wire type")),
            _ => continue,
        };
        if found.replace(value).is_some() {
            return Err(EventError::Repeated(format!("the value of {}", shown(name))));
        }
    }
    found.ok_or_else(|| EventError::value(name, "has no value"))
}

fn timestamp(body: &[u8]) -> Result<Timestamp, EventError> {
    let (mut seconds, mut nanos) = (None, None);
    let mut scan = Scanner::new(body);
    while let Some(field) = scan.next()? {
        let again = match field {
            (1, Field::Varint(v)) => seconds.replace(v as i64).is_some(),
            (2, Field::Varint(v)) => nanos.replace(v as i32).is_some(),
            (1 | 2, _) => {
                return Err(EventError::Malformed("a timestamp with a field of a wrong wire type"));
            }
            _ => continue,
        };
        if again {
            return Err(EventError::Repeated("a part of a timestamp".to_owned()));
        }
    }
    Ok(Timestamp { seconds: seconds.unwrap_or_default(), nanos: nanos.unwrap_or_default() })
}

/// The attributes of an event but the four required ones, as stored.
#[derive(Clone)]
pub struct Attributes<'a> {
    pub(super) scan: Scanner<'a>,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, AttributeValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // The event was validated when its view was made: errors cannot come here.
            if let (5, Field::Bytes(body)) = self.scan.next().ok()?? {
                let (name, body) = entry(body).ok()?;
                return Some((name, value(name, body).ok()?));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_byte_that_is_not_printable_is_found_at_every_place_and_nothing_else_is_one() {
        for byte in 0..=u8::MAX {
            for place in 0..19 {
                for other in [b' ', b'@', b'~'] {
                    let mut text = [other; 19];
                    if let Some(at) = text.get_mut(place) {
                        *at = byte;
                    }
                    let printable = (0x20..0x7F).contains(&byte);
                    assert_eq!(is_printable(&text), printable, "{byte:#04x} at {place} among {other:#04x}");
                }
            }
        }
    }

    #[test]
    fn text_holds_every_character_but_those_of_control_and_those_that_are_none() {
        let wrong = |c: &char| check_text("a", &format!("text {c} and more of it")).is_err();
        let found: Vec<u32> = ('\0'..=char::MAX).filter(wrong).map(u32::from).collect();
        let ends = (0..=0x10).flat_map(|plane| [plane << 16 | 0xFFFE, plane << 16 | 0xFFFF]);
        let mut expected: Vec<u32> = (0..0x20).chain(0x7F..0xA0).chain(0xFDD0..0xFDF0).chain(ends).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
        let told = |c: char| check_text("a", &c.to_string()).unwrap_err().to_string();
        assert_eq!(told('\u{1}'), "attribute a holds the control character 0x01");
        assert_eq!(told('\u{85}'), "attribute a holds the control character 0x85");
        assert_eq!(told('\u{FFFE}'), "attribute a holds the noncharacter 0xfffe");
    }

    #[test]
    fn an_entry_is_read_the_same_however_its_fields_stand() {
        let usual = b"\x0A\x01a\x12\x03\x1A\x01b".as_slice();
        let turned = b"\x12\x03\x1A\x01b\x0A\x01a".as_slice();
        let stranger = b"\x0A\x01a\x12\x03\x1A\x01b\x18\x00".as_slice();
        let longer = b"\x0A\x81\x00a\x12\x03\x1A\x01b".as_slice();
        for body in [usual, turned, stranger, longer] {
            let (name, body) = entry(body).unwrap();
            assert_eq!(
                (name, value(name, body).unwrap()),
                ("a", AttributeValue::String(Cow::Borrowed("b"))),
                "{body:?}"
            );
        }
        assert!(entry(b"\x0A\x01a\x12\x03\x1A\x01").is_err(), "cut short");
        assert!(entry(b"\x0A\x01a\x12\x01b\x0A\x01a").is_err(), "twice");
        assert!(entry(b"\x0A\x01\xFF\x12\x00").is_err(), "not UTF-8");
        assert!(value("a", b"\x1A\x01\xFF").is_err() && value("a", b"\x1A\x01b\x1A\x01c").is_err());
    }
}
