//! What a gateway is told: valid by construction. The binary makes it from file,
//! environment and flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use meshwire_proto::{EventLimits, options};

use crate::ingress::calls::CallsConfig;
use crate::ingress::http::{Guests, HttpConfig};
use crate::ingress::native::NativeConfig;
use crate::ingress::tls::TlsConfig;
use crate::ingress::{Also, ListenerConfig, accept_rate};
use crate::mesh::{MeshConfig, Rates, RequestLimits};
use crate::store::memory::MemoryConfig;

/// What happens when the log fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// End sessions, exit with code 74.
    Exit,
    /// Go on serving reads.
    Stay,
}

/// Every option of a gateway. [`Config::default`] is the table of options.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "docs/options.md documents each; names are the same")]
pub struct Config {
    pub listen: SocketAddr,
    pub listen_also: Vec<Also>,
    pub allow_anonymous: bool,
    /// Options `tls`, `tls_certificate`, `tls_key`, `tls_client_roots`.
    pub tls: TlsConfig,
    /// Options `http_origins`, `http_hosts`.
    pub guests: Guests,
    pub http_idle_timeout: Duration,
    pub data_dir: PathBuf,
    pub memory: bool,
    pub auto_create: bool,
    pub max_topics: usize,
    pub max_groups: usize,
    pub max_topic_groups: usize,
    pub max_subscriptions: usize,
    pub max_requests: u32,
    pub max_suspended: usize,
    pub max_fetch_members: usize,
    /// 0: its share of `memory_budget`, as of the other parts below.
    pub suspended_bytes: u64,
    pub retention: Duration,
    pub retention_bytes: u64,
    /// Most events that a subscription without a group is behind on a topic in memory.
    pub max_lag_events: u64,
    pub dead_letter_retention: Duration,
    pub dead_letter_bytes: u64,
    /// How far ahead the time of an event may be.
    pub max_delay: Duration,
    /// Most events that wait for their time, and most bytes of them.
    pub delayed: (u64, u64),
    /// 0: 80 % of what was free at first start.
    pub max_disk: u64,
    pub on_store_failure: OnStoreFailure,
    pub limits: EventLimits,
    pub max_frame_bytes: u32,
    pub login_frame_bytes: u32,
    pub login_timeout: Duration,
    pub heartbeat: Duration,
    pub resume_window: Duration,
    pub stop_timeout: Duration,
    pub session_bytes: u64,
    pub max_connections: usize,
    /// 0: by the number of processors.
    pub accept_rate: u32,
    pub dedup_window: Duration,
    pub dedup_ids: usize,
    /// Options `max_publish_rate`, `max_publish_bytes_rate`, `max_deliver_rate`, `max_deliver_bytes_rate`.
    pub rates: Rates,
    pub memory_budget: u64,
    pub memory_ring_bytes: usize,
    pub memory_total_bytes: usize,
    pub cache_bytes: usize,
    pub publish_budget_bytes: u64,
}

const fn size(option: &options::Bounded) -> usize {
    option.default as usize
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            listen_also: Vec::new(),
            allow_anonymous: options::ALLOW_ANONYMOUS.default,
            tls: TlsConfig::default(),
            guests: Guests::default(),
            http_idle_timeout: options::HTTP_IDLE_TIMEOUT.default_duration(),
            data_dir: options::DATA_DIR.default.into(),
            memory: options::MEMORY.default,
            auto_create: options::AUTO_CREATE.default,
            max_topics: size(&options::MAX_TOPICS),
            max_groups: size(&options::MAX_GROUPS),
            max_topic_groups: size(&options::MAX_TOPIC_GROUPS),
            max_subscriptions: size(&options::MAX_SUBSCRIPTIONS),
            max_requests: options::MAX_REQUESTS.default as u32,
            max_suspended: size(&options::MAX_SUSPENDED),
            max_fetch_members: size(&options::MAX_FETCH_MEMBERS),
            suspended_bytes: options::SUSPENDED_BYTES.default,
            retention: options::RETENTION.default_duration(),
            retention_bytes: options::RETENTION_BYTES.default,
            max_lag_events: options::MAX_LAG_EVENTS.default,
            max_delay: options::MAX_DELAY.default_duration(),
            delayed: (options::DELAYED_EVENTS.default, options::DELAYED_BYTES.default),
            dead_letter_retention: options::DEAD_LETTER_RETENTION.default_duration(),
            dead_letter_bytes: options::DEAD_LETTER_BYTES.default,
            max_disk: options::MAX_DISK.default,
            on_store_failure: OnStoreFailure::Exit,
            limits: EventLimits::default(),
            max_frame_bytes: options::MAX_FRAME_BYTES.default as u32,
            login_frame_bytes: options::LOGIN_FRAME_BYTES.default as u32,
            login_timeout: options::LOGIN_TIMEOUT.default_duration(),
            heartbeat: options::HEARTBEAT.default_duration(),
            resume_window: options::RESUME_WINDOW.default_duration(),
            stop_timeout: options::STOP_TIMEOUT.default_duration(),
            session_bytes: options::SESSION_BYTES.default,
            max_connections: size(&options::MAX_CONNECTIONS),
            accept_rate: options::ACCEPT_RATE.default as u32,
            dedup_window: options::DEDUP_WINDOW.default_duration(),
            dedup_ids: size(&options::DEDUP_IDS),
            rates: Rates::default(),
            memory_budget: options::MEMORY_BUDGET.default,
            memory_ring_bytes: size(&options::MEMORY_RING_BYTES),
            memory_total_bytes: size(&options::MEMORY_TOTAL_BYTES),
            cache_bytes: size(&options::CACHE_BYTES),
            publish_budget_bytes: options::PUBLISH_BUDGET_BYTES.default,
        }
    }
}

