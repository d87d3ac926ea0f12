//! Who waits for blocks that are on their way from the disk.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

#[derive(Default)]
pub(super) struct Fetched(Mutex<State>);

#[derive(Default)]
struct State {
    count: u64,
    wakers: Vec<Waker>,
}

impl Fetched {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> u64 {
        self.state().count
    }

    pub(super) fn wake_when(&self, seen: u64, waker: &Waker) -> bool {
        let mut state = self.state();
        if state.count != seen {
            return false;
        }
        state.wakers.push(waker.clone());
        true
    }

    pub(super) fn arrived(&self) {
        let mut state = self.state();
        state.count += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}
