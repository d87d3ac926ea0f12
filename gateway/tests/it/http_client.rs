//! An HTTP/1.1 client by hand: one connection, answers whole or piece by piece.

use meshwire_proto::ErrorKind;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::rig::{PATIENCE, Rig};

pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    /// What is left of a piece behind the last line.
    rest: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// What a problem says.
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }

    /// The code of a problem, whose status is that of the answer.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.json()["status"], self.status, "{}", self.text());
        self.problem().1
    }

    /// Status and code of a problem: a pair that docs/errors.md has.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let code = self.json()["code"].as_str().unwrap().to_owned();
        let kind = ErrorKind::ALL.iter().find(|kind| kind.code() == code).unwrap();
        let known = self.status == kind.http_status() || kind.other_http().contains(&self.status);
        assert!(known, "docs/errors.md has no status {} of {code}", self.status);
        (self.status, code)
    }
}

async fn patient<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("an answer within patience")
}

impl Rig {
    pub(crate) async fn http(&self) -> Http {
        Http { stream: BufReader::new(self.socket().await), rest: String::new() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.http().await.call("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.http().await.post(path, body).await
    }

    /// Sends these bytes; gives the first answer.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut http = self.http().await;
        http.stream.write_all(request).await.unwrap();
        let head = http.head().await;
        // It says how long its body would be.
        if request.starts_with(b"HEAD ") { head } else { http.rest_of(head).await }
    }

    /// A request with these header lines, each with its line break; `host` and `connection` are added.
    pub(crate) async fn with_headers(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let (address, length) = (self.address, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        self.raw(request.as_bytes()).await
    }

    /// A request with a body of JSON, or without one if it is empty.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        self.with_headers(method, path, headers, body).await
    }

    /// Publishes events of these ids, in order.
    pub(crate) async fn offer(&self, topic: &str, ids: &[&str]) {
        let event = |id: &&str| serde_json::json!({"specversion":"1.0","id":id,"source":"/s","type":"t","data":id});
        let events: Vec<Value> = ids.iter().map(event).collect();
        self.offer_events(topic, &Value::from(events)).await;
    }

    /// Publishes a batch of which every event is taken.
    pub(crate) async fn offer_events(&self, topic: &str, batch: &Value) {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let path = format!("/v1/topics/{topic}/events");
        let answer = self.http().await.call("POST", &path, &headers, batch.to_string().as_bytes()).await;
        let results = answer.json()["results"].as_array().unwrap().clone();
        assert!(results.iter().all(|r| r["duplicate"] == false), "{results:?}");
    }
}

impl Http {
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        head += "\r\n";
        self.stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    }

    /// A head alone.
    pub(crate) async fn send_head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        self.stream.write_all((head + "\r\n").as_bytes()).await.unwrap();
    }

    /// The body behind a head alone.
    pub(crate) async fn send_body(&mut self, body: &[u8]) {
        self.stream.write_all(body).await.unwrap();
    }

    /// Whether the other end closes it; nothing else may come.
    pub(crate) async fn is_closed(&mut self) -> bool {
        patient(self.stream.read(&mut [0])).await.is_ok_and(|read| read == 0)
    }

    async fn read_line(&mut self) -> String {
        let mut line = String::new();
        patient(self.stream.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// Status and headers.
    pub(crate) async fn head(&mut self) -> Answer {
        let first = self.read_line().await;
        let status = first.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {first:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.read_line().await;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Answer { status, headers, body: Vec::new() }
    }

    /// A piece of a chunked body; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.read_line().await, 16).ok()?;
        let mut piece = vec![0; size + 2];
        patient(self.stream.read_exact(&mut piece)).await.unwrap();
        piece.truncate(size);
        (size > 0).then_some(piece)
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        self.rest_of(head).await
    }

    /// An answer whose head has come.
    pub(crate) async fn rest_of(&mut self, mut answer: Answer) -> Answer {
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.piece().await {
                answer.body.extend(piece);
            }
        } else {
            let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
            answer.body.resize(length, 0);
            patient(self.stream.read_exact(&mut answer.body)).await.unwrap();
        }
        answer
    }

    pub(crate) async fn call(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(method, path, headers, body).await;
        self.answer().await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.call("POST", path, &headers, body.to_string().as_bytes()).await
    }

    /// Begins a stream.
    pub(crate) async fn stream(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, b"").await;
        let head = self.head().await;
        assert_eq!(head.status, 200, "{head:?}");
        head
    }

    /// The head of what is asked for; `None`: the connection ends first.
    pub(crate) async fn try_stream(&mut self, path: &str) -> Option<Answer> {
        self.send("GET", path, &[], b"").await;
        let more = patient(self.stream.fill_buf()).await.is_ok_and(|bytes| !bytes.is_empty());
        if more { Some(self.head().await) } else { None }
    }

    /// The next line of a stream that is not empty; `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.rest = rest;
                if line.is_empty() {
                    continue;
                }
                return Some(line);
            }
            let piece = self.piece().await?;
            self.rest += std::str::from_utf8(&piece).unwrap();
        }
    }

    /// The next delivery of an NDJSON stream.
    pub(crate) async fn delivery(&mut self) -> Value {
        serde_json::from_str(&self.line().await.expect("a delivery")).unwrap()
    }
}
