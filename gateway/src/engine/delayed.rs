//! Events that wait for their time: kept at once in a topic of the gateway's own,
//! and when they are due put into their topic and taken out there in one commit.
//!
//! The wait is counted on the monotonic clock from when the event came; after a
//! restart what is left of it, by the wall clock, and never more than all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_proto::{Moment, Timing, UnixMillis};

use super::carry::{left_of_stay, longest_stay};
use super::no_room::{ask_again, is_for_want_of_disk};
use super::notices::NoticeKind;
#[cfg(feature = "testing")]
use super::planted::{Defect, is};
use super::topic::Topic;
use super::{Engine, Now, Source};
use crate::store::{Append, Block, Delay, DelayChange, Entry, Expiries, Lookup, Op, Position, Times, TopicId};

/// Most events, and bytes of them, that one look at a topic puts into it: what a lock is held for.
const MOST: (usize, usize) = (1024, 1 << 20);

/// Events from this size on are not copied.
const LARGE: usize = 16 << 10;

/// What the log needs for an event beside its bytes, at most.
pub(super) const BESIDE: u64 = 128;

/// How long events of this timing wait, if they do.
#[must_use]
pub fn delay_of(timing: Timing, now: Now) -> Option<Delay> {
    let Timing { deliver_at: due, expires_in_ms } = timing;
    let delay = due.0.saturating_sub(now.wall.0);
    let waits = due.0 > 0 && delay > 0;
    waits.then_some(Delay { due, delay_ms: delay.unsigned_abs(), expires_in_ms, len: 0 })
}

/// How much may wait in all shards of a gateway.
#[derive(Debug)]
pub struct DelayBudget {
    events: AtomicU64,
    bytes: AtomicU64,
    most: (u64, u64),
}

impl DelayBudget {
    /// At most so many events, and bytes of them.
    #[must_use]
    pub fn new(most: (u64, u64)) -> Arc<Self> {
        Arc::new(Self { events: AtomicU64::new(0), bytes: AtomicU64::new(0), most })
    }

    /// Takes room for an event. What comes from the log is never refused.
    fn take(&self, len: u32, restored: bool) -> bool {
        let (events, bytes) = (self.events.load(Ordering::Relaxed) + 1, self.bytes() + u64::from(len));
        let fits = restored || (events <= self.most.0 && bytes <= self.most.1);
        if fits {
            self.events.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len.into(), Ordering::Relaxed);
        }
        fits
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn give_back(&self, len: u32) {
        self.events.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(len.into(), Ordering::Relaxed);
    }
}

/// In the order in which they are due.
pub(super) type Slot = (Moment, UnixMillis, Position);

pub(super) struct Waiting {
    pub(super) expires_in_ms: u64,
    pub(super) len: u32,
    /// Of a memory topic, the event itself.
    pub(super) held: Option<Framed>,
}

#[derive(Clone)]
pub(super) struct Framed {
    pub(super) bytes: Bytes,
    key: u64,
}

/// The events of one topic that wait.
pub(super) struct Delayed {
    /// Position of the next, where they wait.
    pub(super) next: Position,
    pub(super) waiting: BTreeMap<Slot, Waiting>,
    /// Those that wait for long, by when they are written again; some are not there any more.
    pub(super) carried: BTreeSet<(Moment, Slot)>,
    /// When it is looked next which are due; `None` while one that is waits for the store.
    look: Option<Moment>,
    /// The next look of any kind, as the engine's timers know it.
    timer: Option<Moment>,
}

impl Delayed {
    pub(super) const fn new(next: Position) -> Self {
        Self { next, waiting: BTreeMap::new(), carried: BTreeSet::new(), look: None, timer: None }
    }
}

/// The timers of a shard, and the budget it shares.
pub(super) struct Delays {
    timers: BTreeSet<(Moment, TopicId)>,
    budget: Arc<DelayBudget>,
}

