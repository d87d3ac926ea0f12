//! Events out: what a subscriber's end must offer.
//!
//! Leases, redelivery and credit are the engine's: a sink is handed what it has
//! credit for, and settles through [`Mesh::settle`](crate::mesh::Mesh::settle).

use meshwire_proto::frame::DeliverRun;

/// Where a subscription's deliveries go.
pub trait Sink: Send + Sync + 'static {
    /// Takes consecutive deliveries over. Called under a shard's lock: it queues,
    /// wakes its owner and returns. The credit of its subscriptions bounds what
    /// can be queued.
    fn deliver(&self, run: DeliverRun);
}
