//! The one listener: accept, sniff, hand over; limits before login.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Accepted, Ingress, Shutdown, Sniff};

/// More than any protocol needs to be told apart.
const MAX_PREFIX: usize = 1024;

/// Wait after a failed accept, as when file descriptors have run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerConfig {
    /// Most open connections.
    pub max_connections: usize,
    /// How long a connection may take until its protocol is known.
    pub sniff_timeout: Duration,
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    config: ListenerConfig,
}

impl Listener {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says, as that the port is in use.
    pub async fn bind(address: SocketAddr, config: ListenerConfig) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, config })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until shutdown, then waits for every connection to end.
    pub async fn serve(self, ingresses: Vec<Arc<dyn Ingress>>, mut shutdown: watch::Receiver<Shutdown>) {
        let ingresses: Arc<[Arc<dyn Ingress>]> = ingresses.into();
        let permits = Arc::new(Semaphore::new(self.config.max_connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|s| *s != Shutdown::Running) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                tracing::warn!(%peer, limit = self.config.max_connections, "connection refused (option max_connections)");
                continue;
            };
            let (ingresses, shutdown, timeout) = (ingresses.clone(), shutdown.clone(), self.config.sniff_timeout);
            connections.spawn(async move {
                serve_one(stream, peer, &ingresses, shutdown, timeout).await;
                drop(permit);
            });
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

async fn serve_one(
    mut stream: TcpStream,
    peer: SocketAddr,
    ingresses: &[Arc<dyn Ingress>],
    shutdown: watch::Receiver<Shutdown>,
    timeout: Duration,
) {
    let _ = stream.set_nodelay(true);
    let mut prefix = BytesMut::new();
    let began = Instant::now();
    match tokio::time::timeout(timeout, sniff(&mut stream, &mut prefix, ingresses)).await {
        Ok(Ok(Some(ingress))) => {
            tracing::debug!(%peer, protocol = ingress.name(), "connected");
            let accepted = Accepted { stream: Box::new(stream), prefix, peer, waited: began.elapsed() };
            ingress.serve(accepted, shutdown).await;
            tracing::debug!(%peer, "disconnected");
        }
        Ok(Ok(None)) => {
            tracing::info!(%peer, first = %printable(&prefix), "first bytes of no protocol served here");
            let text = b"meshwire: these bytes begin no protocol that is served here\n";
            let _ = stream.write_all(text).await;
            let _ = stream.shutdown().await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "connection ended before its protocol was known")
        }
        Err(_) => {
            tracing::info!(%peer, bytes = prefix.len(), "no protocol within the login timeout")
        }
    }
}

/// Reads until one ingress says yes or all say no.
async fn sniff<'a>(
    stream: &mut TcpStream,
    prefix: &mut BytesMut,
    ingresses: &'a [Arc<dyn Ingress>],
) -> io::Result<Option<&'a Arc<dyn Ingress>>> {
    loop {
        let mut undecided = false;
        for ingress in ingresses {
            match ingress.sniff(prefix) {
                Sniff::Yes => return Ok(Some(ingress)),
                Sniff::NeedMore => undecided = true,
                Sniff::No => {}
            }
        }
        if !undecided || prefix.len() >= MAX_PREFIX {
            return Ok(None);
        }
        if stream.read_buf(prefix).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn printable(prefix: &[u8]) -> String {
    Bytes::copy_from_slice(prefix.get(..16).unwrap_or(prefix)).escape_ascii().to_string()
}
