//! What consumes or serves, as hosts hold it.

use std::sync::Arc;
use std::time::Duration;

use meshwire::Result;

use crate::ask::Outcome;
use crate::batches::Batches;
use crate::client::Client;
use crate::local::Local;
use crate::operation::Operation;
use crate::queue::Queue;
use crate::stopper::{Stop, Stopper};
use crate::work::{Given, Work, Works};

/// What consumes or serves: a stream of work for handlers of the host. Clones are the same one.
///
/// [`Held::stop`] ends it in good order. When the last clone is dropped before, events that handlers have begun with have failed, and
/// requests that they have begun with are answered `RESPONDER_LOST`.
#[derive(Debug)]
pub struct Held<T> {
    // Dropped first: it ends what runs, which else would begin to stop.
    open: Arc<Local<Open<T>>>,
    stop: Arc<Stop>,
}

#[derive(Debug)]
struct Open<T> {
    works: Batches<Works<T>>,
    client: Client,
    concurrency: u64,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self { open: Arc::clone(&self.open), stop: Arc::clone(&self.stop) }
    }
}

impl<T: Given> Held<T>
where
    Outcome: From<Vec<Work<T>>>,
{
    /// `concurrency`: of handlers.
    pub(crate) fn new(client: Client, stop: Arc<Stop>, works: Works<T>, concurrency: u64) -> Self {
        Self { open: Arc::new(Local::new(Open { works: Batches::new(works), client, concurrency })), stop }
    }

    /// How many handlers may run at once, by the options that it was begun with: as many are begun before one of them has ended.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn concurrency(&self) -> Result<u64> {
        Ok(self.open()?.concurrency)
    }

    /// Begins to ask for up to `most` pieces of work, as [`Subscription::begin_next`](crate::Subscription::begin_next) does: comes to
    /// [`Outcome::Jobs`] of a [`Consumer`](crate::Consumer), to [`Outcome::Inquiries`] of a [`Responder`](crate::Responder), or to
    /// [`Outcome::Ended`] when it was stopped and all handlers have ended.
    ///
    /// # Errors
    /// As there.
    pub fn begin_next(&self, most: usize, wait: Option<Duration>, queue: &Queue, tag: u64) -> Result<Operation> {
        let this = self.clone();
        let call = async move { this.next(most, wait).await };
        self.open()?.client.begin_call((self.operation(), false), call, queue, tag)
    }

    /// The same, and waits for it.
    ///
    /// # Errors
    /// Why it ended; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn next_batch(&self, most: usize, wait: Option<Duration>) -> Result<Outcome> {
        self.open()?.client.wait_call(self.operation(), self.next(most, wait))
    }

    /// Takes no more; handlers that have begun may end, and events beyond are given back, which whoever goes on asking for work sees to.
    /// Again is nothing.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn stop(&self) -> Result<()> {
        self.stop.stop()
    }

    /// What stops it, and does not keep it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::downgrade(&self.stop))
    }

    async fn next(&self, most: usize, wait: Option<Duration>) -> Result<Outcome> {
        let batch = self.open()?.works.next(self.operation(), most, wait).await?;
        Ok(batch.map_or(Outcome::Ended, Outcome::from))
    }

    fn operation(&self) -> &'static str {
        self.stop.operation()
    }

    fn open(&self) -> Result<&Open<T>> {
        self.open.get(self.operation())
    }
}
