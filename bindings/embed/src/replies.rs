//! The replies to a request for many, by the batch.

use std::sync::Arc;
use std::time::Duration;

use meshwire::Result;

use crate::ask::Outcome;
use crate::batches::Batches;
use crate::client::Client;
use crate::local::Local;
use crate::operation::Operation;
use crate::queue::Queue;

/// A stream of replies. Clones are the same one. Closed, or dropped with its last clone, it cancels the request.
#[derive(Clone, Debug)]
pub struct Replies(Arc<Local<Held>>);

#[derive(Debug)]
struct Held {
    batches: Batches<meshwire::Replies>,
    client: Client,
}

impl Replies {
    pub(crate) fn new(client: Client, stream: meshwire::Replies) -> Self {
        Self(Arc::new(Local::new(Held { batches: Batches::new(stream), client })))
    }

    /// As [`Subscription::begin_next`](crate::Subscription::begin_next), of replies: comes to [`Outcome::Replies`], or to
    /// [`Outcome::Ended`].
    ///
    /// # Errors
    /// As there.
    pub fn begin_next(&self, most: usize, wait: Option<Duration>, queue: &Queue, tag: u64) -> Result<Operation> {
        let this = self.clone();
        let call = async move { this.next(most, wait).await };
        self.0.get("request_stream")?.client.begin_call(("request_stream", false), call, queue, tag)
    }

    /// The same, and waits for it.
    ///
    /// # Errors
    /// Why there is no reply; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn next_batch(&self, most: usize, wait: Option<Duration>) -> Result<Outcome> {
        self.0.get("request_stream")?.client.wait_call("request_stream", self.next(most, wait))
    }

    /// Wants no more of them. Again is nothing.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn close(&self) -> Result<()> {
        self.0.get("request_stream")?.batches.close();
        Ok(())
    }

    async fn next(&self, most: usize, wait: Option<Duration>) -> Result<Outcome> {
        let batch = self.0.get("request_stream")?.batches.next("request_stream", most, wait).await?;
        Ok(batch.map_or(Outcome::Ended, Outcome::Replies))
    }
}
