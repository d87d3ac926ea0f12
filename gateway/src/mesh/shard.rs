//! One shard: an engine behind a lock, and the sinks of its subscriptions.
//!
//! The lock is taken once per batch and never held across an await. Under it:
//! change the engine, commit its operations (the order of locks is the order of
//! the log), deliver.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire_proto::Moment;

use super::Inner;
use super::open::Stores;
use crate::delivery::Sink;
use crate::engine::{Engine, Now, Output, Source, SubscriptionKey, Touched};
use crate::store::{Block, Claim, Lookup, Op, Position, TopicId};

pub(super) struct Shard {
    pub(super) engine: Engine,
    pub(super) sinks: BTreeMap<SubscriptionKey, Arc<dyn Sink>>,
    out: Vec<Output>,
}

impl Shard {
    pub(super) const fn new(engine: Engine) -> Self {
        Self { engine, sinks: BTreeMap::new(), out: Vec::new() }
    }
}

pub(super) fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic under the lock is a defect of ours; refusing everything from then
    // on would turn it into an outage.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stores as the engine sees them, and a block that has just been fetched.
struct Blocks<'a, 's> {
    stores: &'a Stores,
    sinks: &'s BTreeMap<SubscriptionKey, Arc<dyn Sink>>,
    fetched: Option<&'s (TopicId, Block)>,
    /// For what the engine wants kept while it delivers.
    claims: Vec<Claim<'a>>,
}

impl Source for Blocks<'_, '_> {
    fn block(&mut self, topic: TopicId, from: Position) -> Lookup {
        if let Some((_, block)) = self.fetched.filter(|(t, b)| *t == topic && (b.first..b.next()).contains(&from)) {
            return Lookup::Ready(block.clone());
        }
        self.stores.of(topic).read(topic, from)
    }

    fn claim(&mut self, topic: TopicId, bytes: u64) -> bool {
        let claim = self.stores.of(topic).reserve(bytes);
        let granted = claim.is_ok();
        self.claims.extend(claim);
        granted
    }

    fn room(&mut self, subscription: SubscriptionKey) -> u64 {
        self.sinks.get(&subscription).map_or(u64::MAX, |sink| sink.room())
    }

    fn starved(&mut self, subscription: SubscriptionKey) {
        if let Some(sink) = self.sinks.get(&subscription) {
            sink.starved(subscription.subscription);
        }
    }
}

impl Inner {
    /// Changes a shard, then carries out what follows from it.
    pub(super) fn with<R>(&self, shard: &Mutex<Shard>, change: impl FnOnce(&mut Engine, Now) -> R) -> R {
        let mut shard = lock(shard);
        let now = self.clock.now();
        let result = change(&mut shard.engine, now);
        self.commit(&mut shard, now, false);
        self.deliver(&mut shard, now, None);
        result
    }

    /// Commits what the engine wants kept. Gives the number of the batch, 0 if
    /// there was nothing for the log.
    pub(super) fn commit(&self, shard: &mut Shard, now: Now, settle_now: bool) -> u64 {
        let ops = shard.engine.take_ops(now, settle_now);
        if ops.is_empty() {
            return 0;
        }
        let (memory, logged): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(|op| op.topic().is_memory());
        if !memory.is_empty() {
            let heads: Vec<(TopicId, Position)> = memory.iter().filter_map(head).collect();
            self.stores.memory.commit(memory);
            self.ring(self.next_expiry(now));
            for (topic, head) in heads {
                shard.engine.kept(topic, head);
            }
        }
        if logged.is_empty() {
            return 0;
        }
        let touched: Vec<_> = logged.iter().map(Touched::from).collect();
        let bytes = logged.iter().map(Op::bytes).sum();
        let batch = self.stores.log.as_ref().map_or(0, |log| log.commit(logged));
        self.budget.take(batch, bytes);
        shard.engine.committed(batch, &touched);
        batch
    }

    /// Puts events whose time has come into their topics.
    fn release(&self, shard: &mut Shard, now: Now, fetched: Option<&(TopicId, Block)>) {
        let Shard { engine, sinks, .. } = &mut *shard;
        let mut blocks = Blocks { stores: &self.stores, sinks, fetched, claims: Vec::new() };
        let released = engine.release(now, &mut blocks);
        let claims = blocks.claims;
        if released {
            self.commit(shard, now, false);
        }
        // The log has what was claimed.
        drop(claims);
    }

    /// Hands out what can be delivered.
    pub(super) fn deliver(&self, shard: &mut Shard, now: Now, fetched: Option<&(TopicId, Block)>) {
        if !self.stopping.load(Ordering::Relaxed) {
            self.release(shard, now, fetched);
        }
        // One by one: what a sink was handed of one is in its room for the next.
        while !self.stopping.load(Ordering::Relaxed) {
            let Shard { engine, sinks, out } = &mut *shard;
            let mut blocks = Blocks { stores: &self.stores, sinks, fetched, claims: Vec::new() };
            let more = engine.dispatch_next(now, &mut blocks, out);
            let claims = blocks.claims;
            if engine.has_ops() {
                self.commit(shard, now, false);
            }
            // The log has what was claimed.
            drop(claims);
            let Shard { sinks, out, .. } = &mut *shard;
            for Output::Deliver { subscription, run } in out.drain(..) {
                if let Some(sink) = sinks.get(&subscription) {
                    sink.deliver(run.of(subscription.subscription));
                }
            }
            if !more {
                break;
            }
        }
        if shard.engine.has_ops() {
            self.commit(shard, now, false);
        }
        self.ring(shard.engine.deadline());
    }

    /// When events in memory are past their retention.
    pub(super) fn next_expiry(&self, now: Now) -> Option<Moment> {
        let due = self.stores.memory.next_expiry()?;
        let wait = u64::try_from(due.0.saturating_sub(now.wall.0)).unwrap_or(0);
        Some(now.mono + Duration::from_millis(wait))
    }

    /// Time is looked at then, or before.
    fn ring(&self, deadline: Option<Moment>) {
        if let Some(deadline) = deadline
            && deadline.0 < self.alarm.fetch_min(deadline.0, Ordering::SeqCst)
        {
            self.alarm_set.notify_one();
        }
    }
}

/// What an append makes readable once it is kept.
fn head(op: &Op) -> Option<(TopicId, Position)> {
    match op {
        Op::Append(append) => Some((append.topic, append.first + append.index.len() as u64)),
        _ => None,
    }
}
