//! The common case in one pass, borrowed from the text: what gateways get by the thousand.
//!
//! It knows no errors. Whatever is not plain (a required member absent, a name twice, a value of an unusual form) is `None`, and the
//! caller reads again with the parser that says what is wrong.

use std::borrow::Cow;
use std::fmt;

use base64_simd::STANDARD;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Name, is_json};
use crate::event::{MOST_ATTRIBUTES, PartsData};
use crate::{AttributeValue, EventParts, time};

/// One event.
pub(super) fn parse(text: &str) -> Option<EventParts<'_>> {
    serde_json::from_str(text).ok().map(|Plain(event)| event)
}

/// An array of at most so many events, all of them plain, one by one; `None`: what follows is not.
pub(super) fn parse_batch<'a>(text: &'a str, most: usize, each: impl FnMut(EventParts<'a>)) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    Batch { left: most, each }.deserialize(&mut json).ok()?;
    json.end().ok()
}

struct Plain<'a>(EventParts<'a>);

/// Reads an array and hands its events over: kept until the end, they would be out of the processor's caches by then.
struct Batch<F> {
    /// How many more there may be.
    left: usize,
    each: F,
}

/// The value of an attribute that is neither defined by CloudEvents nor data.
struct Scalar<'a>(AttributeValue<'a>);

impl<'de, F: FnMut(EventParts<'de>)> DeserializeSeed<'de> for Batch<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(EventParts<'de>)> Visitor<'de> for Batch<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(Plain(event)) = items.next_element()? {
            self.left = self.left.checked_sub(1).ok_or_else(|| A::Error::custom("too many"))?;
            (self.each)(event);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Plain<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Plain<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                event(map).map(Plain)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer of 32 bits or a boolean")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar(AttributeValue::String(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar(AttributeValue::String(Cow::Owned(text.to_owned()))))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar(AttributeValue::Boolean(value)))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                i32::try_from(value).map(|value| Scalar(AttributeValue::Integer(value))).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                i32::try_from(value).map(|value| Scalar(AttributeValue::Integer(value))).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Value)
    }
}

fn event<'de, A: MapAccess<'de>>(mut map: A) -> Result<EventParts<'de>, A::Error> {
    let odd = A::Error::custom;
    let mut event = EventParts::default();
    let (mut version, mut data, mut base64) = (None, None, None);
    let mut count = 0;
    while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
        count += 1;
        let twice = match &*name {
            "data" => data.replace(map.next_value::<&'de RawValue>()?.get()).is_some(),
            "specversion" => version.replace(text(&mut map)?).is_some(),
            "data_base64" => base64.replace(text(&mut map)?).is_some(),
            "id" => !std::mem::replace(&mut event.id, required(&mut map)?).is_empty(),
            "source" => !std::mem::replace(&mut event.source, required(&mut map)?).is_empty(),
            "type" => !std::mem::replace(&mut event.kind, required(&mut map)?).is_empty(),
            _ => {
                let value = attribute(&name, &mut map)?;
                event.push(name, value);
                false
            }
        };
        if twice || count > MOST_ATTRIBUTES {
            return Err(odd("a member occurs twice, or there are too many"));
        }
    }
    if version.as_deref() != Some("1.0") || event.id.is_empty() || event.source.is_empty() || event.kind.is_empty() {
        return Err(odd("a required member is absent, or another version"));
    }
    event.data = match (data, base64) {
        (Some(_), Some(_)) => return Err(odd("data twice")),
        (Some(raw), None) => json_data(&mut event, raw).ok_or_else(|| odd("data of another type"))?,
        (None, Some(text)) => PartsData::Binary(STANDARD.decode_to_vec(&*text).map_err(A::Error::custom)?.into()),
        (None, None) => PartsData::Absent,
    };
    if event.sort() { Ok(event) } else { Err(odd("a member occurs twice")) }
}

fn attribute<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<AttributeValue<'de>, A::Error> {
    Ok(match name {
        "time" => {
            let time = time::read(&text(map)?).ok_or_else(|| A::Error::custom("no time"))?;
            AttributeValue::Timestamp(time)
        }
        "dataschema" => AttributeValue::Uri(text(map)?),
        "datacontenttype" => AttributeValue::String(text(map)?),
        _ => map.next_value().map(|Scalar(value)| value)?,
    })
}

fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Cow<'de, str>, A::Error> {
    map.next_value::<Name<'de>>().map(|Name(text)| text)
}

fn required<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Cow<'de, str>, A::Error> {
    let text = text(map)?;
    if text.is_empty() { Err(A::Error::custom("empty")) } else { Ok(text) }
}

fn json_data<'a>(event: &mut EventParts<'a>, raw: &'a str) -> Option<PartsData<'a>> {
    let name = "datacontenttype";
    let kind = event.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value);
    let text = match kind {
        None => {
            event.push(Cow::Borrowed(name), AttributeValue::String(Cow::Borrowed("application/json")));
            Cow::Borrowed(raw)
        }
        Some(AttributeValue::String(kind)) if is_json(kind) => Cow::Borrowed(raw),
        Some(_) => serde_json::from_str::<Name<'a>>(raw).ok()?.0,
    };
    Some(PartsData::Text(text))
}
