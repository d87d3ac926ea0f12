//! An event before it is encoded, borrowed from where it was read as far as that goes.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use prost_types::Timestamp;

use super::attribute::{EMPTY, check, check_text};
use super::{AttributeValue, Data, Defaults, Event, EventError, EventView};
use crate::UnixMillis;
use crate::frame::{bytes_len, number_len, put_bytes, put_head, put_number, put_varint};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum PartsData<'a> {
    #[default]
    Absent,
    Binary(Bytes),
    /// The same, in memory that is used again for the next event.
    Decoded(Vec<u8>),
    Text(Cow<'a, str>),
    Proto(Bytes),
}

/// What a codec read of an event. It is checked when it is encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventParts<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) source: Cow<'a, str>,
    pub(crate) kind: Cow<'a, str>,
    /// Whether a program has set `id`, and `source`, to nothing: that is no way to have it filled in.
    pub(super) emptied: (bool, bool),
    /// By name, none twice.
    pub(crate) attributes: Vec<(Cow<'a, str>, AttributeValue<'a>)>,
    pub(crate) data: PartsData<'a>,
}

impl<'a> EventParts<'a> {
    /// Of an event that was received, borrowed but for bytes of data.
    pub(super) fn from_view(view: &EventView<'a>) -> Self {
        let data = match view.data() {
            Data::Absent => PartsData::Absent,
            Data::Binary(bytes) => PartsData::Binary(Bytes::copy_from_slice(bytes)),
            Data::Text(text) => PartsData::Text(Cow::Borrowed(text)),
            Data::Proto(bytes) => PartsData::Proto(Bytes::copy_from_slice(bytes)),
        };
        let mut attributes: Vec<(Cow<'a, str>, _)> =
            view.attributes().map(|(name, value)| (Cow::Borrowed(name), value)).collect();
        attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (id, source, kind) = (view.id().into(), view.source().into(), view.kind().into());
        Self { id, source, kind, emptied: (false, false), attributes, data }
    }

    /// An event of its own.
    #[must_use]
    pub fn into_event(self) -> Event {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        let attribute = |(name, value): (Cow<'a, str>, AttributeValue<'a>)| (owned(name), value.into_owned());
        Event(EventParts {
            id: owned(self.id),
            source: owned(self.source),
            kind: owned(self.kind),
            emptied: self.emptied,
            attributes: self.attributes.into_iter().map(attribute).collect(),
            data: match self.data {
                PartsData::Absent => PartsData::Absent,
                PartsData::Binary(bytes) => PartsData::Binary(bytes),
                PartsData::Decoded(bytes) => PartsData::Binary(bytes.into()),
                PartsData::Text(text) => PartsData::Text(owned(text)),
                PartsData::Proto(bytes) => PartsData::Proto(bytes),
            },
        })
    }

    /// Sets any attribute but the four required ones. `true`: it was there, and is replaced.
    pub(crate) fn set(&mut self, name: Cow<'a, str>, value: AttributeValue<'a>) -> bool {
        let found = self.attributes.binary_search_by(|(n, _)| n.cmp(&name));
        match found {
            Ok(at) => {
                if let Some(attribute) = self.attributes.get_mut(at) {
                    attribute.1 = value;
                }
            }
            Err(at) => self.attributes.insert(at, (name, value)),
        }
        found.is_ok()
    }

    /// An event without anything, in the memory of this one.
    pub(crate) fn clear(&mut self) {
        self.attributes.clear();
        let data = match std::mem::take(&mut self.data) {
            PartsData::Decoded(mut bytes) => {
                bytes.clear();
                PartsData::Decoded(bytes)
            }
            _ => PartsData::Absent,
        };
        *self = Self { attributes: std::mem::take(&mut self.attributes), data, ..Self::default() };
    }

    /// Adds an attribute without a look at those that are there. [`EventParts::sort`] comes before anything else is done with it.
    pub(crate) fn push(&mut self, name: Cow<'a, str>, value: AttributeValue<'a>) {
        self.attributes.push((name, value));
    }

    /// Brings what was pushed into its order, all at once; `false`: a name is there twice.
    pub(crate) fn sort(&mut self) -> bool {
        self.attributes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.attributes.is_sorted_by(|(a, _), (b, _)| a < b)
    }

    /// About how many bytes it takes when encoded.
    pub(super) fn about(&self) -> usize {
        160 + self.attributes.len() * 48 + self.data.field().1.len()
    }

    /// Encodes the event as [`Event::encode_with`] does.
    ///
    /// # Errors
    /// As [`Event::encode`]; `out` is then as it was.
    pub fn encode_with(&self, defaults: Defaults<'_>, out: &mut BytesMut) -> Result<(), EventError> {
        let start = out.len();
        out.reserve(self.about());
        let written = self.write(defaults, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write(&self, defaults: Defaults<'_>, out: &mut BytesMut) -> Result<(), EventError> {
        let (id, source) = self.emptied;
        if id || source {
            return Err(EventError::value(if id { "id" } else { "source" }, EMPTY));
        }
        for (number, name, value, default) in [
            (1, "id", &self.id, defaults.id),
            (2, "source", &self.source, defaults.source),
            (4, "type", &self.kind, defaults.kind),
        ] {
            let value = if value.is_empty() { default } else { value.as_ref() };
            if value.is_empty() {
                return Err(EventError::Missing(name));
            }
            check_text(name, value)?;
            if number == 4 {
                put_bytes(out, 3, b"1.0");
            }
            put_bytes(out, number, value.as_bytes());
        }
        let mut time = defaults.time;
        for (name, value) in &self.attributes {
            check(name, value)?;
            if name.as_ref() >= "time"
                && let Some(time) = time.take().filter(|_| name != "time")
            {
                put_attribute(out, "time", &timestamp(time));
            }
            put_attribute(out, name, value);
        }
        if let Some(time) = time {
            put_attribute(out, "time", &timestamp(time));
        }
        let (field, data) = self.data.field();
        if field != 0 {
            put_head(out, field, data.len());
            out.put_slice(data);
        }
        Ok(())
    }
}

impl From<Event> for EventParts<'static> {
    fn from(event: Event) -> Self {
        event.0
    }
}

impl PartsData<'_> {
    /// Number and value of its field; 0 for none.
    pub(super) fn field(&self) -> (u32, &[u8]) {
        match self {
            Self::Absent => (0, &[]),
            Self::Binary(v) => (6, v),
            Self::Decoded(v) => (6, v),
            Self::Text(v) => (7, v.as_bytes()),
            Self::Proto(v) => (8, v),
        }
    }
}

pub(super) fn timestamp(time: UnixMillis) -> AttributeValue<'static> {
    let seconds = time.0.div_euclid(1000);
    let nanos = i32::try_from(time.0.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
    AttributeValue::Timestamp(Timestamp { seconds, nanos })
}

fn put_attribute(out: &mut BytesMut, name: &str, value: &AttributeValue<'_>) {
    let len = value_len(value);
    put_head(out, 5, bytes_len(1, name.len()) + bytes_len(2, len));
    put_bytes(out, 1, name.as_bytes());
    put_head(out, 2, len);
    put_value(out, value);
}

/// The field of a value that is a byte string.
fn slice_field<'v>(value: &'v AttributeValue<'_>) -> Option<(u32, &'v [u8])> {
    Some(match value {
        AttributeValue::String(v) => (3, v.as_bytes()),
        AttributeValue::Binary(v) => (4, v),
        AttributeValue::Uri(v) => (5, v.as_bytes()),
        AttributeValue::UriReference(v) => (6, v.as_bytes()),
        _ => return None,
    })
}

