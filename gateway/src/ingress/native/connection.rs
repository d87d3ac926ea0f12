//! The task of one connection: moves bytes and time between a socket and a
//! [`Protocol`].
//!
//! Reading and writing go on side by side, so that two peers that both have much
//! to say cannot wait for each other. Over [`READ_PAUSE`] of unwritten output
//! nothing is read: a peer that does not take its answers is not asked for more.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use meshwire_proto::frame::PREFACE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::frames::WriteQueue;
use super::{Accepted, Native, Protocol, Shutdown};
use crate::mesh::Caller;

/// Room for one read. Frees with the last frame in it.
const READ_BYTES: usize = 64 * 1024;

/// Unwritten output above which nothing is read.
const READ_PAUSE: usize = 4 * 1024 * 1024;

/// Entries of one gathered write.
const GATHER: usize = 64;

/// How long a connection that ends waits for the peer to take its last frames.
const LAST_WORDS: Duration = Duration::from_secs(2);

struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    queue: WriteQueue,
    protocol: Protocol,
}

pub(super) async fn serve(native: Arc<Native>, accepted: Accepted, mut shutdown: watch::Receiver<Shutdown>) {
    let Accepted { stream, mut prefix, peer } = accepted;
    prefix.advance(PREFACE.len());
    let protocol = Protocol::new(native.clone(), Caller::anonymous("native", Some(peer)));
    let mut queue = WriteQueue::default();
    queue.preface();
    let mut connection = Connection { stream, buffer: prefix, queue, protocol };
    let mut kept = native.mesh.kept();
    connection.protocol.received(&mut connection.buffer);
    if let Err(error) = connection.run(&native, &mut kept, &mut shutdown).await {
        tracing::debug!(%peer, %error, "connection lost");
    }
    connection.protocol.disconnected();
    // Half of the close is ours; unread input must not turn it into a reset that
    // takes the last frame with it.
    let _ = connection.stream.shutdown().await;
}

/// Ends when shutdown begins.
async fn draining(shutdown: &mut watch::Receiver<Shutdown>) {
    // An error means that the sender is gone: that is shutdown too.
    drop(shutdown.wait_for(|s| *s == Shutdown::Draining).await);
}

impl Connection {
    async fn run(
        &mut self,
        native: &Native,
        kept: &mut watch::Receiver<()>,
        shutdown: &mut watch::Receiver<Shutdown>,
    ) -> io::Result<()> {
        let outbox = self.protocol.outbox();
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut timer_set = None;
        loop {
            self.protocol.take_output(&mut self.queue);
            if !self.queue.is_empty() {
                self.write()?;
            }
            if self.protocol.is_dead() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.protocol.is_closing() {
                return timeout(LAST_WORDS, self.flush()).await.unwrap_or(Ok(()));
            }
            let deadline = self.protocol.deadline();
            if timer_set != Some(deadline) {
                let wait = deadline.since(native.mesh.now().mono);
                timer.as_mut().reset(tokio::time::Instant::now() + wait);
                timer_set = Some(deadline);
            }
            tokio::select! {
                biased;
                ready = self.stream.writable(), if !self.queue.is_empty() => {
                    ready?;
                    self.write()?;
                }
                ready = self.stream.readable(), if self.queue.bytes < READ_PAUSE => {
                    ready?;
                    if !self.read()? {
                        return Ok(());
                    }
                }
                () = outbox.filled() => {}
                // Who waits for nothing is not woken by the syncs of others.
                changed = kept.changed(), if self.protocol.is_waiting() => {
                    changed.map_err(io::Error::other)?;
                    self.protocol.kept();
                }
                () = &mut timer => {
                    timer_set = None;
                    self.protocol.tick();
                }
                () = draining(shutdown) => {
                    return self.drain(kept).await;
                }
            }
        }
    }

    /// Reads once and processes; `false` at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ_BYTES);
        // Polled, not tried: a read that fills less than its room tells the runtime
        // that there is no more, and spares a second one that finds nothing.
        let polled = pin!(self.stream.read_buf(&mut self.buffer)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(read) = polled else {
            return Ok(true);
        };
        match read {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.protocol.received(&mut self.buffer);
                if self.buffer.is_empty() {
                    // An idle connection keeps no buffer.
                    self.buffer = BytesMut::new();
                }
                Ok(true)
            }
            Err(e) => Err(e),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); GATHER];
        let mut count = 0;
        for (slot, chunk) in slices.iter_mut().zip(&self.queue.chunks) {
            *slot = IoSlice::new(chunk);
            count += 1;
        }
        match self.stream.try_write_vectored(slices.get(..count).unwrap_or_default()) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                self.queue.advance(written);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Writes what is queued, for as long as the peer takes it.
    async fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            self.stream.writable().await?;
            self.write()?;
        }
        Ok(())
    }

    /// Tells the peer, answers what waits, and ends, within [`LAST_WORDS`].
    async fn drain(&mut self, kept: &mut watch::Receiver<()>) -> io::Result<()> {
        self.protocol.drain("the gateway is stopping");
        let finish = async {
            loop {
                self.protocol.kept();
                self.protocol.take_output(&mut self.queue);
                self.flush().await?;
                if !self.protocol.is_waiting() {
                    return Ok(());
                }
                kept.changed().await.map_err(io::Error::other)?;
            }
        };
        timeout(LAST_WORDS, finish).await.unwrap_or(Ok(()))
    }
}
