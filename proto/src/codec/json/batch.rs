//! A batch: an array of events, of which what is wrong with one stands in its place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{fast, read, wrong};
use crate::{EventError, EventParts};

/// Reads a batch: an array of events that say their version, of which each is given to `each` as soon as it is read, and not kept. What is
/// wrong with one of them is in its place. Of more than `most` those beyond are only counted. Gives how many there are.
///
/// # Errors
/// [`EventError::Json`]: it is not an array of JSON values, and what was given to `each` does not count.
pub fn parse_batch<'a>(
    text: &'a str,
    most: usize,
    mut each: impl FnMut(Result<&EventParts<'a>, EventError>),
) -> Result<usize, EventError> {
    let mut given = 0;
    let quick = fast::parse_batch(text, most, |event| {
        given += 1;
        each(Ok(event));
    });
    if quick.is_some() {
        return Ok(given);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let items = Items { given, most, each };
    let count = items.deserialize(&mut json).and_then(|count| json.end().map(|()| count));
    count.map_err(|e| wrong(text, ("an array of events", b'['), &e))
}

/// Reads an array item by item: a place for each would cost more than the item, where those are short.
struct Items<F> {
    /// How many were given already.
    given: usize,
    most: usize,
    each: F,
}

impl<'de, F: FnMut(Result<&EventParts<'de>, EventError>)> DeserializeSeed<'de> for Items<F> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Result<&EventParts<'de>, EventError>)> Visitor<'de> for Items<F> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<usize, A::Error> {
        let mut count = 0;
        loop {
            if (self.given..self.most).contains(&count) {
                let Some(item) = items.next_element::<&RawValue>()? else { return Ok(count) };
                (self.each)(read(item.get()).as_ref().map_err(Clone::clone));
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(count);
            }
            count += 1;
        }
    }
}
