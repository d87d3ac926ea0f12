//! HTTP/1.1 on a bare socket: requests from a template, answers read as far as their length.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{MAX_ANSWER, OneByOne, SOURCE, TIME, batch, host, id, path};
use crate::ours::TOPIC;
use crate::payload::Payloads;

/// A kept-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// What every request begins with.
    begin: String,
    head: String,
    input: BytesMut,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
        stream.set_nodelay(true)?;
        let begin = format!("POST {} HTTP/1.1\r\nhost: {}\r\n", path(), host(address));
        Ok(Self { stream, begin, head: String::new(), input: BytesMut::with_capacity(4096) })
    }

    async fn ask(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let mut request = Buf::chain(self.begin.as_bytes(), self.head.as_bytes()).chain(body);
        self.stream.write_all_buf(&mut request).await?;
        loop {
            if let Some((head, length)) = answer(&self.input)? {
                let whole = head + length;
                ensure!(whole <= MAX_ANSWER, "an answer of {whole} bytes came");
                if self.input.len() >= whole {
                    self.input.advance(whole);
                    return Ok(());
                }
            }
            ensure!(self.input.len() < MAX_ANSWER, "an answer without an end came");
            self.input.reserve(4096);
            ensure!(self.stream.read_buf(&mut self.input).await? > 0, "the server closed the connection");
        }
    }
}

impl OneByOne for Connection {
    async fn publish(&mut self, publisher: u32, payloads: &mut Payloads) -> anyhow::Result<()> {
        let (id, data) = (id(publisher, payloads.made()), payloads.next());
        self.head.clear();
        write!(
            self.head,
            "ce-specversion: 1.0\r\nce-id: {id}\r\nce-source: {SOURCE}\r\nce-type: {TOPIC}\r\nce-time: {TIME}\r\n\
             content-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            data.len()
        )?;
        self.ask(&data).await
    }

    async fn publish_batch(&mut self, publisher: u32, payloads: &mut Payloads, count: u64) -> anyhow::Result<()> {
        let body = batch(publisher, payloads, count);
        self.head.clear();
        let length = body.len();
        write!(self.head, "content-type: application/cloudevents-batch+json\r\ncontent-length: {length}\r\n\r\n")?;
        self.ask(&body).await
    }
}

/// How long an answer's head and its body are, once the head is whole.
fn answer(input: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(input.get(..end).unwrap_or_default()).context("an answer's head is not text")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the server answered {}", String::from_utf8_lossy(input));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    Ok(Some((end + 4, length.context("an answer without a length came")?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::answer;

    #[test]
    fn an_answer_is_as_long_as_it_says_and_only_success_is_one() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"a\"";
        assert_eq!(answer(text).unwrap(), Some((39, 12)));
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\nno").unwrap_err().to_string().contains("400"));
    }
}
