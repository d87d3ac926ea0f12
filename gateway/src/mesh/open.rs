//! Putting a mesh together from its stores and what they recovered; and what
//! the stores report.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use meshwire_proto::{EventRun, GroupKey, TopicName, UnixMillis, event_identity};
use tokio::sync::{Notify, watch};

use super::request::Exchange;
use super::shard::{Shard, Turns, lock};
use super::topics::{TopicRef, Topics};
use super::{Authorize, Budget, Fetched, IdHasher, Inner, Kept, Late, Memory, Mesh, MeshConfig, Pacer};
use crate::clock::Clock;
use crate::engine::{DelayBudget, Engine, GroupState, IdBudget, Now, Producer, Settings, TopicSettings};
use crate::store::{
    Block, Completions, Delay, Expiries, Grave, GroupId, GroupSettings, Position, Store, StoreError, TopicId, Watermark,
};

/// The stores of a gateway.
#[derive(Clone)]
pub struct Stores {
    /// For topics of durability `memory`.
    pub memory: Arc<dyn Store>,
    /// For all others; `None` with the option `memory`.
    pub log: Option<Arc<dyn Store>>,
}

impl Stores {
    pub(super) fn of(&self, topic: TopicId) -> &dyn Store {
        match &self.log {
            Some(log) if !topic.is_memory() => &**log,
            _ => &*self.memory,
        }
    }
}

/// A group, or a durable member of one, as the log knows it.
#[derive(Clone, Debug)]
pub struct RecoveredGroup {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: GroupKey,
    /// How it delivers.
    pub settings: GroupSettings,
    /// What is settled.
    pub state: GroupState,
}

/// A topic as the log knows it.
#[derive(Clone, Debug)]
pub struct RecoveredTopic {
    /// Its id.
    pub id: TopicId,
    /// What it is.
    pub settings: TopicSettings,
    /// Position of the next append.
    pub next: Position,
    /// When the last append was stored.
    pub stored: UnixMillis,
    /// Its groups.
    pub groups: Vec<RecoveredGroup>,
    /// Of a topic of dead letters: those that are not settled.
    pub graves: BTreeMap<Position, Grave>,
}

/// What a log gives back at opening.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Topics by id.
    pub topics: Vec<RecoveredTopic>,
    /// Producers; given to every shard, which tells duplicates of its own topics.
    pub producers: Vec<([u8; 16], Producer)>,
    /// The next id of a topic and of a group.
    pub next_ids: (u32, u32),
    /// Batches that are kept already.
    pub watermark: Watermark,
    /// Events that wait for their time, by the topic they wait in.
    pub delays: BTreeMap<TopicId, BTreeMap<Position, Delay>>,
    /// Until when events are delivered, by topic.
    pub expiries: BTreeMap<TopicId, Expiries>,
}

