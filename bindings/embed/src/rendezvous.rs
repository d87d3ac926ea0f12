//! Where those who come to something, and those who wait for it, meet. `model/` plays every order in which they can.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// What an event loop is told: whether there is something to take.
pub(crate) type Signal = Box<dyn FnMut(bool) + Send>;

struct State<T> {
    done: VecDeque<T>,
    /// Places that are taken: what will come, and what came and was not fetched.
    begun: usize,
    woken: bool,
    closed: bool,
    signal: Option<Signal>,
}

impl<T> State<T> {
    fn tell(&mut self) {
        if let Some(signal) = &mut self.signal {
            signal(!self.done.is_empty() || self.woken || self.closed);
        }
    }
}

/// A bounded queue in which a place is taken before something comes.
pub(crate) struct Rendezvous<T> {
    most: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> fmt::Debug for Rendezvous<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendezvous").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<T> Rendezvous<T> {
    pub(crate) fn new(most: usize) -> Self {
        let state = State { done: VecDeque::new(), begun: 0, woken: false, closed: false, signal: None };
        Self { most, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Takes a place.
    pub(crate) fn begin(&self) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.begun == self.most {
            return Err(Refused::Full);
        }
        state.begun += 1;
        Ok(())
    }

    /// Gives a place back into which nothing comes.
    pub(crate) fn withdraw(&self) {
        self.state().begun -= 1;
    }

    /// Brings what came, each into a place that was taken. `true`: there was nothing before, and now there is. Behind the end it is dropped,
    /// under no lock.
    pub(crate) fn complete(&self, came: impl ExactSizeIterator<Item = T>) -> bool {
        let count = came.len();
        let mut state = self.state();
        if state.closed {
            state.begun -= count;
            drop(state);
            came.for_each(drop);
            return false;
        }
        let first = state.done.is_empty() && count > 0;
        state.done.extend(came);
        state.tell();
        drop(state);
        self.changed.notify_one();
        first
    }

    /// Waits until there is something, for at most so long (`None`: as long as it takes), and moves up to `most` behind what is in `into`. It
    /// also ends, with nothing, when it is woken. `false`: it is closed, and nothing more comes.
    pub(crate) fn take(&self, most: usize, wait: Option<Duration>, into: &mut Vec<T>) -> bool {
        // Too far away to be a moment is for ever.
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut state = self.state();
        while state.done.is_empty() && !state.woken && !state.closed {
            state = match (wait, until) {
                (Some(_), Some(until)) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return true;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.woken = false;
        let count = most.min(state.done.len());
        into.extend(state.done.drain(..count));
        state.begun -= count;
        state.tell();
        let (more, open) = (!state.done.is_empty(), !state.closed);
        drop(state);
        if more {
            // For another who takes: what came together has woken one.
            self.changed.notify_one();
        }
        open
    }

    /// Ends a [`Rendezvous::take`] that waits, or the next one.
    pub(crate) fn wake(&self) {
        let mut state = self.state();
        state.woken = true;
        state.tell();
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing more is taken: what is there is given, to be dropped under no lock.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut state = self.state();
        state.closed = true;
        let left = std::mem::take(&mut state.done);
        state.begun -= left.len();
        state.tell();
        drop(state);
        self.changed.notify_all();
        left
    }

    pub(crate) fn begun(&self) -> usize {
        self.state().begun
    }

    /// Has something told from now on whether there is something to take, under the lock: it must not wait. Gives what was told before.
    #[cfg_attr(not(unix), allow(dead_code, reason = "there is nothing to watch there"))]
    pub(crate) fn tell(&self, signal: Signal) -> Option<Signal> {
        let mut state = self.state();
        let before = state.signal.replace(signal);
        state.tell();
        before
    }
}
