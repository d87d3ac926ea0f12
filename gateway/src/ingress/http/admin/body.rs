//! The JSON object of a command: each member known, none twice, of the right type.

use std::fmt;

use axum::extract::Request;
use meshwire_proto::ErrorKind;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::super::deadline::TIMEOUT;
use super::super::query::Query;
use super::super::{Door, Problem, json_body};

/// Most bytes of a command.
const MOST: u64 = 64 << 10;

/// What a command says. Whatever is not asked for by a `take` is unknown: see [`Fields::parse`].
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, Value)>);

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

/// A number without a fraction, however it is written, as 1.0 by languages that know one kind of number.
fn whole(value: &Value) -> Option<u64> {
    /// From here on not every whole number can be told from its neighbours.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || value.as_f64().filter(|float| (0.0..EXACT).contains(float) && float.fract() == 0.0);
    value.as_u64().or_else(|| float().map(|float| float as u64))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.iter().any(|(n, _)| *n == name) {
                        return Err(A::Error::custom(format!("field {name:?} is there more than once")));
                    }
                    // A command has no more than a few.
                    if fields.len() > 64 {
                        return Err(A::Error::custom("too many fields"));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Fields {
    /// What a request says that takes no other parameter than its deadline; no body is an object without members.
    ///
    /// # Errors
    /// `UNSUPPORTED` with status 415: it is not said to be JSON; `INVALID`: it is none, or says what is not known, with what is.
    pub(super) async fn read(request: Request, known: &[&str]) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        Query::read(&parts.uri, &[TIMEOUT])?;
        let door = parts.extensions.get::<Door>();
        let door = door.ok_or_else(|| Problem::new(ErrorKind::Internal, "a request without a connection"))?;
        let bytes = json_body::bytes(door, &parts.headers, body, MOST, "(most of a command)").await?;
        if bytes.is_empty() { Ok(Self::default()) } else { Self::parse(&bytes, known) }
    }

    fn parse(bytes: &[u8], known: &[&str]) -> Result<Self, Problem> {
        let fields: Self =
            serde_json::from_slice(bytes).map_err(|e| invalid(format!("the body is no command: {e}")))?;
        match fields.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(fields),
            Some((name, _)) => {
                let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(invalid(format!("there is no field {name:?} here; there is {there}")))
            }
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let wrong = |value: &Value| {
            let shown: String = value.to_string().chars().take(40).collect();
            invalid(format!("field {name} is {shown}; {what} is accepted"))
        };
        self.get(name).map(|value| read(value).ok_or_else(|| wrong(value))).transpose()
    }

    pub(super) fn u64(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.typed(name, "a whole number", whole)
    }

    pub(super) fn u32(&self, name: &str) -> Result<Option<u32>, Problem> {
        self.typed(name, "a whole number up to 4294967295", |value| whole(value)?.try_into().ok())
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.typed(name, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        self.typed(name, "a string", Value::as_str)
    }

    /// One of these words.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let list: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let find = |value: &Value| words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meant)| *meant);
        self.typed(name, &format!("one of {}", list.join(", ")), find)
    }

    /// Numbers of dead letters.
    pub(super) fn numbers(&self, name: &str) -> Result<Option<Vec<u64>>, Problem> {
        let read = |value: &Value| value.as_array()?.iter().map(whole).collect();
        self.typed(name, "an array of whole numbers", read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    fn problem(text: &str) -> String {
        Fields::parse(text.as_bytes(), &["a", "b"]).unwrap_err().json()["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_no_object_of_known_members_is_refused_and_named() {
        assert!(problem(r#"{"c":1}"#).contains("no field \"c\" here; there is a, b"));
        assert!(problem(r#"{"a":1,"a":1}"#).contains("\"a\" is there more than once"));
        assert!(problem(r#"{"a":1,"\u0061":1}"#).contains("\"a\" is there more than once"));
        assert!(problem("[1]").contains("an object"));
        assert!(problem(r#"{"a":1} x"#).contains("trailing"));
        assert!(problem("{\"a\":\"\u{0}\"}").contains("control character"));
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(problem(&deep).contains("recursion limit"));
    }

    #[test]
    fn a_member_of_the_wrong_type_is_named_with_what_would_do() {
        let fields = Fields::parse(br#"{"a":"x","b":-1}"#, &["a", "b"]).unwrap();
        let detail = |problem: Problem| problem.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(
            detail(fields.u32("a").unwrap_err()),
            "field a is \"x\"; a whole number up to 4294967295 is accepted"
        );
        assert_eq!(detail(fields.u64("b").unwrap_err()), "field b is -1; a whole number is accepted");
        assert_eq!(
            detail(fields.word("a", &[("y", ()), ("z", ())]).unwrap_err()),
            "field a is \"x\"; one of \"y\", \"z\" is accepted"
        );
        assert_eq!(fields.text("a").unwrap(), Some("x"));
        let numbers = Fields::parse(br#"{"a":5.0,"b":5.5}"#, &["a", "b"]).unwrap();
        assert_eq!((numbers.u32("a").unwrap(), numbers.u32("b").is_err()), (Some(5), true));
        assert!(fields.bool("c").unwrap().is_none());
    }
}
