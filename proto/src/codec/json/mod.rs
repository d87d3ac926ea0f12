//! CloudEvents JSON: one object an event.
//!
//! Source: CloudEvents 1.0.2, JSON Event Format. JSON data is kept as its exact
//! text, in `text_data`.

mod batch;
mod fast;
mod members;
mod told;

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

pub use batch::parse_batch;
pub use told::told;

use crate::event::shown;
use crate::{AttributeValue, Data, Event, EventError, EventParts, EventView, time};

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Members that CloudEvents 1.0.2 defines.
const KNOWN: [&str; 10] =
    ["specversion", "id", "source", "type", "data", "data_base64", "datacontenttype", "dataschema", "subject", "time"];

const NO_EVENT: &str = "none of specversion, id, source, type and data is there; if this object is the data of an event, \
    write {\"specversion\":\"1.0\",\"data\":...} around it";

/// Reads one event as it stands on a wire: with its `specversion`.
///
/// # Errors
/// [`EventError`]: what is wrong and where. [`Event::encode`] asks for the other attributes that must be there. An object
/// whose members are all unknown to CloudEvents is refused: as a rule it is the data
/// of an event without the event, and would become extension attributes.
pub fn parse(text: &str) -> Result<Event, EventError> {
    parse_members(text).map(|(event, _)| event)
}

/// [`parse`], of an event that must say its version, as CloudEvents asks of those that travel.
///
/// # Errors
/// The same; `specversion` is missing.
pub fn parse_versioned(text: &str) -> Result<Event, EventError> {
    let (event, versioned) = parse_members(text)?;
    if versioned { Ok(event) } else { Err(EventError::Missing("specversion")) }
}

/// An event, and whether it says its version.
fn parse_members(text: &str) -> Result<(Event, bool), EventError> {
    let members = members::read(text)?;
    if !members.is_empty() && !members.iter().any(|(name, _)| KNOWN.contains(&&**name)) {
        return Err(EventError::Json(NO_EVENT.to_owned()));
    }
    // They come by name: each attribute goes behind those before it.
    let (mut event, mut versioned) = (Event::default(), false);
    let (mut data, mut base64, mut content_type) = (None, None, None);
    for (name, raw) in members {
        if raw.get() == "null" && name != "data" {
            continue;
        }
        match &*name {
            "specversion" => match string(&name, raw)?.as_str() {
                "1.0" => versioned = true,
                other => return Err(EventError::Version(other.chars().take(20).collect())),
            },
            "id" => event = event.id(required(&name, raw)?),
            "source" => event = event.source(required(&name, raw)?),
            "type" => event = event.kind(required(&name, raw)?),
            "data" => data = Some(raw.get()),
            "data_base64" => base64 = Some(string(&name, raw)?),
            "time" => {
                let text = string(&name, raw)?;
                let time = time::read(&text)
                    .ok_or_else(|| EventError::value("time", format!("{:?} is not an RFC 3339 time", shown(&text))))?;
                event = event.attribute("time", AttributeValue::Timestamp(time));
            }
            "dataschema" => event = event.attribute("dataschema", AttributeValue::Uri(string(&name, raw)?.into())),
            "datacontenttype" => {
                let text = string(&name, raw)?;
                event = event.data_content_type(&text);
                content_type = Some(text);
            }
            _ => event = event.attribute(name.clone().into_owned(), extension(&name, raw)?),
        }
    }
    let event = match (data, base64) {
        (Some(_), Some(_)) => Err(EventError::Json("data and data_base64 exclude each other".to_owned())),
        (Some(raw), None) => with_data(event, raw, content_type.as_deref()),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map(|bytes| event.binary_data(bytes))
            .map_err(|e| EventError::Json(format!("data_base64 {}", told::no_base64(&e)))),
        (None, None) => Ok(event),
    };
    event.map(|event| (event, versioned))
}

/// As [`parse_versioned`], borrowed from the text where that goes.
///
/// # Errors
/// The same.
pub fn read(text: &str) -> Result<EventParts<'_>, EventError> {
    fast::parse(text).map_or_else(|| parse_versioned(text).map(EventParts::from), Ok)
}

/// Why a text is not what was to come, which begins with `opens`.
fn wrong(text: &str, (what, opens): (&str, u8), error: &serde_json::Error) -> EventError {
    let first = text.trim_start().bytes().next().unwrap_or_default();
    if !error.is_data() || first == opens {
        return EventError::Json(told(error));
    }
    let is = match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    };
    EventError::Json(format!("{what} is accepted, and this is {is}"))
}

