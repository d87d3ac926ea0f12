//! Events that show whether anything is changed on the way: those that the programs of others publish too.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use meshwire::Event;
use meshwire_proto::{AttributeValue, UnixMillis};
use serde::Deserialize;
use serde_json::Value;

/// When all of them happened, as others write it.
pub(super) const TIME: &str = "2023-11-14T22:13:20.123Z";

/// One of the file. `types` has the attributes that are no strings though JSON has them as such.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    attributes: BTreeMap<String, Value>,
    #[serde(default)]
    types: BTreeMap<String, String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Data {
    Text(String),
    Json(String),
    Base64(String),
    /// Bytes 0, 1, ... `modulo - 1`, again and again.
    Counting {
        modulo: u8,
        bytes: usize,
    },
}

/// Each is equal at its other end: the same attributes, the same data byte for byte.
pub(super) fn set() -> Vec<Event> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance-tests/foreign/fidelity.json");
    let set: Vec<Written> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    set.into_iter().map(Written::event).collect()
}

impl Written {
    fn event(self) -> Event {
        let mut event = Event::new("t").source("/fidelity").time(UnixMillis(1_700_000_000_123));
        for (name, value) in self.attributes {
            let kind = self.types.get(&name).map(String::as_str);
            let value = match (value, kind) {
                (Value::Bool(flag), None) => flag.into(),
                (Value::Number(number), None) => i32::try_from(number.as_i64().unwrap()).unwrap().into(),
                (Value::String(text), None) if name == "id" => {
                    event = event.id(text);
                    continue;
                }
                (Value::String(text), None) => text.into(),
                (Value::String(text), Some("binary")) => {
                    AttributeValue::Binary(BASE64_STANDARD.decode(text).unwrap().into())
                }
                (Value::String(text), Some("uri")) => AttributeValue::Uri(text.into()),
                (value, kind) => panic!("{name} cannot be {value} of {kind:?}"),
            };
            event = event.attribute(name, value);
        }
        match self.data {
            None => event,
            Some(Data::Text(text) | Data::Json(text)) => event.text_data(text),
            Some(Data::Base64(text)) => event.binary_data(BASE64_STANDARD.decode(text).unwrap()),
            Some(Data::Counting { modulo, bytes }) => {
                event.binary_data((0..modulo).cycle().take(bytes).collect::<Vec<u8>>())
            }
        }
    }
}
