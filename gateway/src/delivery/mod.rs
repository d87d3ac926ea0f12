//! Events out: what a subscriber's end must offer.
//!
//! Leases, redelivery and credit are the engine's: a sink is handed what it has
//! credit for, and settles through [`Mesh::settle`](crate::mesh::Mesh::settle).

use crate::engine::Run;

/// Consecutive deliveries to one subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The session's number of the subscription.
    pub subscription: u32,
    /// The events and their numbers.
    pub run: Run,
}

/// Where a subscription's deliveries go.
pub trait Sink: Send + Sync + 'static {
    /// Takes deliveries over. Called under a shard's lock: it queues, wakes its
    /// owner and returns. The credit of its subscriptions bounds what can be
    /// queued.
    fn deliver(&self, delivery: Delivery);
}
