//! A subscription as hosts hold it: deliveries by the batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meshwire::{Handed, Result};

use crate::ask::Outcome;
use crate::batches::Batches;
use crate::client::Client;
use crate::fetched::Fetched;
use crate::local::Local;
use crate::operation::Operation;
use crate::queue::Queue;

/// A stream of deliveries. Clones are the same one. It ends when it is closed, or the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Subscription(Arc<Local<Held>>);

#[derive(Debug)]
struct Held {
    batches: Batches<meshwire::Subscription>,
    handed: Handed,
    ahead: AtomicBool,
    topic: String,
    /// Dropped behind the stream: it takes back what the stream gives.
    client: Client,
}

impl Subscription {
    pub(crate) fn new(client: Client, mut stream: meshwire::Subscription) -> Self {
        let (topic, handed) = (stream.topic().to_owned(), stream.take_ahead());
        let (batches, ahead) = (Batches::new(stream), AtomicBool::new(false));
        Self(Arc::new(Local::new(Held { batches, handed, ahead, topic, client })))
    }

    /// The topic.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn topic(&self) -> Result<&str> {
        Ok(&self.0.get("receive")?.topic)
    }

    /// Begins to ask for up to `most` deliveries (4,096 at most): as many as are here, else the first that comes, for which it waits so
    /// long (`None`: as long as it takes). Comes to [`Outcome::Deliveries`], or to [`Outcome::Ended`]. Cancelled, it has taken none.
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `CLOSED` in a child of `fork`; then there is no completion.
    pub fn begin_next(&self, most: usize, wait: Option<Duration>, queue: &Queue, tag: u64) -> Result<Operation> {
        let this = self.clone();
        let call = async move { this.next(most, wait).await };
        self.0.get("receive")?.client.begin_call(("receive", false), call, queue, tag)
    }

    /// The same, and waits for it.
    ///
    /// # Errors
    /// Why the subscription ended; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn next_batch(&self, most: usize, wait: Option<Duration>) -> Result<Outcome> {
        self.0.get("receive")?.client.wait_call("receive", self.next(most, wait))
    }

    /// From here on [`Fetched::hand_together`] gives what the program is not handed yet, as [`Fetched::ahead`] does.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn take_ahead(&self) -> Result<()> {
        self.0.get("receive")?.ahead.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The program leaves its loop: what it was handed and has not settled has failed, and it ends as [`Subscription::close`] does.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn leave(&self) -> Result<()> {
        self.0.get("unsubscribe")?.handed.fail();
        self.close()
    }

    /// Ends it: what is unsettled comes again at once, and has not failed. Whoever waits for deliveries is told the end.
    /// Again is nothing.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn close(&self) -> Result<()> {
        self.0.get("unsubscribe")?.batches.close();
        Ok(())
    }

    async fn next(&self, most: usize, wait: Option<Duration>) -> Result<Outcome> {
        let held = self.0.get("receive")?;
        let batch = held.batches.next("receive", most, wait).await?;
        let batch = batch.map(|batch| Fetched::new(batch, held.ahead.load(Ordering::Relaxed), &held.client));
        Ok(batch.map_or(Outcome::Ended, Outcome::Deliveries))
    }
}
