//! An event as a host puts it together.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use meshwire::{AttributeValue, Bytes, Error, ErrorKind, Event, Result, TimedEvent, UnixMillis};
use meshwire_proto::codec::json;
use serde::de::IgnoredAny;

/// An event to publish, attribute by attribute. What is absent of `id`, `source`, `type` and `time` is filled in when it is published;
/// names and values are checked there too.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    event: Event,
    /// What the data is, unless `datacontenttype` says something else.
    content_type: Option<&'static str>,
    typed: bool,
    deliver_at: Option<SystemTime>,
    deliver_after: Option<Duration>,
    expires_in: Option<Duration>,
}

/// Attributes that every event has or may have.
const EVERY: [&str; 8] = ["id", "source", "type", "specversion", "subject", "datacontenttype", "dataschema", "time"];

fn invalid(name: &str, problem: impl std::fmt::Display) -> Error {
    let name: String = name.chars().take(60).collect();
    Error::of_host(ErrorKind::Invalid, "event", format!("attribute {name}: {problem}"))
}

impl Draft {
    /// Nothing is said yet.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// An attribute by its name in CloudEvents, as text: `time` of RFC 3339. The last one of a name counts.
    ///
    /// # Errors
    /// `INVALID`: no time; another `specversion` than 1.0.
    pub fn text(mut self, name: &str, value: &str) -> Result<Self> {
        self.event = match name {
            "id" => self.event.id(value),
            "source" => self.event.source(value),
            "type" => self.event.kind(value),
            "specversion" if value == "1.0" => self.event,
            "specversion" => return Err(invalid(name, "only 1.0 is known")),
            "partitionkey" => self.event.key(value),
            "subject" => self.event.subject(value),
            "datacontenttype" => {
                self.typed = true;
                self.event.data_content_type(value)
            }
            "dataschema" => self.event.data_schema(value),
            "time" => {
                let time = AttributeValue::time(value).ok_or_else(|| {
                    let shown: String = value.chars().take(60).collect();
                    invalid(name, format!("{shown:?} is not an RFC 3339 time, such as 2026-11-28T06:30:00Z"))
                })?;
                self.event.attribute("time", time)
            }
            _ => self.event.attribute(name.to_owned(), value),
        };
        Ok(self)
    }

    /// An extension attribute that is text, for hosts that keep extensions apart from the attributes that every event may have.
    ///
    /// # Errors
    /// `INVALID`: it is one of those, and has a place of its own.
    pub fn extension_text(self, name: &str, value: &str) -> Result<Self> {
        if EVERY.contains(&name) {
            return Err(invalid(name, "is no extension: say it in its own place"));
        }
        self.text(name, value)
    }

