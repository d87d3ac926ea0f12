//! An event as JSON that every language reads: tasks, answers and the fidelity set are made of it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshwire::{AttributeValue, Event};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// When all events of the set happened that do not say.
pub const TIME: &str = "2023-11-14T22:13:20.123Z";

/// Where the fidelity set is.
pub const SET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fidelity.json");

/// An event. `attributes` has all but `specversion`; a boolean and an integer are such, all else is its canonical string.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// By name.
    pub attributes: BTreeMap<String, Value>,
    /// `binary`, `uri`, `uri-reference` or `timestamp` of strings that are one where the format has types.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// None is no data.
    #[serde(default)]
    pub data: Option<PlainData>,
}

/// Data, by what a program would hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PlainData {
    /// Text that is not JSON.
    Text(String),
    /// JSON, its exact text.
    Json(String),
    /// Bytes, in base64.
    Base64(String),
    /// Bytes 0, 1, ... `modulo - 1`, again and again. Only in files; programs get base64.
    Counting {
        /// From this number on it is 0 again.
        modulo: u8,
        /// How many.
        bytes: usize,
    },
}

impl PlainData {
    /// What it is byte for byte.
    ///
    /// # Errors
    /// Not base64.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Text(text) | Self::Json(text) => text.clone().into_bytes(),
            Self::Base64(text) => STANDARD.decode(text).with_context(|| format!("{text:.40} is not base64"))?,
            Self::Counting { modulo, bytes } => (0..*modulo).cycle().take(*bytes).collect(),
        })
    }
}

impl Plain {
    /// Its `id`; empty: it has none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.attributes.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    /// What every event of a set has, and data as programs get it.
    ///
    /// # Errors
    /// Data that is not base64.
    pub fn complete(mut self) -> anyhow::Result<Self> {
        for (name, value) in [("source", "/fidelity"), ("type", "t"), ("time", TIME)] {
            self.attributes.entry(name.to_owned()).or_insert_with(|| value.into());
        }
        self.types.insert("time".to_owned(), "timestamp".to_owned());
        if let Some(counting @ PlainData::Counting { .. }) = &self.data {
            self.data = Some(PlainData::Base64(STANDARD.encode(counting.bytes()?)));
        }
        Ok(self)
    }

    /// As the Rust client publishes it.
    ///
    /// # Errors
    /// An attribute that cannot be of its type, or data that is not base64.
    pub fn event(&self) -> anyhow::Result<Event> {
        // The JSON reader knows times; the rest is laid over it.
        let time = serde_json::json!({ "specversion": "1.0", "time": self.attributes.get("time") });
        let mut event = meshwire::codec::json::parse(&time.to_string())?;
        for (name, value) in self.attributes.iter().filter(|(name, _)| *name != "time") {
            let kind = self.types.get(name).map_or("string", String::as_str);
            event = match (name.as_str(), value, kind) {
                ("id", Value::String(text), _) => event.id(text),
                ("source", Value::String(text), _) => event.source(text),
                ("type", Value::String(text), _) => event.kind(text),
                (_, Value::Bool(flag), _) => event.attribute(name.clone(), *flag),
                (_, Value::Number(number), _) => {
                    let number =
                        number.as_i64().and_then(|n| i32::try_from(n).ok()).context("an integer of 32 bits")?;
                    event.attribute(name.clone(), number)
                }
                (_, Value::String(text), "binary") => {
                    event.attribute(name.clone(), AttributeValue::Binary(STANDARD.decode(text)?.into()))
                }
                (_, Value::String(text), "uri") => {
                    event.attribute(name.clone(), AttributeValue::Uri(text.clone().into()))
                }
                (_, Value::String(text), "uri-reference") => {
                    event.attribute(name.clone(), AttributeValue::UriReference(text.clone().into()))
                }
                (_, Value::String(text), "string") => event.attribute(name.clone(), text.clone()),
                (_, value, kind) => bail!("attribute {name} cannot be {value} of type {kind}"),
            };
        }
        Ok(match &self.data {
            None => event,
            Some(PlainData::Text(text) | PlainData::Json(text)) => event.text_data(text),
            Some(data) => event.binary_data(data.bytes()?),
        })
    }
}

/// The fidelity set, complete.
///
/// # Errors
/// No such file, or events that are not as above.
pub fn read_set(path: &Path) -> anyhow::Result<Vec<Plain>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let set: Vec<Plain> = serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    set.into_iter().map(Plain::complete).collect()
}
