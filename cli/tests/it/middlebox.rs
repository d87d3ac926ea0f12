//! What stands in networks between clients and gateways: a box that lets some protocols through, and a proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Tcp,
    Grpc,
    WebSocket,
    Http,
}

impl Speaks {
    /// As clients call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Grpc => "grpc",
            Self::WebSocket => "websocket",
            Self::Http => "http",
        }
    }

    /// Told by its first bytes, of which nothing is read; `None` when it ends before.
    async fn of(stream: &TcpStream) -> Option<Self> {
        let mut head = [0; 16];
        loop {
            stream.readable().await.ok()?;
            let count = stream.peek(&mut head).await.ok()?;
            match &head[..count] {
                [] => return None,
                [0xF3, ..] => return Some(Self::Tcp),
                [b'P', b'R', ..] => return Some(Self::Grpc),
                [b'P', b'O', ..] => return Some(Self::Http),
                head if head.starts_with(b"GET /v1/ws") => return Some(Self::WebSocket),
                head if head.starts_with(b"GET /v1/session") => return Some(Self::Http),
                head if count == head.len() && count >= 15 => panic!("a connection that begins with {head:?}"),
                // More of it comes, and readable() cannot wait for that.
                _ => tokio::task::yield_now().await,
            }
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    Reset,
    /// It stays open, and nothing is said.
    Silence,
    /// Answered as a web server does that cannot read it.
    BadRequest,
    /// So many bytes of the gateway come, then nothing more.
    HalfOpen(u64),
    /// Everything takes so long, each way.
    Slow(Duration),
}

/// A port before the gateway; `fate` says what becomes of a connection that carries this.
pub(crate) async fn filter(gateway: SocketAddr, fate: impl Fn(Speaks) -> Fate + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, fate) = (listener.local_addr().unwrap(), Arc::new(fate));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let fate = Arc::clone(&fate);
            tokio::spawn(async move {
                if let Some(speaks) = Speaks::of(&client).await {
                    meet(client, gateway, fate(speaks)).await;
                }
            });
        }
    });
    address
}

/// Carries one connection to its fate.
async fn meet(mut client: TcpStream, gateway: SocketAddr, fate: Fate) {
    match fate {
        Fate::Reset => client.set_zero_linger().unwrap(),
        Fate::Silence => swallow(&mut client).await,
        Fate::BadRequest => {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = client.write_all(answer).await;
            swallow(&mut client).await;
        }
        Fate::Passes => {
            let Ok(mut server) = TcpStream::connect(gateway).await else { return };
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        Fate::HalfOpen(most) => {
            let Ok(server) = TcpStream::connect(gateway).await else { return };
            let ((mut from_client, mut to_client), (from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let mut some = from_server.take(most);
            let (up, down) = (tokio::io::copy(&mut from_client, &mut to_server), async {
                let _ = tokio::io::copy(&mut some, &mut to_client).await;
                std::future::pending::<()>().await;
            });
            tokio::select! {
                _ = up => {}
                () = down => {}
            }
        }
        Fate::Slow(wait) => {
            let Ok(server) = TcpStream::connect(gateway).await else { return };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::select! {
                () = crawl(from_client, to_server, wait) => {}
                () = crawl(from_server, to_client, wait) => {}
            }
        }
    }
}

async fn swallow(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// Carries bytes late.
async fn crawl(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    wait: Duration,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // Nothing else happens on a long road.
        let _ = timeout(wait, std::future::pending::<()>()).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// A proxy that takes CONNECT from one user, and leads every endpoint to one address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// `user:password`, as HTTP sends it.
const AUTHORIZATION: &str = "Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n";

impl Proxy {
    pub(crate) async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, gateway, Arc::clone(&seen)));
            }
        });
        Self { address, asked }
    }

    /// The endpoints that it was asked for, and its answers.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn tunnel(mut client: TcpStream, gateway: SocketAddr, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let endpoint = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).expect("a CONNECT").to_owned();
    let answer = if head.contains(AUTHORIZATION) { "200 OK" } else { "407 Proxy Authentication Required" };
    seen.lock().unwrap().push(format!("{endpoint} {answer}"));
    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
    if answer.starts_with("200") {
        let mut server = TcpStream::connect(gateway).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
