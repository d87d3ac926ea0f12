//! Objects of JSON in requests: each field known, none twice, of the right kind. What is wrong is said in the words of who wrote it: which
//! field, what came, what is accepted.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use meshwire_proto::codec::json;
use meshwire_proto::options::Bounded;
use meshwire_proto::{ErrorKind, excerpt};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Error, Number};

use super::Problem;

/// Most fields of an object; none that is taken has more than a few.
const MOST: usize = 64;

/// How much of a wrong value is shown, in characters.
pub(super) const SHOWN: usize = 40;

/// The fields of an object in their order, their values not yet looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

/// What must be there.
///
/// # Errors
/// `INVALID`: it is not.
pub(super) fn needed<T>(name: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| invalid(format!("field {name} is missing")))
}

/// A number without a fraction, however it is written, as 1.0 by languages that know one kind of number.
fn whole(number: &Number) -> Option<u64> {
    /// From here on not every whole number can be told from its neighbours.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || number.as_f64().filter(|float| (0.0..EXACT).contains(float) && float.fract() == 0.0);
    number.as_u64().or_else(|| float().map(|float| float as u64))
}

/// Why a text is no object, behind what it is the text of.
fn no_object(text: &str, error: &Error) -> String {
    if !error.is_data() {
        return format!("is no JSON: {}", json::told(error));
    }
    let is = match text.trim_start().bytes().next() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => return format!("is not taken: {}", json::told(error)),
    };
    format!("is {is}; an object is accepted")
}

impl<'a> Fields<'a> {
    /// All that there are, whatever they are. If the text is no object: what came before that shows, and behind it why.
    pub(super) fn scan(text: &'a str) -> (Self, Result<(), String>) {
        let (mut fields, mut json) = (Self::default(), serde_json::Deserializer::from_str(text));
        let scanned = Object(&mut fields).deserialize(&mut json).and_then(|()| json.end());
        (fields, scanned.map_err(|error| no_object(text, &error)))
    }

    /// Those of `what`, which may have these.
    ///
    /// # Errors
    /// `INVALID`: it is no object, or as [`Fields::check`].
    pub(super) fn parse(text: &'a str, what: &str, known: &[&str]) -> Result<Self, Problem> {
        let (fields, scanned) = Self::scan(text);
        scanned.map_err(|why| invalid(format!("{what} {why}")))?;
        fields.check(known)?;
        Ok(fields)
    }

