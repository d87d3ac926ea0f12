//! HTTP/1.1: forms that smuggle a second request, heads that cannot be, and too much of everything.

use super::answers::Got;
use super::table::Case;

/// The least headers of an event, in binary mode.
pub(super) const EVENT: &str =
    "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\ncontent-type: text/plain\r\n";

/// What hides behind the body of another request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A publish of one event, alone on its connection.
pub(super) fn publish(topic: &str, id: &str) -> Vec<u8> {
    let event = EVENT.replace("ce-id: 1", &format!("ce-id: {id}"));
    post(&format!("/v1/topics/{topic}/events"), &format!("{event}content-length: 5\r\n"), "hello")
}

pub(super) fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}").into_bytes()
}

/// A request whose framing headers are these.
fn framed(headers: &str, rest: &str) -> Vec<u8> {
    post("/v1/topics/t/events", &format!("{EVENT}{headers}"), rest)
}

fn get(line: &str, headers: &str) -> Vec<u8> {
    format!("{line}\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

pub(super) fn http(status: u16, code: &str) -> Got {
    Got::Http(status, code.to_owned())
}

/// What is refused, and then the connection ends: one answer.
fn refused() -> Got {
    Got::Answers(vec![(400, "INVALID".to_owned())])
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = smuggling();
    cases.extend(chunks());
    cases.extend(heads());
    cases.extend(lines());
    cases.extend(floods());
    cases.extend(requests());
    cases
}

fn smuggling() -> Vec<Case> {
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let te = "transfer-encoding: chunked\r\n";
    let mut cases = Vec::new();
    let mut add = |name: &str, headers: &str, rest: &str, want: Got| {
        cases.push(Case::new(format!("smuggling: {name}"), framed(headers, rest), want).until_the_end());
    };
    // The length is passed over, as RFC 9112 6.1 says, and what hides behind the body is not answered.
    add(
        "a length and then chunks",
        &format!("content-length: 5\r\n{te}"),
        &chunked,
        Got::Answers(vec![(200, String::new())]),
    );
    add(
        "chunks and then a length",
        &format!("{te}content-length: 5\r\n"),
        &chunked,
        Got::Answers(vec![(200, String::new())]),
    );
    for (name, headers) in [
        ("two lengths", "content-length: 5\r\ncontent-length: 6\r\n"),
        ("a list of lengths", "content-length: 5, 6\r\n"),
        ("a length with a sign", "content-length: +5\r\n"),
        ("a length below zero", "content-length: -1\r\n"),
        ("a length in hexadecimal digits", "content-length: 0x5\r\n"),
        ("a length with a blank inside", "content-length: 5 5\r\n"),
        ("an empty length", "content-length:\r\n"),
        ("a length over 64 bits", "content-length: 99999999999999999999999\r\n"),
        ("a length and a semicolon", "content-length: 5;\r\n"),
        ("an unknown coding", "transfer-encoding: xchunked\r\n"),
        ("chunks inside of another coding", "transfer-encoding: chunked, identity\r\n"),
        ("the identity coding", "transfer-encoding: identity\r\n"),
        ("an empty coding", "transfer-encoding:\r\n"),
        ("quoted chunks", "transfer-encoding: \"chunked\"\r\n"),
        ("chunks with a parameter", "transfer-encoding: chunked;q=1\r\n"),
        ("two codings, chunks first", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("a blank before the colon", "transfer-encoding : chunked\r\n"),
        ("a tab before the colon", "content-length\t: 5\r\n"),
        ("a folded coding", "transfer-encoding:\r\n chunked\r\n"),
        ("a folded first header", " folded: 1\r\n"),
        ("a vertical tab in a coding", "transfer-encoding: \x0bchunked\r\n"),
        ("a bare CR in a coding", "transfer-encoding: chunked\r\r\n"),
        ("a NUL in a coding", "transfer-encoding: chunked\0\r\n"),
        ("a NUL in a name", "transfer\0-encoding: chunked\r\n"),
    ] {
        add(name, headers, &chunked, refused());
    }
    let old = framed(te, &chunked);
    let old = String::from_utf8(old).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    cases.push(Case::new("smuggling: chunks in HTTP/1.0", old, refused()).until_the_end());
    cases
}

fn chunks() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, rest: &str, want: Got| {
        let sent = framed("transfer-encoding: chunked\r\n", rest);
        cases.push(Case::new(format!("chunks: {name}"), sent, want).until_the_end());
    };
    add("a size below zero", &format!("-5\r\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    add("a size with its base", &format!("0x5\r\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    add("a size over 64 bits", &format!("fffffffffffffffff\r\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    add("an empty size", &format!("\r\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    add("a size with a blank inside", &format!("5 5\r\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    add("a size and a bare LF", &format!("5\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    add("a size too small", &format!("3\r\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    add("no line's end behind a chunk", &format!("5\r\nhelloXX0\r\n\r\n{HIDDEN}"), refused());
    add("a bare LF in an extension", &format!("5;a=\nb\r\nhello\r\n0\r\n\r\n{HIDDEN}"), refused());
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000));
    add("an extension of 20,000 bytes", &long, refused());
    let trailers = format!("5\r\nhello\r\n0\r\n{}\r\n", "x: y\r\n".repeat(5000));
    add("5,000 trailers", &trailers, refused());
    let sent = framed("transfer-encoding: chunked\r\n", "5\r\nhel");
    cases.push(Case::new("chunks: cut off", sent, http(400, "INVALID")).hangs_up());
    let sent = framed("content-length: 50\r\n", "hello");
    cases.push(Case::new("a body that is cut off", sent, http(400, "INVALID")).hangs_up());
    cases
}

fn heads() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, headers) in [
        ("a bare CR in a value", "x: a\rb\r\n"),
        ("a NUL in a value", "x: a\0b\r\n"),
        ("an escape in a value", "x: a\x1bb\r\n"),
        ("no colon", "hello\r\n"),
        ("an empty name", ": x\r\n"),
        ("a blank in a name", "a b: x\r\n"),
        ("a folded value", "x: a\r\n b\r\n"),
        ("a name that is not ASCII", "\u{e9}: x\r\n"),
        ("brackets in a name", "x[y]: z\r\n"),
    ] {
        let sent = get("GET / HTTP/1.1", headers);
        cases.push(Case::new(format!("head: {name}"), sent, refused()).until_the_end());
    }
    cases
}

fn lines() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, line: &str, want: Got| {
        cases.push(Case::new(format!("request line: {name}"), get(line, ""), want));
    };
    add("version 1.2", "GET / HTTP/1.2", http(400, "INVALID"));
    add("version 9.9", "GET / HTTP/9.9", http(400, "INVALID"));
    add("version 2.0", "GET / HTTP/2.0", http(400, "INVALID"));
    add("a version in small letters", "GET / http/1.1", http(400, "INVALID"));
    add("no version", "GET /", http(400, "INVALID"));
    add("a long version", "GET / HTTP/1.1111", http(400, "INVALID"));
    add("two blanks", "GET  / HTTP/1.1", http(400, "INVALID"));
    add("a tab", "GET\t/ HTTP/1.1", Got::Sentence);
    add("a blank in the path", "GET /a b HTTP/1.1", http(400, "INVALID"));
    add("a NUL in the path", "GET /a\0b HTTP/1.1", http(400, "INVALID"));
    add("a DEL in the path", "GET /a\x7fb HTTP/1.1", http(400, "INVALID"));
    add("no slash", "GET nowhere HTTP/1.1", http(400, "INVALID"));
    add("another host's path", "GET http://evil.example/nowhere HTTP/1.1", http(400, "INVALID"));
    add("a scheme without a host", "GET http:// HTTP/1.1", http(400, "INVALID"));
    add("a path that climbs", "GET /v1/../../etc/passwd HTTP/1.1", http(404, "NOT_FOUND"));
    add("a path that climbs, encoded", "GET /v1/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", http(404, "NOT_FOUND"));
    add("a tunnel", "CONNECT evil.example:443 HTTP/1.1", http(400, "INVALID"));
    add("an asterisk", "OPTIONS * HTTP/1.1", http(404, "NOT_FOUND"));
    cases
}

fn floods() -> Vec<Case> {
    let header = |count: usize, size: usize| format!("x: {}\r\n", "y".repeat(size)).repeat(count);
    let mut cases = Vec::new();
    for (name, headers) in [
        ("201 headers", header(200, 1)),
        ("20,000 headers", header(20_000, 1)),
        ("one header of 70,000 bytes", header(1, 70_000)),
        ("100 headers of 1,000 bytes", header(100, 1000)),
        ("a name of 70,000 bytes", format!("{}: x\r\n", "n".repeat(70_000))),
        ("one header of 8 MiB", header(1, 8 << 20)),
    ] {
        let sent = get("GET / HTTP/1.1", &headers);
        cases.push(
            Case::new(format!("flood: {name}"), sent, Got::Answers(vec![(431, "TOO_LARGE".to_owned())]))
                .until_the_end(),
        );
    }
    let sent = get(&format!("GET /{} HTTP/1.1", "a".repeat(70_000)), "");
    cases.push(
        Case::new("flood: a path of 70,000 bytes", sent, Got::Answers(vec![(431, "TOO_LARGE".to_owned())]))
            .until_the_end(),
    );
    let sent = [b"A".repeat(15), b" ".to_vec(), b"/".repeat(1 << 20)].concat();
    cases.push(
        Case::new("flood: a path that never ends", sent, Got::Answers(vec![(431, "TOO_LARGE".to_owned())]))
            .until_the_end(),
    );
    cases
}

fn requests() -> Vec<Case> {
    let path = "/v1/topics/t/events";
    let mut cases = Vec::new();
    for coding in ["gzip", "br", "zstd", "deflate", "identity, gzip", "nonsense"] {
        let sent = post(path, &format!("{EVENT}content-encoding: {coding}\r\ncontent-length: 5\r\n"), "hello");
        cases.push(Case::new(format!("a body compressed by {coding}"), sent, http(415, "UNSUPPORTED")));
    }
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "X"] {
        let sent = get(&format!("{method} {path} HTTP/1.1"), "");
        cases.push(Case::new(format!("method {method}"), sent, http(405, "INVALID")));
    }
    for (name, topic, want) in [
        ("not UTF-8", "%ff", http(400, "INVALID")),
        ("no digits behind %", "%zz", http(400, "INVALID")),
        ("half a % sequence", "a%4", http(400, "INVALID")),
        ("a NUL", "%00", http(400, "INVALID")),
        ("a slash", "a%2fb", http(400, "INVALID")),
        ("a star", "*", http(400, "INVALID")),
        ("a blank", "a%20b", http(400, "INVALID")),
        ("an umlaut", "%C3%A4", http(400, "INVALID")),
        ("the gateway's own", "$x", http(400, "INVALID")),
        ("nothing", "", http(400, "INVALID")),
        ("two levels", "a/b", http(404, "NOT_FOUND")),
    ] {
        cases.push(Case::new(format!("topic's name: {name}"), publish(topic, "1"), want));
    }
    cases.push(Case::new("topic's name: 121 bytes", publish(&"t".repeat(121), "1"), http(400, "INVALID")));
    for (name, query) in [("unknown", "?nonsense=1"), ("without a name", "?=1"), ("not UTF-8", "?%ff=1")] {
        let sent = post(&format!("{path}{query}"), &format!("{EVENT}content-length: 5\r\n"), "hello");
        cases.push(Case::new(format!("parameter: {name}"), sent, http(400, "INVALID")));
    }
    let sent = post(path, &format!("{EVENT}content-length: 99999999999\r\nexpect: 100-continue\r\n"), "");
    cases.push(Case::new("a body of 100 GB, announced", sent, http(413, "TOO_LARGE")));
    let large = "x".repeat((4 << 20) + 1);
    let sent = post(path, &format!("{EVENT}content-length: {}\r\n", large.len()), &large);
    cases.push(Case::new("a body over the limit", sent, http(413, "TOO_LARGE")));
    let sent = post(
        path,
        &format!("{EVENT}transfer-encoding: chunked\r\n"),
        &format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
    );
    cases.push(Case::new("a body over the limit, in chunks", sent, http(413, "TOO_LARGE")));
    cases
}
