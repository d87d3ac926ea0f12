//! What is compared of an event: what its publisher said of it, in every place where it is seen.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Named parts of an event, each as text.
pub(super) type Content = BTreeMap<String, String>;

/// An event, as a command or a message shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Without the name of the machine; `None` is left to the client.
    pub(super) source: Option<String>,
    pub(super) id: Option<String>,
    pub(super) key: Option<String>,
    pub(super) content: Content,
}

/// A source that a client fills in begins with the machine's name.
fn source(text: &str) -> String {
    match text.strip_prefix("//").and_then(|rest| rest.split_once('/')) {
        Some((_, name)) => format!("//$host/{name}"),
        None => text.to_owned(),
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The canonical string of an attribute in a command.
fn canonical(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Data over this is told by its length alone.
const SHOWN: usize = 1024;

fn data(content: &mut Content, bytes: usize, kind: &str, data: String) {
    let (kind, data) = if bytes > SHOWN { ("data_bytes", bytes.to_string()) } else { (kind, data) };
    content.insert(kind.to_owned(), data);
}

impl Shown {
    /// An event as a command gives it to the testee.
    pub(super) fn made(event: &Value) -> Self {
        let empty = Map::new();
        let fields = event.as_object().unwrap_or(&empty);
        let mut content = Content::new();
        let attributes = fields.get("attributes").and_then(Value::as_object);
        // An empty attribute is none.
        for (name, value) in attributes.into_iter().flatten().filter(|(_, value)| *value != "") {
            content.insert(name.clone(), canonical(value));
        }
        for name in ["type", "subject"] {
            content.extend(text(fields, name).map(|value| (name.to_owned(), value)));
        }
        if let Some(value) = text(fields, "data") {
            data(&mut content, value.len(), "data", value.clone());
        } else if let Some(value) = fields.get("json") {
            let value = value.to_string();
            data(&mut content, value.len(), "json", value.clone());
        } else if let Some(value) = text(fields, "data_b64") {
            data(&mut content, value.len() / 4 * 3, "data_b64", value.clone());
        } else if let Some(zeros) = fields.get("zeros").and_then(Value::as_u64) {
            let zeros = usize::try_from(zeros).unwrap_or(usize::MAX);
            let rest = ["", "AA==", "AAA="].get(zeros % 3).copied().unwrap_or_default();
            data(&mut content, zeros, "data_b64", "AAAA".repeat(zeros.min(SHOWN) / 3) + rest);
        }
        let key = text(fields, "key").or_else(|| content.remove("partitionkey"));
        Self { source: text(fields, "source").map(|s| source(&s)), id: text(fields, "id"), key, content }
    }

    /// An event as a message shows it.
    pub(super) fn seen(message: &Value) -> Self {
        let empty = Map::new();
        let fields = message.as_object().unwrap_or(&empty);
        let mut content = Content::new();
        for (name, value) in fields.get("attributes").and_then(Value::as_object).into_iter().flatten() {
            content.insert(name.clone(), canonical(value));
        }
        for name in ["type", "data", "data_b64"] {
            content.extend(text(fields, name).map(|value| (name.to_owned(), value)));
        }
        if let Some(bytes) = fields.get("data_bytes") {
            content.insert("data_bytes".to_owned(), bytes.to_string());
        }
        // The text of JSON is the client's; its value is not.
        if let Some(value) = content.get("data").and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            content.insert("json".to_owned(), value.to_string());
        }
        let key = content.remove("partitionkey");
        Self { source: text(fields, "source").map(|s| source(&s)), id: text(fields, "id"), key, content }
    }

    /// As much of what was seen as its publisher said.
    pub(super) fn within(&self, said: &Content) -> Content {
        said.keys().filter_map(|name| Some((name.clone(), self.content.get(name)?.clone()))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests fail by panicking")]
mod tests {
    use serde_json::json;

    use super::Shown;

    #[test]
    fn what_was_said_is_found_again_in_what_is_seen_and_a_change_is_not() {
        let made = Shown::made(&json!({
            "id": "1", "source": "//s", "key": "k", "json": {"b": 1, "a": [true]}, "attributes": {"n": 5, "no": ""},
        }));
        let message = json!({
            "id": "1", "source": "//s", "type": "t", "data": "{\"a\": [true], \"b\": 1}",
            "attributes": {"partitionkey": "k", "n": "5", "time": "2026-01-01T00:00:00Z"},
        });
        let seen = Shown::seen(&message);
        assert_eq!((seen.key.clone(), seen.within(&made.content)), (made.key, made.content.clone()));
        let mut other = message;
        other["data"] = "{\"a\":[true],\"b\":2}".into();
        assert_ne!(Shown::seen(&other).within(&made.content), made.content);
    }

    #[test]
    fn a_source_that_the_client_filled_in_is_told_without_its_machine() {
        assert_eq!(Shown::seen(&json!({"source": "//box-7/testee"})).source.as_deref(), Some("//$host/testee"));
        assert_eq!(Shown::made(&json!({"source": "urn:x"})).source.as_deref(), Some("urn:x"));
    }
}
