//! What a connection costs that never ends what it began: messages of WebSocket in every subprotocol, and sessions over HTTP requests. Anybody
//! can begin those, so they cost no more than a connection before login.

use meshwire_certificates::SelfSigned;

use super::before_login::{BOUND, grown};
use super::serving;

/// Frames of a client that make one message, of which the last one is cut off before its last byte.
fn message(subprotocol: &str, opcode: u8, announced: &[usize], cut: usize) -> Vec<u8> {
    let path = if subprotocol.starts_with("meshwire") { "/v1/ws" } else { "/v1/topics/t/events" };
    let mut sent = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: {subprotocol}\r\n\r\n"
    )
    .into_bytes();
    for (n, size) in announced.iter().enumerate() {
        sent.push(if n == 0 { opcode } else { 0 });
        sent.extend([&[0x80 | 127][..], &(*size as u64).to_be_bytes(), &[0; 4]].concat());
        sent.extend(vec![b' '; *size]);
    }
    sent.truncate(sent.len() - cut);
    sent
}

fn request(path: &str, announced: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {announced}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn beginnings() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (subprotocol, opcode) in [("meshwire.v1.json", 1), ("cloudevents.json", 1), ("cloudevents.proto", 2)] {
        // As much as needs no leave; and of one that does, what comes with its head.
        all.push((format!("{subprotocol}: half a message"), message(subprotocol, opcode, &[96 << 10], 1)));
        all.push((
            format!("{subprotocol}: a message in parts"),
            message(subprotocol, opcode, &[48 << 10, 48 << 10], 1),
        ));
        let large = 8 << 20;
        let begun = message(subprotocol, opcode, &[large], large - (8 << 10));
        all.push((format!("{subprotocol}: the beginning of a large one"), begun));
    }
    let preface = [0xf3, b'm', b'e', b's', b'h', b'w', 0, 1];
    let hello = [&preface[..], &65_536_u32.to_le_bytes(), &[0x0a; 60_000]].concat();
    all.push(("a session over HTTP: half a body".to_owned(), request("/v1/session", 65_536, &[0; 65_535])));
    all.push(("a session over HTTP: a preface".to_owned(), request("/v1/session", 8, &preface)));
    all.push(("a session over HTTP: half a Hello".to_owned(), request("/v1/session", hello.len(), &hello)));
    all
}

#[tokio::test]
async fn a_message_or_a_session_that_is_only_begun_costs_at_most_256_kib() {
    let files = SelfSigned::of("localhost");
    let mut over = Vec::new();
    for (name, sent) in beginnings() {
        // A process of its own for each: one that has grown before would seem to cost nothing.
        let gateway = serving(&files, "both", &["--memory", "--login-timeout", "60s"]);
        let grown = grown(&gateway, None, &sent).await;
        println!("begun: {name}: {} KiB a connection", grown / 1024);
        if grown > BOUND {
            over.push(format!("{name}: {grown} bytes"));
        }
    }
    assert!(over.is_empty(), "over {BOUND}: {over:?}");
}
