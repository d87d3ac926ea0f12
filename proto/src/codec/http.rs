//! CloudEvents in HTTP, binary content mode: attributes in headers, data as the body.
//!
//! Source: CloudEvents 1.0.2, HTTP Protocol Binding, section 3.1.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;

use super::percent;
use crate::event::{PartsData, shown};
use crate::{AttributeValue, Data, EventError, EventParts, EventView, time};

/// Begins the name of each header that is an attribute.
pub const PREFIX: &str = "ce-";

/// Reads one event. `headers` are all that begin with [`PREFIX`], without it, in lower case; the body's bytes become `binary_data`, and
/// an empty body without a content type is no data.
///
/// # Errors
/// [`EventError`]: what is wrong and where.
pub fn parse<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    content_type: Option<&'a str>,
    body: Bytes,
) -> Result<EventParts<'a>, EventError> {
    let (mut event, mut version) = (EventParts::default(), None);
    for (name, value) in headers {
        let text = decode(name, value)?;
        match name {
            "specversion" => once(name, version.replace(text).is_some())?,
            "id" | "source" | "type" if text.is_empty() => return Err(EventError::value(name, "must not be empty")),
            "id" => once(name, !std::mem::replace(&mut event.id, text).is_empty())?,
            "source" => once(name, !std::mem::replace(&mut event.source, text).is_empty())?,
            "type" => once(name, !std::mem::replace(&mut event.kind, text).is_empty())?,
            "time" => {
                let time = time::read(&text)
                    .ok_or_else(|| EventError::value("time", format!("{:?} is not an RFC 3339 time", shown(&text))))?;
                once(name, event.set(Cow::Borrowed(name), AttributeValue::Timestamp(time)))?;
            }
            "dataschema" => once(name, event.set(Cow::Borrowed(name), AttributeValue::Uri(text)))?,
            "datacontenttype" => {
                return Err(EventError::value(name, "is the header content-type in this mode"));
            }
            _ => once(name, event.set(Cow::Borrowed(name), AttributeValue::String(text)))?,
        }
    }
    match version.as_deref() {
        Some("1.0") => {}
        Some(other) => return Err(EventError::Version(other.chars().take(20).collect())),
        None => return Err(EventError::Missing("specversion")),
    }
    if let Some(content_type) = content_type {
        event.set(Cow::Borrowed("datacontenttype"), AttributeValue::String(Cow::Borrowed(content_type)));
    }
    if !body.is_empty() || content_type.is_some() {
        event.data = PartsData::Binary(body);
    }
    Ok(event)
}

fn once(name: &str, again: bool) -> Result<(), EventError> {
    if again { Err(EventError::value(name, "is there twice, in two headers")) } else { Ok(()) }
}

/// The headers of an event, names with [`PREFIX`]; the content type apart; and its data.
///
/// # Errors
/// [`EventError::Unsupported`] for `proto_data`.
pub fn write<'a>(
    event: &EventView<'a>,
    mut header: impl FnMut(&str, String),
) -> Result<(Option<String>, &'a [u8]), EventError> {
    let data = match event.data() {
        Data::Proto(_) => {
            return Err(EventError::Unsupported("proto_data cannot be written as HTTP; receive it as protobuf"));
        }
        data => data.bytes(),
    };
    header("ce-specversion", "1.0".to_owned());
    for (name, value) in [("ce-id", event.id()), ("ce-source", event.source()), ("ce-type", event.kind())] {
        header(name, encode(value));
    }
    for (name, value) in event.attributes().filter(|(name, _)| *name != "datacontenttype") {
        header(&format!("{PREFIX}{name}"), encode(&value.to_string()));
    }
    Ok((event.data_content_type(), data))
}

/// A header's value as text: quotes are taken off, and `%XX` becomes a byte of UTF-8.
fn decode<'a>(name: &str, value: &'a [u8]) -> Result<Cow<'a, str>, EventError> {
    let no_text = |_| EventError::value(name, "is not UTF-8");
    if !value.contains(&b'%') && value.first() != Some(&b'"') {
        return std::str::from_utf8(value).map(Cow::Borrowed).map_err(no_text);
    }
    let value = match value {
        [b'"', inner @ .., b'"'] => Cow::Owned(unescape(inner)),
        value => Cow::Borrowed(value),
    };
    let bytes = percent::decode(&value)
        .ok_or_else(|| EventError::value(name, "has a % without two hexadecimal digits behind it"))?;
    String::from_utf8(bytes.into_owned()).map(Cow::Owned).map_err(|e| no_text(e.utf8_error()))
}