/// JSON content keeps its exact text; any other type must be a string.
fn with_data(event: Event, raw: &str, content_type: Option<&str>) -> Result<Event, EventError> {
    match content_type {
        None => Ok(event.data_content_type("application/json").text_data(raw)),
        Some(kind) if is_json(kind) => Ok(event.text_data(raw)),
        Some(kind) => serde_json::from_str::<String>(raw)
            .map(|text| event.text_data(text))
            .map_err(|_| EventError::Json(format!("data of type {:?} must be a string, or data_base64", shown(kind)))),
    }
}

fn string(name: &str, raw: &RawValue) -> Result<String, EventError> {
    serde_json::from_str(raw.get()).map_err(|_| EventError::value(name, "must be a string"))
}

/// Absent it may be filled in; empty it is a mistake.
fn required(name: &str, raw: &RawValue) -> Result<String, EventError> {
    let value = string(name, raw)?;
    if value.is_empty() { Err(EventError::value(name, "must not be empty")) } else { Ok(value) }
}

fn extension(name: &str, raw: &RawValue) -> Result<AttributeValue<'static>, EventError> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => AttributeValue::String(string(name, raw)?.into()),
        Some(b't' | b'f') => AttributeValue::Boolean(text == "true"),
        Some(b'-' | b'0'..=b'9') => AttributeValue::Integer(
            text.parse()
                .map_err(|_| EventError::value(name, format!("{} is not an integer of 32 bits", shown(text))))?,
        ),
        _ => {
            return Err(EventError::value(name, "must be a string, an integer or a boolean"));
        }
    })
}

/// Whether a media type says JSON: CloudEvents 1.0.2, JSON Event Format, section 3.1.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let ending = essence.len().checked_sub(5).and_then(|at| essence.as_bytes().get(at..)).unwrap_or_default();
    ending.eq_ignore_ascii_case(b"/json") || ending.eq_ignore_ascii_case(b"+json")
}

/// Appends one event as an object. JSON data goes out as its exact text.
///
/// # Errors
/// [`EventError::Unsupported`] for `proto_data`: it has no form in JSON.
pub fn write(event: &EventView<'_>, out: &mut String) -> Result<(), EventError> {
    write_with(event, out, |data, out| out.push_str(data))
}

/// [`write()`], on one line, as NDJSON and server-sent events ask: line breaks between tokens of JSON data become blanks.
///
/// # Errors
/// The same.
pub fn write_line(event: &EventView<'_>, out: &mut String) -> Result<(), EventError> {
    write_with(event, out, |data, out| {
        // A line break inside a JSON string is always escaped, so any raw one stands between tokens.
        out.extend(data.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    })
}

fn write_with(event: &EventView<'_>, out: &mut String, json: fn(&str, &mut String)) -> Result<(), EventError> {
    out.push_str("{\"specversion\":\"1.0\"");
    for (name, value) in [("id", event.id()), ("source", event.source()), ("type", event.kind())] {
        member(out, name, value);
    }
    for (name, value) in event.attributes() {
        match value {
            AttributeValue::Boolean(v) => drop(write!(out, ",\"{name}\":{v}")),
            AttributeValue::Integer(v) => drop(write!(out, ",\"{name}\":{v}")),
            other => member(out, name, &other.to_string()),
        }
    }
    let is_json = event.data_content_type().is_none_or(|kind| is_json(&kind));
    match event.data() {
        Data::Absent => {}
        Data::Proto(_) => {
            return Err(EventError::Unsupported("proto_data cannot be written as JSON; receive it as protobuf"));
        }
        data => match std::str::from_utf8(data.bytes()) {
            Ok(text) if is_json && serde_json::from_str::<&RawValue>(text).is_ok() => {
                out.push_str(",\"data\":");
                json(text, out);
            }
            Ok(text) if !is_json => member(out, "data", text),
            _ => {
                out.push_str(",\"data_base64\":\"");
                base64_simd::STANDARD.encode_append(data.bytes(), out);
                out.push('"');
            }
        },
    }
    out.push('}');
    Ok(())
}

fn member(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, ",\"{name}\":");
    out.push_str(&serde_json::Value::from(value).to_string());
}

#[cfg(test)]
mod tests;
