//! The examples of the CloudEvents specification as each format has them, and what is the same in all of these: for the tests of every
//! crate that reads events.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use meshwire_proto::{Data, EventLimits, EventView};
use serde_json::Value;

/// One of them.
pub(crate) struct Vector {
    pub(crate) name: String,
    /// `None`: the event has no form in JSON and HTTP.
    pub(crate) json: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    pub(crate) protobuf: Bytes,
}

/// Attributes in their canonical form, bytes of data, and whether those are a message of protobuf: what two events have in common that
/// are the same.
pub(crate) type Meaning = (BTreeMap<String, String>, Vec<u8>, bool);

/// All, the one without a form in JSON last.
pub(crate) fn vectors() -> Vec<Vector> {
    let file: Vec<Value> = serde_json::from_str(include_str!("cloudevents.json")).unwrap();
    let bytes = |value: &Value| Bytes::from(STANDARD.decode(value.as_str().unwrap_or_default()).unwrap());
    let headers = |value: &Value| value.as_object().cloned().unwrap_or_default().into_iter();
    let vector = |value: &Value| Vector {
        name: value["name"].as_str().unwrap().to_owned(),
        json: value["json"].as_str().map(str::to_owned),
        headers: headers(&value["headers"]).map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect(),
        body: bytes(&value["body_base64"]),
        protobuf: bytes(&value["protobuf_base64"]),
    };
    let all: Vec<Vector> = file.iter().map(vector).collect();
    assert_eq!(all.iter().position(|vector| vector.json.is_none()), Some(10));
    assert_eq!(all.len(), 11);
    all
}

/// No data and no bytes of data look alike in a body, and are the same here.
pub(crate) fn meaning(bytes: &[u8]) -> Meaning {
    let view = EventView::parse(bytes, EventLimits::default()).unwrap();
    let mut attributes: BTreeMap<String, String> =
        view.attributes().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    for (name, value) in [("id", view.id()), ("source", view.source()), ("type", view.kind())] {
        attributes.insert(name.to_owned(), value.to_owned());
    }
    // In JSON an absent type means this one: the one attribute that a format may add.
    if attributes.get("datacontenttype").is_some_and(|kind| kind == "application/json") {
        attributes.remove("datacontenttype");
    }
    let data = if matches!(view.data(), Data::Absent) { Vec::new() } else { view.data().bytes().to_vec() };
    (attributes, data, matches!(view.data(), Data::Proto(_)))
}
