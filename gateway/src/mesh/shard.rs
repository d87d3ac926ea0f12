//! One shard: an engine behind a lock, and the sinks of its subscriptions.
//!
//! The lock is taken once per batch and never held across an await. Under it:
//! change the engine, commit its operations (the order of locks is the order of
//! the log), deliver; what single calls publish in memory is delivered a little
//! later ([`late`](super::late)).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire_proto::Moment;

use super::Inner;
use super::budget::Bytes;
use super::limits::Pacer;
use super::memory::Memory;
use super::notices::tell;
use super::open::Stores;
use crate::delivery::Sink;
use crate::engine::{Engine, Now, Output, Room, Source, SubscriptionKey, Touched};
use crate::store::{Block, Claim, Durability, Lookup, Op, Position, Settlements, StoreError, TopicId};

/// Most bytes of settlements of a commit, and what is tried where the disk has no room for so many. Guesses.
const SETTLED_AT_ONCE: [u64; 2] = [512 << 10, 16 << 10];

pub(super) struct Shard {
    pub(super) engine: Engine,
    pub(super) sinks: BTreeMap<SubscriptionKey, Arc<dyn Sink>>,
    out: Vec<Output>,
    /// Its place among the shards.
    pub(super) place: usize,
    /// Bytes that were published and left to be delivered late.
    pub(super) left: u64,
    /// Who has just had its part of the delivery rate and could have more.
    paced: Vec<(TopicId, SubscriptionKey)>,
    /// Nothing is delivered until then: the rate is used up, or it is the turn of others.
    resumes: Option<Moment>,
}

/// Whose turn it is while there is a delivery rate: shards with much to do must not leave the others without their part.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The shard that delivered last.
    last: AtomicUsize,
    /// Shards that wait for their turn.
    waiting: AtomicUsize,
}

impl Shard {
    pub(super) const fn new(place: usize, engine: Engine) -> Self {
        Self { engine, sinks: BTreeMap::new(), out: Vec::new(), place, left: 0, paced: Vec::new(), resumes: None }
    }

    /// When time changes something.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.engine.deadline().into_iter().chain(self.resumes).min()
    }
}

pub(super) fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic under the lock is a defect of ours; refusing everything from then
    // on would turn it into an outage.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stores as the engine sees them, and blocks of a topic that have just been fetched.
struct Blocks<'a, 's> {
    stores: &'a Stores,
    sinks: &'s BTreeMap<SubscriptionKey, Arc<dyn Sink>>,
    fetched: Option<(TopicId, &'s [Block])>,
    deliveries: &'a Pacer,
    memory: &'a Memory,
    paced: &'s mut Vec<(TopicId, SubscriptionKey)>,
    /// For what the engine wants kept while it delivers.
    claims: Vec<Claim<'a>>,
}

impl Source for Blocks<'_, '_> {
    fn block(&mut self, topic: TopicId, from: Position) -> Lookup {
        // They are in rising order.
        let fetched = self.fetched.filter(|(t, _)| *t == topic).map_or(&[][..], |(_, blocks)| blocks);
        let at = fetched.partition_point(|block| block.next() <= from);
        if let Some(block) = fetched.get(at).filter(|block| block.first <= from) {
            return Lookup::Ready(block.clone());
        }
        self.stores.of(topic).read(topic, from)
    }

    fn first(&mut self, topic: TopicId) -> Position {
        self.stores.of(topic).first(topic)
    }

    fn claim(&mut self, topic: TopicId, bytes: u64) -> Result<(), StoreError> {
        let store = self.stores.of(topic);
        let claim = if topic.is_dead_letters() { store.reserve_letter(bytes) } else { store.reserve_quietly(bytes) };
        self.claims.push(claim?);
        Ok(())
    }

    fn at_once(&mut self) -> Room {
        let (events, bytes) = self.deliveries.at_once();
        Room { events, bytes: bytes.min(self.memory.allowance().max(1)) }
    }

