//! Percent-encoding (RFC 3986, 2.1): `%XX` is a byte. A plus is a plus.

use std::borrow::Cow;

/// The bytes that a text stands for; `None`: a `%` has no two hexadecimal digits behind it.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'%') {
        return Some(Cow::Borrowed(text));
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.iter().copied());
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(high << 4 | low);
    }
    Some(Cow::Owned(bytes))
}

/// The same, where the bytes must be UTF-8; `None`: they are not.
#[must_use]
pub fn decode_text(text: &str) -> Option<Cow<'_, str>> {
    match decode(text.as_bytes())? {
        Cow::Borrowed(_) => Some(Cow::Borrowed(text)),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_behind_a_percent_sign_are_a_byte_and_all_else_stands_for_itself() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("a+b \u{e9}", "a+b \u{e9}".as_bytes()),
            ("%41%fF%00", b"A\xff\0"),
            ("us%65r%25", b"user%"),
            ("%e2%82%AC", "\u{20ac}".as_bytes()),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for text in ["%", "%4", "a%4g", "%%41", "%g4", "%+1", "%-1"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decode_text("%e2%82%AC").as_deref(), Some("\u{20ac}"));
        assert_eq!(decode_text("%ff"), None);
    }
}
