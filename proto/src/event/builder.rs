//! Making an event: fields in, protobuf bytes out, once, at the edge.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use prost_types::Timestamp;

use super::attribute::{check, check_text};
use super::{AttributeValue, EventError, EventView};
use crate::UnixMillis;
use crate::frame::{bytes_len, number_len, put_bytes, put_head, put_number, put_varint};

#[derive(Clone, Debug, Default, PartialEq)]
enum OwnedData {
    #[default]
    Absent,
    Binary(Bytes),
    Text(String),
    Proto(Bytes),
}

/// An event to publish. What is absent of `id`, `source`, `type` and `time` is
/// filled in by the client before the first send; over the wire all but `time`
/// are required.
///
/// ```
/// use meshwire_proto::Event;
/// let event = Event::json("order.created", &[1, 2, 3])?.key("customer-7").subject("orders/1");
/// # Ok::<(), meshwire_proto::EventError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    id: String,
    source: String,
    kind: String,
    /// By name, none twice.
    attributes: Vec<(Cow<'static, str>, AttributeValue<'static>)>,
    data: OwnedData,
}

/// What stands in for attributes that an event does not have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults<'a> {
    /// For `id`. Empty: there is none.
    pub id: &'a str,
    /// For `source`. Empty: there is none.
    pub source: &'a str,
    /// For `type`. Empty: there is none.
    pub kind: &'a str,
    /// For `time`, which may stay absent.
    pub time: Option<UnixMillis>,
}

