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

    /// How many bytes of events it would take now; one event may pass over them. 0: none.
    /// Called under a shard's lock.
    fn room(&self) -> u64 {
        u64::MAX
    }

    /// A subscription would have been handed more, had there been room: when there is
    /// some, its owner calls [`Mesh::feed`](crate::mesh::Mesh::feed). Called under a
    /// shard's lock.
    fn starved(&self, _subscription: u32) {}
}

/// Where requests for a responder and replies for a requester go.
pub trait ReplySink: Send + Sync + 'static {
    /// Takes a request, a reply, a cancel or more credit over: it queues, wakes its
    /// owner and returns. `false`: there is no room for the event in it.
    fn take(&self, frame: &ServerFrame) -> bool;

    /// How many bytes of replies it would take now; one reply of each stream may pass over them. 0: none.
    fn room(&self) -> u64 {
        u64::MAX
    }

    /// A reply stream would have been asked for more, had there been room: when there is some, its owner calls
    /// [`Mesh::more_replies`](crate::mesh::Mesh::more_replies).
    fn starved(&self) {}
}
