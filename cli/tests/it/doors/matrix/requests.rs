//! HTTP/1.1 by hand: events published in the binary mode, received as lines of JSON and settled.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::seen::{Came, Sent};
use super::{Both, Way};

/// One who makes a connection for each thing that it does.
pub(super) struct Program(pub(super) Way);

struct Connection(BufReader<Box<dyn Both>>);

#[derive(Deserialize)]
struct Delivery {
    lease: String,
    event: Box<RawValue>,
}

impl Program {
    pub(super) async fn publish(&self, topic: &str, set: &[Sent]) {
        let mut connection = Connection::open(&self.0).await;
        for event in set {
            let mut headers = String::new();
            for (name, value) in &event.seen.attributes {
                match name.as_str() {
                    "datacontenttype" => write!(headers, "content-type: {value}\r\n").unwrap(),
                    _ => write!(headers, "ce-{name}: {}\r\n", encoded(value)).unwrap(),
                }
            }
            let path = format!("/v1/topics/{topic}/events");
            connection.ask("POST", &path, &headers, &event.seen.data).await;
            connection.answer().await;
        }
    }

    pub(super) async fn consume(&self, topic: &str, count: usize) -> Vec<Came> {
        let group = format!("/v1/topics/{topic}/groups/g");
        let mut stream = Connection::open(&self.0).await;
        stream.ask("GET", &format!("{group}/events"), "accept: application/x-ndjson\r\n", b"").await;
        assert_eq!(stream.head().await, None, "a stream has no length");
        let (mut came, mut settlements) = (Vec::new(), Vec::new());
        let mut line = Vec::new();
        while came.len() < count {
            let piece = stream.chunk().await;
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if let Some(whole) = line.strip_suffix(b"\n")
                    && !whole.is_empty()
                {
                    let delivery: Delivery = serde_json::from_slice(whole).unwrap();
                    came.push(Came::Json(delivery.event));
                    settlements.push(json!({"lease": delivery.lease, "kind": "ack"}));
                }
                if line.ends_with(b"\n") {
                    line.clear();
                }
            }
        }
        let mut other = Connection::open(&self.0).await;
        let body = json!({ "settlements": settlements }).to_string();
        other.ask("POST", &format!("{group}/settle"), "content-type: application/json\r\n", body.as_bytes()).await;
        let answer: Value = serde_json::from_slice(&other.answer().await).unwrap();
        assert_eq!(answer, json!({ "results": vec![json!({"settled": true}); count] }), "{topic}");
        came
    }
}

impl Connection {
    async fn open(way: &Way) -> Self {
        Self(BufReader::new(way.open("http/1.1").await))
    }

    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n");
        self.0.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        assert!(line.ends_with("\r\n"), "cut off behind {line:?}");
        line.trim_end().to_owned()
    }

    /// The length of a good answer.
    async fn head(&mut self) -> Option<usize> {
        let status = self.line().await;
        let mut length = None;
        loop {
            let line = self.line().await;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            if name == "content-length" {
                length = Some(value.parse().unwrap());
            }
        }
        if !status.starts_with("HTTP/1.1 2") {
            let body = self.body(length.unwrap_or_default()).await;
            panic!("{status}: {}", String::from_utf8_lossy(&body));
        }
        length
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    async fn answer(&mut self) -> Vec<u8> {
        let length = self.head().await.unwrap_or_default();
        self.body(length).await
    }

    async fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        let mut chunk = self.body(size + 2).await;
        chunk.truncate(size);
        chunk
    }
}

/// As the HTTP binding of CloudEvents says.
fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => write!(text, "%{byte:02X}").unwrap(),
            0x21..=0x7e => text.push(byte.into()),
            _ => write!(text, "%{byte:02X}").unwrap(),
        }
    }
    text
}
