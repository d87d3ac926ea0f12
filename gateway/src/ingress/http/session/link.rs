//! The bytes of one carried session: what came in and is not read, what went out and is not acknowledged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::output::Output;
use crate::ingress::native::Native;
use crate::mesh::Memory;

/// What one carrier may hold of its client's bytes while there is room, and what a batch may have.
pub(super) const WINDOW: usize = 256 * 1024;

/// What it may hold for its client while there is room: what is not acknowledged yet, so that this is a round trip of a fast one.
const OUTPUT_WINDOW: usize = 1024 * 1024;

/// What it may hold however little room there is.
const LEAST_WINDOW: usize = 16 * 1024;

/// What the bytes of a carrier count as: those of a client as what waits for its answer, those for it as deliveries that it has not taken.
pub(super) struct Room {
    input: Arc<Memory>,
    output: Arc<Memory>,
    /// Most that a session may have.
    most: usize,
}

impl Room {
    pub(super) fn of(native: &Native) -> Self {
        let mesh = native.mesh();
        let most = usize::try_from(native.config.session_bytes).unwrap_or(usize::MAX);
        Self { input: mesh.answers(), output: mesh.memory(), most }
    }

    /// How many bytes there may be of the client's now.
    fn input(&self) -> usize {
        self.window(&self.input, WINDOW)
    }

    /// The same of those for it.
    fn output(&self) -> usize {
        self.window(&self.output, OUTPUT_WINDOW)
    }

    fn window(&self, of: &Memory, most: usize) -> usize {
        usize::try_from(of.allowance()).unwrap_or(usize::MAX).max(LEAST_WINDOW).min(self.most).min(most)
    }
}

/// A carrier.
pub(super) struct Link {
    state: Mutex<State>,
    of: Room,
    /// Whom the certificate named that it was begun with.
    pub(super) principal: Option<Arc<str>>,
    /// The session has read, or a later batch came.
    pub(super) read: Notify,
    /// There is output, or a later request for it.
    pub(super) written: Notify,
}

pub(super) struct State {
    /// Of a client, not read yet.
    pub(super) input: BytesMut,
    /// The number that the next batch must have.
    next: u64,
    /// The batch that is being received: an earlier one gives up.
    receiving: u64,
    pub(super) input_over: bool,
    pub(super) reader: Option<Waker>,
    /// To the client, not acknowledged yet.
    output: Output,
    /// How many bytes were before those.
    first: u64,
    pub(super) output_over: bool,
    pub(super) writer: Option<Waker>,
    /// The request for output that is served: an earlier one ends.
    listening: u64,
    /// Since when none is.
    idle_since: Option<Instant>,
    /// The client gave no sign of life.
    pub(super) lost: bool,
    /// All was handed over, for a client that may not have got it.
    handed: bool,
    /// The client knows of the end.
    told: bool,
}

/// What became of a batch.
pub(super) enum Offer {
    /// It is taken, or was before.
    Taken,
    /// There is no room for it now.
    Full,
    /// This number was expected.
    Gap(u64),
    /// A later request has taken its place.
    Superseded,
    /// Nothing is read any more.
    Over,
}

/// What there is to say.
pub(super) enum Piece {
    Bytes(Bytes),
    /// Nothing now.
    None,
    /// Nothing any more.
    End,
    /// A later request has taken its place.
    Superseded,
}

