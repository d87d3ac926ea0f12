//! The optional attributes of CloudEvents, for who hands those of every event on.

use std::borrow::Cow;

use prost_types::Timestamp;

use super::AttributeValue;
use super::attribute::{entry, short, usual_entry, value};
use super::scan::{Field, Scanner};
use crate::UnixMillis;

/// What CloudEvents names beside the required attributes, found in one go: texts as they are stored, which were looked at when the event was
/// read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionalAttributes<'a> {
    /// `subject`.
    pub subject: Option<&'a [u8]>,
    /// `datacontenttype`.
    pub data_content_type: Option<&'a [u8]>,
    /// `dataschema`.
    pub data_schema: Option<&'a [u8]>,
    /// `time`, to the millisecond.
    pub time: Option<UnixMillis>,
}

impl<'a> OptionalAttributes<'a> {
    /// Those of an event that was read before; of any other bytes those up to where they are none.
    #[must_use]
    pub fn of(event: &'a [u8]) -> Self {
        let mut all = Self::default();
        let mut scan = Scanner::new(event);
        while let Ok(Some(field)) = scan.next() {
            if let (5, Field::Bytes(body)) = field
                && all.add(body).is_none()
            {
                break;
            }
        }
        all
    }

    fn add(&mut self, body: &'a [u8]) -> Option<()> {
        let (name, body) = match usual_entry(body) {
            Some(usual) => usual,
            None => entry(body).map(|(name, body)| (name.as_bytes(), body)).ok()?,
        };
        match name {
            b"subject" => self.subject = Some(text("subject", body)?),
            b"datacontenttype" => self.data_content_type = Some(text("datacontenttype", body)?),
            b"dataschema" => self.data_schema = Some(text("dataschema", body)?),
            b"time" => self.time = Some(time(body)?),
            _ => {}
        }
        Some(())
    }
}

fn text<'a>(name: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    if let Some((string, [])) = short(3, body) {
        return Some(string);
    }
    match value(name, body).ok()? {
        AttributeValue::String(Cow::Borrowed(text)) | AttributeValue::Uri(Cow::Borrowed(text)) => Some(text.as_bytes()),
        _ => None,
    }
}

fn time(body: &[u8]) -> Option<UnixMillis> {
    match value("time", body).ok()? {
        AttributeValue::Timestamp(time) => Some(in_millis(&time)),
        _ => None,
    }
}

pub(super) fn in_millis(time: &Timestamp) -> UnixMillis {
    UnixMillis(time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::{Event, EventLimits, EventView};

    #[test]
    fn they_are_what_the_event_says_one_by_one() {
        let bare = Event::new("t").id("1").source("//s");
        let wide = "ä".repeat(200);
        let events = [
            bare.clone(),
            bare.clone().subject("s").data_content_type("a/b").binary_data(&b"1"[..]),
            bare.clone().subject(&wide).key("k").text_data("text"),
            bare.clone().time(UnixMillis(-1)).attribute("other", "x").binary_data(vec![0; 300]),
            bare.clone().attribute("dataschema", AttributeValue::Uri(Cow::Borrowed("https://a/b"))),
            bare.attribute("dataschema", "text:b").time(UnixMillis(1_700_000_000_123)),
        ];
        for event in events {
            let bytes = event.encode().unwrap();
            let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
            let found = OptionalAttributes::of(&bytes);
            let text = |part: Option<&[u8]>| part.map(|part| String::from_utf8(part.to_vec()).unwrap());
            assert_eq!(
                (text(found.subject), text(found.data_content_type), text(found.data_schema), found.time),
                (view.subject(), view.data_content_type(), view.data_schema(), view.time()),
            );
        }
    }
}
