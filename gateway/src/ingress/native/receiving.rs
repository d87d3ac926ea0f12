//! Large frames that are not whole yet: so many bytes of them over all connections, and who comes later waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// One frame always passes, however large it is.
#[derive(Debug)]
pub(in crate::ingress) struct Receiving {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// Connections that wait, by number.
    waiting: BTreeMap<u64, Waker>,
}

/// Leave to receive a large frame; ends when it is dropped.
#[derive(Debug)]
pub(in crate::ingress) struct Permit {
    of: Arc<Receiving>,
    bytes: u64,
}

impl Receiving {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave for a frame of so many bytes; without room `waker` is woken when there may be some.
    pub(in crate::ingress) fn admit(self: &Arc<Self>, connection: u64, bytes: u64, waker: &Waker) -> Option<Permit> {
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
    pub(in crate::ingress) fn forget(&self, connection: u64) {
        self.state().waiting.remove(&connection);
    }
}

impl Permit {
    /// Whether others wait for it to end.
    pub(in crate::ingress) fn is_wanted(&self) -> bool {
        !self.of.state().waiting.is_empty()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.of.state();
        state.used -= self.bytes;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
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
}
