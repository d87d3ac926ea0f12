//! The parameters of a request, of which none is taken that is not known.

use std::borrow::Cow;

use axum::http::Uri;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::percent;

use super::Problem;

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

fn invalid(text: String) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

impl Query {
    /// Reads parameters, of which only these may be there.
    ///
    /// # Errors
    /// `INVALID`: another one, one twice, or one that is not percent-encoded UTF-8.
    pub(super) fn read(uri: &Uri, known: &[&'static str]) -> Result<Self, Problem> {
        let mut read = Self::default();
        for part in uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name)?;
            let Some(name) = known.iter().find(|known| **known == name) else {
                let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(invalid(format!("there is no parameter {name:?} here; there is {there}")));
            };
            if read.get(name).is_some() {
                return Err(invalid(format!("parameter {name} occurs twice")));
            }
            read.0.push((name, decode(value)?));
        }
        Ok(read)
    }

    /// One parameter alone, whatever else there is: its first value.
    ///
    /// # Errors
    /// `INVALID`: it is not percent-encoded UTF-8.
    pub(super) fn find(uri: &Uri, name: &'static str) -> Result<Option<Self>, Problem> {
        let parts = uri.query().unwrap_or_default().split('&').map(|part| part.split_once('=').unwrap_or((part, "")));
        let mut values = parts.filter(|(found, _)| decode(found).is_ok_and(|found| found == name));
        values.next().map(|(_, value)| Ok(Self(vec![(name, decode(value)?)]))).transpose()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// `true` or `false`; `false` when it is not there.
    ///
    /// # Errors
    /// `INVALID`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(invalid(format!("parameter {name} is {other:?}; true and false are accepted"))),
        }
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// `INVALID`, with the bounds.
    pub(super) fn number(&self, name: &str, (least, most): (u64, u64)) -> Result<Option<u64>, Problem> {
        let number = |text: &str| {
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| invalid(format!("parameter {name} is {text:?}; {least} to {most} are accepted")))
        };
        self.get(name).map(number).transpose()
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let wrong = || invalid(format!("{text:?} in the address is not percent-encoded UTF-8"));
    percent::decode_text(text).map(Cow::into_owned).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn read(query: &str) -> Result<Query, String> {
        let uri = format!("/x?{query}").parse().unwrap();
        Query::read(&uri, &["start", "n"]).map_err(|problem| problem.json().to_string())
    }

    #[test]
    fn known_parameters_are_decoded() {
        let query = read("start=2026-11-28T06%3A30%3A00+01&n=7&").unwrap();
        assert_eq!((query.get("start"), query.get("n")), (Some("2026-11-28T06:30:00+01"), Some("7")));
        assert_eq!(query.number("n", (1, 9)).unwrap(), Some(7));
        assert!(query.number("n", (8, 9)).is_err() && query.number("start", (1, 9)).is_err());
        assert_eq!(read("").unwrap().get("n"), None);
    }

    #[test]
    fn an_unknown_or_repeated_parameter_is_named() {
        for (query, says) in [
            ("nn=1", "start, n"),
            ("n=1&n=2", "twice"),
            ("n=%f", "percent"),
            ("n=%ff", "UTF-8"),
            ("%6e=1&n=1", "twice"),
        ] {
            let refused = read(query).unwrap_err();
            assert!(refused.contains(says), "{query}: {refused}");
        }
    }
}
