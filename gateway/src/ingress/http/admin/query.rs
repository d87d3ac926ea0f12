//! The parameters of a request, each known and none twice.

use axum::http::Uri;
use meshwire_proto::ErrorKind;

use super::super::Problem;

/// Items of a page unless it says, and at most.
const ITEMS: u32 = 100;
const MOST_ITEMS: u32 = 1000;

/// What stands behind `?`.
#[derive(Debug)]
pub(in crate::ingress::http) struct Query(Vec<(String, String)>);

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

fn decode(text: &str) -> Result<String, Problem> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(invalid(format!("parameter text {text:?}: behind % must be two hexadecimal digits"))),
            },
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| invalid(format!("parameter text {text:?} is not UTF-8")))
}

impl Query {
    /// Reads those that are known.
    ///
    /// # Errors
    /// `INVALID`: an unknown one, with those there are; one that is there twice; broken percent-encoding.
    pub(in crate::ingress::http) fn parse(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let mut found: Vec<(String, String)> = Vec::new();
        for part in uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(invalid(format!("there is no parameter {name:?} here; there is {there}")));
            }
            if found.iter().any(|(n, _)| *n == name) {
                return Err(invalid(format!("parameter {name} is there more than once")));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Most items of a page.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.get("limit") else { return Ok(ITEMS) };
        let limit = text.parse().ok().filter(|limit| (1..=MOST_ITEMS).contains(limit));
        limit.ok_or_else(|| invalid(format!("parameter limit is {text:?}; from 1 to {MOST_ITEMS} is accepted")))
    }

    /// Where a page begins; empty: with the first item.
    pub(in crate::ingress::http) fn cursor(&self) -> &str {
        self.get("cursor").unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(invalid(format!("parameter {name} is {other:?}; true and false are accepted"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    fn parse(query: &str) -> Result<Query, String> {
        let uri = Uri::builder().path_and_query(format!("/?{query}")).build().unwrap();
        Query::parse(&uri, &["limit", "cursor"])
            .map_err(|problem| problem.json()["detail"].as_str().unwrap().to_owned())
    }

    #[test]
    fn parameters_are_decoded_and_what_is_unknown_repeated_or_broken_is_named() {
        let query = parse("cursor=a%2Fb+c&limit=7").unwrap();
        assert_eq!((query.cursor(), query.limit().unwrap()), ("a/b c", 7));
        assert_eq!(parse("").unwrap().limit().unwrap(), 100);
        assert!(parse("x=1").unwrap_err().contains("no parameter \"x\" here; there is limit, cursor"));
        assert!(parse("limit=1&limit=1").unwrap_err().contains("limit is there more than once"));
        for broken in ["cursor=%", "cursor=%4", "cursor=%zz", "cursor=%ff"] {
            assert!(parse(broken).unwrap_err().contains("cursor") || parse(broken).unwrap_err().contains('%'));
        }
        for limit in ["0", "1001", "-1", "x", "", "99999999999"] {
            assert!(parse(&format!("limit={limit}")).unwrap().limit().is_err(), "{limit}");
        }
    }
}
