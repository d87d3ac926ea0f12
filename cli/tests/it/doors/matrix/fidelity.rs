//! Events that show whether anything is changed on the way.

use meshwire::Event;
use meshwire_proto::{AttributeValue, UnixMillis};

/// When all of them happened, as others write it.
pub(super) const TIME: &str = "2023-11-14T22:13:20.123Z";

/// Each is equal at its other end: the same attributes, the same data byte for byte.
pub(super) fn set() -> Vec<Event> {
    let event = |id: &str| Event::new("t").id(id).source("/fidelity").time(UnixMillis(1_700_000_000_123));
    let json = |id: &str, text: &str| event(id).data_content_type("application/json").text_data(text);
    let mut large = vec![0; 1 << 20];
    for (at, byte) in large.iter_mut().enumerate() {
        *byte = u8::try_from(at % 251).unwrap_or_default();
    }
    vec![
        event("nothing"),
        event("empty-bytes").binary_data(Vec::new()),
        event("text").data_content_type("text/plain").text_data("a line\nand another\r\n"),
        event("emoji").data_content_type("text/plain; charset=utf-8").text_data("\u{1F680} \u{0301} \u{FEFF} \u{202E}"),
        json("exact", "{ \"b\": 1.0, \"a\" : [1e2, 10000000000000000000001, \"\\u00e9\"] }"),
        json("scalar", "\"just a string\""),
        json("null", "null"),
        event("vendor").data_content_type("application/vnd.a+json").text_data("{\"a\":1}"),
        event("nul").binary_data(&b"a\0b\0"[..]),
        event("not-utf8").data_content_type("application/octet-stream").binary_data(&[0xff, 0xfe, 0x80, 0xc3][..]),
        event("large").binary_data(large),
        event("attributes")
            .subject("a subject with \"quotes\", 100 % and \u{e9}")
            .attribute("flag", true)
            .attribute("number", i32::MIN)
            .attribute("word", "blank and \u{2713}")
            .attribute("blob", AttributeValue::Binary((&[0_u8, 255, 7][..]).into()))
            .attribute("dataschema", AttributeValue::Uri("https://example.com/a?b=c#d".into())),
        event("partition").key("a key").attribute("sequence", "0000001"),
        event("html").data_content_type("text/html").text_data("<script>alert(1)</script>"),
    ]
}
