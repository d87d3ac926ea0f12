//! Bytes in, calls to the mesh, answers back.
//!
//! One listener serves every protocol: what a connection begins with is read
//! into a prefix, each ingress says whether that is its own, and the one that
//! says yes gets the connection with the prefix as the head of its stream.

mod access;
pub mod calls;
pub mod grpc;
pub mod http;
mod io;
mod keepalive;
mod listener;
mod listening;
mod login;
pub mod native;
mod places;
mod receiving;
mod refused;
pub mod tls;
mod turns;
mod waiting;
mod web;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::mesh::{Refusal, Spoken};

pub use io::{BoxIo, Io};
pub use listener::{Doors, Listener, ListenerConfig};
pub use listening::{Also, Scheme, Serves};
pub use login::Login;
pub use places::{Place, Places};
pub use refused::most_connections;
pub(crate) use turns::accept_rate;

/// To who speaks in plain where TLS is required.
const PLAIN_REFUSED: &str =
    "this gateway speaks TLS only (option tls): use meshs://, tcps://, grpcs://, wss:// or https://";

/// What an ingress says of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// Not this protocol.
    No,
    /// Cannot tell yet.
    NeedMore,
    /// This protocol.
    Yes,
}

/// A connection whose protocol is known.
pub struct Accepted {
    /// The socket, or what is spoken inside of it.
    pub stream: BoxIo,
    /// What was read of it already.
    pub prefix: BytesMut,
    /// The other end.
    pub peer: SocketAddr,
    /// Whom a certificate that it showed names.
    pub principal: Option<Arc<str>>,
    /// What it has to do in time: who serves it says to its place when it has logged in, and ends it when it must go before that.
    pub login: Login,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("peer", &self.peer)
            .field("waited", &self.login.waited())
            .finish_non_exhaustive()
    }
}

/// How far shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Serve.
    Running,
    /// Tell peers; nothing more is delivered, what they hold may be settled.
    Draining,
    /// Answer what waits, and close.
    Closing,
}

/// A peer is told that it is not served; then its connection is over.
pub type Turned = Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

/// How long at most anybody is told that he is not served.
const REFUSAL: Duration = Duration::from_secs(1);

/// Most bytes that are read away behind the last words of this side: more than is on its way as a rule.
const READ_AWAY: usize = 1 << 20;

/// Says this, and then nothing any more.
async fn say(mut stream: BoxIo, words: Bytes) -> std::io::Result<()> {
    stream.write_all(&words).await?;
    part(stream, READ_AWAY).await
}

/// Ends a connection behind the last words of this side. What the other has sent and nobody has read would turn the end into a reset,
/// which overtakes the words: so many bytes of it are read away.
async fn part(mut stream: BoxIo, most: usize) -> std::io::Result<()> {
    stream.shutdown().await?;
    let (mut rest, mut left) = ([0; 1024], most);
    while left > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

/// One protocol.
pub trait Ingress: Send + Sync + 'static {
    /// Short stable name for logs and metrics.
    fn name(&self) -> &'static str;

    /// As what its connections are counted; `None`: not at all.
    fn spoken(&self) -> Option<Spoken> {
        None
    }

    /// Whether a connection that begins so is of this protocol.
    fn sniff(&self, prefix: &[u8]) -> Sniff;

    /// Tells a peer that it is not served, and why, in the words of the protocol that it begins to speak, and ends its connection. Nobody
    /// waits for it for long.
    fn turn_away(&self, stream: BoxIo, prefix: BytesMut, refusal: Refusal) -> Turned;

    /// Serves one connection to its end. A login takes place within the
    /// listener's deadline, which counts from accept.
    fn serve(
        &self,
        accepted: Accepted,
        shutdown: watch::Receiver<Shutdown>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
