//! A port on loopback behind which a test decides what each connection meets.

use std::net::SocketAddr;
use std::time::Duration;

use meshwire_proto::frame::{PREFACE, ServerFrame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::script::{Gateway, welcome};

/// Nothing here takes so long; it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Tcp,
    WebSocket,
    Http,
}

pub(crate) struct Port {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Port {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The next connection and what it begins with, of which nothing is read. No gRPC gets through here: it is reset.
    pub(crate) async fn next(&self) -> (Begun, TcpStream) {
        let next = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = [0; 12];
            loop {
                stream.readable().await.unwrap();
                let count = stream.peek(&mut head).await.unwrap();
                match &head[..count] {
                    [0xF3, ..] => return (Begun::Tcp, stream),
                    b"GET /v1/ws H" | b"GET /v1/ws" => return (Begun::WebSocket, stream),
                    b"POST /v1/ses" => return (Begun::Http, stream),
                    b"PRI * HTTP/2" => {
                        drop(stream);
                        (stream, _) = self.listener.accept().await.unwrap();
                    }
                    // More of it comes, and readable() cannot wait for that.
                    [_, ..] if count < head.len() => tokio::task::yield_now().await,
                    other => panic!("a connection that begins with {other:?}"),
                }
            }
        };
        timeout(PATIENCE, next).await.expect("a connection")
    }

    /// The next connection, whatever it is.
    pub(crate) async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("a connection").unwrap().0
    }

    /// The next one, which begins so.
    pub(crate) async fn expect(&self, begun: Begun) -> TcpStream {
        let (found, stream) = self.next().await;
        assert_eq!(found, begun);
        stream
    }
}

/// Answers a login.
pub(crate) async fn log_in(mut gateway: Gateway) -> Gateway {
    gateway.hello().await;
    gateway.send(&ServerFrame::Welcome(welcome())).await;
    gateway
}

/// Reads the preface and answers it, no more.
pub(crate) async fn greet(stream: &mut (impl crate::script::Io + ?Sized)) {
    let mut preface = [0; 8];
    stream.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    stream.write_all(&PREFACE).await.unwrap();
}

/// What the client says until it hangs up.
pub(crate) async fn rest(stream: &mut (impl crate::script::Io + ?Sized)) -> Vec<u8> {
    let mut rest = Vec::new();
    // Whether it ends with a reset or not.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the client hangs up");
    rest
}

/// Takes an upgrade; the bytes of its messages.
#[cfg(feature = "websocket")]
pub(crate) async fn upgrade(stream: TcpStream) -> tokio::io::DuplexStream {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    use tokio_tungstenite::tungstenite::http::HeaderValue;

    #[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
    let choose = |_: &Request, mut response: Response| {
        let chosen = HeaderValue::from_static("meshwire.v1");
        response.headers_mut().insert("sec-websocket-protocol", chosen);
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose).await.unwrap();
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => far.write_all(&bytes).await.unwrap(),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
                count = far.read(&mut buffer) => match count {
                    Ok(count @ 1..) => {
                        let message = Message::Binary(bytes::Bytes::copy_from_slice(&buffer[..count]));
                        socket.send(message).await.unwrap();
                    }
                    _ => break,
                },
            }
        }
    });
    near
}