impl Delays {
    pub(super) const fn new(budget: Arc<DelayBudget>) -> Self {
        Self { timers: BTreeSet::new(), budget }
    }

    pub(super) fn first(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn has_room(&self, len: u32) -> bool {
        self.budget.take(len, false)
    }

    fn set(&mut self, topic: TopicId, delayed: &mut Delayed) {
        let carry = delayed.carried.first().map(|(at, _)| *at);
        let at = [delayed.look, carry].into_iter().flatten().min();
        if delayed.timer != at {
            if let Some(old) = delayed.timer {
                self.timers.remove(&(old, topic));
            }
            self.timers.extend(at.map(|at| (at, topic)));
            delayed.timer = at;
        }
    }
}

/// What is due, on its way into its topic.
#[derive(Default)]
pub(super) struct Due {
    pub(super) changes: Vec<(Position, DelayChange)>,
    events: Vec<Framed>,
    bytes: usize,
    /// First event, how many, when.
    expiries: Vec<(Position, u32, UnixMillis)>,
}

impl Due {
    pub(super) const fn is_long(&self) -> bool {
        self.changes.len() >= MOST.0 || self.bytes >= MOST.1
    }

    pub(super) fn push(&mut self, event: Framed) {
        self.bytes += event.bytes.len();
        self.events.push(event);
    }

    fn expires(&mut self, position: Position, at: UnixMillis) {
        match self.expiries.last_mut() {
            Some((first, count, last)) if *last == at && *first + u64::from(*count) == position => *count += 1,
            _ => self.expiries.push((position, 1, at)),
        }
    }

    /// The events as appends from `first` on; small ones together.
    pub(super) fn appends(self, topic: TopicId, first: Position, stored: UnixMillis) -> impl Iterator<Item = Op> {
        let (mut at, mut events) = (first, self.events.into_iter().peekable());
        std::iter::from_fn(move || {
            let one = events.next()?;
            let mut index = vec![Entry { end: one.bytes.len() as u32, key: one.key }];
            let mut small = BytesMut::new();
            while let Some(next) = events.next_if(|e| one.bytes.len().max(e.bytes.len()) < LARGE) {
                if small.is_empty() {
                    small.extend_from_slice(&one.bytes);
                }
                small.extend_from_slice(&next.bytes);
                index.push(Entry { end: small.len() as u32, key: next.key });
            }
            let bytes = if small.is_empty() { one.bytes } else { small.freeze() };
            let append = Append { topic, first: at, stored, bytes, index, producer: None };
            at += append.index.len() as u64;
            Some(Op::Append(append))
        })
    }
}

/// An event where it waits.
pub(super) enum Found {
    Event(Framed),
    Later,
    /// Damage took it.
    Gone,
}

pub(super) fn find(source: &mut dyn Source, topic: TopicId, position: Position) -> Found {
    match source.block(topic, position) {
        Lookup::Ready(block) => framed(&block, position).map_or(Found::Later, Found::Event),
        Lookup::Gone(first) if first > position => Found::Gone,
        _ => Found::Later,
    }
}

fn framed(block: &Block, position: Position) -> Option<Framed> {
    let bytes = block.run(position, 1)?.as_bytes().clone();
    Some(Framed { bytes, key: block.entry(position)?.key })
}

impl Engine {
    /// Lets these shards share a budget of what waits.
    #[must_use]
    pub fn with_delays(mut self, budget: Arc<DelayBudget>) -> Self {
        self.delays = Delays::new(budget);
        self
    }

    /// What waits goes with its topic.
    pub(super) fn forget_delayed(&mut self, id: TopicId) {
        let Some(delayed) = self.topics.get_mut(&id).and_then(|t| t.delayed.take()) else {
            return;
        };
        self.delays.timers.retain(|(_, of)| *of != id);
        for waiting in delayed.waiting.values() {
            self.delays.budget.give_back(waiting.len);
        }
        if !id.is_memory() {
            self.ops.push(Op::TopicGone { topic: id.delayed() });
        }
    }

