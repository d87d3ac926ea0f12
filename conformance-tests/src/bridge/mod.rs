//! In front of the scripted peer: takes what carries the session off it, so that the script sees its bytes.
//!
//! - [`requests`]: sessions that travel in HTTP requests.

mod requests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue};
use meshwire_certificates::acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::certificate::certificate;
use crate::transport::Transport;
use requests::Carriers;

/// What is read of the script at once.
const READ: usize = 64 << 10;

/// A listener that speaks a transport. Ends with its value.
pub(crate) struct Bridge {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Bridge {
    /// In front of a peer that hears plain bytes.
    pub(crate) fn start(transport: Transport, peer: SocketAddr) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("the bridge gets no port")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let tls = transport.is_secure().then(|| acceptor(certificate()));
        let to = To { transport, peer, carriers: Arc::default() };
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let accepting = runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever breaks is an end for both sides.
                tokio::spawn(link(to.clone(), tls.clone(), stream));
            }
        });
        Ok(Self { address, accepting: accepting.abort_handle() })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn runtime() -> anyhow::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let made =
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok());
    made.as_ref().context("the bridge gets no thread")
}

/// What a connection is to become.
#[derive(Clone)]
struct To {
    transport: Transport,
    peer: SocketAddr,
    carriers: Arc<Carriers>,
}

async fn link(to: To, tls: Option<TlsAcceptor>, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        Some(tls) => carry(to, tls.accept(stream).await?).await,
        None => carry(to, stream).await,
    }
}

async fn carry<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(to: To, mut stream: S) -> io::Result<()> {
    match to.transport {
        Transport::Tcp | Transport::Tcps => {
            tokio::io::copy_bidirectional(&mut stream, &mut script(to.peer).await?).await?;
            Ok(())
        }
        Transport::Ws | Transport::Wss => {
            let socket = accept_hdr_async(stream, subprotocol).await.map_err(io::Error::other)?;
            messages(socket, script(to.peer).await?).await
        }
        Transport::Grpc | Transport::Grpcs => call(stream, script(to.peer).await?).await,
        Transport::Http | Transport::Https => requests::serve(stream, to.peer, to.carriers).await,
    }
}

/// A connection to the script.
async fn script(peer: SocketAddr) -> io::Result<TcpStream> {
    let script = TcpStream::connect(peer).await?;
    script.set_nodelay(true)?;
    Ok(script)
}

#[expect(clippy::result_large_err, clippy::unnecessary_wraps, reason = "as the library wants it")]
fn subprotocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let value = tokio_tungstenite::tungstenite::http::HeaderValue::from_static("meshwire.v1");
    response.headers_mut().insert("sec-websocket-protocol", value);
    Ok(response)
}

/// Bytes of the script are binary messages, and the other way round.
async fn messages<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    mut script: TcpStream,
) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => script.write_all(&bytes).await?,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return script.shutdown().await,
            },
            read = script.read(&mut buffer) => {
                let bytes = buffer.get(..read.unwrap_or(0)).unwrap_or_default().to_vec();
                if bytes.is_empty() {
                    return socket.close(None).await.map_err(io::Error::other);
                }
                socket.send(Message::binary(bytes)).await.map_err(io::Error::other)?;
            }
        }
    }
}

/// Most bytes that are not yet taken by either side of a call.
const WINDOW: u32 = 1 << 20;

/// The same of the messages of one gRPC call: each has a flag and its length in front.
async fn call<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, mut script: TcpStream) -> io::Result<()> {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.map_err(io::Error::other)?;
    let Some(request) = connection.accept().await else { return Ok(()) };
    let (request, mut respond) = request.map_err(io::Error::other)?;
    let answer = http::Response::builder().header("content-type", "application/grpc").body(());
    let mut send = respond.send_response(answer.map_err(io::Error::other)?, false).map_err(io::Error::other)?;
    let mut body = request.into_body();
    let (mut buffer, mut unread) = (vec![0; READ], Vec::new());
    loop {
        tokio::select! {
            // It moves the bytes of the streams; no other call comes.
            more = connection.accept() => if more.is_none() { return script.shutdown().await },
            data = body.data() => {
                let Some(Ok(data)) = data else { return script.shutdown().await };
                let _ = body.flow_control().release_capacity(data.len());
                unread.extend_from_slice(&data);
                while let Some((message, length)) = message(&unread) {
                    script.write_all(message).await?;
                    unread.drain(..length);
                }
            }
            read = script.read(&mut buffer) => {
                let bytes = buffer.get(..read.unwrap_or(0)).unwrap_or_default();
                if bytes.is_empty() {
                    let trailers = http::HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
                    send.send_trailers(trailers).map_err(io::Error::other)?;
                    connection.graceful_shutdown();
                    while connection.accept().await.is_some() {}
                    return Ok(());
                }
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
                let message = [&[0], &length[..], bytes].concat();
                send.send_data(message.into(), false).map_err(io::Error::other)?;
            }
        }
    }
}

/// The first message of some bytes, and how many they are with what stands in front; `None`: it is not whole.
fn message(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = usize::try_from(u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?)).ok()?;
    Some((bytes.get(5..5 + length)?, 5 + length))
}
