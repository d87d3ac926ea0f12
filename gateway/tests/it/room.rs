//! What the mesh asks of its stores, and what it holds while it asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use meshwire_gateway::clock::SystemClock;
use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::{Action, AllowAll, Caller, Mesh, MeshConfig, Recovered, SoFar, Stores};
use meshwire_gateway::store::log::{Disk, LogOptions, LogStore, SimDisk};
use meshwire_gateway::store::memory::{MemoryConfig, MemoryStore};
use meshwire_gateway::store::{
    Capability, Claim, Lookup, Needed, Op, Position, Since, Store, StoreError, TopicBytes, TopicId,
};
use meshwire_proto::wire::admin::{Command, ListTopics, command};
use meshwire_proto::{Moment, UnixMillis};

use crate::rig::{event, run_of};

/// A store in memory that looks at the mesh while it is asked for a topic's bytes.
struct Watching {
    inner: MemoryStore,
    mesh: OnceLock<Mesh>,
    asked: AtomicU64,
    held: AtomicBool,
}

impl Store for Watching {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    fn reserve(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        self.inner.reserve(bytes)
    }

    fn commit(&self, ops: Vec<Op>) -> u64 {
        self.inner.commit(ops)
    }

    fn read(&self, topic: TopicId, from: Position) -> Lookup {
        self.inner.read(topic, from)
    }

    fn first(&self, topic: TopicId) -> Position {
        self.inner.first(topic)
    }

    fn since(&self, topic: TopicId, at: UnixMillis) -> Since {
        self.inner.since(topic, at)
    }

    fn topic_bytes(&self, topic: TopicId) -> TopicBytes {
        let mesh = self.mesh.get().unwrap().clone();
        let (done, is_done) = mpsc::sync_channel(1);
        // Looks into every shard, as a publisher does into one.
        std::thread::spawn(move || {
            done.send(mesh.kept_through(&[7; 16], 1, 1).is_ok()).ok();
        });
        if !is_done.recv_timeout(Duration::from_secs(10)).unwrap_or(false) {
            self.held.store(true, Ordering::Relaxed);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.inner.topic_bytes(topic)
    }

    fn admit<'a>(&self, topic: TopicId, needed: &dyn Fn() -> Needed<'a>, now: UnixMillis) -> Result<(), StoreError> {
        self.inner.admit(topic, needed, now)
    }

    fn close(&self) {}
}

/// A log that is asked, within a commit, for all the room there was before it.
struct Greedy {
    inner: Arc<LogStore>,
    all: AtomicU64,
    refused: AtomicU64,
}

impl Store for Greedy {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    fn reserve(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        self.inner.reserve(bytes)
    }

    fn commit(&self, ops: Vec<Op>) -> u64 {
        if self.inner.reserve(self.all.load(Ordering::Relaxed)).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.commit(ops)
    }

    fn read(&self, topic: TopicId, from: Position) -> Lookup {
        self.inner.read(topic, from)
    }

    fn first(&self, topic: TopicId) -> Position {
        self.inner.first(topic)
    }

    fn since(&self, topic: TopicId, at: UnixMillis) -> Since {
        self.inner.since(topic, at)
    }

    fn topic_bytes(&self, topic: TopicId) -> TopicBytes {
        self.inner.topic_bytes(topic)
    }

    fn admit<'a>(&self, topic: TopicId, needed: &dyn Fn() -> Needed<'a>, now: UnixMillis) -> Result<(), StoreError> {
        self.inner.admit(topic, needed, now)
    }

    fn close(&self) {
        self.inner.close();
    }
}

fn config() -> MeshConfig {
    MeshConfig { shards: 2, publish_budget_bytes: 1 << 20, ..Config::default().mesh([0; 16]) }
}

fn memory() -> MemoryStore {
    MemoryStore::new(MemoryConfig { ring_bytes: 1 << 20, total_bytes: 1 << 20 })
}

#[test]
fn publishers_do_not_wait_while_the_bytes_of_topics_are_counted() {
    let store = Arc::new(Watching {
        inner: memory(),
        mesh: OnceLock::new(),
        asked: AtomicU64::new(0),
        held: AtomicBool::new(false),
    });
    let stores = Stores { memory: store.clone(), log: None };
    let mesh = Mesh::open(config(), Arc::new(SystemClock::new()), Arc::new(AllowAll), stores, &Recovered::default());
    store.mesh.set(mesh.clone()).ok().unwrap();
    let caller = Caller::anonymous("test", None);
    for name in ["a", "b"] {
        mesh.open_topic(&caller, name, Action::Publish).unwrap();
    }
    let list = Command { command: Some(command::Command::ListTopics(ListTopics::default())) };
    mesh.admin(&caller, &list, &mut SoFar::default()).unwrap().unwrap();
    assert_eq!(store.asked.load(Ordering::Relaxed), 2);
    assert!(!store.held.load(Ordering::Relaxed), "a shard was held");
}

#[test]
fn the_room_of_a_publish_is_nobody_elses_until_the_log_has_taken_it() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let options = LogOptions { first_segment_bytes: 64 << 10, segment_bytes: 64 << 10, ..LogOptions::default() };
    let (log, _) = LogStore::open_on(disk.clone(), &options, Arc::new(|| (Moment(0), UnixMillis(0)))).unwrap();
    let greedy = Arc::new(Greedy { inner: log.clone(), all: AtomicU64::new(0), refused: AtomicU64::new(0) });
    let stores = Stores { memory: Arc::new(memory()), log: Some(greedy.clone()) };
    let mesh = Mesh::open(config(), Arc::new(SystemClock::new()), Arc::new(AllowAll), stores, &Recovered::default());
    let caller = Caller::anonymous("test", None);
    let topic = mesh.open_topic(&caller, "a", Action::Publish).unwrap();
    while let Some(task) = log.next_write() {
        log.ended(task.run(&*disk));
    }
    let all = (0..64 << 10).rev().find(|bytes| log.reserve(*bytes).is_ok()).unwrap();
    greedy.all.store(all, Ordering::Relaxed);
    let before = greedy.refused.load(Ordering::Relaxed);
    let run = run_of(&[event("1")]);
    mesh.publish(&caller, topic, "a", &run, None).unwrap();
    assert_eq!(greedy.refused.load(Ordering::Relaxed), before + 1);
    // What is known already is not stored again: its room is free at once.
    let open = (0..64 << 10).rev().find(|bytes| log.reserve(*bytes).is_ok());
    mesh.publish(&caller, topic, "a", &run, None).unwrap();
    assert_eq!((0..64 << 10).rev().find(|bytes| log.reserve(*bytes).is_ok()), open);
}
