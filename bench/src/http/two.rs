//! HTTP with hyper's client: the streams of one HTTP/2 connection, and what the bare peer's subscriber asks.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{OneByOne, SOURCE, TIME, Version, batch, host, id, path};
use crate::ours::TOPIC;
use crate::payload::Payloads;

/// What one connection and each of its streams may have been sent and not read.
const WINDOW: u32 = 1 << 20;

/// A connection that several requests may use.
#[derive(Debug)]
pub(crate) enum Dialed {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Connects.
///
/// # Errors
/// The server cannot be reached, or speaks something else.
pub(crate) async fn dial(address: SocketAddr, version: Version) -> anyhow::Result<Dialed> {
    let stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    Ok(match version {
        Version::Http1 => {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Dialed::Http1(sender)
        }
        Version::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
            let (sender, connection) = builder.handshake(io).await?;
            tokio::spawn(connection);
            Dialed::Http2(sender)
        }
    })
}

impl Dialed {
    /// Sends a request and waits for the answer's head.
    ///
    /// # Errors
    /// The connection is lost, or the server refuses.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        ensure!(response.status() == 200, "the server answered with status {}", response.status());
        Ok(response)
    }
}

/// One of the streams of an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    uri: String,
}

impl Shared {
    /// So many streams of one new connection.
    ///
    /// # Errors
    /// As [`dial`].
    pub(crate) async fn open(address: SocketAddr, streams: u32) -> anyhow::Result<Vec<Self>> {
        let Dialed::Http2(sender) = dial(address, Version::Http2).await? else {
            anyhow::bail!("no HTTP/2 connection");
        };
        let uri = format!("http://{}{}", host(address), path());
        Ok((0..streams).map(|_| Self { sender: sender.clone(), uri: uri.clone() }).collect())
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<()> {
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status == 200, "the server answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}

impl OneByOne for Shared {
    async fn publish(&mut self, publisher: u32, payloads: &mut Payloads) -> anyhow::Result<()> {
        let (id, data) = (id(publisher, payloads.made()), payloads.next());
        let request = Request::post(self.uri.as_str())
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", SOURCE)
            .header("ce-type", TOPIC)
            .header("ce-time", TIME)
            .header("content-type", "application/octet-stream")
            .body(Full::new(data))?;
        self.ask(request).await
    }

    async fn publish_batch(&mut self, publisher: u32, payloads: &mut Payloads, count: u64) -> anyhow::Result<()> {
        let body = batch(publisher, payloads, count);
        let request = Request::post(self.uri.as_str())
            .header("content-type", "application/cloudevents-batch+json")
            .body(Full::new(body))?;
        self.ask(request).await
    }
}
