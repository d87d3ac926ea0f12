//! What a publish comes to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::outbox::Outbox;
use crate::receipts::{Outcome, ReceiptSink, Told};
use crate::{Error, Position, Result};

/// The gateway's word that an event is kept to its topic's level.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Where the event is in its topic; `None` when the gateway was known to have
    /// the event only after a reconnect, and for one that is delivered later.
    pub position: Option<Position>,
    /// The topic had an event of the same `source` and `id`, so this one was not
    /// kept again; the position is that of the first. Without a position it may be
    /// this very publish that the topic had: it was sent again after a reconnect.
    pub duplicate: bool,
}

/// A publish on its way: await it for its [`Receipt`].
///
/// The event is in the client's window and is sent, and sent again after a
/// reconnect, whether this is awaited or not. Dropping it lets go of the answer
/// only; [`Mesh::flush`](crate::Mesh::flush) reports failures nobody awaited.
///
/// # Cancel safety
/// Awaiting may stop and begin again. Once it has given its answer, it is done.
#[derive(Debug)]
#[must_use = "a pending receipt tells whether the event was kept; await it, or flush and drop it"]
pub struct PendingReceipt {
    outbox: Arc<Outbox>,
    alias: u32,
    sequence: u64,
    done: bool,
}

impl PendingReceipt {
    pub(crate) fn new(outbox: Arc<Outbox>, alias: u32, sequence: u64) -> Self {
        Self { outbox, alias, sequence, done: false }
    }

    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Has somebody told of the receipt under this tag, once, in place of awaiting it.
    #[doc(hidden)]
    pub fn tell(mut self, sink: Arc<dyn ReceiptSink>, tag: u64) {
        self.done = true;
        let told = Told { sink, tag, alias: self.alias };
        let known = self.outbox.lock().receipts.tell(self.sequence, told);
        if let Some((told, outcome)) = known {
            let receipt = self.outbox.receipt(told.alias, outcome);
            told.sink.receipts(&mut vec![(told.tag, receipt)]);
        }
    }
}

impl Outbox {
    /// What an answer is to whoever published.
    pub(crate) fn receipt(&self, alias: u32, outcome: Outcome) -> Result<Receipt> {
        match outcome {
            Outcome::Kept { position, duplicate } => {
                let position = (position > 0).then(|| Position::from_number(position));
                Ok(Receipt { position, duplicate })
            }
            Outcome::Failed(failure) => Err(Error::from_failure("publish", &failure).with("topic", self.topic(alias))),
        }
    }
}

impl Future for PendingReceipt {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.done {
            return Poll::Ready(Err(Error::closed("publish").with("reason", "the receipt was taken before")));
        }
        let Poll::Ready(outcome) = self.outbox.lock().receipts.poll(self.sequence, cx) else {
            return Poll::Pending;
        };
        self.done = true;
        Poll::Ready(self.outbox.receipt(self.alias, outcome))
    }
}

impl Drop for PendingReceipt {
    fn drop(&mut self) {
        if !self.done {
            self.outbox.lock().receipts.forget(self.sequence);
        }
    }
}