    fn room(&mut self, subscription: SubscriptionKey) -> Room {
        let sink = self.sinks.get(&subscription).map_or(u64::MAX, |sink| sink.room());
        let (events, bytes) = self.deliveries.at_once();
        Room { events, bytes: bytes.min(sink) }
    }

    fn starved(&mut self, topic: TopicId, subscription: SubscriptionKey) {
        let Some(sink) = self.sinks.get(&subscription) else {
            return;
        };
        if self.deliveries.is_off() || sink.room() == 0 {
            sink.starved(subscription.subscription);
        } else {
            self.paced.push((topic, subscription));
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

    /// Ends what is due in all shards, and lets each deliver in its turn.
    pub(super) fn tick_shards(&self) {
        let next = self.turns.last.load(Ordering::Relaxed) + 1;
        let (before, behind) = self.shards.split_at(next.min(self.shards.len()));
        for shard in behind.iter().chain(before) {
            let mut shard = lock(shard);
            let now = self.clock.now();
            shard.engine.tick(now);
            self.commit(&mut shard, now, false);
            self.deliver_in_turn(&mut shard, now, None);
        }
    }

    /// Commits what the engine wants kept. Gives the number of the last batch, 0 if
    /// there was nothing for the log.
    pub(super) fn commit(&self, shard: &mut Shard, now: Now, settle_now: bool) -> u64 {
        let mut batch = 0;
        while shard.engine.wants_commit(now, settle_now) {
            let (most, claim) = self.reserve_settlements(shard);
            let ops = shard.engine.take_ops_within(now, settle_now, most);
            if ops.is_empty() {
                break;
            }
            batch = self.commit_ops(shard, now, ops).max(batch);
            drop(claim);
        }
        batch
    }

    /// Bytes of settlements that there is room for, and the promise of it.
    fn reserve_settlements(&self, shard: &Shard) -> (u64, Option<Claim<'_>>) {
        let waiting = shard.engine.unlogged_bytes();
        let Some(log) = self.stores.log.as_ref().filter(|_| waiting > 0) else { return (u64::MAX, None) };
        let promised = |most| {
            let settlements = Settlements { bytes: waiting.min(most), waiting };
            log.reserve_settlements(settlements).map(|claim| (most, Some(claim)))
        };
        SETTLED_AT_ONCE.into_iter().find_map(promised).unwrap_or((0, None))
    }

    fn commit_ops(&self, shard: &mut Shard, now: Now, ops: Vec<Op>) -> u64 {
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
        let bytes = weigh(&shard.engine, &logged);
        let batch = self.stores.log.as_ref().map_or(0, |log| log.commit(logged));
        self.budget.take(batch, bytes);
        shard.engine.committed(batch, &touched);
        batch
    }

    /// Puts events whose time has come into their topics.
    fn release(&self, shard: &mut Shard, now: Now, fetched: Option<(TopicId, &[Block])>) {
        let Shard { engine, sinks, paced, .. } = &mut *shard;
        let (stores, deliveries, memory) = (&self.stores, &self.deliveries, &*self.memory);
        let mut blocks = Blocks { stores, sinks, fetched, deliveries, memory, paced, claims: Vec::new() };
        let released = engine.release(now, &mut blocks);
        let claims = blocks.claims;
        if released {
            self.commit(shard, now, false);
        }
        // The log has what was claimed.
        drop(claims);
    }

    /// Hands out what can be delivered. While there is a rate and other shards wait for it, this one waits as well: who
    /// is acked often would else always come before them.
    pub(super) fn deliver(&self, shard: &mut Shard, now: Now, fetched: Option<(TopicId, &[Block])>) {
        shard.left = 0;
        let others = self.turns.waiting.load(Ordering::Relaxed) > usize::from(shard.resumes.is_some());
        if others && !self.deliveries.is_off() && !self.stopping.load(Ordering::Relaxed) {
            self.release(shard, now, fetched);
            if shard.engine.has_woken() {
                // What was fetched is in the cache.
                self.wait_for_turn(shard, Some(shard.resumes.unwrap_or(now.mono)));
                return self.ring(shard.deadline());
            }
        }
        self.deliver_in_turn(shard, now, fetched);
    }

    fn wait_for_turn(&self, shard: &mut Shard, until: Option<Moment>) {
        match (shard.resumes.is_some(), until.is_some()) {
            (false, true) => drop(self.turns.waiting.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.turns.waiting.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        shard.resumes = until;
    }

    /// A shard waits neither for the rate nor for its turn: other rates hold.
    pub(super) fn wait_no_more(&self, shard: &mut Shard) {
        self.wait_for_turn(shard, None);
    }

    fn deliver_in_turn(&self, shard: &mut Shard, now: Now, fetched: Option<(TopicId, &[Block])>) {
        self.wait_for_turn(shard, None);
        // Also while the gateway stops: it shows nothing, and what is due must not be due for ever.
        self.release(shard, now, fetched);
        // One by one: what a sink was handed of one is in its room for the next.
        while !self.stopping.load(Ordering::Relaxed) {
            if let Some(until) = self.deliveries.used_up(now.mono).filter(|_| shard.engine.has_woken()) {
                self.wait_for_turn(shard, Some(until));
                break;
            }
            if !self.deliver_next(shard, now, fetched) {
                break;
            }
        }
        if shard.engine.has_ops() {
            self.commit(shard, now, false);
        }
        tell(&mut shard.engine, now.mono);
        self.ring(shard.deadline());
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

    /// Hands out what one reader may have: what a sink gets is in its room for the next. `false`: there is no reader
    /// left to look at.
    fn deliver_next(&self, shard: &mut Shard, now: Now, fetched: Option<(TopicId, &[Block])>) -> bool {
        let Shard { engine, sinks, out, paced, .. } = &mut *shard;
        let (stores, deliveries, memory) = (&self.stores, &self.deliveries, &*self.memory);
        let mut blocks = Blocks { stores, sinks, fetched, deliveries, memory, paced, claims: Vec::new() };
        let more = engine.dispatch_next(now, &mut blocks, out);
        let claims = blocks.claims;
        if engine.has_ops() {
            self.commit(shard, now, false);
        }
        // The log has what was claimed.
        drop(claims);
        let Shard { engine, sinks, out, paced, place, .. } = &mut *shard;
        // Behind all who are woken already.
        paced.drain(..).for_each(|(topic, key)| engine.feed(topic, key));
        let (mut events, mut bytes) = (0, 0);
        for Output::Deliver { subscription, run } in out.drain(..) {
            if let Some(sink) = sinks.get(&subscription) {
                events += u64::from(run.events.count());
                bytes += run.events.as_bytes().len() as u64;
                sink.deliver(run.of(subscription.subscription));
            }
        }
        if events > 0 {
            self.counts.delivered(events, bytes);
        }
        if events > 0 && !self.deliveries.is_off() {
            self.deliveries.charge(now.mono, (events, bytes));
            self.turns.last.store(*place, Ordering::Relaxed);
        }
        more
    }
}

/// What events take in memory until they are kept to their level.
fn weigh(engine: &Engine, ops: &[Op]) -> Bytes {
    let mut sum = Bytes::default();
    for op in ops {
        let synced = engine.topic(op.topic()).is_none_or(|(topic, _)| topic.durability == Durability::Synced);
        *(if synced { &mut sum.synced } else { &mut sum.written }) += op.weight();
    }
    sum
}

/// What an append makes readable once it is kept.
fn head(op: &Op) -> Option<(TopicId, Position)> {
    match op {
        Op::Append(append) => Some((append.topic, append.first + append.index.len() as u64)),
        _ => None,
    }
}
