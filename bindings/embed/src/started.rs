//! A publish that was admitted, and whose receipt is yet to come.

use meshwire::{PendingReceipt, Receipt, Result};

use crate::client::Client;
use crate::local::Local;
use crate::queue::{Place, Queue};

/// A publish on its way. Dropped, it goes on; a failure is then told by the next flush.
#[derive(Debug)]
pub struct Started {
    pending: Local<PendingReceipt>,
    client: Client,
}

impl Started {
    pub(crate) fn new(client: Client, pending: PendingReceipt) -> Self {
        Self { pending: Local::new(pending), client }
    }

    /// Has the queue of a place that was taken before told of the receipt: comes to an [`Outcome::Receipt`](crate::Outcome::Receipt).
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`; then there is no completion.
    pub fn begin_receipt_in(self, place: Place) -> Result<()> {
        let pending = self.pending.into_value("publish")?;
        place.into_ticket().told(pending);
        Ok(())
    }

    /// The same, in a place that is taken now.
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `CLOSED` in a child of `fork`; then there is no completion, and the receipt is let go.
    pub fn begin_receipt(self, queue: &Queue, tag: u64) -> Result<()> {
        self.begin_receipt_in(queue.place(tag, "publish")?)
    }

    /// Waits for the receipt.
    ///
    /// # Errors
    /// As [`meshwire::Mesh::publish`]; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn receipt(self) -> Result<Receipt> {
        let Self { pending, client } = self;
        client.wait_for("publish", pending.into_value("publish")?)
    }
}