    /// How many events of a topic wait for their time.
    #[must_use]
    pub fn delayed(&self, id: TopicId) -> u64 {
        self.topics.get(&id).and_then(|t| t.delayed.as_ref()).map_or(0, |d| d.waiting.len() as u64)
    }

    /// The position of the next event that waits; where they do is made with the first of them.
    pub(super) fn open_delayed(&mut self, id: TopicId) -> Position {
        let Some(topic) = self.topics.get_mut(&id) else {
            return 1;
        };
        let Topic { settings, delayed, .. } = topic;
        let delayed = delayed.get_or_insert_with(|| {
            if !id.is_memory() {
                self.ops.push(Op::Topic {
                    topic: id.delayed(),
                    name: settings.name.clone(),
                    durability: settings.durability,
                    retention_ms: settings.retention_ms,
                });
            }
            Box::new(Delayed::new(1))
        });
        delayed.next
    }

    /// Events of a run begin to wait. Their room was taken.
    pub(super) fn delay(&mut self, now: Now, mut append: Append, delay: Delay) {
        let id = append.topic;
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        let stay = longest_stay(id, topic.settings.retention_ms);
        let Some(delayed) = topic.delayed.as_mut() else {
            return;
        };
        let due = now.mono + Duration::from_millis(delay.delay_ms);
        #[cfg(feature = "testing")]
        let due = if is(Defect::DelayHalved) { now.mono + Duration::from_millis(delay.delay_ms / 2) } else { due };
        let (mut start, mut changes) = (0, Vec::with_capacity(append.index.len()));
        for (position, entry) in (append.first..).zip(&append.index) {
            let len = entry.end - start;
            let held = id.is_memory().then(|| {
                // A copy, so that a small event does not hold the whole frame that it came in.
                let bytes = append.bytes.get(start as usize..entry.end as usize).unwrap_or_default();
                Framed { bytes: Bytes::copy_from_slice(bytes), key: entry.key }
            });
            start = entry.end;
            let waiting = Waiting { expires_in_ms: delay.expires_in_ms, len, held };
            delayed.insert((due, delay.due, position), waiting, (now.mono, stay));
            changes.push((position, DelayChange::Waits(Delay { len, ..delay })));
        }
        delayed.next = append.first + append.index.len() as u64;
        delayed.look = Some(delayed.look.map_or(due, |look| look.min(due)));
        self.delays.set(id, delayed);
        if !id.is_memory() {
            append.topic = id.delayed();
            self.ops.push(Op::Append(append));
            self.ops.push(Op::Times(Times::Delays { topic: id.delayed(), changes }));
        }
    }

    /// Events that wait, from the log: what is left of their delays, and never more than those. Their topic comes first.
    pub fn restore_delayed(&mut self, of: TopicId, next: Position, delays: &BTreeMap<Position, Delay>, now: Now) {
        let Some(topic) = self.topics.get_mut(&of) else {
            return;
        };
        let behind = delays.last_key_value().map_or(1, |(position, _)| position + 1);
        let stay = longest_stay(of, topic.settings.retention_ms);
        let mut delayed = Delayed::new(next.max(behind));
        for (position, delay) in delays {
            let left = delay.due.0.saturating_sub(now.wall.0).clamp(0, i64::MAX).unsigned_abs().min(delay.delay_ms);
            #[cfg(feature = "testing")]
            if is(Defect::DelayForgotten) && position % 3 == 0 {
                continue;
            }
            let due = now.mono + Duration::from_millis(left);
            self.delays.budget.take(delay.len, true);
            let waiting = Waiting { expires_in_ms: delay.expires_in_ms, len: delay.len, held: None };
            let stay = left_of_stay(stay, delay, now.wall);
            delayed.insert((due, delay.due, *position), waiting, (now.mono, stay));
        }
        delayed.look = delayed.waiting.first_key_value().map(|((due, ..), _)| *due);
        self.delays.set(of, &mut delayed);
        topic.delayed = Some(Box::new(delayed));
    }

