//! How bytes travel: a transport makes connections, the driver uses them.

#[cfg(feature = "grpc")]
mod grpc;
mod memory;
mod network;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

pub use memory::{MemoryListener, MemoryTransport};
pub(crate) use network::Network;
#[cfg(feature = "tls")]
pub(crate) use tls::{Tls, TlsOptions};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection: bytes both ways, in order.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type Dialing = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, DialError>> + Send>>;

/// Makes connections to one gateway.
pub(crate) trait Dial: Send + Sync {
    /// Tries every address once.
    fn dial(&self) -> Dialing;

    /// Where to, for messages.
    fn address(&self) -> &str;
}

/// Every address failed.
#[derive(Debug, Default)]
pub(crate) struct DialError {
    /// Address and cause of each attempt.
    pub(crate) attempts: Vec<(String, io::Error)>,
}

impl DialError {
    /// Whether trying again at once is of no use: nobody listens, or there is no
    /// such host. Silence, on the other hand, may end.
    pub(crate) fn is_plain(&self) -> bool {
        self.attempts.iter().all(|(_, cause)| cause.kind() != io::ErrorKind::TimedOut)
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, cause)) in self.attempts.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            match cause.kind() {
                io::ErrorKind::ConnectionRefused => write!(f, "{address} refused the connection")?,
                io::ErrorKind::TimedOut => write!(f, "{address} did not answer")?,
                _ => write!(f, "{address}: {cause}")?,
            }
        }
        Ok(())
    }
}
