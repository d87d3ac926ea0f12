//! The task of one connection: moves bytes and time between a socket and a
//! [`Protocol`].
//!
//! Reading and writing go on side by side, so that two peers that both have much
//! to say cannot wait for each other. A peer that does not take its answers is not
//! asked for more: nothing is read while too many wait for it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use meshwire_proto::frame::PREFACE;
use meshwire_proto::{ErrorKind, Moment};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::frames::WriteQueue;
use super::gathering::Gathering;
use super::parting::{Ended, Parting};
use super::{Accepted, Native, Protocol, Shutdown};
use crate::ingress::receiving::{Held, Permit};
use crate::ingress::{BoxIo, Login, Place, READ_AWAY};
use crate::mesh::{Caller, Refusal};

/// Room made for reading, and the least that is worth a read.
const READ_BYTES: usize = 64 * 1024;
const READ_ROOM: usize = 16 * 1024;

/// A connection keeps a buffer of its own only for more than this of a frame.
const REST_BYTES: usize = 4 * 1024;

/// Least room for a read before the login: what is read then is one short frame.
const LOGIN_ROOM: usize = 1024;

/// Frames of this many bytes need leave to be received.
const LARGE_FRAME: usize = 256 * 1024;

/// Entries of one gathered write.
const GATHER: usize = 64;

/// How long a connection that ends waits for the peer to take its last frames.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

