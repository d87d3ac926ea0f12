//! Texts from outside as sentences for people repeat them.

use std::borrow::Cow;

/// The beginning of a text, at most so many characters, on one line: a control character is a blank.
#[must_use]
pub fn excerpt(text: &str, most: usize) -> Cow<'_, str> {
    let end = text.char_indices().nth(most).map(|(at, _)| at);
    let begins = end.and_then(|end| text.get(..end)).unwrap_or(text);
    if end.is_none() && !begins.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = begins.replace(char::is_control, " ");
    if end.is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_stays_on_one_line() {
        for (text, shown) in [("", ""), ("äbc", "äbc"), ("äbcd", "äbc…"), ("a\nb", "a b"), ("\0äöü", " äö…")]
        {
            assert_eq!(excerpt(text, 3), shown);
        }
        assert!(matches!(excerpt("abc", 3), Cow::Borrowed(_)));
    }
}
