//! The arguments of a command: an object of JSON with known members. What is wrong with one is said with its name.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use meshwire::{Error, ErrorKind, Mesh, Result};
use meshwire_proto::codec::json;
use meshwire_proto::excerpt;
use meshwire_proto::options::Bounded;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, IntoDeserializer as _};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::values::Whole;

/// How much of a wrong value is shown, in characters.
const SHOWN: usize = 60;

/// A command that is carried out.
pub(super) struct Asked {
    pub(super) mesh: Mesh,
    operation: &'static str,
    arguments: String,
}

impl Asked {
    pub(super) const fn new(mesh: Mesh, operation: &'static str, arguments: String) -> Self {
        Self { mesh, operation, arguments }
    }

    pub(super) fn refused(&self, text: impl Into<String>) -> Error {
        Error::of_host(ErrorKind::Invalid, self.operation, text)
    }

    /// Its arguments. `T` denies unknown fields.
    ///
    /// # Errors
    /// `INVALID`: which argument, what it is, and what is accepted.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        read(&self.arguments).map_err(|text| self.refused(text))
    }

    /// A number within these bounds.
    ///
    /// # Errors
    /// `INVALID`: it is not.
    pub(super) fn between(&self, name: &str, value: Option<Whole>, bounds: RangeInclusive<u64>) -> Result<Option<u64>> {
        match value {
            Some(Whole(number)) if !bounds.contains(&number) => {
                let (min, max) = (bounds.start(), bounds.end());
                Err(self.refused(format!("argument {name} is {number}; from {min} to {max} is accepted")))
            }
            value => Ok(value.map(|Whole(number)| number)),
        }
    }

    /// A number within the bounds of an option, whatever that is called.
    ///
    /// # Errors
    /// As [`Asked::between`].
    pub(super) fn within(&self, name: &str, value: Option<Whole>, option: &Bounded) -> Result<Option<u64>> {
        self.between(name, value, option.min..=option.max)
    }

    /// Milliseconds within the bounds of an option.
    ///
    /// # Errors
    /// As [`Asked::between`].
    pub(super) fn millis(&self, name: &str, value: Option<Whole>, option: &Bounded) -> Result<Option<Duration>> {
        Ok(self.within(name, value, option)?.map(Duration::from_millis))
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    /// As [`Asked::between`].
    pub(super) fn count(&self, name: &str, value: Option<Whole>) -> Result<Option<u32>> {
        Ok(self.between(name, value, 0..=u32::MAX.into())?.and_then(|number| u32::try_from(number).ok()))
    }

    /// The answer as text.
    ///
    /// # Errors
    /// `INTERNAL`: it has no form in JSON, which is a defect of this library.
    pub(super) fn answer(&self, answer: &impl Serialize) -> Result<String> {
        let defect = |error: serde_json::Error| {
            Error::of_host(
                ErrorKind::Internal,
                self.operation,
                format!("the answer is no JSON: {}", json::told(&error)),
            )
        };
        serde_json::to_string(answer).map_err(defect)
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    // First alone whether it is JSON: what is wrong behind that is wrong with an argument.
    let no_json = |error| format!("the arguments are no JSON: {}", json::told(&error));
    serde_json::from_str::<IgnoredAny>(text).map_err(no_json)?;
    let read = serde_json::Deserializer::from_str(text).deserialize_map(Object(PhantomData));
    read.map_err(|error| told(without_place(&error.to_string())))
}

/// An error's text without its line and column: who called a function by names sees neither.
fn without_place(text: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_place = |place: &str| place.split_once(" column ").is_some_and(|(l, c)| is_number(l) && is_number(c));
    text.rsplit_once(" at line ").filter(|(_, place)| is_place(place)).map_or(text, |(text, _)| text)
}

/// What the parser says of the whole object, in words for who gave arguments.
fn told(text: &str) -> String {
    let name = |what: &str| text.strip_prefix(what).map(|name| name.trim_matches('`'));
    if let Some(name) = name("missing field ") {
        return format!("argument {name} is missing");
    }
    if let Some(name) = name("duplicate field ") {
        return format!("argument {name} is there more than once");
    }
    match is_and_accepted(text) {
        Some((is, accepted)) => format!("the arguments are {is}; {accepted} is accepted"),
        None => text.to_owned(),
    }
}

/// The same of the value of one.
fn told_of(name: &str, text: &str) -> String {
    match is_and_accepted(text) {
        Some((is, accepted)) => format!("argument {name} is {is}; {accepted} is accepted"),
        None => format!("argument {name}: {text}"),
    }
}

fn is_and_accepted(text: &str) -> Option<(Cow<'_, str>, String)> {
    let text = ["invalid type: ", "invalid value: ", "unknown variant "].iter().find_map(|w| text.strip_prefix(w))?;
    let (is, accepted) = text.rsplit_once(", expected ")?;
    let is = match is {
        "sequence" => "an array",
        "map" => "an object",
        is => {
            ["string ", "integer ", "floating point ", "boolean "].iter().find_map(|w| is.strip_prefix(w)).unwrap_or(is)
        }
    };
    Some((excerpt(is.trim_matches('`'), SHOWN), accepted.replace('`', "")))
}

/// The same of a name that is none; `rest` is what the parser says behind it.
fn unknown(name: &str, rest: &str) -> String {
    let names = rest.trim_start_matches("expected ").trim_start_matches("one of ");
    let there = if names.starts_with('`') { names.replace('`', "") } else { "none".to_owned() };
    format!("there is no argument {:?}; there is {there}", excerpt(name, SHOWN))
}

/// Reads a `T` from an object.
struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(Named { map, name: String::new() }))
    }
}

