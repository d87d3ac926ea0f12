//! Events and errors as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshwire::{Data, Error, Event, EventView, Retry};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Data above this is told by its length alone.
const SHOWN: usize = 1024;

/// An event to publish; what is absent is left to the client.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventSpec {
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    key: Option<String>,
    subject: Option<String>,
    #[serde(default)]
    attributes: Map<String, Value>,
    /// Data as text.
    data: Option<String>,
    /// Data as JSON.
    json: Option<Value>,
    /// Data as bytes.
    data_b64: Option<String>,
    /// So many zero bytes of data.
    zeros: Option<usize>,
}

impl EventSpec {
    pub(crate) fn event(self) -> Result<Event, Error> {
        let kind = self.kind.unwrap_or_default();
        let mut event = match (self.data, self.json, self.data_b64, self.zeros) {
            (Some(text), ..) => Event::text(kind, text),
            (_, Some(value), ..) => Event::json(kind, &value)?,
            // A case with wrong base64 is a wrong case: it shows as data that differs.
            (_, _, Some(text), _) => Event::bytes(kind, STANDARD.decode(text).unwrap_or_default()),
            (.., Some(zeros)) => Event::bytes(kind, vec![0; zeros]),
            _ => Event::new(kind),
        };
        if let Some(id) = self.id {
            event = event.id(id);
        }
        if let Some(source) = self.source {
            event = event.source(source);
        }
        if let Some(key) = self.key {
            event = event.key(key);
        }
        if let Some(subject) = self.subject {
            event = event.subject(subject);
        }
        for (name, value) in self.attributes {
            event = match value {
                Value::Bool(value) => event.attribute(name, value),
                Value::Number(value) => {
                    event.attribute(name, value.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_default())
                }
                Value::String(value) => event.attribute(name, value),
                other => event.attribute(name, other.to_string()),
            };
        }
        Ok(event)
    }
}

/// An event that came.
pub(crate) fn event(view: &EventView<'_>) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("id", view.id().into());
    put("source", view.source().into());
    put("type", view.kind().into());
    let attributes: Map<String, Value> =
        view.attributes().map(|(name, value)| (name.to_owned(), value.to_string().into())).collect();
    put("attributes", attributes.into());
    let bytes = view.data().bytes();
    match view.data() {
        Data::Absent => {}
        _ if bytes.len() > SHOWN => drop(put("data_bytes", bytes.len().into())),
        Data::Text(text) => drop(put("data", text.into())),
        _ => drop(put("data_b64", STANDARD.encode(bytes).into())),
    }
    shown
}

/// An error of the client.
pub(crate) fn error(error: &Error) -> Value {
    let retry = match error.retry() {
        Retry::Never => "never",
        Retry::Now => "now",
        Retry::After => "after",
        Retry::UnknownOutcome => "unknown_outcome",
    };
    json!({
        "code": error.kind().code(),
        "num": error.kind().number(),
        "retry": retry,
        "operation": error.operation(),
        "message": error.to_string(),
    })
}
