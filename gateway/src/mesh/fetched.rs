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
        state.wakers.push(waker.clone());
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
