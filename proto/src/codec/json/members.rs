//! The members of an object, none twice.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Name, wrong};
use crate::EventError;
use crate::event::{MOST_ATTRIBUTES, shown};

/// The first of them in their order, and how many there are.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>, usize);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while members.len() < MOST_ATTRIBUTES {
                    let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? else {
                        let count = members.len();
                        return Ok(Members(members, count));
                    };
                    members.push((name, value));
                }
                let mut count = members.len();
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Members(members, count))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Reads an object; its members come by name, so that two of one name stand side by side.
///
/// # Errors
/// It is none, has more members than an event may have attributes, or one twice.
pub(super) fn read(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, EventError> {
    let Members(mut members, count) = serde_json::from_str(text).map_err(|e| wrong(text, ("an object", b'{'), &e))?;
    if count > members.len() {
        return Err(EventError::TooMany(count));
    }
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let twice = members.windows(2).find_map(|pair| match pair {
        [(a, _), (b, _)] if a == b => Some(shown(a)),
        _ => None,
    });
    match twice {
        Some(name) => Err(EventError::Json(format!("member {name:?} occurs twice"))),
        None => Ok(members),
    }
}
