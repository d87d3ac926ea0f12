//! What an event is, whatever format it came in: the canonical string of every attribute, and its data.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use meshwire::Event;
use meshwire_proto::wire::cloudevents::CloudEvent;
use meshwire_proto::wire::cloudevents::cloud_event::Data;
use meshwire_proto::wire::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use prost::Message as _;
use serde_json::value::RawValue;

/// An event that is sent.
pub(super) struct Sent {
    pub(super) event: Event,
    pub(super) bytes: Bytes,
    pub(super) seen: Seen,
}

impl From<Event> for Sent {
    fn from(event: Event) -> Self {
        let bytes = event.encode().unwrap();
        Self { event, seen: Seen::of_protobuf(&bytes), bytes }
    }
}

/// An event as it came.
pub(super) enum Came {
    Protobuf(Bytes),
    /// The JSON format.
    Json(Box<RawValue>),
}

#[derive(PartialEq)]
pub(super) struct Seen {
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) data: Bytes,
}

impl Came {
    /// Fails unless it is the one that was sent; `exact`: byte for byte where it is of the same format.
    pub(super) fn must_be(&self, sent: &Sent, exact: bool, topic: &str) {
        let sent = match self {
            Self::Protobuf(came) if exact => {
                assert!(*came == sent.bytes, "{topic}: {:?}", sent.seen.attributes);
                return;
            }
            _ => &sent.seen,
        };
        let came = match self {
            Self::Protobuf(came) => Seen::of_protobuf(came),
            Self::Json(came) => Seen::of_json(came),
        };
        assert_eq!(came.attributes, sent.attributes, "{topic}");
        let shown = |data: &[u8]| String::from_utf8_lossy(data).chars().take(200).collect::<String>();
        let (left, right) = (shown(&came.data), shown(&sent.data));
        assert!(came.data == sent.data, "{topic}: {:?}: {left} instead of {right}", came.attributes);
    }
}

impl Seen {
    fn of_protobuf(bytes: &Bytes) -> Self {
        let event = CloudEvent::decode(bytes.clone()).unwrap();
        let mut attributes: BTreeMap<String, String> =
            event.attributes.into_iter().map(|(name, value)| (name, canonical(value.attr.unwrap()))).collect();
        for (name, value) in
            [("id", event.id), ("source", event.source), ("type", event.r#type), ("specversion", event.spec_version)]
        {
            attributes.insert(name.to_owned(), value);
        }
        let data = match event.data {
            None => Bytes::new(),
            Some(Data::BinaryData(bytes)) => bytes,
            Some(Data::TextData(text)) => text.into(),
            Some(Data::ProtoData(_)) => panic!("nobody sent a message"),
        };
        Self { attributes, data }
    }

    /// Data of a JSON type is its text as it stands.
    fn of_json(event: &RawValue) -> Self {
        let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(event.get()).unwrap();
        let (data, encoded) = (members.remove("data"), members.remove("data_base64"));
        let text = |value: &RawValue| serde_json::from_str::<String>(value.get());
        // Numbers and booleans are written as their canonical strings are.
        let attributes: BTreeMap<String, String> = members
            .into_iter()
            .map(|(name, value)| (name, text(&value).unwrap_or_else(|_| value.get().to_owned())))
            .collect();
        let of_json = attributes.get("datacontenttype").is_none_or(|kind| kind.ends_with("json"));
        let data = match (data, encoded) {
            (None, None) => Bytes::new(),
            (Some(data), None) if of_json => data.get().to_owned().into(),
            (Some(data), None) => text(&data).unwrap().into(),
            (None, Some(encoded)) => BASE64_STANDARD.decode(text(&encoded).unwrap()).unwrap().into(),
            (Some(_), Some(_)) => panic!("data twice"),
        };
        Self { attributes, data }
    }
}

/// As CloudEvents says.
fn canonical(value: Attr) -> String {
    match value {
        Attr::CeBoolean(value) => value.to_string(),
        Attr::CeInteger(value) => value.to_string(),
        Attr::CeString(text) | Attr::CeUri(text) | Attr::CeUriRef(text) => text,
        Attr::CeBytes(bytes) => BASE64_STANDARD.encode(bytes),
        // The one time of the set; any other would differ.
        Attr::CeTimestamp(time) if (time.seconds, time.nanos) == (1_700_000_000, 123_000_000) => {
            meshwire_foreign::plain::TIME.to_owned()
        }
        Attr::CeTimestamp(time) => format!("{time:?}"),
    }
}
