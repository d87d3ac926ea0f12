//! In front of the scripted peer: takes what carries the session off it, so that the script sees its bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::certificate::certificate;
use crate::transport::Transport;

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
        let tls = if transport.is_secure() { Some(acceptor()?) } else { None };
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let accepting = runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever breaks is an end for both sides.
                tokio::spawn(link(transport, tls.clone(), stream, peer));
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
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().ok());
    made.as_ref().context("the bridge gets no thread")
}

fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let files = certificate()?;
    let chain = vec![CertificateDer::from_pem_file(&files.certificate)?];
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn link(transport: Transport, tls: Option<TlsAcceptor>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        Some(tls) => carry(transport, tls.accept(stream).await?, peer).await,
        None => carry(transport, stream, peer).await,
    }
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    transport: Transport,
    mut stream: S,
    peer: SocketAddr,
) -> io::Result<()> {
    let connect = async {
        let script = TcpStream::connect(peer).await?;
        script.set_nodelay(true)?;
        io::Result::Ok(script)
    };
    match transport {
        Transport::Tcp | Transport::Tcps => {
            tokio::io::copy_bidirectional(&mut stream, &mut connect.await?).await?;
            Ok(())
        }
        Transport::Ws | Transport::Wss => {
            let socket = accept_hdr_async(stream, subprotocol).await.map_err(io::Error::other)?;
            messages(socket, connect.await?).await
        }
    }
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
