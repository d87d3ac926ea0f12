//! Redis streams: `redis-server` that syncs before it answers, spoken to in raw RESP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{fetch, on_path};
use crate::payload::{self, Verifier};
use crate::server::Server;

const START_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Events of one answer when they are read back.
const PAGE: &[u8] = b"2000";

/// Finds `redis-server` on PATH, else installs Debian's package where that is allowed.
///
/// # Errors
/// It is absent and cannot be installed.
pub(crate) fn find() -> anyhow::Result<PathBuf> {
    if let Some(found) = on_path("redis-server") {
        return Ok(found);
    }
    let install = || {
        fetch(Command::new("apt-get").args(["install", "-y", "redis-server"]).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    install()
        .or_else(|_| fetch(Command::new("apt-get").arg("update")).and_then(|()| install()))
        .context("redis-server is absent, and Debian's package cannot be installed")?;
    on_path("redis-server").context("redis-server is not on PATH after its installation")
}

/// A running `redis-server` with an append-only file that is synced before each answer.
#[derive(Debug)]
pub(crate) struct Redis {
    server: Server,
    address: SocketAddr,
}

impl Redis {
    /// Starts it on a free port with its files in `folder`.
    ///
    /// # Errors
    /// It does not answer within 10 s.
    pub(crate) async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        // Redis takes 0 for "do not listen", so a port that is free right now has to do.
        let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]).arg(folder).args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ]);
        let redis = Self { server: Server::start(command, &folder.join("redis.log"))?, address };
        let began = Instant::now();
        while redis.ping().await.is_err() {
            ensure!(began.elapsed() < START_LIMIT, "redis-server does not answer on {address}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(redis)
    }

    async fn ping(&self) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        connection.call(&[b"PING"]).await?;
        let settings = connection.call(&[b"CONFIG", b"GET", b"appendfsync"]).await?;
        ensure!(settings.holds(b"always"), "redis-server does not sync before it answers");
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await.context("Redis cannot be reached")?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, request: Vec::new(), input: BytesMut::with_capacity(4096) })
    }

    /// Reads the stream from its first entry until every acknowledged event, given
    /// by publisher, was seen and verified.
    ///
    /// # Errors
    /// A loss, gap, duplicate or damage.
    pub(crate) async fn read_back(&self, acknowledged: &[u64]) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        let mut verifier = Verifier::new(acknowledged.len());
        let mut from = Bytes::from_static(b"-");
        while !verifier.has_all(acknowledged) {
            let page = connection.call(&[b"XRANGE", b"bench", &from, b"+", b"COUNT", PAGE]).await?;
            let Reply::Array(entries) = page else { bail!("XRANGE answered {page:?}") };
            ensure!(!entries.is_empty(), verifier.missing(acknowledged));
            for entry in &entries {
                let data = entry.bulk(payload::BYTES).context("an entry without our data came back")?;
                verifier.check(data)?;
            }
            let last = entries.last().and_then(Reply::first_bulk).context("an entry without id came back")?;
            from = [b"(".as_slice(), last].concat().into();
        }
        Ok(())
    }
}

/// One connection, one command at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    input: BytesMut,
}

impl Connection {
    /// Appends one event to the stream and waits until it is synced.
    ///
    /// # Errors
    /// Redis refused it, or the connection is lost.
    pub(crate) async fn append(&mut self, data: &[u8]) -> anyhow::Result<()> {
        match self.call(&[b"XADD", b"bench", b"*", b"d", data]).await? {
            Reply::Bulk(_) => Ok(()),
            other => bail!("XADD answered {other:?}"),
        }
    }

    async fn call(&mut self, words: &[&[u8]]) -> anyhow::Result<Reply> {
        self.request.clear();
        self.request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.request.extend_from_slice(word);
            self.request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&self.request).await?;
        loop {
            let mut rest = self.input.as_ref();
            if let Some(reply) = Reply::parse(&mut rest)? {
                let used = self.input.len() - rest.len();
                self.input.advance(used);
                return match reply {
                    Reply::Line(line) if line.starts_with('-') => bail!("Redis answered {line}"),
                    reply => Ok(reply),
                };
            }
            self.input.reserve(4096);
            ensure!(self.stream.read_buf(&mut self.input).await? > 0, "Redis closed the connection");
        }
    }
}

/// An answer in RESP version 2.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// A simple string, number or error, with its first byte.
    Line(String),
    Bulk(Bytes),
    Array(Vec<Self>),
}

impl Reply {
    /// Takes one answer off; `None` when it is not whole yet.
    fn parse(input: &mut &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = input.windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let (line, rest) = input.split_at_checked(end).context("an answer is cut short")?;
        let mut rest = rest.get(2..).unwrap_or_default();
        let line = std::str::from_utf8(line)?;
        let reply = match line.split_at_checked(1) {
            Some(("$", length)) => {
                let length: usize = length.parse().with_context(|| format!("a bulk string of length {length}"))?;
                let Some((bulk, behind)) = rest.split_at_checked(length) else {
                    return Ok(None);
                };
                let Some(behind) = behind.get(2..) else {
                    return Ok(None);
                };
                rest = behind;
                Self::Bulk(Bytes::copy_from_slice(bulk))
            }
            Some(("*", count)) => {
                let count: usize = count.parse().with_context(|| format!("an array of {count}"))?;
                let mut members = Vec::new();
                for _ in 0..count {
                    let Some(member) = Self::parse(&mut rest)? else {
                        return Ok(None);
                    };
                    members.push(member);
                }
                Self::Array(members)
            }
            Some(("+" | "-" | ":", _)) => Self::Line(line.to_owned()),
            _ => bail!("Redis answered {line:?}"),
        };
        *input = rest;
        Ok(Some(reply))
    }

    /// The first bulk string, depth first.
    fn first_bulk(&self) -> Option<&[u8]> {
        match self {
            Self::Line(_) => None,
            Self::Bulk(bulk) => Some(bulk),
            Self::Array(members) => members.iter().find_map(Self::first_bulk),
        }
    }

    /// The first bulk string of this length, depth first.
    fn bulk(&self, length: usize) -> Option<&[u8]> {
        match self {
            Self::Line(_) => None,
            Self::Bulk(bulk) => (bulk.len() == length).then_some(bulk),
            Self::Array(members) => members.iter().find_map(|m| m.bulk(length)),
        }
    }

    fn holds(&self, word: &[u8]) -> bool {
        match self {
            Self::Line(_) => false,
            Self::Bulk(bulk) => bulk == word,
            Self::Array(members) => members.iter().any(|m| m.holds(word)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    const ENTRY: &[u8] = b"*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nd\r\n$4\r\nda\r\n\r\n";

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        for cut in 0..ENTRY.len() {
            assert_eq!(Reply::parse(&mut &ENTRY[..cut]).unwrap(), None, "{cut}");
        }
        let mut input = [ENTRY, b"+OK\r\n"].concat();
        let mut rest = input.as_mut_slice() as &[u8];
        let entry = Reply::parse(&mut rest).unwrap().unwrap();
        assert_eq!((entry.first_bulk(), entry.bulk(4)), (Some(b"1-0".as_slice()), Some(b"da\r\n".as_slice())));
        assert_eq!(Reply::parse(&mut rest).unwrap(), Some(Reply::Line("+OK".to_owned())));
        assert!(rest.is_empty());
    }

    #[test]
    fn an_answer_of_another_protocol_is_an_error() {
        assert!(Reply::parse(&mut b"HTTP/1.1 400\r\n".as_slice()).is_err());
        assert!(Reply::parse(&mut b"$-1\r\n".as_slice()).is_err());
    }
}
