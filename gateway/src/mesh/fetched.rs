//! Who waits for blocks that are on their way from the disk, and the last of those
//! that nobody but an administrator asks for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::store::{Block, Position, TopicId};

/// Blocks of dead letters that are kept for who asked: a cache may be too small for
/// any of them.
const BLOCKS: usize = 4;

#[derive(Default)]
pub(super) struct Fetched(Mutex<State>);

#[derive(Default)]
struct State {
    count: u64,
    /// One of each task that waits, however often it looks.
    wakers: Vec<Waker>,
    blocks: VecDeque<(TopicId, Block)>,
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
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        true
    }

    /// A place is known that was looked up.
    pub(super) fn looked_up(&self) {
        Self::tell(self.state());
    }

    fn tell(mut state: MutexGuard<'_, State>) {
        state.count += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn arrived(&self, topic: TopicId, from: Position, blocks: &[Block]) {
        let mut state = self.state();
        if topic.is_dead_letters() {
            let wanted = blocks.iter().skip_while(|block| block.next() <= from);
            for block in wanted.take(BLOCKS) {
                state.blocks.push_back((topic, block.clone()));
            }
            let surplus = state.blocks.len().saturating_sub(BLOCKS);
            state.blocks.drain(..surplus);
        }
        Self::tell(state);
    }

    /// A block that has just arrived and holds a position.
    pub(super) fn block(&self, topic: TopicId, position: Position) -> Option<Block> {
        let state = self.state();
        let mut found = state.blocks.iter().filter(|(of, block)| *of == topic && block.entry(position).is_some());
        found.next().map(|(_, block)| block.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_looks_often_waits_once_and_everybody_who_waits_is_woken() {
        let (fetched, often, other) = (Fetched::default(), Arc::new(Count::default()), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&often));
        for _ in 0..100 {
            assert!(fetched.wake_when(0, &waker.clone()));
        }
        assert!(fetched.wake_when(0, &Waker::from(Arc::clone(&other))));
        assert_eq!(fetched.state().wakers.len(), 2);
        fetched.looked_up();
        assert!(!fetched.wake_when(0, &waker), "there is something to look at");
        fetched.looked_up();
        let woken = [&often, &other].map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1], "nobody waits again by itself");
    }
}