impl Link {
    pub(super) fn new(of: Room, principal: Option<Arc<str>>, first: &Bytes) -> Self {
        of.input.change(0, first.len() as u64);
        let state = State {
            input: BytesMut::from(first.as_ref()),
            next: 1,
            receiving: 0,
            input_over: false,
            reader: None,
            output: Output::default(),
            first: 0,
            output_over: false,
            writer: None,
            listening: 0,
            idle_since: Some(Instant::now()),
            lost: false,
            handed: false,
            told: false,
        };
        Self { state: Mutex::new(state), of, principal, read: Notify::new(), written: Notify::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch begins to come: what an earlier request holds is dropped.
    pub(super) fn receive(&self) -> u64 {
        let mut state = self.state();
        state.receiving += 1;
        let turn = state.receiving;
        drop(state);
        self.read.notify_waiters();
        turn
    }

    /// Whether a batch still has its turn.
    pub(super) fn receives(&self, turn: u64) -> bool {
        self.state().receiving == turn
    }

    /// Takes a batch that has come whole, once.
    pub(super) fn offer(&self, turn: u64, number: u64, batch: &[u8], end: bool) -> Offer {
        let mut state = self.state();
        if number < state.next {
            return Offer::Taken;
        }
        if number > state.next {
            return Offer::Gap(state.next);
        }
        if state.receiving != turn {
            return Offer::Superseded;
        }
        if state.input_over {
            return Offer::Over;
        }
        if !state.input.is_empty() && state.input.len() + batch.len() > self.of.input() {
            return Offer::Full;
        }
        state.next += 1;
        state.input.extend_from_slice(batch);
        state.input_over = end;
        self.of.input.change(0, batch.len() as u64);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Offer::Taken
    }

    /// Input that the session has read.
    pub(super) fn consumed(&self, bytes: usize) {
        self.of.input.change(bytes as u64, 0);
        self.read.notify_waiters();
    }

    /// The client has all output before this byte. `Err`: the range in which that would be possible.
    pub(super) fn acknowledge(&self, through: u64) -> Result<(), (u64, u64)> {
        let mut state = self.state();
        let last = state.first + state.output.len() as u64;
        if through > last {
            return Err((state.first, last));
        }
        // What was acknowledged before is no news: requests may overtake one another.
        let count = usize::try_from(through.saturating_sub(state.first)).unwrap_or(usize::MAX).min(state.output.len());
        state.output.advance(count);
        state.first += count as u64;
        self.of.output.change(count as u64, 0);
        if count > 0
            && let Some(writer) = state.writer.take()
        {
            writer.wake();
        }
        Ok(())
    }

    /// A request for output from a byte on begins. `Err`: the range in which that would be possible.
    pub(super) fn listen(self: &Arc<Self>, after: u64) -> Result<Listening, (u64, u64)> {
        let mut state = self.state();
        let last = state.first + state.output.len() as u64;
        if !(state.first..=last).contains(&after) {
            return Err((state.first, last));
        }
        state.listening += 1;
        state.idle_since = None;
        let turn = state.listening;
        drop(state);
        self.written.notify_waiters();
        Ok(Listening { link: Arc::clone(self), turn, next: after })
    }

    /// How much more may be said now.
    pub(super) fn room(&self, state: &State) -> usize {
        self.of.output().saturating_sub(state.output.len())
    }

    pub(super) fn say(&self, state: &mut State, bytes: &[u8]) {
        state.output.push(bytes);
        self.of.output.change(0, bytes.len() as u64);
        self.written.notify_waiters();
    }

    /// Ends when nobody has asked for output for so long.
    pub(super) async fn abandoned(&self, limit: Duration) {
        loop {
            let idle = self.state().idle_since.map_or(Duration::ZERO, |since| since.elapsed());
            if idle >= limit {
                return;
            }
            tokio::time::sleep(limit - idle).await;
        }
    }

    /// The client is gone.
    pub(super) fn lose(&self) {
        let mut state = self.state();
        state.lost = true;
        self.end(&mut state);
    }

    /// The session is over.
    pub(super) fn over(&self) {
        self.end(&mut self.state());
    }

    fn end(&self, state: &mut State) {
        (state.input_over, state.output_over) = (true, true);
        for waker in [state.reader.take(), state.writer.take()].into_iter().flatten() {
            waker.wake();
        }
        self.read.notify_waiters();
        self.written.notify_waiters();
    }

    /// Ends when the client knows of the end; when nobody can ask again, once all was handed over.
    pub(super) async fn told(&self, last: impl Fn() -> bool) {
        loop {
            let mut written = std::pin::pin!(self.written.notified());
            written.as_mut().enable();
            let (told, handed) = {
                let state = self.state();
                (state.told, state.handed)
            };
            if told || (handed && last()) {
                return;
            }
            written.await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let state = self.state();
        self.of.input.change(state.input.len() as u64, 0);
        self.of.output.change(state.output.len() as u64, 0);
    }
}

/// A request for output.
pub(super) struct Listening {
    link: Arc<Link>,
    turn: u64,
    next: u64,
}

impl Listening {
    /// The next bytes.
    pub(super) fn piece(&mut self) -> Piece {
        let mut state = self.link.state();
        if state.listening != self.turn {
            return Piece::Superseded;
        }
        // An acknowledgement of what this one has not sent yet was a lie; it goes on behind it.
        self.next = self.next.max(state.first);
        let from = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
        if let Some(piece) = state.output.piece(from) {
            self.next += piece.len() as u64;
            return Piece::Bytes(piece);
        }
        if !state.output_over {
            return Piece::None;
        }
        // Only a client that has all asks for what is behind it.
        state.told = state.output.is_empty();
        state.handed = true;
        self.link.written.notify_waiters();
        Piece::End
    }

    /// Waits for the next bytes.
    pub(super) async fn next(&mut self) -> Piece {
        let link = Arc::clone(&self.link);
        loop {
            let mut written = std::pin::pin!(link.written.notified());
            written.as_mut().enable();
            match self.piece() {
                Piece::None => written.await,
                piece => return piece,
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.link.state();
        if state.listening == self.turn {
            state.idle_since = Some(Instant::now());
        }
    }
}
