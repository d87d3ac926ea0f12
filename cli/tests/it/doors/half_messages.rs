//! What a connection costs that never ends what it began: messages of WebSocket in every subprotocol, and sessions over HTTP requests. Anybody
//! can begin those, so they cost no more than a connection before login.

use meshwire_certificates::SelfSigned;

use super::before_login::{BOUND, grown, grown_by, grpc_head, h2, h2_frame};
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

/// What floods, announces more than there may be, or nests deeply.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let preface = [0xf3, b'm', b'e', b's', b'h', b'w', 0, 1];
    let head = h2_frame(1, 4, 1, &grpc_head());
    let giant = [&[0, 0xff, 0xff, 0xff, 0xff][..], &[0x0a; 16_000]].concat();
    let resets: Vec<u8> = (0..120_u8)
        .flat_map(|n| [h2_frame(1, 4, 2 * n + 1, &grpc_head()), h2_frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
        .collect();
    let mut announced = message("meshwire.v1", 2, &[0], 0);
    announced.splice(announced.len() - 12..announced.len() - 4, (1_u64 << 62).to_be_bytes());
    announced.extend([0; 16_000]);
    let deep = [b'['; 60_000];
    let json = "POST /v1/topics/t/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
        content-length: 60000\r\n\r\n";
    let chunked = b"POST /v1/topics/t/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1;x=";
    let deep_message = [&message("meshwire.v1.json", 1, &[0], 14)[..], &[0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0], &deep];
    vec![
        ("a frame of 4 GiB", [&preface[..], &[0xff; 4], &[0x0a; 60_000]].concat()),
        ("a message of gRPC of 4 GiB", [&h2()[..], &head, &h2_frame(0, 0, 1, &giant)].concat()),
        ("a frame of WebSocket of 2^62 bytes", announced),
        ("pings of HTTP/2", [h2(), h2_frame(6, 0, 0, &[0; 8]).repeat(3000)].concat()),
        ("settings of HTTP/2", [h2(), h2_frame(4, 0, 0, b"").repeat(5000)].concat()),
        ("streams of HTTP/2 that are reset", [h2(), resets].concat()),
        ("headers of HTTP/2 that go on", [h2(), h2_frame(1, 0, 1, b""), h2_frame(9, 0, 1, b"").repeat(5000)].concat()),
        ("an extension of a chunk", [&chunked[..], &[b'y'; 60_000]].concat()),
        ("deep JSON", [json.as_bytes(), &deep].concat()),
        ("deep JSON by WebSocket", deep_message.concat()),
    ]
}

#[tokio::test]
async fn what_floods_or_announces_more_than_there_may_be_costs_at_most_256_kib_a_connection() {
    let files = SelfSigned::of("localhost");
    let mut over = Vec::new();
    for (name, sent) in hostile() {
        let gateway = serving(&files, "both", &["--memory", "--login-timeout", "60s"]);
        // Some are refused before they have sent all of it.
        let grown = grown_by(&gateway, None, &sent, drop).await;
        println!("hostile: {name}: {} KiB a connection", grown / 1024);
        if grown > BOUND {
            over.push(format!("{name}: {grown} bytes"));
        }
    }
    assert!(over.is_empty(), "over {BOUND}: {over:?}");
}