/// The members of an object, whose errors say the member's name.
struct Named<A> {
    map: A,
    name: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Named<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.map.next_key::<String>()? else { return Ok(None) };
        let key = seed.deserialize(name.as_str().into_deserializer()).map_err(|error: A::Error| {
            let text = error.to_string();
            let rest = text.strip_prefix(&format!("unknown field `{name}`, ")).unwrap_or(&text);
            A::Error::custom(unknown(&name, without_place(rest)))
        })?;
        self.name = name;
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let name = &self.name;
        let told = |error: A::Error| A::Error::custom(told_of(name, without_place(&error.to_string())));
        self.map.next_value_seed(seed).map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::{Place, Topic};
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Some {
        #[expect(dead_code, reason = "only whether it is taken")]
        topic: Topic,
        number: Option<Whole>,
        flag: Option<bool>,
        start: Option<Place>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct None {}

    fn number(json: &str) -> Result<Option<u64>, String> {
        let some = read::<Some>(&format!("{{\"topic\":\"t\",\"number\":{json}}}"))?;
        Ok(some.number.map(|Whole(number)| number))
    }

    #[test]
    fn a_number_is_whole_and_may_be_written_as_its_digits() {
        assert_eq!(number("7"), Ok(Option::Some(7)));
        assert_eq!(number("7.0"), Ok(Option::Some(7)));
        assert_eq!(number("\"18446744073709551615\""), Ok(Option::Some(u64::MAX)));
        assert_eq!(number("null"), Ok(Option::None));
        for wrong in ["-1", "7.5", "9007199254740993.0", "\"\"", "\"+7\"", "\"7s\"", "true", "[7]", "{}"] {
            let said = number(wrong).err().unwrap_or_default();
            assert!(said.starts_with("argument number is ") && said.contains("; a whole number"), "{wrong}: {said}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name_of_the_argument_and_what_is_accepted() {
        for (text, said) in [
            ("{", "the arguments are no JSON: it ends inside an object at line 1 column 1"),
            ("{} x", "the arguments are no JSON: something follows behind the end at line 1 column 4"),
            ("[]", "the arguments are an array; an object is accepted"),
            ("", "argument topic is missing"),
            ("{\"topic\":\"t\",\"topic\":\"t\"}", "argument topic is there more than once"),
            ("{\"tpic\":1}", "there is no argument \"tpic\"; there is topic, number, flag, start"),
            ("{\"topic\":1}", "argument topic is 1; a string is accepted"),
            (
                "{\"topic\":\"a b\"}",
                "argument topic: topic name \"a b\" holds ' '; a name has 1 to 120 bytes of A-Z a-z 0-9 . _ - ~ % : and does \
                 not begin with $ (the gateway's own)",
            ),
            ("{\"topic\":\"t\",\"flag\":\"yes\"}", "argument flag is \"yes\"; a boolean is accepted"),
            (
                "{\"topic\":\"t\",\"start\":\"at line 1 column 2\"}",
                "argument start is \"at line 1 column 2\"; earliest, latest, a position or a time such as \
                 2026-11-28T06:30:00Z is accepted",
            ),
        ] {
            assert_eq!(read::<Some>(text).err().as_deref(), Option::Some(said), "{text}");
        }
        let said = read::<None>("{\"x\":1}").err();
        assert_eq!(said.as_deref(), Option::Some("there is no argument \"x\"; there is none"));
    }

    #[test]
    fn nothing_said_is_an_empty_object_and_null_is_nothing_said() {
        assert!(read::<None>("").is_ok() && read::<None>(" ").is_ok() && read::<None>("{}").is_ok());
        let some = read::<Some>("{\"topic\":\"t\",\"flag\":null,\"start\":null}");
        assert!(some.is_ok_and(|some| some.flag.is_none() && some.start.is_none()));
    }
}
