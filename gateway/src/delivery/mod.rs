//! Events out: what a subscriber's end must offer.
//!
//! Leases, redelivery and credit are the engine's: a sink is handed what it has
//! credit for, and settles through [`Mesh::settle`](crate::mesh::Mesh::settle).

use meshwire_proto::frame::{DeliverRun, ServerFrame};

/// Where a subscription's deliveries go.
pub trait Sink: Send + Sync + 'static {
    /// Takes consecutive deliveries over. Called under a shard's lock: it queues,
    /// wakes its owner and returns. The credit of its subscriptions bounds what
    /// can be queued.
    fn deliver(&self, run: DeliverRun);

    /// Its topic was deleted: nothing more comes to this subscription.
    fn ended(&self, subscription: u32);
}

/// Where requests for a responder and replies for a requester go.
pub trait ReplySink: Send + Sync + 'static {
    /// Takes a request, a reply, a cancel or more credit over: it queues, wakes its
    /// owner and returns. `false`: there is no room for the event in it.
    fn take(&self, frame: &ServerFrame) -> bool;
}
