//! What is wrong with a text that is to be JSON, or base64, in words for who wrote it.

use base64::DecodeError;

/// What the parser says, which has no codes for it, and what that means to who wrote the text.
const WORDS: [(&str, &str); 21] = [
    ("EOF while parsing a list", "it ends inside an array"),
    ("EOF while parsing an object", "it ends inside an object"),
    ("EOF while parsing a string", "it ends inside a string"),
    ("EOF while parsing a value", "it ends where a value must be"),
    ("expected `:`", "there is no colon behind the name of a field"),
    ("expected `,` or `]`", "there is no comma and no ] behind an item"),
    ("expected `,` or `}`", "there is no comma and no } behind a field"),
    ("expected ident", "there is a word other than true, false and null"),
    ("expected value", "there is no value where one must be"),
    ("expected `\"`", "there is no double quote where one must be"),
    ("invalid escape", "there is no such escape as the one behind a backslash"),
    ("invalid number", "there is a number that JSON writes in another way"),
    ("number out of range", "there is a number that is too large"),
    ("invalid unicode code point", "there is an escape \\u that is no character"),
    ("lone leading surrogate in hex escape", "there is an escape \\u that is half of a character"),
    ("unexpected end of hex escape", "there is an escape \\u without four hexadecimal digits"),
    (
        "control character (\\u0000-\\u001F) found while parsing a string",
        "there is a control character in a string; write it as an escape, as \\n",
    ),
    ("key must be a string", "the name of a field is not in double quotes"),
    ("trailing comma", "there is a comma behind the last item"),
    ("trailing characters", "something follows behind the end"),
    ("recursion limit exceeded", "it is nested more than 127 deep"),
];

/// Why a text is no JSON, and where: a sentence that calls it "it".
#[must_use]
pub fn told(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let place = if line == 0 { String::new() } else { format!(" at line {line} column {column}") };
    let text = error.to_string();
    let what = text.strip_suffix(&place).unwrap_or(&text);
    if error.is_eof() && (line, column) == (1, 0) {
        return "it is empty".to_owned();
    }
    let words = WORDS.iter().find(|(inner, _)| *inner == what).map_or(what, |(_, words)| *words);
    format!("{words}{place}")
}

/// Why a text is no base64, behind the name of what holds it.
pub(super) fn no_base64(error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(at, b'-' | b'_') => {
            format!("is not base64: character {} is of the alphabet for URLs; + and / are taken", at + 1)
        }
        DecodeError::InvalidByte(at, byte) if byte.is_ascii() => {
            format!("is not base64: character {} is {:?}", at + 1, char::from(*byte))
        }
        DecodeError::InvalidByte(at, _) => format!("is not base64: byte {} is not ASCII", at + 1),
        DecodeError::InvalidLength(length) => {
            format!("is not base64: {length} characters cannot be it, its length is a multiple of 4")
        }
        DecodeError::InvalidLastSymbol(..) => "is not base64: its last character says more than fits".to_owned(),
        DecodeError::InvalidPadding => {
            "is not base64: it must end in as many = as make its length a multiple of 4".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_no_json_is_told_in_words_with_its_place() {
        for (text, words) in [
            ("", "it is empty"),
            ("{", "it ends inside an object at line 1 column 1"),
            ("[1", "it ends inside an array at line 1 column 2"),
            ("{\"a", "it ends inside a string at line 1 column 3"),
            ("{\"a\":", "it ends where a value must be at line 1 column 5"),
            ("{\n1:1}", "the name of a field is not in double quotes at line 2 column 1"),
            ("{\"a\" 1}", "there is no colon behind the name of a field at line 1 column 6"),
            ("{\"a\":1 \"b\"}", "there is no comma and no } behind a field at line 1 column 8"),
            ("[1 2]", "there is no comma and no ] behind an item at line 1 column 4"),
            ("[1,]", "there is a comma behind the last item at line 1 column 4"),
            ("nonsense", "there is a word other than true, false and null at line 1 column 2"),
            ("{} x", "something follows behind the end at line 1 column 4"),
            ("}", "there is no value where one must be at line 1 column 1"),
            ("01", "there is a number that JSON writes in another way at line 1 column 2"),
            ("\"\\x\"", "there is no such escape as the one behind a backslash at line 1 column 3"),
            ("\"\n\"", "there is a control character in a string; write it as an escape, as \\n at line 2 column 0"),
        ] {
            let said = serde_json::from_str::<Value>(text).err().map(|error| told(&error));
            assert_eq!(said.as_deref(), Some(words), "{text:?}");
        }
        let deep = serde_json::from_str::<Value>(&"[".repeat(200)).err().map(|error| told(&error));
        assert!(deep.is_some_and(|said| said.starts_with("it is nested")), "and not its technical name");
    }

    #[test]
    fn what_is_no_base64_is_told_by_its_character_or_its_length() {
        for (text, words) in [
            ("@AAA", "character 1 is '@'"),
            ("AA-_", "alphabet for URLs"),
            ("AAAAA", "multiple of 4"),
            ("AA", "as many = as"),
            ("AB==", "its last character"),
        ] {
            let said = STANDARD.decode(text).err().map(|error| no_base64(&error)).unwrap_or_default();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
