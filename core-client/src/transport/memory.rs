//! Connections without sockets, inside one process: for tests.

use std::io;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::{Cause, Dial, DialError, Dialing, Failed, Opened};

/// Bytes that each direction of a connection holds.
const PIPE_BYTES: usize = 64 * 1024;

/// Connections that wait to be accepted; further ones are refused.
const BACKLOG: usize = 64;

/// The client's end: give it to [`Connect::memory`](crate::Connect::memory).
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    connections: mpsc::Sender<DuplexStream>,
}

/// The gateway's end: takes the connections that clients make.
#[derive(Debug)]
pub struct MemoryListener {
    connections: mpsc::Receiver<DuplexStream>,
}

impl MemoryTransport {
    /// A transport and the listener that it reaches. While the listener lives,
    /// connections succeed; afterwards they are refused.
    #[must_use]
    pub fn new() -> (Self, MemoryListener) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (Self { connections: sender }, MemoryListener { connections: receiver })
    }
}

impl MemoryListener {
    /// The next connection; `None` once every client's end is gone.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub async fn accept(&mut self) -> Option<DuplexStream> {
        self.connections.recv().await
    }
}

impl Dial for MemoryTransport {
    fn dial(&self) -> Dialing {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let sent = self.connections.try_send(far);
        Box::pin(async move {
            match sent {
                Ok(()) => Ok(Opened {
                    stream: Box::new(near),
                    address: "memory".to_owned(),
                    carrier: None,
                    greeted: false,
                    token: None,
                }),
                Err(_) => {
                    let cause = Cause::Io(io::ErrorKind::ConnectionRefused.into());
                    Err(DialError { attempts: vec![Failed { address: "memory".to_owned(), carrier: None, cause }] })
                }
            }
        })
    }

    fn address(&self) -> &str {
        "memory"
    }
}
