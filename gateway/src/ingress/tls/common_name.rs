//! The common name in the subject of a certificate.
//!
//! A subject is a sequence of sets of attributes, each a type and a value (RFC 5280 4.1.2.4). It is walked as that: the
//! bytes of a common name may also stand in the value of another attribute, which whoever asks for a certificate may
//! choose.

/// Tags of DER.
const SET: u8 = 0x31;
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Those of strings whose bytes are UTF-8: `UTF8String`, `PrintableString`, `IA5String`.
const TEXT: [u8; 3] = [0x0c, 0x13, 0x16];

/// 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The last one, which is the most specific. `None` if there is none, if it is no text, or if anything in the subject is
/// not as it should be.
pub(super) fn of(subject: &[u8]) -> Option<&str> {
    let (mut found, mut names) = (None, subject);
    while !names.is_empty() {
        let mut attributes;
        (attributes, names) = value(names, SET)?;
        while !attributes.is_empty() {
            let attribute;
            (attribute, attributes) = value(attributes, SEQUENCE)?;
            let (kind, named) = value(attribute, OBJECT_IDENTIFIER)?;
            let (tag, _) = named.split_first()?;
            let (bytes, behind) = value(named, *tag)?;
            if !behind.is_empty() {
                return None;
            }
            if kind == COMMON_NAME {
                found = Some((*tag, bytes));
            }
        }
    }
    let (_, bytes) = found.filter(|(tag, _)| TEXT.contains(tag))?;
    let name = std::str::from_utf8(bytes).ok()?;
    (!name.is_empty() && !name.contains(char::is_control)).then_some(name)
}

/// The value at the beginning, which has this tag, and what is behind it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (_, rest) = der.split_first().filter(|(first, _)| **first == tag)?;
    let (length, rest) = length(rest)?;
    rest.split_at_checked(length)
}

/// A length, in its only form that DER allows, up to 65,535 bytes.
fn length(der: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = der.split_first()?;
    match *first {
        ..=0x7f => Some((usize::from(*first), rest)),
        0x81 => {
            rest.split_first().filter(|(length, _)| **length > 0x7f).map(|(length, rest)| (usize::from(*length), rest))
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            (length > 0xff).then_some((length, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    const ORGANISATION: [u8; 3] = [0x55, 0x04, 0x0a];
    const UTF8: u8 = 0x0c;

    fn der(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let head = match u8::try_from(bytes.len()) {
            Ok(length @ ..=0x7f) => vec![tag, length],
            Ok(length) => vec![tag, 0x81, length],
            Err(_) => [&[tag, 0x82][..], &u16::try_from(bytes.len()).unwrap().to_be_bytes()].concat(),
        };
        [head.as_slice(), bytes].concat()
    }

    fn attribute(kind: [u8; 3], tag: u8, text: &[u8]) -> Vec<u8> {
        der(SEQUENCE, &[der(OBJECT_IDENTIFIER, &kind), der(tag, text)].concat())
    }

    fn name(kind: [u8; 3], text: &str) -> Vec<u8> {
        der(SET, &attribute(kind, UTF8, text.as_bytes()))
    }

    #[test]
    fn a_common_name_is_found_whatever_its_length_and_the_last_one_counts() {
        for length in [1, 64, 127, 128, 255, 256, 5000] {
            let long = "a".repeat(length);
            let subject = [name(ORGANISATION, "somebody"), name(COMMON_NAME, &long)].concat();
            assert_eq!(of(&subject), Some(long.as_str()), "{length}");
        }
        let several = [attribute(COMMON_NAME, UTF8, b"first"), attribute(ORGANISATION, UTF8, b"o")].concat();
        assert_eq!(of(&der(SET, &several)), Some("first"));
        assert_eq!(of(&[der(SET, &several), name(COMMON_NAME, "last")].concat()), Some("last"));
        assert_eq!(of(&name(ORGANISATION, "nobody")), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_looks_like_a_common_name_inside_another_attribute_is_none() {
        // Type, tag and length of a common name, as an organisation may be called: all of it is text.
        let forged = "\u{6}\u{3}U\u{4}\u{3}\u{c}\u{5}admin";
        let whole = String::from_utf8(name(COMMON_NAME, "admin")).unwrap();
        for forged in [forged, whole.as_str()] {
            assert_eq!(of(&name(ORGANISATION, forged)), None);
            for subject in [
                [name(COMMON_NAME, "mallory"), name(ORGANISATION, forged)].concat(),
                [name(ORGANISATION, forged), name(COMMON_NAME, "mallory")].concat(),
            ] {
                assert_eq!(of(&subject), Some("mallory"));
            }
        }
    }

    #[test]
    fn a_common_name_that_is_no_plain_text_is_none_and_hides_those_before_it() {
        for (tag, bytes) in [
            (UTF8, &b""[..]),
            (UTF8, b"\xff"),
            (UTF8, b"ali\0ce"),
            (UTF8, b"alice\n"),
            (0x1e, b"\0a"),
            (0x04, b"alice"),
            (0x30, b"alice"),
        ] {
            let odd = der(SET, &attribute(COMMON_NAME, tag, bytes));
            assert_eq!(of(&[name(COMMON_NAME, "alice"), odd].concat()), None, "{tag} {bytes:?}");
        }
        for tag in TEXT {
            assert_eq!(of(&der(SET, &attribute(COMMON_NAME, tag, b"alice"))), Some("alice"));
        }
    }

    #[test]
    fn a_subject_with_a_mistake_has_no_name() {
        let good = [name(COMMON_NAME, "alice"), name(ORGANISATION, &"o".repeat(200))].concat();
        assert_eq!(of(&good), Some("alice"));
        // Where it is cut at the end of a whole name, it is one.
        let whole = name(COMMON_NAME, "alice").len();
        for end in (1..good.len()).filter(|end| *end != whole) {
            assert_eq!(of(good.get(..end).unwrap()), None, "cut at {end}");
        }
        let common = attribute(COMMON_NAME, UTF8, b"alice");
        let more =
            der(SEQUENCE, &[der(OBJECT_IDENTIFIER, &COMMON_NAME), der(UTF8, b"alice"), der(UTF8, b"bob")].concat());
        let lengths: [&[u8]; 5] =
            [&[SET, 0x80], &[SET, 0x81, 0x0e], &[SET, 0x82, 0, 0x0e], &[SET, 0x83, 0, 0, 0x0e], &[SET, 0x0d]];
        assert_eq!(common.len(), 0x0e, "the lengths above are its own, but for the last");
        let mut bad: Vec<Vec<u8>> = lengths.into_iter().map(|head| [head, &common].concat()).collect();
        bad.extend([der(SEQUENCE, &common), common.clone(), der(SET, &more), der(SET, &der(SEQUENCE, &[]))]);
        bad.push(der(SET, &der(SEQUENCE, &der(OBJECT_IDENTIFIER, &COMMON_NAME))));
        for subject in bad {
            assert_eq!(of(&subject), None, "{subject:x?}");
        }
    }
}
