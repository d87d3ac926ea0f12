//! What two events are compared by.

use std::collections::{BTreeMap, BTreeSet};

use meshwire::{AttributeValue, Data, EventView};
use serde::Deserialize;
use serde_json::Value;

use crate::plain::Plain;

/// How much of an attribute's type a content mode carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Types {
    /// None: HTTP headers.
    Strings,
    /// Booleans and integers: JSON.
    Json,
    /// All: protobuf.
    All,
}

/// What a content mode keeps.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keeps {
    pub(crate) types: Types,
    /// Empty data and no data look the same.
    #[serde(default)]
    pub(crate) empty_is_none: bool,
}

/// How data is compared where a client cannot keep its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Difference {
    /// Equal as JSON values, numbers as doubles.
    SameJson,
    /// Its data comes as none.
    NoData,
    /// The client has no way to say this event.
    Cannot,
}

/// An event as it is compared: each attribute's type and canonical string, and the bytes of its data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    attributes: BTreeMap<String, (String, String)>,
    data: Option<Vec<u8>>,
}

impl Seen {
    pub(crate) fn of_plain(plain: &Plain) -> anyhow::Result<Self> {
        let attributes = plain.attributes.iter().map(|(name, value)| {
            let (kind, text) = match value {
                Value::Bool(flag) => ("boolean", flag.to_string()),
                Value::Number(number) => ("integer", number.to_string()),
                Value::String(text) if name == "time" => ("timestamp", shortest_time(text)),
                Value::String(text) => (plain.types.get(name).map_or("string", String::as_str), text.clone()),
                other => ("neither text nor number", other.to_string()),
            };
            (name.clone(), (kind.to_owned(), text))
        });
        Ok(Self {
            attributes: attributes.collect(),
            data: plain.data.as_ref().map(crate::plain::PlainData::bytes).transpose()?,
        })
    }

    pub(crate) fn of_view(event: &EventView<'_>) -> Self {
        let required = [("id", event.id()), ("source", event.source()), ("type", event.kind())];
        let required = required.map(|(name, text)| (name.to_owned(), ("string".to_owned(), text.to_owned())));
        let others = event.attributes().map(|(name, value)| {
            let kind = match &value {
                AttributeValue::Boolean(_) => "boolean",
                AttributeValue::Integer(_) => "integer",
                AttributeValue::String(_) => "string",
                AttributeValue::Binary(_) => "binary",
                AttributeValue::Uri(_) => "uri",
                AttributeValue::UriReference(_) => "uri-reference",
                AttributeValue::Timestamp(_) => "timestamp",
            };
            let text = value.to_string();
            (name.to_owned(), (kind.to_owned(), if name == "time" { shortest_time(&text) } else { text }))
        });
        let data = match event.data() {
            Data::Absent => None,
            data => Some(data.bytes().to_vec()),
        };
        Self { attributes: required.into_iter().chain(others).collect(), data }
    }

    /// What is not as it was sent; nothing when all is.
    pub(crate) fn differs(&self, sent: &Self, keeps: Keeps, allowed: Option<Difference>) -> Option<String> {
        let names: BTreeSet<&String> = self.attributes.keys().chain(sent.attributes.keys()).collect();
        for name in names {
            let (came, was) = (self.attributes.get(name), sent.attributes.get(name));
            // The one attribute that a gateway adds.
            let added =
                name == "datacontenttype" && was.is_none() && came.is_some_and(|(_, t)| t == "application/json");
            let equal = match (came, was) {
                (Some(came), Some(was)) => came.1 == was.1 && kept(&came.0, keeps.types) == kept(&was.0, keeps.types),
                _ => false,
            };
            if !equal && !added {
                return Some(format!("attribute {name} is {came:?}, was {was:?}"));
            }
        }
        if allowed == Some(Difference::NoData) && self.data.as_ref().is_none_or(Vec::is_empty) {
            return None;
        }
        let (came, was) = if keeps.empty_is_none {
            (Some(self.data.as_deref().unwrap_or_default()), Some(sent.data.as_deref().unwrap_or_default()))
        } else {
            (self.data.as_deref(), sent.data.as_deref())
        };
        let equal = came == was || allowed == Some(Difference::SameJson) && same_json(came, was);
        (!equal).then(|| format!("data is {}, was {}", shown(came), shown(was)))
    }
}

