//! What peers have begun to send and not ended, large frames of sessions and bodies of requests: so many bytes over all connections.
//! A session that comes later waits, as its peer waits with it; a request waits a moment and is refused then, as its client can go elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use meshwire_proto::ErrorKind;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::mesh::Refusal;

/// What bodies of one connection may hold together without asking.
const FREE: u64 = 64 * 1024;

/// How long a body waits for room: others that are whole soon make some. What it has is held meanwhile, so that it must end.
const WAIT: Duration = Duration::from_secs(1);

/// When who was refused should try again.
pub(super) const RETRY_MS: u32 = 1000;

/// One frame or body always passes, however large it is.
#[derive(Debug)]
pub(super) struct Receiving {
    limit: u64,
    state: Mutex<State>,
    /// Bodies that wait are told when something is given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// Connections that wait, by number.
    waiting: BTreeMap<u64, Waker>,
    /// How many were refused.
    refused: u64,
}

/// Leave to receive a large frame; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    of: Arc<Receiving>,
    bytes: u64,
}

impl Receiving {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), freed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are held, and how many may be.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.state().used, self.limit)
    }

    /// Leave for a frame of so many bytes; without room `waker` is woken when there may be some.
    pub(super) fn admit(self: &Arc<Self>, connection: u64, bytes: u64, waker: &Waker) -> Option<Permit> {
        let mut state = self.state();
        if state.used > 0 && state.used.saturating_add(bytes) > self.limit {
            state.waiting.insert(connection, waker.clone());
            return None;
        }
        state.waiting.remove(&connection);
        state.used += bytes;
        Some(Permit { of: self.clone(), bytes })
    }

    /// A connection waits no more.
    pub(super) fn forget(&self, connection: u64) {
        self.state().waiting.remove(&connection);
    }
}

impl Permit {
    /// Whether others wait for it to end.
    pub(super) fn is_wanted(&self) -> bool {
        !self.of.state().waiting.is_empty()
    }

    /// More of the same; `false` when there is no room.
    fn grow(&mut self, more: u64) -> bool {
        let mut state = self.of.state();
        if state.used > self.bytes && state.used.saturating_add(more) > self.of.limit {
            state.refused += 1;
            return false;
        }
        state.used += more;
        drop(state);
        self.bytes += more;
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut state = self.of.state();
        state.used -= self.bytes;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
        self.of.freed.notify_waiters();
    }
}

/// What the bodies of one connection may hold: a little without asking, more as long as there is room.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Receiving>,
    free: AtomicU64,
}

impl Share {
    pub(super) fn new(of: Arc<Receiving>) -> Arc<Self> {
        Self::with(of, FREE)
    }

    /// With another part that needs no asking.
    pub(super) fn with(of: Arc<Receiving>, free: u64) -> Arc<Self> {
        Arc::new(Self { of, free: AtomicU64::new(free) })
    }

    /// Of a body that begins.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        let permit = Permit { of: Arc::clone(&self.of), bytes: 0 };
        Held { share: Arc::clone(self), free: 0, permit, refused: None }
    }
}

/// What one body holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    share: Arc<Share>,
    /// Of what needs no asking.
    free: u64,
    permit: Permit,
    /// How many had been refused when it was last looked at.
    refused: Option<u64>,
}

impl Held {
    /// It holds so many bytes now; never less than before. Waits a second for room.
    ///
    /// # Errors
    /// `BUSY`: there is no room for that.
    pub(super) async fn wait_for(&mut self, bytes: u64) -> Result<(), Refusal> {
        let Err(refusal) = self.grow_to(bytes) else { return Ok(()) };
        let receiving = Arc::clone(&self.share.of);
        let room = async {
            loop {
                let freed = receiving.freed.notified();
                if self.grow_to(bytes).is_ok() {
                    return;
                }
                freed.await;
            }
        };
        timeout(WAIT, room).await.map_err(|_| refusal)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// `BUSY`: there is no room for that.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.free + self.permit.bytes);
        let take = |free: u64| (more > 0 && free > 0).then(|| free - free.min(more));
        let taken = self.share.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let taken = taken.map_or(0, |free| free.min(more));
        self.free += taken;
        if more == taken || self.permit.grow(more - taken) {
            return Ok(());
        }
        let text = format!(
            "requests and frames that are not whole yet hold the {} bytes that there are for them (option memory_budget)",
            self.share.of.limit
        );
        Err(Refusal::new(ErrorKind::Busy, text).after(RETRY_MS))
    }

