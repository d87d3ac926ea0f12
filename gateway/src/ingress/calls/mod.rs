//! What protocols without a session call: one call, one answer; or a stream of deliveries that ends with its connection.
//!
//! - [`publish`]: events in, one result each, once they are kept;
//! - [`consumer`]: a subscription without a session; [`inbox`]: its deliveries;
//! - [`unseen`]: what nobody has seen of them yet;
//! - [`lease`]: tokens that settle over any connection and protocol; [`settle`]: what is said by them; [`gone`]: what was, of who left;
//! - [`fetch`]: so many events at once, by members of a group that live from fetch to fetch;
//! - [`request`]: requests and their replies;
//! - [`admin`]: commands, each with its answer.
//!
//! *Invariant:* sees only the mesh and `proto`; no protocol's words.

mod admin;
mod consumer;
mod fetch;
mod gone;
mod inbox;
mod lease;
mod members;
mod publish;
mod request;
mod settle;
#[cfg(test)]
pub(super) mod testing;
mod unseen;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire_proto::{ErrorKind, GroupKey, GroupName, MemberName, NameError, TopicName};
use tokio::sync::watch;

pub use consumer::{Consumer, ConsumerHandle, ConsumerRequest, Delivered, Start};
pub use fetch::{FetchRequest, Fetched, MAX_FETCH, MAX_WAIT};
pub use publish::{MAX_BATCH, Offer, Stored, Taken};
pub use request::{Replies, RequestCall};
pub use settle::{MAX_SETTLEMENTS, Settlement};

use super::Shutdown;
use crate::mesh::{Mesh, Refusal, SubscriptionKey, TopicRef};
use gone::{Answered, Gone, Left};
use lease::Seal;
use members::Members;
use unseen::Unseen;

/// Bounds of calls.
#[derive(Clone, Copy, Debug)]
pub struct CallsConfig {
    /// Most members that live from fetch to fetch (option `max_fetch_members`).
    pub max_fetch_members: usize,
    /// Most unsettled bytes of one consumer (option `session_bytes`).
    pub session_bytes: u64,
    /// How long a gateway that stops waits for what is leased (option `stop_timeout`).
    pub stop_timeout: Duration,
}

/// Calls of all protocols without sessions.
pub struct Calls {
    mesh: Mesh,
    config: CallsConfig,
    seal: Seal,
    seats: Mutex<BTreeMap<u64, Arc<Seat>>>,
    gone: Mutex<Gone>,
    members: Members,
    stage: watch::Sender<Shutdown>,
    unwritable: AtomicU64,
}

/// Whose leases a token can name: one subscription that stands.
#[derive(Debug)]
struct Seat {
    topic: TopicRef,
    name: TopicName,
    /// With the durable member of a broadcast group.
    group: GroupKey,
    key: SubscriptionKey,
    unseen: Arc<Unseen>,
    /// What was settled by tokens.
    answered: Mutex<Answered>,
}

impl Seat {
    fn answered(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group, or a durable member of one: no name of a member is none.
///
/// # Errors
/// `INVALID`: a name breaks a rule.
pub fn group_key(group: &str, member: &str) -> Result<GroupKey, Refusal> {
    let invalid = |e: NameError| Refusal::new(ErrorKind::Invalid, e.to_string());
    let member = (!member.is_empty()).then(|| MemberName::parse(member)).transpose().map_err(invalid)?;
    Ok(GroupKey { group: GroupName::parse(group).map_err(invalid)?, member })
}

impl Calls {
    /// Calls to this mesh. `secret` is random for each process: it seals lease tokens.
    #[must_use]
    pub fn new(mesh: Mesh, config: CallsConfig, secret: [u8; 24]) -> Arc<Self> {
        Arc::new(Self {
            mesh,
            config,
            seal: Seal::new(secret),
            seats: Mutex::default(),
            gone: Mutex::default(),
            members: Members::new(config.max_fetch_members),
            stage: watch::Sender::new(Shutdown::Running),
            unwritable: AtomicU64::new(0),
        })
    }

    /// What is called.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The gateway stops: what nobody has seen goes back at once, also of streams that nobody reads, and fetches that wait are answered.
    /// What was handed out stays leased until it is settled, or until [`Calls::close`].
    pub fn stop(&self) {
        let seats: Vec<Arc<Seat>> = self.seats().values().cloned().collect();
        for seat in seats {
            self.mesh.pause(seat.topic, seat.key, seat.unseen.stop());
        }
        self.stage.send_replace(Shutdown::Draining);
    }

    /// The gateway ends: streams end too, and what is leased still comes again.
    pub fn close(&self) {
        self.stage.send_replace(Shutdown::Closing);
        self.members.clear();
    }

    /// How long what is leased may still be settled now that the gateway stops.
    #[must_use]
    pub fn left_to_stop(&self) -> Duration {
        self.mesh.left_to_stop(self.config.stop_timeout)
    }

    /// An event could not be written in the format that its consumer reads.
    pub fn count_unwritable(&self) {
        self.unwritable.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were, since the gateway began.
    #[must_use]
    pub fn unwritable(&self) -> u64 {
        self.unwritable.load(Ordering::Relaxed)
    }

    /// A subscription has gone.
    fn stand_up(&self, session: u64) {
        // It is in one of the two tables whenever somebody looks.
        let mut seats = self.seats();
        let Some(seat) = seats.remove(&session) else { return };
        let answered = std::mem::take(&mut *seat.answered());
        let left = Left { topic_ref: seat.topic, topic: seat.name.clone(), group: seat.group.group.clone(), answered };
        self.gone().add(session, left);
    }

    fn gone(&self) -> MutexGuard<'_, Gone> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (by_name, unnamed) = self.members.count();
        let mut calls = f.debug_struct("Calls");
        calls.field("config", &self.config).field("members_by_name", &by_name).field("members_unnamed", &unnamed);
        calls.finish_non_exhaustive()
    }
}