impl Mesh {
    /// A mesh over these stores.
    #[must_use]
    pub fn open(
        config: MeshConfig,
        clock: Arc<dyn Clock>,
        authorize: Arc<dyn Authorize>,
        stores: Stores,
        recovered: &Recovered,
    ) -> Self {
        let count = config.shards.max(1);
        let settings = Settings {
            dedup_window: config.dedup_window,
            settle_delay: Duration::from_millis(10),
            max_lag_events: config.max_lag_events,
            logged: stores.log.is_some(),
            dead_letter_retention_ms: config.dead_letter_retention_ms,
            dead_letter_bytes: config.dead_letter_bytes,
        };
        let hasher = IdHasher::new(config.hash_key);
        let ids = IdBudget::new(config.dedup_ids, count);
        let delays = DelayBudget::new(config.delayed);
        let mut engines: Vec<Engine> =
            (0..count).map(|_| Engine::new(settings, ids.clone()).with_delays(delays.clone())).collect();
        let (names, orphans) = restore(&mut engines, clock.now(), recovered);
        let exchange = Exchange::new(&config.gateway_id, config.requests);
        let inner = Inner {
            budget: Budget::new(config.publish_budget_bytes),
            publishes: Pacer::new(config.rates.publish),
            deliveries: Pacer::new(config.rates.deliver),
            turns: Turns::default(),
            late: Late::new(count),
            memory: Arc::new(Memory::new(config.connection_bytes - config.connection_bytes / 3)),
            answers: Arc::new(Memory::new(config.connection_bytes / 3)),
            hasher,
            config,
            clock,
            authorize,
            stores,
            shards: engines.into_iter().enumerate().map(|(place, e)| Mutex::new(Shard::new(place, e))).collect(),
            topics: Mutex::new(Topics { names, orphans, next: recovered.next_ids.0.max(1) }),
            next_group: AtomicU32::new(recovered.next_ids.1.max(1)),
            groups: AtomicUsize::new(recovered.topics.iter().map(|t| t.groups.len()).sum()),
            next_session: AtomicU64::new(1),
            kept: Kept::new(recovered.watermark),
            fetched: Fetched::default(),
            failed: watch::Sender::new(false),
            counts: Arc::default(),
            stopping: AtomicBool::new(false),
            stopped: OnceLock::new(),
            exchange,
            alarm: AtomicU64::new(u64::MAX),
            alarm_set: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Remembers the identities of stored events, framed as in a block: before
    /// anything is served, in the order of the log.
    pub fn remember(&self, topic: TopicId, first: Position, stored: UnixMillis, bytes: &[u8]) {
        let Some(mutex) = self.inner.shards.get(self.inner.shard_of(topic)) else {
            return;
        };
        if topic.is_dead_letters() {
            return;
        }
        let mut shard = lock(mutex);
        // What was stored was found valid then; this stands between a start and the first client.
        let known = |position| if topic.is_delayed() { 0 } else { position };
        let identities = (first..).zip(EventRun::framed_in(bytes)).filter_map(|(position, (_, event))| {
            let (source, id) = event_identity(event)?;
            Some((known(position), self.inner.hasher.hash(source.as_bytes(), id.as_bytes())))
        });
        shard.engine.restore_identities(topic.target(), identities, stored);
    }

    /// Where the log reports to.
    #[must_use]
    pub fn completions(&self) -> Arc<dyn Completions> {
        self.inner.clone()
    }
}

/// Topics by name; and the numbers of memory topics that are gone and have dead letters.
type Restored = (BTreeMap<TopicName, TopicRef>, BTreeMap<TopicName, u32>);

fn restore(engines: &mut [Engine], now: Now, recovered: &Recovered) -> Restored {
    let count = engines.len();
    let (mut names, mut orphans) = (BTreeMap::new(), BTreeMap::new());
    // Dead letters, and what waits for its time, have higher ids than all topics that they may be of.
    for topic in &recovered.topics {
        let shard = topic.id.number() as usize % count;
        let Some(engine) = engines.get_mut(shard) else {
            continue;
        };
        let TopicSettings { name, durability, .. } = topic.settings.clone();
        if topic.id.is_dead_letters() {
            let known = (topic.next, topic.stored);
            engine.restore_letters(topic.id, &topic.settings, known, topic.graves.clone());
            if !names.contains_key(&name) && !topic.graves.is_empty() {
                orphans.insert(name, topic.id.number());
            }
            continue;
        }
        let id = topic.id.target();
        if engine.topic(id).is_none() {
            // Of one whose creation was in a damaged record there may be only what waits for it.
            engine.add_topic(id, topic.settings.clone(), if topic.id == id { topic.next } else { 1 }, topic.stored);
            names.insert(name, TopicRef { id, durability, shard });
        }
        if topic.id.is_delayed() {
            let none = BTreeMap::new();
            let delays = recovered.delays.get(&topic.id).unwrap_or(&none);
            engine.restore_delayed(id, topic.next, delays, now);
            continue;
        }
        if let Some(expiries) = recovered.expiries.get(&id) {
            engine.restore_expiries(id, expiries.clone());
        }
        for group in &topic.groups {
            let of = (group.id, group.settings);
            engine.restore_group(topic.id, group.name.clone(), of, now, group.state.clone());
        }
    }
    for (id, producer) in &recovered.producers {
        for engine in engines.iter_mut() {
            engine.restore_producer(*id, producer.clone());
        }
    }
    (names, orphans)
}

impl Completions for Inner {
    fn kept(&self, watermark: Watermark, heads: &[(TopicId, Position)]) {
        for (topic, head) in heads {
            if let Some(shard) = self.shards.get(self.shard_of(*topic)) {
                self.with(shard, |engine, _| engine.kept(*topic, *head));
            }
        }
        self.budget.kept(watermark);
        self.kept.advance(watermark);
        if watermark.failed {
            self.failed.send_replace(true);
        }
    }

    fn fetched(&self, topic: TopicId, from: Position, result: Result<Vec<Block>, StoreError>) {
        let blocks = match result {
            Ok(blocks) => blocks,
            Err(StoreError::Gone) => Vec::new(),
            // Never a read that may succeed later: who reads on is told of a gap.
            Err(error) => {
                tracing::error!(topic = topic.0, position = from, %error, "a stored block is lost");
                Vec::new()
            }
        };
        if let Some(mutex) = self.shards.get(self.shard_of(topic)) {
            let mut shard = lock(mutex);
            let now = self.clock.now();
            shard.engine.wake(topic);
            self.deliver(&mut shard, now, Some((topic, &blocks)));
        }
        self.fetched.arrived(topic, from, &blocks);
    }

    fn looked_up(&self) {
        self.fetched.looked_up();
    }

    fn moved(&self, letters: &[(TopicId, Position)]) {
        self.letters_moved(letters);
    }
}