fn unescape(quoted: &[u8]) -> Vec<u8> {
    let (mut bytes, mut escaped) = (Vec::with_capacity(quoted.len()), false);
    for byte in quoted {
        if *byte == b'\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        bytes.push(*byte);
    }
    bytes
}

/// What may not stand in a header as it is becomes `%XX`: all but printable ASCII, and space, `"` and `%`.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => drop(write!(encoded, "%{byte:02X}")),
            b'!'..=b'~' => encoded.push(char::from(byte)),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::{Event, EventLimits};

    const LEAST: [(&str, &[u8]); 4] = [("specversion", b"1.0"), ("id", b"1"), ("source", b"/s"), ("type", b"t")];

    fn with(name: &'static str, value: &'static [u8]) -> Result<Event, EventError> {
        let least = LEAST.into_iter().filter(|(n, _)| *n != name);
        parse(least.chain([(name, value)]), Some("text/plain"), Bytes::from_static(b"x")).map(EventParts::into_event)
    }

    #[test]
    fn attributes_are_decoded_and_encoded_alike() {
        let event = with("subject", b"Euro%20%E2%82%AC%20%F0%9F%98%80 \"%25\"").unwrap();
        let bytes = event.encode().unwrap();
        let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
        assert_eq!(view.attribute("subject"), Some("Euro \u{20ac} \u{1f600} \"%\"".into()));
        let mut headers = Vec::new();
        let (content_type, data) = write(&view, |name, value| headers.push((name.to_owned(), value))).unwrap();
        assert_eq!((content_type.as_deref(), data), (Some("text/plain"), &b"x"[..]));
        let subject = headers.iter().find(|(name, _)| name == "ce-subject").unwrap();
        assert_eq!(subject.1, "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22%25%22");
        let again = headers.iter().map(|(name, value)| (name.trim_start_matches(PREFIX), value.as_bytes()));
        assert_eq!(parse(again, Some("text/plain"), Bytes::from_static(b"x")).unwrap().into_event(), event);
    }

    #[test]
    fn a_quoted_value_is_taken_without_its_quotes() {
        let event = with("subject", br#""a \"b\" \\ c""#).unwrap();
        let bytes = event.encode().unwrap();
        let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
        assert_eq!(view.attribute("subject"), Some(r#"a "b" \ c"#.into()));
    }

    #[test]
    fn an_empty_body_without_a_type_is_no_data() {
        let of = |content_type| {
            let bytes = parse(LEAST.into_iter(), content_type, Bytes::new()).unwrap().into_event().encode().unwrap();
            let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
            matches!(view.data(), Data::Absent)
        };
        assert!(of(None) && !of(Some("text/plain")));
    }

    #[test]
    fn what_is_wrong_says_which_attribute() {
        for (name, value, says) in [
            ("specversion", &b"0.3"[..], "0.3"),
            ("id", b"", "id"),
            ("time", b"yesterday", "RFC 3339"),
            ("datacontenttype", b"text/plain", "content-type"),
            ("subject", b"%4", "hexadecimal"),
            ("subject", b"%zz", "hexadecimal"),
            ("subject", b"%ff", "UTF-8"),
        ] {
            let error = with(name, value).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(if says == "0.3" { "" } else { name }), "{error}");
        }
        for (name, value) in LEAST.into_iter().chain([("subject", &b"2"[..]), ("specversion", b"1.0")]) {
            let twice = LEAST.into_iter().filter(|(n, _)| *n != name).chain([(name, value), (name, value)]);
            let error = parse(twice, None, Bytes::new()).unwrap_err().to_string();
            assert!(error.contains("twice") && error.contains(name), "{error}");
        }
        let none = parse(std::iter::empty(), None, Bytes::new()).unwrap_err().to_string();
        assert!(none.contains("has no specversion"), "{none}");
    }
}