/// Members of a oneof are written even when they are zero or empty.
fn put_value(out: &mut BytesMut, value: &AttributeValue<'_>) {
    match value {
        AttributeValue::Boolean(v) => out.put_slice(&[1 << 3, u8::from(*v)]),
        AttributeValue::Integer(v) => {
            out.put_u8(2 << 3);
            put_varint(out, i64::from(*v) as u64);
        }
        AttributeValue::Timestamp(t) => {
            put_head(out, 7, timestamp_len(t));
            put_number(out, 1, t.seconds as u64);
            put_number(out, 2, i64::from(t.nanos) as u64);
        }
        _ => {
            if let Some((field, bytes)) = slice_field(value) {
                put_head(out, field, bytes.len());
                out.put_slice(bytes);
            }
        }
    }
}

fn timestamp_len(t: &Timestamp) -> usize {
    number_len(1, t.seconds as u64) + number_len(2, i64::from(t.nanos) as u64)
}

fn value_len(value: &AttributeValue<'_>) -> usize {
    match value {
        AttributeValue::Boolean(_) => 2,
        AttributeValue::Integer(v) => 1 + crate::frame::varint_len(i64::from(*v) as u64),
        AttributeValue::Timestamp(t) => bytes_len(7, timestamp_len(t)),
        _ => slice_field(value).map_or(0, |(field, bytes)| bytes_len(field, bytes.len())),
    }
}

impl AttributeValue<'_> {
    fn into_owned(self) -> AttributeValue<'static> {
        match self {
            Self::Boolean(v) => AttributeValue::Boolean(v),
            Self::Integer(v) => AttributeValue::Integer(v),
            Self::String(v) => AttributeValue::String(Cow::Owned(v.into_owned())),
            Self::Binary(v) => AttributeValue::Binary(Cow::Owned(v.into_owned())),
            Self::Uri(v) => AttributeValue::Uri(Cow::Owned(v.into_owned())),
            Self::UriReference(v) => AttributeValue::UriReference(Cow::Owned(v.into_owned())),
            Self::Timestamp(v) => AttributeValue::Timestamp(v),
        }
    }
}