/// Who may hold how much of `memory_budget`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Rings of memory topics.
    pub rings: u64,
    /// Blocks of the log.
    pub cache: u64,
    /// What is accepted and not kept.
    pub publishes: u64,
    /// Sessions that wait to be resumed.
    pub suspended: u64,
    /// What waits for peers to take it.
    pub sending: u64,
    /// Large frames and bodies of requests that are not whole yet.
    pub receiving: u64,
    /// What HTTP/2 connections have sent and nobody has read.
    pub windows: u64,
}

impl Config {
    /// How `memory_budget` is shared out. Each part has a bound of its own, so that no one can use up what others need.
    #[must_use]
    pub const fn memory_shares(&self) -> MemoryShares {
        const fn or(asked: u64, share: u64) -> u64 {
            if asked == 0 { share } else { asked }
        }
        let (budget, logged) = (self.memory_budget, !self.memory);
        let rings = or(self.memory_total_bytes as u64, if logged { budget / 4 } else { budget / 4 * 3 });
        let cache = if logged { or(self.cache_bytes as u64, budget / 4) } else { 0 };
        let publishes = if logged { or(self.publish_budget_bytes, budget / 4) } else { 0 };
        let suspended = or(self.suspended_bytes, budget / 16);
        let left =
            budget.saturating_sub(rings.saturating_add(cache).saturating_add(publishes).saturating_add(suspended));
        let (sending, windows) = (left / 2, left / 6);
        MemoryShares { rings, cache, publishes, suspended, sending, receiving: left - sending - windows, windows }
    }

    /// What it says of the mesh, with a shard for each core.
    #[must_use]
    pub fn mesh(&self, hash_key: [u8; 16]) -> MeshConfig {
        let memory = self.memory_shares();
        MeshConfig {
            shards: available_parallelism().map_or(1, Into::into),
            auto_create: self.auto_create,
            max_topics: self.max_topics,
            max_groups: self.max_groups,
            max_topic_groups: self.max_topic_groups,
            retention_ms: u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX),
            retention_bytes: self.retention_bytes,
            max_lag_events: self.max_lag_events,
            dead_letter_retention_ms: u64::try_from(self.dead_letter_retention.as_millis()).unwrap_or(u64::MAX),
            dead_letter_bytes: self.dead_letter_bytes,
            limits: self.limits,
            delayed: self.delayed,
            max_delay_ms: u64::try_from(self.max_delay.as_millis()).unwrap_or(u64::MAX),
            dedup_ids: self.dedup_ids,
            dedup_window: self.dedup_window,
            publish_budget_bytes: memory.publishes,
            connection_bytes: memory.sending,
            rates: self.rates,
            hash_key,
            requests: RequestLimits { requests: self.max_requests, bytes: self.session_bytes },
            gateway_id: String::new(),
        }
    }

    /// What it says of memory topics.
    #[must_use]
    pub fn rings(&self) -> MemoryConfig {
        let total_bytes = usize::try_from(self.memory_shares().rings).unwrap_or(usize::MAX);
        MemoryConfig { ring_bytes: self.memory_ring_bytes.min(total_bytes), total_bytes }
    }

    /// What it says of calls without a session.
    #[must_use]
    pub const fn calls(&self) -> CallsConfig {
        let Self { max_fetch_members, session_bytes, stop_timeout, .. } = *self;
        CallsConfig { max_fetch_members, session_bytes, stop_timeout }
    }

    /// What it says of HTTP.
    #[must_use]
    pub fn http(&self) -> HttpConfig {
        let guests = Arc::new(self.guests.clone());
        HttpConfig {
            head_bytes: self.login_frame_bytes as usize,
            idle_timeout: self.http_idle_timeout,
            heartbeat: self.heartbeat,
            guests,
            window_bytes: self.memory_shares().windows,
        }
    }

    /// What it says of listeners.
    #[must_use]
    pub fn listener(&self) -> ListenerConfig {
        let accept_rate = accept_rate(self.accept_rate);
        ListenerConfig { login_timeout: self.login_timeout, heartbeat: self.heartbeat, accept_rate }
    }

    /// What it says of sessions.
    #[must_use]
    pub const fn native(&self, gateway_id: String) -> NativeConfig {
        NativeConfig {
            gateway_id,
            login_frame_bytes: self.login_frame_bytes,
            login_timeout: self.login_timeout,
            max_frame_bytes: self.max_frame_bytes,
            heartbeat: self.heartbeat,
            resume_window: self.resume_window,
            stop_timeout: self.stop_timeout,
            session_bytes: self.session_bytes,
            max_subscriptions: self.max_subscriptions,
            suspended: (self.max_suspended, self.memory_shares().suspended),
            receiving_bytes: self.memory_shares().receiving,
            max_connections: self.max_connections,
            leave_rate: self.accept_rate,
            publish_window: (options::PUBLISH_WINDOW_EVENTS.default as u32, options::PUBLISH_WINDOW_BYTES.default),
        }
    }
}
