//! Making an event: fields in, protobuf bytes out, once, at the edge.

use std::borrow::Cow;
use std::collections::BTreeMap;

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
    attributes: BTreeMap<Cow<'static, str>, AttributeValue<'static>>,
    data: OwnedData,
}

impl Event {
    /// An event of this type without data. An empty type is filled in with the topic's name.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    /// An event whose data is `value` as JSON.
    ///
    /// # Errors
    /// [`EventError::Json`] when the value cannot be written as JSON.
    pub fn json<T: serde::Serialize + ?Sized>(
        kind: impl Into<String>,
        value: &T,
    ) -> Result<Self, EventError> {
        let text = serde_json::to_string(value).map_err(|e| EventError::Json(e.to_string()))?;
        Ok(Self::new(kind)
            .data_content_type("application/json")
            .text_data(text))
    }

    /// An event whose data is text, as `text/plain`.
    #[must_use]
    pub fn text(kind: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(kind)
            .data_content_type("text/plain")
            .text_data(text)
    }

    /// An event whose data is bytes, as `application/octet-stream`.
    #[must_use]
    pub fn bytes(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::new(kind)
            .data_content_type("application/octet-stream")
            .binary_data(data)
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
        let attributes = view
            .attributes()
            .map(|(name, value)| (Cow::Owned(name.to_owned()), value.into_owned()))
            .collect();
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
    pub fn key(self, key: &str) -> Self {
        self.attribute("partitionkey", key)
    }

    /// Sets `subject`. It is not the topic.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.attribute("subject", subject)
    }

    /// Sets `time`.
    #[must_use]
    pub fn time(self, time: UnixMillis) -> Self {
        let seconds = time.0.div_euclid(1000);
        let nanos = i32::try_from(time.0.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
        self.attribute(
            "time",
            AttributeValue::Timestamp(Timestamp { seconds, nanos }),
        )
    }

    /// Sets `datacontenttype`.
    #[must_use]
    pub fn data_content_type(self, content_type: &str) -> Self {
        self.attribute("datacontenttype", content_type)
    }

    /// Sets any attribute but the four required ones.
    #[must_use]
    pub fn attribute(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<AttributeValue<'static>>,
    ) -> Self {
        self.attributes.insert(name.into(), value.into());
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

    /// Fills in what is absent. `id` is called only when it is needed.
    pub fn fill(
        &mut self,
        id: impl FnOnce() -> String,
        source: &str,
        kind: &str,
        time: UnixMillis,
    ) {
        if self.id.is_empty() {
            self.id = id();
        }
        if self.source.is_empty() {
            source.clone_into(&mut self.source);
        }
        if self.kind.is_empty() {
            kind.clone_into(&mut self.kind);
        }
        if !self.attributes.contains_key("time") {
            *self = std::mem::take(self).time(time);
        }
    }

    /// Encodes the event as `io.cloudevents.v1.CloudEvent`, attributes by name.
    ///
    /// # Errors
    /// [`EventError`] for an absent required attribute, a name or a value that
    /// CloudEvents refuses. Sizes are not checked here.
    pub fn encode(&self) -> Result<Bytes, EventError> {
        for (name, value) in [
            ("id", &self.id),
            ("source", &self.source),
            ("type", &self.kind),
        ] {
            if value.is_empty() {
                return Err(EventError::Missing(name));
            }
            check_text(name, value)?;
        }
        let (data_field, data): (u32, &[u8]) = match &self.data {
            OwnedData::Absent => (0, &[]),
            OwnedData::Binary(v) => (6, v),
            OwnedData::Text(v) => (7, v.as_bytes()),
            OwnedData::Proto(v) => (8, v),
        };
        let mut out = BytesMut::with_capacity(160 + self.attributes.len() * 48 + data.len());
        put_bytes(&mut out, 1, self.id.as_bytes());
        put_bytes(&mut out, 2, self.source.as_bytes());
        put_bytes(&mut out, 3, b"1.0");
        put_bytes(&mut out, 4, self.kind.as_bytes());
        for (name, value) in &self.attributes {
            check(name, value)?;
            let len = value_len(value);
            put_head(&mut out, 5, bytes_len(1, name.len()) + bytes_len(2, len));
            put_bytes(&mut out, 1, name.as_bytes());
            put_head(&mut out, 2, len);
            put_value(&mut out, value);
        }
        if data_field != 0 {
            put_head(&mut out, data_field, data.len());
            out.put_slice(data);
        }
        Ok(out.freeze())
    }
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
