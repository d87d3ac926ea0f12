//! What a client wants an answer to be: `Accept`, RFC 9110 12.5.1.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// A part of the header: what it names, and how much it is wanted, in thousandths.
struct Range<'a> {
    kind: &'a str,
    sub: &'a str,
    quality: u32,
}

/// How exactly a range names a type; less than that it does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exact {
    Any,
    Kind,
    Named,
}

/// A number from 0 to 1 with at most three digits behind the point.
fn quality(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let whole = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    let is_fraction = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: u32 = if is_fraction { format!("{rest:0<3}").parse().ok()? } else { return None };
    Some(whole + fraction).filter(|quality| *quality <= 1000)
}

impl<'a> Range<'a> {
    /// `None`: it is none, and is passed over.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, sub) = parts.next()?.split_once('/')?;
        let weight =
            parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let quality = weight.map_or(Some(1000), |(_, text)| quality(text.trim()))?;
        Some(Self { kind, sub, quality })
    }

    fn names(&self, media: &str) -> Option<Exact> {
        let (kind, sub) = media.split_once('/')?;
        match (self.kind, self.sub) {
            ("*", "*") => Some(Exact::Any),
            (mine, "*") if mine.eq_ignore_ascii_case(kind) => Some(Exact::Kind),
            (mine, of) if mine.eq_ignore_ascii_case(kind) && of.eq_ignore_ascii_case(sub) => Some(Exact::Named),
            _ => None,
        }
    }
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range<'_>> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(Range::read)
}

/// Whether this type is named, and none is wanted more.
pub(super) fn prefers(headers: &HeaderMap, media: &str) -> bool {
    let named = ranges(headers).filter(|range| range.names(media) == Some(Exact::Named)).map(|range| range.quality);
    named.max().is_some_and(|quality| quality > 0 && ranges(headers).all(|other| other.quality <= quality))
}

/// Which of these types is wanted most: by quality, then by how exactly it is named, then by its place here. `None`: none is. Without the
/// header every type is as good as the first.
pub(super) fn wanted<T: Copy>(headers: &HeaderMap, there_are: &[(&str, T)]) -> Option<T> {
    if !headers.contains_key(ACCEPT) {
        return there_are.first().map(|(_, first)| *first);
    }
    let ranges: Vec<Range<'_>> = ranges(headers).collect();
    let mut best = None;
    for (media, meant) in there_are {
        // The most exact range that names it decides, whatever stands beside it.
        let named = ranges.iter().filter_map(|range| Some((range.names(media)?, range.quality))).max();
        let Some((exact, quality)) = named.filter(|(_, quality)| *quality > 0) else { continue };
        if best.is_none_or(|(best, _)| (quality, exact) > best) {
            best = Some(((quality, exact), *meant));
        }
    }
    best.map(|(_, meant)| meant)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn of(accept: &[&str]) -> Option<char> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        wanted(&headers, &[("application/x-ndjson", 'n'), ("text/event-stream", 's')])
    }

    #[test]
    fn the_type_of_the_highest_quality_is_wanted_and_among_equals_the_one_that_is_named() {
        for (accept, expected) in [
            (&[][..], Some('n')),
            (&["*/*"], Some('n')),
            (&["text/event-stream"], Some('s')),
            (&["Text/Event-Stream; charset=utf-8"], Some('s')),
            (&["text/html, text/event-stream;q=0.9"], Some('s')),
            (&["text/event-stream, application/x-ndjson"], Some('n')),
            (&["application/x-ndjson;q=0.5, text/event-stream"], Some('s')),
            (&["application/x-ndjson;q=0.5", "text/event-stream;q=0.4"], Some('n')),
            (&["*/*, text/event-stream"], Some('s')),
            (&["*/*;q=0.8, text/*;q=0.1"], Some('n')),
            (&["text/*"], Some('s')),
            (&["text/*, text/event-stream;q=0, */*;q=0.001"], Some('n')),
            (&["application/x-ndjson;q=0, */*"], Some('s')),
            (&["*/*;q=0"], None),
            (&["application/json"], None),
            (&["image/png, text/html"], None),
            (&["text/event-stream;q=0"], None),
            (&[""], None),
        ] {
            assert_eq!(of(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_type_is_preferred_that_is_named_and_that_none_comes_before() {
        let prefers = |accept: &'static str| {
            let headers = [(ACCEPT, accept.parse().unwrap())].into_iter().collect();
            prefers(&headers, "application/cloudevents+json")
        };
        assert!(prefers("application/cloudevents+json"));
        assert!(prefers("application/cloudevents+json;q=0.5, */*;q=0.1, text/plain;q=0.5"));
        for accept in [
            "*/*",
            "application/*",
            "application/cloudevents+json;q=0",
            "text/plain, application/cloudevents+json;q=0.9",
        ] {
            assert!(!prefers(accept), "{accept}");
        }
    }

    #[test]
    fn a_part_that_breaks_a_rule_is_passed_over() {
        for part in [
            "text",
            "text/event-stream;q=2",
            "text/event-stream;q=1.001",
            "text/event-stream;q=0.1234",
            "text/event-stream;q=x",
            "*/ndjson",
            ";;,",
            "text/event-stream;q=",
        ] {
            assert_eq!(of(&[part]), None, "{part}");
            assert_eq!(of(&[part, "application/x-ndjson;q=0.1"]), Some('n'), "{part}");
        }
        assert_eq!(
            [quality("1.000"), quality("0.05"), quality("0."), quality("1.1")],
            [Some(1000), Some(50), Some(0), None]
        );
    }
}
