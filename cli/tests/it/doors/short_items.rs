//! What one request may cost: a few times its bytes, however many things it says in them.

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use crate::program::{Gateway, Program};

/// What a request of 8 MB may cost while it is answered: with it itself, as it is received.
const BOUND: u64 = 32 << 20;

/// Most memory that a process has had, in bytes.
fn peak(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Headers and body of the answer.
async fn ask(gateway: &Gateway, path: &str, content_type: &str, body: Vec<u8>) -> String {
    let stream = TcpStream::connect(&gateway.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost{path}")).header("content-type", content_type);
    let (answer, mut stream) = client.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    stream.send_data(bytes::Bytes::from(body), true).unwrap();
    let (head, mut body) = timeout(PATIENCE, answer).await.expect("an answer").unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend(piece);
    }
    connection.abort();
    format!("{:?} {}", head.headers, String::from_utf8_lossy(&bytes))
}

fn message(before: &[u8], item: &[u8], count: usize) -> Vec<u8> {
    let message = [before, &item.repeat(count)].concat();
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

#[tokio::test]
async fn a_request_of_many_short_things_costs_a_few_times_its_bytes() {
    let (http, grpc) = ("/v1/topics/t/events", "application/grpc");
    let members: String = (0..600_000).rev().map(|n| format!(r#","a{n:06}":1"#)).collect();
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#);
    let numbers = format!("[{}]", vec!["1"; 4_000_000].join(","));
    let events = message(b"\x0a\x01t", b"\x12\x00", 4_000_000);
    let settlements = message(b"\x0a\x01t\x12\x01g", b"\x1a\x00", 4_000_000);
    for (path, content_type, body, told) in [
        (http, "application/cloudevents-batch+json", numbers.into_bytes(), "TOO_LARGE"),
        (http, "application/cloudevents+json", event.into_bytes(), "TOO_LARGE"),
        ("/meshwire.v1.Mesh/PublishBatch", grpc, events, "grpc-status\": \"3"),
        ("/meshwire.v1.Mesh/Settle", grpc, settlements, "grpc-status\": \"3"),
    ] {
        let gateway = Gateway::with(&["--memory"]);
        let (before, size) = (peak(&gateway.program), body.len());
        let answer = ask(&gateway, path, content_type, body).await;
        let cost = peak(&gateway.program) - before;
        println!("{path}: {} KiB for {} KiB of {content_type}", cost / 1024, size / 1024);
        assert!(answer.contains(told), "{path}: {answer:.1000}");
        assert!(cost < BOUND, "{path}: {cost} bytes");
    }
}
