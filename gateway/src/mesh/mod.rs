//! The narrow waist: what every protocol calls and every store serves.
//!
//! No call waits: what takes time is answered by a [`Ticket`] that the
//! [`Watermark`] covers later, and deliveries come through a
//! [`Sink`](crate::delivery::Sink). Every call authorises its
//! [`Caller`] first.

mod admin;
mod ages;
mod budget;
mod caller;
mod counts;
mod dead_letters;
mod fetched;
mod groups;
mod hold;
mod kept;
mod late;
mod limits;
mod listing;
mod memory;
mod notices;
mod observe;
mod open;
mod publish;
mod request;
mod shard;
mod stop;
mod subscribe;
mod topics;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;

use meshwire_proto::{ErrorKind, EventLimits, Moment};
use tokio::sync::{Notify, watch};

pub use admin::Answered;
pub use caller::{Action, AllowAll, Authorize, Caller, Refusal};
pub use counts::{Connected, Counts, Lost, Spoken};
pub use dead_letters::SoFar;
pub use memory::Memory;
pub use observe::Used;
pub use open::{Recovered, RecoveredGroup, RecoveredTopic, Stores};
pub use publish::{Answer, Published};
pub use stop::{LOOK_EVERY, stopping};
pub use subscribe::{Joined, SettleAnswers, SettleRequest, SubscribeRequest};
pub use topics::TopicRef;

// What an ingress needs of the words below the mesh.
pub use crate::engine::requests::Most as RequestLimits;
pub use crate::engine::{Credit, Leaving, SettleAnswer, SettleAs, SubscriptionKey};
pub use crate::store::{ProducerMark, Ticket, Watermark};

use crate::clock::Clock;
use crate::engine::{IdHasher, MAX_RUN_BYTES, Now};
use budget::Budget;
use fetched::Fetched;
use kept::Kept;
use late::Late;
use limits::Pacer;
pub use limits::Rates;
use shard::{Shard, Turns};
use topics::Topics;

/// Bounds and defaults of the mesh.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Independent parts by topic; as many as there are cores.
    pub shards: usize,
    /// The first publish or subscribe creates a topic.
    pub auto_create: bool,
    /// Most topics.
    pub max_topics: usize,
    /// Most groups of all topics.
    pub max_groups: usize,
    /// Most groups of one topic.
    pub max_topic_groups: usize,
    /// Retention of topics that do not say, in milliseconds.
    pub retention_ms: u64,
    /// Most bytes of topics that do not say.
    pub retention_bytes: u64,
    /// Most events that a subscription without a group is behind on a topic in memory.
    pub max_lag_events: u64,
    /// How long dead letters stay at least readable, in milliseconds.
    pub dead_letter_retention_ms: u64,
    /// Most bytes of the dead letters of one topic.
    pub dead_letter_bytes: u64,
    /// Sizes an event must keep to.
    pub limits: EventLimits,
    /// Most identities remembered, over all shards.
    pub dedup_ids: usize,
    /// How long they are.
    pub dedup_window: std::time::Duration,
    /// Most events that wait for their time, and most bytes of them.
    pub delayed: (u64, u64),
    /// How far ahead the time of an event may be, in milliseconds.
    pub max_delay_ms: u64,
    /// Bytes accepted and not yet kept, over all connections.
    pub publish_budget_bytes: u64,
    /// Rates of the whole gateway, to begin with.
    pub rates: Rates,
    /// Bytes that wait in connections, over all of them.
    pub connection_bytes: u64,
    /// Key of the identity hash: random per process.
    pub hash_key: [u8; 16],
    /// What one connection may have of requests.
    pub requests: RequestLimits,
    /// Names this process in reply addresses, and its topics in memory.
    pub gateway_id: String,
}

/// A handle on the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    inner: Arc<Inner>,
}

struct Inner {
    config: MeshConfig,
    clock: Arc<dyn Clock>,
    authorize: Arc<dyn Authorize>,
    stores: Stores,
    shards: Vec<Mutex<Shard>>,
    topics: Mutex<Topics>,
    next_group: AtomicU32,
    /// Groups that exist, or are being asked for.
    groups: AtomicUsize,
    next_session: AtomicU64,
    hasher: IdHasher,
    budget: Budget,
    publishes: Pacer,
    deliveries: Pacer,
    turns: Turns,
    late: Late,
    memory: Arc<Memory>,
    answers: Arc<Memory>,
    kept: Kept,
    fetched: Fetched,
    failed: watch::Sender<bool>,
    counts: Arc<Counts>,
    /// Nothing is delivered any more.
    stopping: AtomicBool,
    /// Since when.
    stopped: OnceLock<Moment>,
    exchange: Mutex<request::Exchange>,
    /// The moment the timer task sleeps to, and its alarm for an earlier one.
    alarm: AtomicU64,
    alarm_set: Notify,
}