    /// What waits in the topic of this one may be readable now.
    pub(super) fn look_at_delayed(&mut self, of: TopicId) {
        if let Some(delayed) = self.topics.get_mut(&of).and_then(|t| t.delayed.as_mut())
            && !delayed.waiting.is_empty()
        {
            delayed.look = Some(Moment(0));
            self.delays.set(of, delayed);
        }
    }

    /// Puts what is due into its topic; [`Engine::take_ops`] gives the commit. `true` if there is one.
    pub fn release(&mut self, now: Now, source: &mut dyn Source) -> bool {
        let due: Vec<TopicId> =
            self.delays.timers.iter().take_while(|(at, _)| *at <= now.mono).map(|(_, id)| *id).collect();
        let mut any = false;
        for id in due {
            self.tidy_expiries(id, source);
            any |= self.release_topic(now, id, source);
            any |= self.carry(now, id, source);
            if let Some(delayed) = self.topics.get_mut(&id).and_then(|t| t.delayed.as_mut()) {
                self.delays.set(id, delayed);
            }
        }
        any
    }

    fn release_topic(&mut self, now: Now, id: TopicId, source: &mut dyn Source) -> bool {
        let Some(topic) = self.topics.get_mut(&id) else {
            return false;
        };
        let Topic { delayed: Some(delayed), next, .. } = topic else {
            return false;
        };
        let (mut due, mut again, mut full) = (Due::default(), None, false);
        while let Some(first) = delayed.waiting.first_entry() {
            let (at, wall, position) = *first.key();
            if at > now.mono || due.is_long() {
                // What is long goes on after others had their turn.
                again = Some(at.max(Moment(now.mono.0 + 1)));
                break;
            }
            let found = match &first.get().held {
                Some(event) => Found::Event(event.clone()),
                None => find(source, id.delayed(), position),
            };
            match found {
                Found::Later => break,
                Found::Gone => {}
                Found::Event(event) => {
                    if let Err(refused) = source.claim(id, event.bytes.len() as u64 + BESIDE) {
                        again = Some(now.mono + ask_again(&refused));
                        full = is_for_want_of_disk(&refused);
                        break;
                    }
                    let expires_in = first.get().expires_in_ms;
                    if expires_in > 0 {
                        due.expires(*next + due.events.len() as u64, Expiries::end(wall, expires_in));
                    }
                    due.push(event);
                }
            }
            due.changes.push((position, DelayChange::Released));
            self.delays.budget.give_back(first.remove().len);
        }
        delayed.look = again;
        let notice = (id, None, NoticeKind::EventsWait);
        if !full {
            self.notices.now(notice, 0);
        } else if self.notices.may_tell(notice, now.mono) {
            // There may be very many, and it is asked again every second.
            let is_due = |((at, ..), _): &(&Slot, &Waiting)| *at <= now.mono;
            let held_back = delayed.waiting.iter().take_while(is_due).count();
            self.notices.now(notice, held_back as u64);
        }
        self.append_due(now, id, due)
    }

    fn append_due(&mut self, now: Now, id: TopicId, mut due: Due) -> bool {
        let Some(topic) = self.topics.get_mut(&id).filter(|_| !due.changes.is_empty()) else {
            return false;
        };
        topic.stored = topic.stored.max(now.wall);
        let (first, stored) = (topic.next, topic.stored);
        topic.next += due.events.len() as u64;
        let (changes, expiries) = (std::mem::take(&mut due.changes), std::mem::take(&mut due.expiries));
        #[cfg(feature = "testing")]
        let changes = if is(Defect::ReleaseForgotten) { Vec::new() } else { changes };
        self.ops.extend(due.appends(id, first, stored));
        for (first, count, at) in expiries {
            self.expire(id, (first, count), at);
        }
        if !id.is_memory() {
            self.ops.push(Op::Times(Times::Delays { topic: id.delayed(), changes }));
        }
        true
    }
}
