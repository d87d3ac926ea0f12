//! A stream that a host asks for batches of.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use meshwire::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{Instant, timeout};

/// Most of a batch: more than are sent ahead by default.
const MOST: usize = 4096;

#[derive(Debug)]
pub(crate) struct Batches<S> {
    /// One asks at a time. `None`: it is over.
    open: Mutex<Option<Open<S>>>,
    closed: watch::Sender<bool>,
}

#[derive(Debug)]
struct Open<S> {
    stream: S,
    /// What came behind the last batch.
    failed: Option<Error>,
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Open<S> {
    /// Adds what is here. Nothing waits: what is taken is handed over.
    fn fill(&mut self, most: usize, batch: &mut Vec<T>) {
        // By hand: what comes is large, and a future would move it twice more.
        let mut context = Context::from_waker(Waker::noop());
        while batch.len() < most {
            match self.stream.poll_next_unpin(&mut context) {
                Poll::Ready(Some(Ok(item))) => batch.push(item),
                Poll::Ready(Some(Err(error))) => {
                    self.failed = Some(error);
                    break;
                }
                // An end says so again.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
    }
}

/// The turn of one who asks. If it was closed meanwhile, what it has goes with its turn.
struct Closing<'a, S> {
    place: MutexGuard<'a, Option<Open<S>>>,
    closed: &'a watch::Sender<bool>,
}

impl<S> Drop for Closing<'_, S> {
    fn drop(&mut self) {
        if *self.closed.borrow() {
            self.place.take();
        }
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Batches<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { open: Mutex::new(Some(Open { stream, failed: None })), closed: watch::Sender::new(false) }
    }

    /// As many as are here, up to `most`; else the first that comes, for which it waits so long (`None`: as long as it takes). None came
    /// in time if it is empty; `None`: it is over.
    ///
    /// # Errors
    /// What the stream says; `INVALID`: not so many at once.
    ///
    /// # Cancel safety
    /// Nothing was taken.
    pub(crate) async fn next(
        &self,
        operation: &'static str,
        most: usize,
        wait: Option<Duration>,
    ) -> Result<Option<Vec<T>>> {
        if !(1..=MOST).contains(&most) {
            let text = format!("{most} at once; from 1 to {MOST} is accepted");
            return Err(Error::of_host(ErrorKind::Invalid, operation, text));
        }
        let mut closed = self.closed.subscribe();
        let began = Instant::now();
        let place = match wait {
            // Another may be asking.
            Some(wait) => timeout(wait, self.open.lock()).await.ok(),
            None => Some(self.open.lock().await),
        };
        let Some(place) = place else { return Ok(Some(Vec::new())) };
        let wait = wait.map(|wait| wait.saturating_sub(began.elapsed()));
        let mut place = Closing { place, closed: &self.closed };
        let Some(open) = place.place.as_mut() else { return Ok(None) };
        if let Some(error) = open.failed.take() {
            return Err(error);
        }
        let first = async {
            let next = open.stream.next();
            match wait {
                Some(wait) => timeout(wait, next).await.ok(),
                None => Some(next.await),
            }
        };
        let ended = async {
            // An error means that nobody can close it any more.
            let _ = closed.wait_for(|closed| *closed).await;
        };
        let first = tokio::select! {
            biased;
            () = ended => Some(None),
            first = first => first,
        };
        let mut batch = match first {
            None => return Ok(Some(Vec::new())),
            Some(Some(item)) => vec![item?],
            Some(None) => {
                place.place.take();
                return Ok(None);
            }
        };
        open.fill(most, &mut batch);
        Ok(Some(batch))
    }

    /// Ends it; whoever asks is told. What that one has taken already it gets. Again is nothing.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        // Else whoever is asking just now drops it with its turn.
        if let Ok(mut open) = self.open.try_lock() {
            open.take();
        }
    }
}
