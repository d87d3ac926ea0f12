//! Attributes: names, typed values and their canonical strings.

use std::borrow::Cow;
use std::fmt;

use prost_types::Timestamp;

use super::EventError;
use super::scan::{Field, Scanner, utf8};

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

/// The rule for names: CloudEvents 1.0.2, "Naming Conventions".
pub(super) fn check_name(name: &str) -> Result<(), EventError> {
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fits && !matches!(name, "id" | "source" | "type" | "specversion" | "data") {
        Ok(())
    } else {
        Err(EventError::Name(name.chars().take(60).collect()))
    }
}

/// Text that the type system's String can hold.
pub(super) fn check_text(name: &str, value: &str) -> Result<(), EventError> {
    let forbidden = |b: u8| b < 0x20 || b == 0x7F;
    // Without an early end it takes many bytes at once; as a rule all are fine.
    if !value.bytes().fold(false, |found, b| found | forbidden(b)) {
        return Ok(());
    }
    let byte = value.bytes().find(|b| forbidden(*b)).unwrap_or_default();
    Err(EventError::value(name, format!("holds the control character {byte:#04x}")))
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

/// The value of one attribute.
pub(super) fn value<'a>(name: &str, body: &'a [u8]) -> Result<AttributeValue<'a>, EventError> {
    let text =
        |v: &'a [u8]| std::str::from_utf8(v).map(Cow::Borrowed).map_err(|_| EventError::value(name, "is not UTF-8"));
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
            return Err(EventError::Repeated(format!("the value of {name}")));
        }
    }
    found.ok_or_else(|| EventError::value(name, "has no value"))
}

fn timestamp(body: &[u8]) -> Result<Timestamp, EventError> {
    let mut time = Timestamp::default();
    let mut seen = [false; 2];
    let mut scan = Scanner::new(body);
    while let Some(field) = scan.next()? {
        let (slot, write): (usize, &mut dyn FnMut(&mut Timestamp)) = match field {
            (1, Field::Varint(v)) => (0, &mut move |t| t.seconds = v as i64),
            (2, Field::Varint(v)) => (1, &mut move |t| t.nanos = v as i32),
            (1 | 2, _) => {
                return Err(EventError::Malformed("a timestamp with a field of a wrong wire type"));
            }
            _ => continue,
        };
        write(&mut time);
        if seen.get_mut(slot).is_some_and(|s| std::mem::replace(s, true)) {
            return Err(EventError::Repeated("a part of a timestamp".to_owned()));
        }
    }
    Ok(time)
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