    /// # Errors
    /// `INVALID`: one is there twice, or is none of those that may be, with what may.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), Problem> {
        for (n, (name, _)) in self.0.iter().enumerate() {
            if self.0.iter().take(n).any(|(before, _)| before == name) {
                return Err(invalid(format!("field {name:?} is there more than once")));
            }
            if !known.contains(&&**name) {
                let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(invalid(format!("there is no field {:?} here; there is {there}", excerpt(name, SHOWN))));
            }
        }
        Ok(())
    }

    /// Of these `null` says as much as nothing does.
    pub(super) fn without_nulls(mut self, names: &[&str]) -> Self {
        self.0.retain(|(name, value)| value.get() != "null" || !names.contains(&&**name));
        self
    }

    /// A value as it is written.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// How often it is there.
    pub(super) fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(n, _)| n == name).count()
    }

    fn typed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
        what: impl FnOnce() -> String,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.raw(name).map(RawValue::get) else { return Ok(None) };
        let wrong = || invalid(format!("field {name} is {}; {} is accepted", excerpt(value, SHOWN), what()));
        read(value).map(Some).ok_or_else(wrong)
    }

    fn number(
        &self,
        name: &str,
        fits: impl FnOnce(u64) -> bool,
        what: impl FnOnce() -> String,
    ) -> Result<Option<u64>, Problem> {
        let read = |value: &'a str| whole(&serde_json::from_str(value).ok()?).filter(|number| fits(*number));
        self.typed(name, read, what)
    }

    pub(super) fn u64(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.number(name, |_| true, || "a whole number".to_owned())
    }

    pub(super) fn u32(&self, name: &str) -> Result<Option<u32>, Problem> {
        let most = u64::from(u32::MAX);
        let number = self.number(name, |number| number <= most, || format!("a whole number up to {most}"))?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    /// A number within the bounds of an option, whatever that is called.
    pub(super) fn within(&self, name: &str, option: &Bounded) -> Result<Option<u64>, Problem> {
        self.between(name, option.min..=option.max)
    }

    /// A number within these bounds.
    pub(super) fn between(&self, name: &str, bounds: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let what = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.number(name, |number| bounds.contains(&number), what)
    }

    /// The same, of an option whose bounds are numbers of 32 bits.
    pub(super) fn within_u32(&self, name: &str, option: &Bounded) -> Result<Option<u32>, Problem> {
        Ok(self.within(name, option)?.and_then(|number| u32::try_from(number).ok()))
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.typed(name, |value| value.parse().ok(), || "true or false".to_owned())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
        let read = |value: &'a str| serde_json::from_str(value).ok().map(|Text(text)| text);
        self.typed(name, read, || "a string".to_owned())
    }

    /// One of these words.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let read = |value: &'a str| {
            let Text(text) = serde_json::from_str(value).ok()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant)
        };
        let list = || words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        self.typed(name, read, || format!("one of {}", list()))
    }

    /// Numbers of dead letters.
    pub(super) fn numbers(&self, name: &str) -> Result<Option<Vec<u64>>, Problem> {
        let read = |value: &'a str| serde_json::from_str::<Vec<Number>>(value).ok()?.iter().map(whole).collect();
        self.typed(name, read, || "an array of whole numbers".to_owned())
    }

    /// The first `most` items of an array, and how many there are.
    pub(super) fn items(&self, name: &str, most: usize) -> Result<Option<(Vec<&'a RawValue>, usize)>, Problem> {
        let read = |value: &'a str| Items(most).deserialize(&mut serde_json::Deserializer::from_str(value)).ok();
        self.typed(name, read, || "an array".to_owned())
    }
}

/// Takes the fields of an object as they come.
struct Object<'m, 'a>(&'m mut Fields<'a>);

impl<'a> DeserializeSeed<'a> for Object<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), value)) = map.next_entry::<Text<'a>, &'a RawValue>()? {
            if self.0.0.len() >= MOST {
                return Err(A::Error::custom("it has too many fields"));
            }
            self.0.0.push((name, value));
        }
        Ok(())
    }
}

/// Takes so many items of an array, and counts the others.
struct Items(usize);