    /// Whether it holds what others waited for, or were refused for want of, since it was last asked.
    pub(super) fn is_wanted(&mut self) -> bool {
        let state = self.share.of.state();
        let before = self.refused.replace(state.refused);
        let wanted = !state.waiting.is_empty() || before.is_some_and(|before| before != state.refused);
        self.permit.bytes > 0 && wanted
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.free.fetch_add(self.free, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn large_frames_wait_for_each_other_and_one_always_passes() {
        let receiving = Receiving::new(100);
        let first = receiving.admit(1, 1000, Waker::noop()).unwrap();
        assert!(!first.is_wanted());
        assert!(receiving.admit(2, 10, Waker::noop()).is_none());
        assert!(first.is_wanted());
        drop(first);
        let (a, b) = (receiving.admit(2, 60, Waker::noop()), receiving.admit(3, 40, Waker::noop()));
        assert!(a.is_some() && b.is_some() && receiving.admit(4, 1, Waker::noop()).is_none());
        receiving.forget(4);
        assert!(!a.unwrap().is_wanted());
    }

    #[test]
    fn a_connection_has_a_little_for_all_its_bodies_and_asks_for_what_is_over_it() {
        let receiving = Receiving::new(1000);
        let (one, other) = (Share::new(receiving.clone()), Share::new(receiving.clone()));
        let (mut a, mut b, mut c) = (one.hold(), one.hold(), other.hold());
        a.grow_to(FREE - 10).unwrap();
        b.grow_to(10).unwrap();
        assert_eq!(receiving.used().0, 0);
        b.grow_to(910).unwrap();
        c.grow_to(FREE + 100).unwrap();
        assert_eq!(receiving.used().0, 1000);
        assert!(!b.is_wanted());
        let refused = a.grow_to(FREE).unwrap_err();
        assert_eq!((refused.kind, refused.retry_after_ms), (ErrorKind::Busy, RETRY_MS));
        assert!(b.is_wanted() && !b.is_wanted() && !a.is_wanted());
        drop((b, c));
        assert_eq!(receiving.used().0, 0);
        a.grow_to(FREE + 5000).unwrap();
        assert_eq!(receiving.used().0, 5000, "one passes however large it is, with what another gave back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_a_second_for_room_that_another_gives_back() {
        let receiving = Receiving::new(100);
        let share = || Share::new(receiving.clone());
        let (mut one, mut other) = (share().hold(), share().hold());
        one.grow_to(FREE + 100).unwrap();
        let began = tokio::time::Instant::now();
        let refused = other.wait_for(FREE + 100).await.unwrap_err();
        assert_eq!((refused.kind, began.elapsed()), (ErrorKind::Busy, WAIT));
        let ending = async {
            tokio::time::sleep(WAIT / 2).await;
            drop(one);
        };
        let (waited, ()) = tokio::join!(other.wait_for(FREE + 100), ending);
        waited.unwrap();
        assert_eq!((began.elapsed(), receiving.used().0), (WAIT * 3 / 2, 100));
    }

    #[test]
    fn a_body_that_ends_lets_a_frame_go_on_that_waits() {
        let receiving = Receiving::new(100);
        let mut body = Share::new(receiving.clone()).hold();
        body.grow_to(FREE + 100).unwrap();
        assert!(receiving.admit(1, 100, Waker::noop()).is_none());
        assert!(body.is_wanted());
        drop(body);
        assert!(receiving.admit(1, 100, Waker::noop()).is_some());
    }
}