    /// An attribute so far, as its canonical text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.event.get(name).map(Cow::into_owned)
    }

    /// An extension attribute that is a whole number.
    ///
    /// # Errors
    /// `INVALID`: it has more than 32 bits, or the attribute is none that may be a number.
    pub fn integer(self, name: &str, value: i64) -> Result<Self> {
        let value = i32::try_from(value).map_err(|_| {
            invalid(name, format!("{value} is beyond the 32 bits of CloudEvents' Integer; make it text"))
        })?;
        self.extension(name, AttributeValue::Integer(value))
    }

    /// An extension attribute that is true or false.
    ///
    /// # Errors
    /// `INVALID`: the attribute is none that may be that.
    pub fn boolean(self, name: &str, value: bool) -> Result<Self> {
        self.extension(name, AttributeValue::Boolean(value))
    }

    /// An extension attribute that is bytes.
    ///
    /// # Errors
    /// `INVALID`: the attribute is none that may be that.
    pub fn binary(self, name: &str, value: &[u8]) -> Result<Self> {
        self.extension(name, AttributeValue::Binary(Cow::Owned(value.to_vec())))
    }

    /// An attribute that is a time: `time`, or an extension.
    ///
    /// # Errors
    /// `INVALID`: the attribute is none that may be that.
    pub fn time(self, name: &str, millis: i64) -> Result<Self> {
        if name == "time" {
            return Ok(Self { event: self.event.time(UnixMillis(millis)), ..self });
        }
        self.extension(name, UnixMillis(millis).into())
    }

    fn extension(mut self, name: &str, value: AttributeValue<'static>) -> Result<Self> {
        if name == "partitionkey" || EVERY.contains(&name) {
            return Err(invalid(name, "is text"));
        }
        self.event = self.event.attribute(name.to_owned(), value);
        Ok(self)
    }

    /// The data is bytes: `application/octet-stream` unless `datacontenttype` is said.
    #[must_use]
    #[inline]
    pub fn bytes(self, data: impl Into<Bytes>) -> Self {
        Self { event: self.event.binary_data(data), content_type: Some("application/octet-stream"), ..self }
    }

    /// The data is text: `text/plain` unless `datacontenttype` is said.
    #[must_use]
    #[inline]
    pub fn words(self, data: impl Into<String>) -> Self {
        Self { event: self.event.text_data(data), content_type: Some("text/plain"), ..self }
    }

    /// The data is JSON that the host has written: `application/json` unless `datacontenttype` is said.
    #[must_use]
    #[inline]
    pub fn json(self, data: impl Into<String>) -> Self {
        Self { event: self.event.text_data(data), content_type: Some("application/json"), ..self }
    }

    /// The same of JSON that a program has written, which may have written something else.
    ///
    /// # Errors
    /// `INVALID`: what is wrong with it, and at which line and column.
    pub fn checked_json(self, data: impl Into<String>) -> Result<Self> {
        let data = data.into();
        serde_json::from_str::<IgnoredAny>(&data).map_err(|error| {
            let text = format!("the data is no JSON: {}; pass what is none as text or bytes", json::told(&error));
            Error::of_host(ErrorKind::Invalid, "event", text)
        })?;
        Ok(self.json(data))
    }

    /// As [`TimedEvent::deliver_at`], in milliseconds since 1970.
    ///
    /// # Errors
    /// `INVALID`: too far away to be a time.
    pub fn deliver_at(self, millis: i64) -> Result<Self> {
        let far = u64::try_from(millis).unwrap_or_default();
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(far));
        let at = at.ok_or_else(|| invalid("deliver_at", "is no time"))?;
        Ok(Self { deliver_at: Some(at), ..self })
    }

    /// As [`TimedEvent::deliver_after`].
    #[must_use]
    pub fn deliver_after(self, delay: Duration) -> Self {
        Self { deliver_after: Some(delay), ..self }
    }

    /// As [`TimedEvent::expires_in`].
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        Self { expires_in: Some(time), ..self }
    }

    /// The event, and when it is delivered.
    ///
    /// # Errors
    /// `INVALID`: it is to be delivered both at a time and after one.
    #[inline]
    pub fn finish(self) -> Result<TimedEvent> {
        let (at, after, expires_in) = (self.deliver_at, self.deliver_after, self.expires_in);
        let mut timed = TimedEvent::from(self.event_alone());
        timed = match (at, after) {
            (Some(_), Some(_)) => return Err(invalid("deliver_at", "is said beside deliver_after; say one of them")),
            (Some(at), None) => timed.deliver_at(at),
            (None, Some(after)) => timed.deliver_after(after),
            (None, None) => timed,
        };
        Ok(match expires_in {
            Some(time) => timed.expires_in(time),
            None => timed,
        })
    }

    /// The event for a request or a reply, which are delivered at once or never.
    ///
    /// # Errors
    /// `INVALID`: it is said when to deliver it.
    pub fn finish_now(self) -> Result<Event> {
        if self.deliver_at.is_some() || self.deliver_after.is_some() || self.expires_in.is_some() {
            return Err(invalid("deliver_at", "deliver_after and expires_in are for events that are published"));
        }
        Ok(self.event_alone())
    }

    #[inline]
    fn event_alone(self) -> Event {
        match self.content_type {
            Some(content_type) if !self.typed => {
                self.event.attribute("datacontenttype", AttributeValue::String(Cow::Borrowed(content_type)))
            }
            _ => self.event,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn shown(draft: Draft) -> String {
        let event = draft.text("id", "1").unwrap().text("source", "/s").unwrap().finish_now().unwrap();
        let encoded = event.kind("t").encode().unwrap();
        let view = meshwire::EventView::parse(&encoded, meshwire_proto::EventLimits::default()).unwrap();
        let mut out = String::new();
        meshwire::codec::json::write(&view, &mut out).unwrap();
        out
    }

    #[test]
    fn data_says_what_it_is_unless_the_host_does() {
        let draft = || Draft::new().text("partitionkey", "k").unwrap();
        assert!(shown(draft().bytes(vec![0, 255])).contains(r#""datacontenttype":"application/octet-stream""#));
        assert!(shown(draft().words("x")).contains(r#""datacontenttype":"text/plain""#));
        let json = shown(draft().json(r#"{"a":1}"#));
        assert!(
            json.contains(r#""datacontenttype":"application/json""#) && json.contains(r#""data":{"a":1}"#),
            "{json}"
        );
        let said = draft().text("datacontenttype", "text/csv").unwrap();
        for said in [shown(said.clone().words("a,b")), shown(said.bytes(&b"a,b"[..]))] {
            assert!(said.contains(r#""datacontenttype":"text/csv""#), "{said}");
        }
        assert!(!shown(draft()).contains("datacontenttype"));
    }

    #[test]
    fn what_is_said_to_be_json_and_is_not_is_refused_with_its_place() {
        for fine in ["1", " {\"a\":[1,2.5e3,null]} ", "\"\\u00e9\""] {
            assert!(
                shown(Draft::new().checked_json(fine).unwrap()).contains(r#""datacontenttype":"application/json""#)
            );
        }
        for (text, said) in [
            ("", "the data is no JSON: it is empty; pass what is none as text or bytes"),
            (
                "[1,\n]",
                "the data is no JSON: there is no value where one must be at line 2 column 1; pass what is none as text or bytes",
            ),
            (
                "1 2",
                "the data is no JSON: something follows behind the end at line 1 column 3; pass what is none as text or bytes",
            ),
        ] {
            let error = Draft::new().checked_json(text).unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, said));
        }
    }

    #[test]
    fn attributes_have_the_types_of_cloudevents() {
        let draft = Draft::new().integer("count", -7).unwrap().boolean("last", true).unwrap();
        let draft = draft.time("time", 1_500).unwrap().time("due", -1).unwrap().binary("raw", b"\0\xFF").unwrap();
        let shown = shown(draft.text("dataschema", "https://x/y").unwrap().text("specversion", "1.0").unwrap());
        for expected in [
            r#""count":-7"#,
            r#""last":true"#,
            r#""time":"1970-01-01T00:00:01.500Z""#,
            r#""due":"1969-12-31T23:59:59.999Z""#,
            r#""raw":"AP8=""#,
            r#""dataschema":"https://x/y""#,
        ] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
    }

    #[test]
    fn what_is_no_attribute_is_refused_by_its_name() {
        let refused = |draft: Result<Draft>| {
            let error = draft.unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "event"));
            error.message().to_owned()
        };
        assert!(refused(Draft::new().integer("count", i64::MAX)).contains("count"));
        assert!(refused(Draft::new().boolean("id", true)).contains("is text"));
        assert!(refused(Draft::new().boolean("partitionkey", true)).contains("is text"));
        for name in EVERY {
            assert!(refused(Draft::new().extension_text(name, "x")).contains("own place"), "{name}");
        }
        assert!(Draft::new().extension_text("partitionkey", "x").is_ok());
        assert!(refused(Draft::new().text("time", "yesterday")).contains("RFC 3339"));
        assert!(refused(Draft::new().text("specversion", "0.3")).contains("1.0"));
        let both = Draft::new().deliver_at(1).unwrap().deliver_after(Duration::ZERO);
        assert_eq!(both.finish().unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(Draft::new().expires_in(Duration::ZERO).finish_now().unwrap_err().kind(), ErrorKind::Invalid);
    }
}