impl<'a> DeserializeSeed<'a> for Items {
    type Value = (Vec<&'a RawValue>, usize);

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Items {
    type Value = (Vec<&'a RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut others) = (Vec::new(), 0);
        while items.len() < self.0 {
            let Some(item) = all.next_element()? else { break };
            items.push(item);
        }
        while items.len() == self.0 && all.next_element::<IgnoredAny>()?.is_some() {
            others += 1;
        }
        let count = items.len() + others;
        Ok((items, count))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    fn detail(problem: &Problem) -> String {
        problem.json()["detail"].as_str().unwrap().to_owned()
    }

    fn problem(text: &str) -> String {
        detail(&Fields::parse(text, "the body", &["a", "b"]).unwrap_err())
    }

    #[test]
    fn what_is_no_object_of_known_members_is_refused_and_named() {
        assert_eq!(problem(r#"{"c":1}"#), "there is no field \"c\" here; there is a, b");
        assert_eq!(problem(r#"{"a":1,"a":1}"#), "field \"a\" is there more than once");
        assert_eq!(problem(r#"{"a":1,"\u0061":1}"#), "field \"a\" is there more than once");
        for (text, is) in
            [("[1]", "an array"), (" \"x\"", "a string"), ("-1", "a number"), ("true", "a boolean"), ("null", "null")]
        {
            assert_eq!(problem(text), format!("the body is {is}; an object is accepted"));
        }
        for (text, why) in [
            ("", "it is empty"),
            ("{", "it ends inside an object at line 1 column 1"),
            ("x", "there is no value where one must be"),
            (r#"{"a":1} x"#, "something follows behind the end"),
            ("{\"a\":\"\u{0}\"}", "control character"),
            ("{1:1}", "the name of a field is not in double quotes at line 1 column 2"),
        ] {
            let said = problem(text);
            assert!(said.starts_with("the body is no JSON: ") && said.contains(why), "{text}: {said}");
        }
        let many: Vec<String> = (0..1000).map(|n| format!("\"{n}\":0")).collect();
        assert!(problem(&format!("{{{}}}", many.join(","))).contains("too many fields"));
    }

    #[test]
    fn what_came_before_a_mistake_is_there() {
        let (fields, scanned) = Fields::scan(r#"{"id":7,"op":"x","a":"#);
        assert!(scanned.is_err());
        assert_eq!((fields.raw("id").unwrap().get(), fields.count("op"), fields.count("a")), ("7", 1, 0));
    }

    #[test]
    fn a_member_of_the_wrong_type_is_named_with_what_would_do() {
        let fields = Fields::parse("{\"a\":\"x\",\"b\":-1}", "the body", &["a", "b"]).unwrap();
        let refused = [
            (fields.u32("a").map(drop), "field a is \"x\"; a whole number up to 4294967295 is accepted"),
            (fields.u64("b").map(drop), "field b is -1; a whole number is accepted"),
            (fields.bool("b").map(drop), "field b is -1; true or false is accepted"),
            (fields.text("b").map(drop), "field b is -1; a string is accepted"),
            (fields.numbers("a").map(drop), "field a is \"x\"; an array of whole numbers is accepted"),
            (fields.items("a", 1).map(drop), "field a is \"x\"; an array is accepted"),
            (fields.word("a", &[("y", ()), ("z", ())]).map(drop), "field a is \"x\"; one of \"y\", \"z\" is accepted"),
            (needed("c", fields.raw("c")).map(drop), "field c is missing"),
        ];
        for (refused, said) in refused {
            assert_eq!(detail(&refused.unwrap_err()), said);
        }
        assert_eq!(fields.text("a").unwrap().as_deref(), Some("x"));
        assert!(fields.bool("c").unwrap().is_none());
        let long = format!("{{\"a\":[\n{}]}}", "[".repeat(10_000) + &"]".repeat(10_000));
        let long = Fields::parse(&long, "the body", &["a"]).unwrap();
        let said = format!("field a is [ {}…; a whole number is accepted", "[".repeat(38));
        assert_eq!(detail(&long.u64("a").unwrap_err()), said);
    }

    #[test]
    fn numbers_without_a_fraction_are_whole_and_within_their_bounds() {
        let text = r#"{"a":5.0,"b":5.5,"c":[1,2.0],"d":9007199254740993.0,"e":18446744073709551615}"#;
        let fields = Fields::parse(text, "the body", &["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!((fields.u32("a").unwrap(), fields.u64("e").unwrap()), (Some(5), Some(u64::MAX)));
        assert!(fields.u32("b").is_err() && fields.u64("d").is_err() && fields.u32("e").is_err());
        assert_eq!(fields.numbers("c").unwrap(), Some(vec![1, 2]));
        let bounds = |min, max| Bounded { name: "x", default: 0, min, max, meaning: "" };
        assert_eq!(fields.within("a", &bounds(5, 5)).unwrap(), Some(5));
        let said = detail(&fields.within("a", &bounds(6, 7)).unwrap_err());
        assert_eq!(said, "field a is 5.0; a whole number from 6 to 7 is accepted");
    }

    #[test]
    fn of_an_array_no_more_is_taken_than_may_be_and_all_is_counted() {
        for (text, most, taken, count) in [("[]", 2, 0, 0), ("[1,{}]", 2, 2, 2), ("[1,[2],3,4]", 2, 2, 4)] {
            let text = format!("{{\"a\":{text}}}");
            let fields = Fields::parse(&text, "the body", &["a"]).unwrap();
            let (items, found) = fields.items("a", most).unwrap().unwrap();
            assert_eq!((items.len(), found), (taken, count), "{text}");
        }
    }

    #[test]
    fn a_null_stands_for_nothing_only_where_it_may() {
        let fields = Fields::parse(r#"{"a":null,"b":null}"#, "the body", &["a", "b"]).unwrap().without_nulls(&["a"]);
        assert_eq!(fields.u64("a").unwrap(), None);
        assert_eq!(detail(&fields.u64("b").unwrap_err()), "field b is null; a whole number is accepted");
    }
}
