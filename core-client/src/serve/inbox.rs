//! Where requests of others meet the handlers that answer them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::task::Task;
use crate::inbox::End;
use crate::session::{ServeId, TaskId};

/// Filled by the driver, emptied by [`Serve::run`](super::Serve::run). The credit that
/// was asked for bounds it.
#[derive(Debug, Default)]
pub(crate) struct ServeInbox {
    /// The session's name for it, once it has one.
    pub(crate) id: OnceLock<ServeId>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    queue: VecDeque<Task>,
    end: Option<End>,
    waker: Option<Waker>,
}

impl ServeInbox {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver brings a request.
    pub(crate) fn bring(&self, task: Task) {
        let mut contents = self.lock();
        contents.queue.push_back(task);
        wake(contents);
    }

    /// No more requests come. The first end counts.
    pub(crate) fn end(&self, end: End) {
        let mut contents = self.lock();
        contents.end.get_or_insert(end);
        wake(contents);
    }

    /// Takes back a request that no handler has begun.
    pub(crate) fn take_back(&self, id: TaskId) -> Option<Task> {
        let mut contents = self.lock();
        let index = contents.queue.iter().position(|task| task.id() == id)?;
        contents.queue.remove(index)
    }

    /// Everything that no handler has begun.
    pub(super) fn drain(&self) -> VecDeque<Task> {
        std::mem::take(&mut self.lock().queue)
    }

    /// The next request while there is a handler for it, or the end.
    pub(super) fn poll_next(&self, has_room: bool, cx: &Context<'_>) -> Poll<Result<Task, End>> {
        let mut contents = self.lock();
        if let Some(end) = &contents.end {
            return Poll::Ready(Err(end.clone()));
        }
        if has_room && let Some(task) = contents.queue.pop_front() {
            return Poll::Ready(Ok(task));
        }
        contents.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn wake(mut contents: MutexGuard<'_, Contents>) {
    let waker = contents.waker.take();
    drop(contents);
    if let Some(waker) = waker {
        waker.wake();
    }
}