impl Mesh {
    /// Now, by the mesh's clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.clock.now()
    }

    /// Sizes an event must keep to.
    #[must_use]
    pub fn limits(&self) -> EventLimits {
        self.inner.config.limits
    }

    /// Largest run of deliveries, framing included: one ends with the event that
    /// makes it long enough, and an event is not cut.
    #[must_use]
    pub fn max_run_bytes(&self) -> u64 {
        let limits = self.limits();
        let event = u64::from(limits.max_event_bytes) + 2 * u64::from(limits.max_attribute_bytes);
        MAX_RUN_BYTES + event + 1024
    }

    /// Refuses what the caller may not do.
    ///
    /// # Errors
    /// `DENIED`, naming action and object.
    pub fn authorize(&self, caller: &Caller, action: Action, object: &str) -> Result<(), Refusal> {
        if self.inner.authorize.allows(caller, action, object) {
            return Ok(());
        }
        let about = if object.is_empty() { String::new() } else { format!(" {object}") };
        Err(Refusal::new(ErrorKind::Denied, format!("{} may not {action:?}{about}", caller.principal)))
    }

    /// A number for a new session, unique in this process.
    #[must_use]
    pub fn new_session(&self) -> u64 {
        self.inner.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// How far things are kept.
    #[must_use]
    pub fn watermark(&self) -> Watermark {
        self.inner.kept.watermark()
    }

    /// Wakes `waker` once the ticket is kept or the log has failed, and whenever the disk gets [full](Watermark::stuck); `false` when
    /// it is kept already, or never will be.
    #[must_use]
    pub fn wake_when_kept(&self, ticket: Ticket, waker: &Waker) -> bool {
        self.inner.kept.wake_when(ticket, waker)
    }

    /// Requests, replies, answers and held publishes that wait in connections.
    #[must_use]
    pub fn answers(&self) -> Arc<Memory> {
        self.inner.answers.clone()
    }

    /// Deliveries that wait in connections.
    #[must_use]
    pub fn memory(&self) -> Arc<Memory> {
        self.inner.memory.clone()
    }

    /// Counts fetches; see [`Mesh::wake_when_fetched`].
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.inner.fetched.count()
    }

    /// Wakes `waker` at the next fetch after so many; `false` when there was one already.
    #[must_use]
    pub fn wake_when_fetched(&self, seen: u64, waker: &Waker) -> bool {
        self.inner.fetched.wake_when(seen, waker)
    }

    /// Becomes true when the log has failed.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.inner.failed.subscribe()
    }

    /// Wakes those of [`Mesh::wake_when_kept`], for ever: a task of the runtime's own.
    pub async fn announce(self) {
        self.inner.kept.announce().await;
    }

    /// Whether a ticket is kept.
    #[must_use]
    pub fn is_kept(&self, ticket: Ticket) -> bool {
        self.watermark().covers(ticket)
    }

    /// When [`Mesh::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let engines = self.inner.shards.iter().filter_map(|s| shard::lock(s).deadline());
        engines.chain(self.requests_deadline()).chain(self.inner.next_expiry(self.now())).min()
    }

    /// Ends leases and requests that are due and commits settlements that waited long enough.
    pub fn tick(&self) {
        self.inner.tick_shards();
        let moved = self.inner.stores.memory.expire(self.now().wall);
        self.inner.letters_moved(&moved);
        self.tick_requests();
    }

    /// Calls [`Mesh::tick`] when it is time, for ever.
    pub async fn keep_time(&self) {
        loop {
            // Whoever sets an earlier deadline from here on rings the alarm.
            self.inner.alarm.store(u64::MAX, Ordering::SeqCst);
            let deadline = self.deadline();
            self.inner.alarm.fetch_min(deadline.map_or(u64::MAX, |d| d.0), Ordering::SeqCst);
            let set = self.inner.alarm_set.notified();
            match deadline {
                None => set.await,
                Some(at) => {
                    let wait = at.since(self.now().mono);
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(wait) => self.tick(),
                        () = set => {}
                    }
                }
            }
        }
    }
}