impl Event {
    /// An event of this type without data. An empty type is filled in with the topic's name.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    fn of_type(kind: impl Into<String>, content_type: &'static str) -> Self {
        let content_type = AttributeValue::String(Cow::Borrowed(content_type));
        Self::new(kind).attribute("datacontenttype", content_type)
    }

    /// An event whose data is `value` as JSON.
    ///
    /// # Errors
    /// [`EventError::Json`] when the value cannot be written as JSON.
    pub fn json<T: serde::Serialize + ?Sized>(kind: impl Into<String>, value: &T) -> Result<Self, EventError> {
        let text = serde_json::to_string(value).map_err(|e| EventError::Json(e.to_string()))?;
        Ok(Self::of_type(kind, "application/json").text_data(text))
    }

    /// An event whose data is text, as `text/plain`.
    #[must_use]
    pub fn text(kind: impl Into<String>, text: impl Into<String>) -> Self {
        Self::of_type(kind, "text/plain").text_data(text)
    }

    /// An event whose data is bytes, as `application/octet-stream`.
    #[must_use]
    pub fn bytes(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::of_type(kind, "application/octet-stream").binary_data(data)
    }

    /// A copy of an event that was received.
    #[must_use]
    pub fn from_view(view: &EventView<'_>) -> Self {
        let data = match view.data() {
            super::Data::Absent => OwnedData::Absent,
            super::Data::Binary(bytes) => OwnedData::Binary(Bytes::copy_from_slice(bytes)),
            super::Data::Text(text) => OwnedData::Text(text.to_owned()),
            super::Data::Proto(bytes) => OwnedData::Proto(Bytes::copy_from_slice(bytes)),
        };
        let owned = |(name, value): (&str, AttributeValue<'_>)| (Cow::Owned(name.to_owned()), value.into_owned());
        let mut attributes: Vec<(Cow<'static, str>, _)> = view.attributes().map(owned).collect();
        attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self {
            id: view.id().to_owned(),
            source: view.source().to_owned(),
            kind: view.kind().to_owned(),
            attributes,
            data,
        }
    }

    /// Sets `id`. With `source` it identifies the event.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets `source`.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Sets `type`.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Sets `partitionkey`: events of one key are delivered in order.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Self {
        self.attribute("partitionkey", key.into())
    }

    /// Sets `subject`. It is not the topic.
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.attribute("subject", subject.into())
    }

    /// Sets `time`.
    #[must_use]
    pub fn time(self, time: UnixMillis) -> Self {
        self.attribute("time", timestamp(time))
    }

    /// Sets `datacontenttype`.
    #[must_use]
    pub fn data_content_type(self, content_type: impl Into<String>) -> Self {
        self.attribute("datacontenttype", content_type.into())
    }

    /// Sets any attribute but the four required ones.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue<'static>>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.attributes.binary_search_by(|(n, _)| n.cmp(&name)) {
            Ok(at) => {
                if let Some(attribute) = self.attributes.get_mut(at) {
                    attribute.1 = value;
                }
            }
            Err(at) => self.attributes.insert(at, (name, value)),
        }
        self
    }

    /// Sets the data to bytes.
    #[must_use]
    pub fn binary_data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = OwnedData::Binary(data.into());
        self
    }

    /// Sets the data to text.
    #[must_use]
    pub fn text_data(mut self, data: impl Into<String>) -> Self {
        self.data = OwnedData::Text(data.into());
        self
    }

    /// Whether there is no `id` yet.
    #[must_use]
    pub const fn lacks_id(&self) -> bool {
        self.id.is_empty()
    }

    /// An attribute as its canonical text, by its name in CloudEvents: `type`, not `kind`. `None`: it is absent so far.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let required = match name {
            "id" => &self.id,
            "source" => &self.source,
            "type" => &self.kind,
            _ => {
                let at = self.attributes.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
                return self.attributes.get(at).map(|(_, value)| value.to_string().into());
            }
        };
        (!required.is_empty()).then_some(Cow::Borrowed(required.as_str()))
    }

    /// The data as it will be sent.
    #[must_use]
    pub fn data_bytes(&self) -> &[u8] {
        self.data.field().1
    }

    /// Encodes the event as `io.cloudevents.v1.CloudEvent`, attributes by name.
    ///
    /// # Errors
    /// [`EventError`] for an absent required attribute, a name or a value that
    /// CloudEvents refuses. Sizes are not checked here.
    pub fn encode(&self) -> Result<Bytes, EventError> {
        let size = 160 + self.attributes.len() * 48 + self.data.field().1.len();
        let mut out = BytesMut::with_capacity(size);
        self.encode_with(Defaults::default(), &mut out)?;
        Ok(out.freeze())
    }

    /// As [`Event::encode`], behind what `out` holds, with something in place of
    /// what is absent. Without an allocation when `out` has room.
    ///
    /// # Errors
    /// As [`Event::encode`]; `out` is then as it was.
    pub fn encode_with(&self, defaults: Defaults<'_>, out: &mut BytesMut) -> Result<(), EventError> {
        let start = out.len();
        let written = self.write(defaults, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write(&self, defaults: Defaults<'_>, out: &mut BytesMut) -> Result<(), EventError> {
        for (number, name, value, default) in [
            (1, "id", &self.id, defaults.id),
            (2, "source", &self.source, defaults.source),
            (4, "type", &self.kind, defaults.kind),
        ] {
            let value = if value.is_empty() { default } else { value };
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

impl OwnedData {
    /// Number and value of its field; 0 for none.
    fn field(&self) -> (u32, &[u8]) {
        match self {
            Self::Absent => (0, &[]),
            Self::Binary(v) => (6, v),
            Self::Text(v) => (7, v.as_bytes()),
            Self::Proto(v) => (8, v),
        }
    }
}

fn timestamp(time: UnixMillis) -> AttributeValue<'static> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn defaults_stand_in_for_what_is_absent_and_for_nothing_else() {
        let defaults = Defaults { id: "d", source: "//d", kind: "dd", time: Some(UnixMillis(7)) };
        let around = |event: Event| event.attribute("zz", 1).attribute("aa", 2);
        let full = |event: Event| event.id("d").source("//d").kind("dd").time(UnixMillis(7));
        for event in
            [Event::default(), around(Event::default()), Event::new("own"), Event::default().time(UnixMillis(1))]
        {
            let mut encoded = BytesMut::from(&b"before"[..]);
            event.encode_with(defaults, &mut encoded).unwrap();
            let mut expected = full(event.clone());
            if !event.kind.is_empty() {
                expected = expected.kind(event.kind.clone());
            }
            if !event.attributes.is_empty() && event.attributes.iter().any(|(n, _)| n == "time") {
                expected = expected.time(UnixMillis(1));
            }
            assert_eq!(encoded.strip_prefix(b"before").unwrap(), expected.encode().unwrap());
        }
    }

    #[test]
    fn what_cannot_be_encoded_leaves_the_buffer_as_it_was() {
        let mut out = BytesMut::from(&b"before"[..]);
        let bad = Event::new("t").id("1").source("//s").attribute("UPPER", 1);
        assert!(bad.encode_with(Defaults::default(), &mut out).is_err());
        assert!(Event::new("t").encode_with(Defaults::default(), &mut out).is_err());
        assert_eq!(out, "before");
    }

    #[test]
    fn an_attribute_set_twice_has_its_last_value() {
        let event = Event::new("t").id("1").source("//s");
        let twice = event.clone().subject("a").key("k").subject("b");
        assert_eq!(twice, event.key("k").subject("b"));
    }

    #[test]
    fn every_setter_of_text_takes_what_can_be_a_string() {
        let text = || "t".to_owned();
        let owned = Event::new(text()).id(text()).source(text()).key(text()).subject(text()).data_content_type(text());
        let event = Event::new("t").id("t").source("t").key("t").subject("t").data_content_type("t");
        assert_eq!(owned, event);
        assert_eq!(event.clone().attribute("word", text()), event.attribute("word", "t"));
    }
}
