//! Where the replies to one request meet who waits for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::session::Failure;

/// Filled by the driver, emptied by the handle. The credit of the stream bounds it.
#[derive(Debug, Default)]
pub(crate) struct ReplyBox {
    /// The session's number, once it has the request.
    pub(crate) number: OnceLock<u64>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    events: VecDeque<Bytes>,
    end: Option<Result<(), Failure>>,
    waker: Option<Waker>,
}

impl ReplyBox {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver brings a reply, the end, or both. The first end counts.
    pub(crate) fn bring(&self, event: Option<Bytes>, end: Option<Result<(), Failure>>) {
        let mut contents = self.lock();
        contents.events.extend(event);
        if contents.end.is_none() {
            contents.end = end;
        }
        let waker = contents.waker.take();
        drop(contents);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next reply; `None` at the end.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let mut contents = self.lock();
        if let Some(event) = contents.events.pop_front() {
            return Poll::Ready(Some(Ok(event)));
        }
        match &contents.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(failure)) => Poll::Ready(Some(Err(failure.clone()))),
            None => {
                contents.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the session has nothing to do with it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }
}
