//! CloudEvents that are none, in each mode of HTTP.

use super::answers::Got;
use super::http1::{EVENT, http, post};
use super::table::Case;

const PATH: &str = "/v1/topics/t/events";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn bytes(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = post(PATH, &format!("content-type: {content_type}\r\ncontent-length: {}\r\n", body.len()), "");
    [&head[..], body].concat()
}

fn json(content_type: &str, body: &str) -> Vec<u8> {
    bytes(content_type, body.as_bytes())
}

/// An event with these members beside the four that must be.
fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#)
}

fn invalid() -> Got {
    http(400, "INVALID")
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = documents();
    cases.extend(members());
    cases.extend(binary());
    cases.extend(content_types());
    cases.extend(large());
    cases
}

fn documents() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, body: &[u8]| {
        cases.push(Case::new(format!("structured: {name}"), bytes(STRUCTURED, body), invalid()));
    };
    add("empty", b"");
    add("a brace", b"{");
    add("null", b"null");
    add("an array", b"[]");
    add("a number", b"1");
    add("no members", b"{}");
    add("not UTF-8", b"{\"id\":\"\xff\"}");
    add("a BOM", &[b"\xef\xbb\xbf", with("").as_bytes()].concat());
    add("two documents", with("").repeat(2).as_bytes());
    add("a comma too much", b"{\"id\":\"1\",}");
    add("NaN", with(r#","data":NaN"#).as_bytes());
    add("a lonely surrogate", with(r#","subject":"\ud800""#).as_bytes());
    add("100,000 brackets", "[".repeat(100_000).as_bytes());
    add("100,000 braces", "{\"a\":".repeat(100_000).as_bytes());
    add(
        "an attribute 100,000 levels deep",
        with(&format!(r#","a":{}1{}"#, "[".repeat(100_000), "]".repeat(100_000))).as_bytes(),
    );
    add("data 100,000 levels deep, not closed", with(&format!(r#","data":{}"#, "[".repeat(100_000))).as_bytes());
    let mut batch = |name: &str, body: &str, want: Got| {
        cases.push(Case::new(format!("batch: {name}"), json(BATCH, body), want));
    };
    batch("no array", &with(""), invalid());
    batch("cut off", &format!("[{}", with("")), invalid());
    batch("a batch inside", "[[]]", http(200, "INVALID"));
    batch("a number inside", "[1]", http(200, "INVALID"));
    batch("an event without id", r#"[{"specversion":"1.0","source":"/s","type":"t"}]"#, http(200, "INVALID"));
    batch("an event without specversion", r#"[{"id":"1","source":"/s","type":"t"}]"#, http(200, "INVALID"));
    cases
}

fn members() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, body: &str| {
        cases.push(Case::new(format!("structured: {name}"), json(STRUCTURED, body), invalid()));
    };
    add("no id", r#"{"specversion":"1.0","source":"/s","type":"t"}"#);
    add("no source", r#"{"specversion":"1.0","id":"1","type":"t"}"#);
    add("no type", r#"{"specversion":"1.0","id":"1","source":"/s"}"#);
    add("no specversion", r#"{"id":"1","source":"/s","type":"t"}"#);
    add("null as id", r#"{"specversion":"1.0","id":null,"source":"/s","type":"t"}"#);
    add("a number as id", r#"{"specversion":"1.0","id":1,"source":"/s","type":"t"}"#);
    add("an empty id", r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#);
    add("an empty source", r#"{"specversion":"1.0","id":"1","source":"","type":"t"}"#);
    add("an empty type", r#"{"specversion":"1.0","id":"1","source":"/s","type":""}"#);
    add("version 0.3", r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#);
    add("a number as version", r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#);
    for (name, more) in [
        ("an id twice", r#","id":"2""#),
        ("an id twice, once escaped", r#","\u0069d":"2""#),
        ("an attribute twice", r#","a":"1","a":"2""#),
        ("data twice", r#","data":1,"data":2"#),
        ("data in both forms", r#","data":1,"data_base64":"AA==""#),
        ("base64 of no alphabet", r#","data_base64":"!!!!""#),
        ("base64 that is cut off", r#","data_base64":"AAA""#),
        ("base64 that is no string", r#","data_base64":7"#),
        ("a type of data that is no string", r#","datacontenttype":7,"data":1"#),
        ("text that is no string", r#","datacontenttype":"text/plain","data":{}"#),
        ("a capital in a name", r#","Attr":"1""#),
        ("an underscore in a name", r#","my_attr":"1""#),
        ("a hyphen in a name", r#","my-attr":"1""#),
        ("an empty name", r#","":"1""#),
        ("a name that is not ASCII", r#","ä":"1""#),
        ("a fraction as an attribute", r#","a":1.5"#),
        ("an integer of 33 bits", r#","a":4294967296"#),
        ("an object as an attribute", r#","a":{}"#),
        ("an array as an attribute", r#","a":[]"#),
        ("a NUL in an attribute", r#","a":"\u0000""#),
        ("a time that is none", r#","time":"yesterday""#),
        ("a time that is a number", r#","time":1700000000"#),
        ("the 31st of February", r#","time":"2026-02-31T00:00:00Z""#),
        ("a boolean as subject", r#","subject":true"#),
    ] {
        add(name, &with(more));
    }
    cases
}

fn binary() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, headers: &str, want: Got| {
        let sent = post(PATH, &format!("{headers}content-length: 5\r\n"), "hello");
        cases.push(Case::new(format!("binary: {name}"), sent, want));
    };
    for name in ["specversion", "id", "source", "type"] {
        let headers: String =
            EVENT.split_inclusive("\r\n").filter(|line| !line.starts_with(&format!("ce-{name}"))).collect();
        add(&format!("no {name}"), &headers, invalid());
    }
    for (name, from, to) in [
        ("an empty id", "ce-id: 1", "ce-id:"),
        ("an empty source", "ce-source: /s", "ce-source:"),
        ("version 0.3", "1.0", "0.3"),
        ("no digits behind %", "ce-id: 1", "ce-id: %zz"),
        ("half a % sequence", "ce-id: 1", "ce-id: a%4"),
        ("bytes that are not UTF-8", "ce-id: 1", "ce-id: %ff"),
        ("an encoded NUL", "ce-id: 1", "ce-id: %00"),
    ] {
        add(name, &EVENT.replace(from, to), invalid());
    }
    for (name, header) in [
        ("an id twice", "ce-id: 2\r\n"),
        ("an attribute twice", "ce-a: 1\r\nce-a: 2\r\n"),
        ("an underscore in a name", "ce-my_attr: 1\r\n"),
        ("an empty name", "ce-: 1\r\n"),
        ("data as an attribute", "ce-data: 1\r\n"),
        ("the type of data as an attribute", "ce-datacontenttype: text/plain\r\n"),
        ("a time that is none", "ce-time: yesterday\r\n"),
        ("two content types", "content-type: application/json\r\n"),
    ] {
        add(name, &format!("{EVENT}{header}"), invalid());
    }
    let attributes: String = (0..40).map(|n| format!("ce-a{n}: {}\r\n", "x".repeat(1000))).collect();
    add("attributes of 40,000 bytes", &format!("{EVENT}{attributes}"), http(431, "TOO_LARGE"));
    cases
}

fn content_types() -> Vec<Case> {
    let mut cases = Vec::new();
    let unsupported = || http(415, "UNSUPPORTED");
    for (name, content_type, want) in [
        ("plain text", "text/plain", invalid()),
        ("a form", "application/x-www-form-urlencoded", invalid()),
        ("JSON", "application/json", invalid()),
        ("empty", "", invalid()),
        ("XML", "application/cloudevents+xml", unsupported()),
        ("Avro", "application/cloudevents+avro", unsupported()),
        ("a batch in protobuf", "application/cloudevents-batch+protobuf", unsupported()),
        ("UTF-16", "application/cloudevents+json; charset=utf-16", unsupported()),
    ] {
        cases.push(Case::new(format!("content type: {name}"), json(content_type, &with("")), want));
    }
    let latin = bytes("text/\u{e9}", b"x");
    cases.push(Case::new("content type: not ASCII", latin, invalid()));
    let none = post(PATH, "content-length: 2\r\n", "{}");
    cases.push(Case::new("content type: none", none, invalid()));
    cases
}

fn large() -> Vec<Case> {
    let too_large = || http(413, "TOO_LARGE");
    let long = |length: usize| "x".repeat(length);
    let mut cases = Vec::new();
    let mut add = |name: &str, content_type: &str, body: &str, want: Got| {
        cases.push(Case::new(format!("size: {name}"), json(content_type, body), want));
    };
    add("data over the limit", STRUCTURED, &with(&format!(r#","data":"{}""#, long((4 << 20) + 1))), too_large());
    add("attributes over the limit", STRUCTURED, &with(&format!(r#","a":"{}""#, long(65 << 10))), too_large());
    let many: String = (0..20_000).map(|n| format!(r#","a{n}":"1""#)).collect();
    add("20,000 attributes", STRUCTURED, &with(&many), too_large());
    // Each looked for among those before it, or put before them, these would take minutes.
    let falling = |count: usize| (0..count).rev().map(|n| format!(r#","a{n:06}":1"#)).collect::<String>();
    add("100,000 attributes in falling order", STRUCTURED, &with(&falling(100_000)), too_large());
    add("600,000 attributes in falling order", STRUCTURED, &with(&falling(600_000)), too_large());
    let crowded = format!("[1,{}]", with(&falling(100_000)));
    add("100,000 attributes in falling order in a batch", BATCH, &crowded, http(200, "INVALID"));
    let items = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    add("a batch of 10,001 events", BATCH, &items(&with(""), 10_001), too_large());
    add("a batch of 4,000,000 numbers", BATCH, &items("1", 4_000_000), too_large());
    add("a batch of 100,000 batches", BATCH, &items("[]", 100_000), too_large());
    add(
        "one of a batch over the limit",
        BATCH,
        &format!("[{}]", with(&format!(r#","a":"{}""#, long(65 << 10)))),
        http(200, "TOO_LARGE"),
    );
    add(
        "a batch over the limit",
        BATCH,
        &format!("[{}]", vec![with(&format!(r#","data":"{}""#, long(1 << 20))); 12].join(",")),
        too_large(),
    );
    cases
}
