//! What a session is, whatever connection carries it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwire_proto::{GroupName, TopicName};

use crate::mesh::{Caller, Mesh, SubscriptionKey, TopicRef};

/// A topic under its alias. The name is kept until the topic can be opened.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    pub(super) name: String,
    pub(super) topic: Option<TopicRef>,
}

/// Subscriptions of a connection that are asked for and not answered.
pub(super) type Starting = BTreeMap<u32, (TopicRef, SubscriptionKey)>;

/// One subscription.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) topic: TopicRef,
    pub(super) name: TopicName,
    /// Its group's name.
    pub(super) group: Option<GroupName>,
    /// Zero without a group.
    pub(super) ack_wait: Duration,
    /// Bytes of credit.
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Session {
    /// The gateway's number of it.
    pub(super) number: u64,
    pub(super) id: [u8; 16],
    pub(super) secret: [u8; 16],
    pub(super) caller: Caller,
    pub(super) producer: [u8; 16],
    pub(super) epoch: u32,
    pub(super) aliases: BTreeMap<u32, Alias>,
    pub(super) subscriptions: BTreeMap<u32, Subscription>,
    /// Subscriptions that were taken over, of which the client may not have heard.
    pub(super) taken: BTreeSet<u32>,
    /// The last Settle frame that was processed.
    pub(super) settled_through: u64,
    /// The connection that has it; another one may not act for it.
    pub(super) owner: u64,
}

impl Session {
    pub(super) const fn key(&self, subscription: u32) -> SubscriptionKey {
        SubscriptionKey { session: self.number, subscription }
    }

    /// Stops every subscription; gives how many deliveries they hold.
    pub(super) fn suspend(&self, mesh: &Mesh) -> u64 {
        self.subscriptions.iter().map(|(number, s)| u64::from(mesh.suspend(s.topic, self.key(*number)))).sum()
    }

    /// Deliveries that it holds leased.
    pub(super) fn holds(&self, mesh: &Mesh) -> u64 {
        let leased = self.subscriptions.iter().filter(|(_, s)| !s.ack_wait.is_zero());
        leased.map(|(number, s)| u64::from(mesh.holds(s.topic, self.key(*number)).0)).sum()
    }

    /// What it costs while it waits to be resumed, about: its maps, and what the
    /// engine keeps of each delivery.
    pub(super) fn bytes(&self, held: u64) -> u64 {
        let aliases: usize = self.aliases.values().map(|a| 100 + a.name.len()).sum();
        let subscriptions: usize = self.subscriptions.values().map(|s| 500 + s.name.as_str().len()).sum();
        1000 + (aliases + subscriptions) as u64 + 80 * held
    }

    /// How long it may be without a connection: no longer than the shortest lease.
    pub(super) fn resume_window(&self, most: Duration) -> Duration {
        self.shortest_ack_wait().map_or(most, |w| w.min(most))
    }

    /// Of its subscriptions that have leases.
    pub(super) fn shortest_ack_wait(&self) -> Option<Duration> {
        self.subscriptions.values().map(|s| s.ack_wait).filter(|w| !w.is_zero()).min()
    }
}
