//! Making an event: fields in, protobuf bytes out, once, at the edge.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::parts::{EventParts, PartsData, timestamp};
use super::{AttributeValue, EventError, EventView};
use crate::UnixMillis;

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
pub struct Event(pub(super) EventParts<'static>);

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
        Self::default().kind(kind)
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
        EventParts::from_view(view).into_event()
    }

    /// Sets `id`. With `source` it identifies the event. An empty one is refused when the event is encoded; leave it out, and
    /// the client makes one.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Cow::Owned(id.into());
        self.0.emptied.0 = self.0.id.is_empty();
        self
    }

    /// Sets `source`. An empty one is refused when the event is encoded; leave it out, and the client fills it in.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.0.source = Cow::Owned(source.into());
        self.0.emptied.1 = self.0.source.is_empty();
        self
    }

    /// Sets `type`.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.0.kind = Cow::Owned(kind.into());
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

    /// Sets `dataschema`, a URI.
    #[must_use]
    pub fn data_schema(self, uri: impl Into<String>) -> Self {
        self.attribute("dataschema", AttributeValue::Uri(Cow::Owned(uri.into())))
    }

    /// Sets any attribute but the four required ones.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue<'static>>) -> Self {
        self.0.set(name.into(), value.into());
        self
    }

    /// Sets the data to bytes.
    #[must_use]
    pub fn binary_data(mut self, data: impl Into<Bytes>) -> Self {
        self.0.data = PartsData::Binary(data.into());
        self
    }

    /// Sets the data to text.
    #[must_use]
    pub fn text_data(mut self, data: impl Into<String>) -> Self {
        self.0.data = PartsData::Text(Cow::Owned(data.into()));
        self
    }

    /// Whether there is no `id` yet, or an empty one.
    #[must_use]
    pub fn lacks_id(&self) -> bool {
        self.0.id.is_empty()
    }

    /// An attribute as its canonical text, by its name in CloudEvents: `type`, not `kind`. `None`: it is absent so far.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let required = match name {
            "id" => &self.0.id,
            "source" => &self.0.source,
            "type" => &self.0.kind,
            _ => {
                let at = self.0.attributes.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
                return self.0.attributes.get(at).map(|(_, value)| value.to_string().into());
            }
        };
        (!required.is_empty()).then_some(Cow::Borrowed(&**required))
    }

    /// The data as it will be sent.
    #[must_use]
    pub fn data_bytes(&self) -> &[u8] {
        self.0.data.field().1
    }

    /// Encodes the event as `io.cloudevents.v1.CloudEvent`, attributes by name.
    ///
    /// # Errors
    /// [`EventError`] for an absent required attribute, a name or a value that
    /// CloudEvents refuses. Sizes are not checked here.
    pub fn encode(&self) -> Result<Bytes, EventError> {
        let size = self.0.about();
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
        self.0.encode_with(defaults, out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::super::EventLimits;
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
            if !event.0.kind.is_empty() {
                expected = expected.kind(event.0.kind.clone());
            }
            if !event.0.attributes.is_empty() && event.0.attributes.iter().any(|(n, _)| n == "time") {
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
    fn an_id_or_source_set_to_nothing_is_refused_and_not_filled_in() {
        let defaults = Defaults { id: "d", source: "//d", kind: "dd", time: None };
        let encoded = |event: Event| {
            let mut out = BytesMut::new();
            event.encode_with(defaults, &mut out).map(|()| out).map_err(|error| error.to_string())
        };
        for (name, event) in [("id", Event::new("t").id("")), ("source", Event::new("t").source(String::new()))] {
            assert_eq!(encoded(event.clone()).unwrap_err(), format!("attribute {name} is empty; leave it out instead"));
            assert!(encoded(event.clone().source("").id("1").id("").kind("k").key("k")).is_err());
            assert!(encoded(event.source("").id("1").source("//s")).is_ok());
        }
        // The type stands for the topic's name: it has no way to be left out.
        assert!(encoded(Event::new("")).is_ok());
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
    #[test]
    fn what_is_set_by_its_name_is_read_by_it() {
        let event =
            Event::new("t").id("1").source("//s").subject("about").data_schema("https://s/1").time(UnixMillis(-1_500));
        let encoded = event.encode().unwrap();
        let view = EventView::parse(&encoded, EventLimits::default()).unwrap();
        assert_eq!((view.subject().as_deref(), view.data_schema().as_deref()), (Some("about"), Some("https://s/1")));
        assert_eq!((view.time(), view.data_content_type()), (Some(UnixMillis(-1_500)), None));
    }
}