thread_local! {
    /// What the connections of this thread read into, one after the other.
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

struct Connection {
    stream: BoxIo,
    /// What was read of a frame that is not whole yet.
    rest: BytesMut,
    queue: WriteQueue,
    /// Nothing of what was written waits inside the stream.
    flushed: bool,
    protocol: Protocol,
    gathering: Gathering,
    /// What the timer is set to.
    timer_set: Option<Moment>,
    /// Leave to receive a large frame, and since when.
    permit: Option<(Permit, Moment)>,
    /// It has no session yet.
    logging_in: bool,
    /// What it holds until then counts here, where other sessions come by the same connection.
    held: Option<Held>,
}

/// Who comes to begin a session.
pub(in crate::ingress) struct Coming {
    pub(in crate::ingress) caller: Caller,
    pub(in crate::ingress) login: Login,
    /// What its first frames count as, if others come by the same connection.
    pub(in crate::ingress) held: Option<Held>,
}

pub(super) async fn serve(native: Arc<Native>, accepted: Accepted, shutdown: watch::Receiver<Shutdown>) {
    let Accepted { stream, prefix, peer, principal, login } = accepted;
    let caller = Caller::known("native", Some(peer), principal);
    let coming = Coming { caller, login: login.clone(), held: None };
    let parting = carry(&native, (stream, prefix), coming, &shutdown).await;
    parting.at(login.place(), &native, shutdown).await;
}

/// Serves a session whose bytes come through `stream`, after those that were read already. It is logged in once it has its Welcome.
pub(in crate::ingress) async fn serve_stream(
    native: Arc<Native>,
    io: (BoxIo, BytesMut),
    coming: Coming,
    shutdown: watch::Receiver<Shutdown>,
) {
    serve_telling(native, io, coming, shutdown, |_| {}).await;
}

/// [`serve_stream`], for a stream that has a word of its own for how it ends: it is told before it is shut down.
pub(in crate::ingress) async fn serve_telling(
    native: Arc<Native>,
    io: (BoxIo, BytesMut),
    coming: Coming,
    shutdown: watch::Receiver<Shutdown>,
    tell: impl FnOnce(Ended) + Send,
) {
    carry(&native, io, coming, &shutdown).await.telling(tell, &native, shutdown).await;
}

/// Serves a session until nothing more of it is read or written.
async fn carry(
    native: &Arc<Native>,
    (mut stream, mut rest): (BoxIo, BytesMut),
    Coming { caller, login, held }: Coming,
    shutdown: &watch::Receiver<Shutdown>,
) -> Parting {
    let peer = caller.peer.map(tracing::field::display);
    if let Err(ended) = first_bytes(&mut stream, &mut rest, &login).await {
        tracing::debug!(peer, "no session began here: its first bytes are missing");
        return Parting { stream, protocol: None, ended, read_away: None };
    }
    let protocol = Protocol::new(native.clone(), caller, login.waited());
    let mut queue = WriteQueue::default();
    queue.preface();
    let (gathering, timer_set, permit, flushed, logging_in) = (Gathering::default(), None, None, true, true);
    let mut connection =
        Connection { stream, rest, queue, flushed, protocol, gathering, timer_set, permit, logging_in, held };
    connection.protocol.received(&mut connection.rest);
    let run = connection.run(native, login.place(), shutdown).await;
    if let Err(error) = &run {
        tracing::debug!(peer, %error, "connection lost");
    }
    let had_session = connection.leave(native);
    let Connection { stream, mut protocol, .. } = connection;
    let refused = protocol.refused.take();
    // Of a frame that is too long as much may follow as one may have, and more.
    let most = if had_session { 2 * native.max_frame_bytes() } else { READ_AWAY as u64 };
    let read_away = (refused.is_some() && run.is_ok()).then_some(most);
    let ended = match refused {
        Some(refusal) => Ended::Refused(refusal),
        None if *shutdown.borrow() >= Shutdown::Closing => Ended::Stopped,
        None => Ended::Over,
    };
    Parting { stream, protocol: Some(Box::new(protocol)), ended, read_away }
}

/// Takes the first bytes of a session off, within the time of its login.
async fn first_bytes(stream: &mut BoxIo, rest: &mut BytesMut, login: &Login) -> Result<(), Ended> {
    match login.within(preface(stream, rest)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => {
            let text = "these are not the first bytes of a session";
            Err(Ended::Refused(Refusal::new(ErrorKind::Invalid, text)))
        }
        Ok(Err(_)) => Err(Ended::Over),
        Err(refusal) => Err(Ended::Refused(refusal)),
    }
}

/// Takes the first bytes of a session off; `false` if they are others.
async fn preface(stream: &mut BoxIo, rest: &mut BytesMut) -> io::Result<bool> {
    while rest.len() < PREFACE.len() {
        if stream.read_buf(rest).await? == 0 {
            return Ok(false);
        }
    }
    Ok(rest.split_to(PREFACE.len()) == PREFACE.as_slice())
}

/// Ends when shutdown is so far.
pub(super) async fn reached(mut shutdown: watch::Receiver<Shutdown>, stage: Shutdown) {
    // An error means that the sender is gone: that is shutdown too.
    drop(shutdown.wait_for(|s| *s >= stage).await);
}

impl Connection {
    /// Nothing more is read or written: its memory is given back, and nobody waits for who is gone. Whether it had a session.
    fn leave(&mut self, native: &Native) -> bool {
        native.receiving.forget(self.protocol.number);
        (self.rest, self.queue, self.permit) = (BytesMut::new(), WriteQueue::default(), None);
        self.protocol.leave();
        self.protocol.session().is_some()
    }

    async fn run(&mut self, native: &Native, place: &Place, shutdown: &watch::Receiver<Shutdown>) -> io::Result<()> {
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut shed = pin!(place.shed());
        for stage in [Shutdown::Draining, Shutdown::Closing] {
            let mut stop = pin!(reached(shutdown.clone(), stage));
            let ended = poll_fn(|cx| {
                if self.logging_in && shed.as_mut().poll(cx).is_ready() {
                    self.logging_in = false;
                    let refusal = place.refusal();
                    self.protocol.fail(refusal.kind, &refusal.message);
                }
                match self.poll((native, place), timer.as_mut(), cx) {
                    Poll::Ready(ended) => Poll::Ready(Some(ended)),
                    Poll::Pending => stop.as_mut().poll(cx).map(|()| None),
                }
            });
            // At the first stage it is only woken: it tells its peer by itself.
            if let Some(ended) = ended.await {
                ended?;
                break;
            }
        }
        // What is queued or waits is still answered, for as long as the peer takes it.
        timeout(LAST_WORDS, poll_fn(|cx| self.poll_rest(cx))).await.unwrap_or(Ok(()))
    }

    /// Goes on until the connection ends or nothing more can be done now.
    ///
    /// One waker for everything, and no future that is made and dropped a turn:
    /// with an event a turn that would cost as much as the event.
    fn poll(
        &mut self,
        (native, place): (&Native, &Place),
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gathering.waits(self.protocol.outbox.delivery_bytes()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            // Before the peer can read its Welcome.
            if self.logging_in && self.protocol.session().is_some() {
                place.logged_in();
                self.logging_in = false;
                self.held = None;
            }
            self.protocol.take_output(&mut self.queue);
            self.write(cx)?;
            if self.protocol.is_dead() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if self.protocol.is_closing() {
                return Poll::Ready(Ok(()));
            }
            let deadline = self.protocol.deadline();
            if self.timer_set != Some(deadline) {
                let wait = deadline.since(native.mesh.now().mono);
                timer.as_mut().reset(Instant::now() + wait);
                self.timer_set = Some(deadline);
            }
            if timer.as_mut().poll(cx).is_ready() {
                self.timer_set = None;
                self.protocol.tick();
                continue;
            }
            let held = self.protocol.is_held();
            if held && (self.protocol.go_on(&mut self.rest) || !self.protocol.is_held()) {
                continue;
            }
            if self.protocol.reads() && !self.protocol.outbox.is_crowded() && self.may_receive(native, cx) {
                match self.read(cx)? {
                    Poll::Ready(true) => continue,
                    Poll::Ready(false) => return Poll::Ready(Ok(())),
                    Poll::Pending => {}
                }
            }
            if self.protocol.wake_for_output(cx.waker(), &self.queue) {
                return Poll::Pending;
            }
        }
    }

    /// Whether more may be received of a large frame.
    fn may_receive(&mut self, native: &Native, cx: &Context<'_>) -> bool {
        let bytes = self.rest.capacity();
        if self.rest.len() < REST_BYTES || bytes <= LARGE_FRAME {
            self.permit = None;
        } else if let Some((permit, since)) = &self.permit {
            if native.mesh.now().mono.since(*since) > native.config.heartbeat * 5 / 2 && permit.is_wanted() {
                let text =
                    format!("a frame of {bytes} bytes came too slowly, and others wait for the memory that it takes");
                self.protocol.fail(ErrorKind::Busy, &text);
            }
        } else {
            let permit = native.receiving.admit(self.protocol.number, bytes as u64, cx.waker());
            self.permit = permit.map(|permit| (permit, native.mesh.now().mono));
            self.protocol.paused = self.permit.is_none();
            return self.permit.is_some();
        }
        true
    }

    /// Writes until nothing is queued and nothing waits to be kept.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.protocol.take_output(&mut self.queue);
            self.write(cx)?;
            if self.queue.is_empty() && self.flushed && !self.protocol.is_waiting() {
                return Poll::Ready(Ok(()));
            }
            if self.protocol.wake_for_output(cx.waker(), &self.queue) {
                return Poll::Pending;
            }
        }
    }

    /// Reads once and processes; `false` at the end of the stream.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.logging_in {
            return self.read_login(cx);
        }
        let own = self.rest.len() >= REST_BYTES;
        let mut buffer = if own { std::mem::take(&mut self.rest) } else { BUFFER.take() };
        if !own {
            buffer.extend_from_slice(&self.rest);
        }
        if buffer.capacity() - buffer.len() < READ_ROOM {
            buffer.reserve(READ_BYTES);
        }
        // This future keeps nothing between polls, so it may be made anew each time.
        let read = pin!(self.stream.read_buf(&mut buffer)).poll(cx);
        if let Poll::Ready(Ok(1..)) = read {
            self.protocol.received(&mut buffer);
        }
        if buffer.len() >= REST_BYTES {
            self.rest = buffer;
        } else {
            self.rest = BytesMut::from(&*buffer);
            buffer.clear();
            if buffer.capacity() <= 2 * READ_BYTES {
                BUFFER.set(buffer);
            }
        }
        Poll::Ready(Ok(ready!(read)? > 0))
    }

    /// The same before the login: the room grows with what comes, at most twice as much, and counts.
    fn read_login(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let rest = &mut self.rest;
        if rest.capacity() - rest.len() < LOGIN_ROOM {
            rest.reserve(rest.len().max(REST_BYTES));
        }
        let read = pin!(self.stream.read_buf(rest)).poll(cx);
        if let Poll::Ready(Ok(1..)) = read {
            let counted = self.held.as_mut().map_or(Ok(()), |held| held.grow_to(rest.capacity() as u64));
            if let Err(refusal) = counted {
                self.protocol.fail(refusal.kind, &refusal.message);
            }
            self.protocol.received(rest);
        }
        if rest.is_empty() {
            *rest = BytesMut::new();
        }
        Poll::Ready(Ok(ready!(read)? > 0))
    }

    /// Writes until all is written or the peer takes no more.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let wrote = !self.queue.is_empty();
        self.write_queue(cx)?;
        // TLS and messages may hold the last of it.
        if (wrote || !self.flushed) && self.queue.is_empty() {
            self.flushed = match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(flushed) => flushed.map(|()| true)?,
                Poll::Pending => false,
            };
        }
        Ok(())
    }

    fn write_queue(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER];
            let mut count = 0;
            for (slot, chunk) in slices.iter_mut().zip(&self.queue.chunks) {
                *slot = IoSlice::new(&chunk.bytes);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    self.queue.advance(written);
                    self.protocol.wrote();
                }
                Poll::Pending => {
                    self.queue.own();
                    break;
                }
            }
        }
        Ok(())
    }
}
