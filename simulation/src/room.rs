//! The log as the mesh sees it, and whether it had no room for somebody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meshwire_gateway::store::log::LogStore;
use meshwire_gateway::store::{
    Capability, Claim, Lookup, Needed, Op, Position, Since, Store, StoreError, TopicBytes, TopicId,
};
use meshwire_proto::UnixMillis;

pub(crate) struct Watched {
    log: Arc<LogStore>,
    refused: AtomicBool,
}

impl Watched {
    pub(crate) const fn new(log: Arc<LogStore>) -> Self {
        Self { log, refused: AtomicBool::new(false) }
    }

    /// Whether somebody was refused for want of room since the last time.
    pub(crate) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::Relaxed)
    }
}

impl Store for Watched {
    fn capability(&self) -> Capability {
        self.log.capability()
    }

    fn reserve(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        let claim = self.log.reserve(bytes);
        if claim.is_err() {
            self.refused.store(true, Ordering::Relaxed);
        }
        claim
    }

    fn reserve_letter(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        let claim = self.log.reserve_letter(bytes);
        if claim.is_err() {
            self.refused.store(true, Ordering::Relaxed);
        }
        claim
    }

    fn commit(&self, ops: Vec<Op>) -> u64 {
        self.log.commit(ops)
    }

    fn read(&self, topic: TopicId, from: Position) -> Lookup {
        self.log.read(topic, from)
    }

    fn first(&self, topic: TopicId) -> Position {
        self.log.first(topic)
    }

    fn since(&self, topic: TopicId, at: UnixMillis) -> Since {
        self.log.since(topic, at)
    }

    fn topic_bytes(&self, topic: TopicId) -> TopicBytes {
        self.log.topic_bytes(topic)
    }

    fn admit<'a>(&self, topic: TopicId, needed: &dyn Fn() -> Needed<'a>, now: UnixMillis) -> Result<(), StoreError> {
        self.log.admit(topic, needed, now)
    }

    fn close(&self) {
        self.log.close();
    }
}