/// A type as far as the mode tells it from others.
fn kept(kind: &str, types: Types) -> &str {
    match (types, kind) {
        (Types::All, kind) | (Types::Json, kind @ ("boolean" | "integer")) => kind,
        _ => "string",
    }
}

fn same_json(came: Option<&[u8]>, was: Option<&[u8]>) -> bool {
    let value = |bytes: Option<&[u8]>| bytes.and_then(|b| serde_json::from_slice::<Value>(b).ok()).map(doubles);
    value(came).is_some_and(|came| Some(came) == value(was))
}

/// Numbers as most languages hold them.
fn doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.into_iter().map(doubles).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, doubles(value))).collect(),
        other => other,
    }
}

/// A time in UTC without zeros at the end of its fraction.
fn shortest_time(text: &str) -> String {
    let Some(utc) = ["Z", "+00:00", "+0000"].iter().find_map(|zone| text.strip_suffix(zone)) else {
        return text.to_owned();
    };
    match utc.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{}Z", fraction.trim_end_matches('0')).replace(".Z", "Z"),
        None => format!("{utc}Z"),
    }
}

fn shown(data: Option<&[u8]>) -> String {
    let Some(data) = data else { return "absent".to_owned() };
    let start: String = data.escape_ascii().take(60).map(char::from).collect();
    format!("{} bytes \"{start}\"", data.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{Difference, Keeps, Seen, Types, shortest_time};

    const JSON: Keeps = Keeps { types: Types::Json, empty_is_none: false };

    fn seen(plain: &str) -> Seen {
        Seen::of_plain(&serde_json::from_str(plain).unwrap()).unwrap()
    }

    fn data(text: &str) -> Seen {
        seen(&serde_json::json!({ "attributes": {}, "data": { "text": text } }).to_string())
    }

    #[test]
    fn a_type_counts_as_far_as_the_mode_carries_it() {
        let flag = seen(r#"{"attributes":{"a":true}}"#);
        let text = seen(r#"{"attributes":{"a":"true"}}"#);
        assert!(text.differs(&flag, JSON, None).unwrap().contains("attribute a"));
        assert_eq!(text.differs(&flag, Keeps { types: Types::Strings, ..JSON }, None), None);
    }

    #[test]
    fn data_is_compared_byte_for_byte_unless_the_client_is_known_to_write_json_anew() {
        let (sent, came) = (data("{\"a\" : 1.0}"), data("{\"a\":1}"));
        assert!(came.differs(&sent, JSON, None).is_some());
        assert_eq!(came.differs(&sent, JSON, Some(Difference::SameJson)), None);
        assert!(data("{\"a\":2}").differs(&sent, JSON, Some(Difference::SameJson)).is_some());
        assert!(data("no json").differs(&data("no JSON"), JSON, Some(Difference::SameJson)).is_some());
    }

    #[test]
    fn empty_and_absent_data_differ_where_the_mode_tells_them_apart() {
        let (absent, empty) = (seen(r#"{"attributes":{}}"#), data(""));
        assert!(absent.differs(&empty, JSON, None).is_some());
        assert_eq!(absent.differs(&empty, JSON, Some(Difference::NoData)), None);
        assert_eq!(absent.differs(&empty, Keeps { empty_is_none: true, ..JSON }, None), None);
    }

    #[test]
    fn an_added_content_type_is_equal_to_none_and_a_lost_one_is_not() {
        let kind = |kind: &str| seen(&format!(r#"{{"attributes":{{"datacontenttype":"{kind}"}}}}"#));
        let none = seen(r#"{"attributes":{}}"#);
        assert_eq!(kind("application/json").differs(&none, JSON, None), None);
        assert!(kind("text/plain").differs(&none, JSON, None).is_some());
        assert!(none.differs(&kind("application/json"), JSON, None).is_some());
    }

    #[test]
    fn a_time_is_the_same_however_its_fraction_is_written() {
        for text in ["2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.500+00:00"] {
            assert_eq!(shortest_time(text), "2023-11-14T22:13:20.5Z");
        }
        assert_eq!(shortest_time("2023-11-14T22:13:20.000Z"), "2023-11-14T22:13:20Z");
    }
}
