//! HTTP/1.1 by hand: events published in each mode, received in each way and settled.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::formats::{encoded, structured};
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

#[derive(Deserialize)]
struct Fetched {
    deliveries: Vec<Delivery>,
}

const JSON: &str = "content-type: application/json\r\n";

impl Program {
    /// In the mode whose turn it is.
    pub(super) async fn publish(&self, topic: &str, set: &[Sent], turn: usize) {
        let mut connection = Connection::open(&self.0).await;
        let path = format!("/v1/topics/{topic}/events");
        match turn % 3 {
            0 => {
                for event in set {
                    connection.ask("POST", &path, &binary(event), &event.seen.data).await;
                    connection.answer().await;
                }
            }
            1 => {
                for event in set {
                    let kind = "content-type: application/cloudevents+json\r\n";
                    connection.ask("POST", &path, kind, structured(event).as_bytes()).await;
                    connection.answer().await;
                }
            }
            _ => {
                let events: Vec<String> = set.iter().map(structured).collect();
                let body = format!("[{}]", events.join(","));
                connection
                    .ask("POST", &path, "content-type: application/cloudevents-batch+json\r\n", body.as_bytes())
                    .await;
                let answer: Value = serde_json::from_slice(&connection.answer().await).unwrap();
                let results = answer["results"].as_array().expect("results");
                let stored = results.iter().filter(|result| result["position"].is_string());
                assert_eq!(stored.count(), set.len(), "{topic}: {answer}");
            }
        }
    }

    /// In the way whose turn it is.
    pub(super) async fn consume(&self, topic: &str, count: usize, turn: usize) -> Vec<Came> {
        let group = format!("/v1/topics/{topic}/groups/g");
        // The end of a stream gives leases back, so it stays open.
        let (deliveries, _open) = match turn % 3 {
            0 => self.streamed(&group, "application/x-ndjson", "", count).await,
            1 => self.streamed(&group, "text/event-stream", "data: ", count).await,
            _ => self.fetched(&group, count).await,
        };
        let settlements: Vec<Value> =
            deliveries.iter().map(|delivery| json!({"lease": delivery.lease, "kind": "ack"})).collect();
        let body = json!({ "settlements": settlements }).to_string();
        let mut connection = Connection::open(&self.0).await;
        connection.ask("POST", &format!("{group}/settle"), JSON, body.as_bytes()).await;
        let answer: Value = serde_json::from_slice(&connection.answer().await).unwrap();
        assert_eq!(answer, json!({ "results": vec![json!({"settled": true}); count] }), "{topic}");
        deliveries.into_iter().map(|delivery| Came::Json(delivery.event)).collect()
    }

    /// Of lines, those that begin so, and are not empty behind it.
    async fn streamed(&self, group: &str, accept: &str, begin: &str, count: usize) -> (Vec<Delivery>, Connection) {
        let mut stream = Connection::open(&self.0).await;
        stream.ask("GET", &format!("{group}/events"), &format!("accept: {accept}\r\n"), b"").await;
        assert_eq!(stream.head().await, None, "a stream has no length");
        let (mut came, mut line) = (Vec::new(), Vec::new());
        while came.len() < count {
            let piece = stream.chunk().await;
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                let whole = line.strip_suffix(b"\n").and_then(|whole| whole.strip_prefix(begin.as_bytes()));
                if let Some(whole) = whole.filter(|whole| !whole.is_empty()) {
                    came.push(serde_json::from_slice(whole).unwrap());
                }
                if line.ends_with(b"\n") {
                    line.clear();
                }
            }
        }
        (came, stream)
    }

    async fn fetched(&self, group: &str, count: usize) -> (Vec<Delivery>, Connection) {
        let mut connection = Connection::open(&self.0).await;
        let mut came = Vec::new();
        while came.len() < count {
            connection.ask("POST", &format!("{group}/fetch"), JSON, br#"{"wait_ms":30000}"#).await;
            let fetched: Fetched = serde_json::from_slice(&connection.answer().await).unwrap();
            assert!(!fetched.deliveries.is_empty(), "{group}: no more within 30 s of {count}");
            came.extend(fetched.deliveries);
        }
        (came, connection)
    }
}

/// The headers of an event in the binary mode.
fn binary(event: &Sent) -> String {
    let mut headers = String::new();
    for (name, value) in &event.seen.attributes {
        match name.as_str() {
            "datacontenttype" => write!(headers, "content-type: {value}\r\n").unwrap(),
            _ => write!(headers, "ce-{name}: {}\r\n", encoded(value)).unwrap(),
        }
    }
    headers
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
        if let Some(length) = self.head().await {
            return self.body(length).await;
        }
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    async fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        let mut chunk = self.body(size + 2).await;
        chunk.truncate(size);
        chunk
    }
}
