//! Events as the HTTP binding and the JSON format of CloudEvents write them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::seen::Sent;

/// Data of a JSON type stands in it as it is, text as a string, all else as base64.
pub(super) fn structured(event: &Sent) -> String {
    let typed = |text: &String| match (text.as_str(), text.parse::<i32>()) {
        ("true" | "false", _) => json!(text == "true"),
        (_, Ok(number)) if number.to_string() == *text => json!(number),
        _ => json!(text),
    };
    let mut members: Map<String, Value> =
        event.seen.attributes.iter().map(|(name, text)| (name.clone(), typed(text))).collect();
    let kind = event.seen.attributes.get("datacontenttype").map_or("", String::as_str);
    let mut raw = None;
    match std::str::from_utf8(&event.seen.data) {
        Ok(text) if kind.ends_with("json") => raw = Some(text),
        Ok(text) if kind.starts_with("text/") => _ = members.insert("data".to_owned(), json!(text)),
        // No data, and empty data, are the same on the way.
        Ok("") => {}
        _ => _ = members.insert("data_base64".to_owned(), json!(BASE64_STANDARD.encode(&event.seen.data))),
    }
    let mut written = Value::Object(members).to_string();
    if let Some(raw) = raw {
        written.truncate(written.len() - 1);
        write!(written, ",\"data\":{raw}}}").unwrap();
    }
    written
}

/// As the HTTP binding of CloudEvents says.
pub(super) fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => write!(text, "%{byte:02X}").unwrap(),
            0x21..=0x7e => text.push(byte.into()),
            _ => write!(text, "%{byte:02X}").unwrap(),
        }
    }
    text
}
