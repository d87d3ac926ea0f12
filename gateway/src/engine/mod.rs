//! The engine: topics, groups, leases, retries, de-duplication, producers and
//! timers of one shard, as a state machine.
//!
//! *Invariant:* no I/O, no clock, no task, no randomness. Time comes in as
//! [`Now`], blocks through [`Source`], and what is to happen goes out as
//! operations for the store ([`Engine::take_ops`]) and as [`Output`]s. No
//! iteration order of a hash map reaches an output.
//!
//! - [`publish`]: new, duplicate or refused;
//! - [`group`]: consumer groups, and durable members of broadcast groups; [`solo`]: subscriptions with no place of their own;
//! - [`deliveries`]: delivery numbers, credit, first settle wins;
//! - [`kept`]: what is kept, and when it will be;
//! - [`join`]: groups that are found or made; [`groups`]: how they are administered; [`listing`]: what is seen of them;
//! - [`delete`]: topics that are removed;
//! - [`dead_letters`]: what groups have given up;
//! - [`delayed`]: events that wait for their time; [`carry`]: for long; [`expiries`]: until when others are delivered;
//! - [`dedup`], [`producers`]: the two ways to know a duplicate;
//! - [`requests`]: requests and replies, a machine of its own beside the shards.

mod bounds;
mod carry;
mod commit;
mod dead_letters;
mod dedup;
mod delayed;
mod delete;
mod deliveries;
mod expiries;
mod group;
mod groups;
mod join;
mod kept;
mod keys;
mod listing;
mod no_room;
mod notices;
#[cfg(feature = "testing")]
pub mod planted;
mod producers;
mod publish;
mod readers;
pub mod requests;
mod restore;
mod settle;
mod solo;
mod span;
mod subscribe;
mod subscriber;
mod topic;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::frame::DeliverRun;
use meshwire_proto::{EventRun, Moment, UnixMillis};

use crate::store::{GroupId, Lookup, Op, Position, StoreError, TopicId};
use readers::Reader;

pub use bounds::Bounds;
pub use dead_letters::{LetterError, LettersPage};
pub use dedup::{IdBudget, IdHasher};
pub use delayed::{DelayBudget, delay_of};
pub use delete::{Deleted, TopicInUse};
pub use deliveries::Credit;
pub use expiries::MAX_EXPIRIES;
pub use group::GroupState;
pub(crate) use group::letter;
pub use groups::DeleteError;
pub use join::GroupSpec;
pub use kept::Touched;
pub use listing::{GroupSummary, GroupsPage};
pub use notices::{Notice, NoticeKind};
pub use producers::Producer;
pub use publish::{How, Judged, Scanned, Verdict, scan};
pub use settle::{SettleAnswer, SettleAs};
pub use subscribe::{Leaving, SubscribeError, SubscribeSpec, Subscribed};
pub use subscriber::MAX_RUN_BYTES;
pub use topic::TopicSettings;

/// Both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Moment,
    /// For what is stored.
    pub wall: UnixMillis,
}

/// One subscription of one session of this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionKey {
    /// The gateway's number of the session.
    pub session: u64,
    /// The session's number of the subscription.
    pub subscription: u32,
}

/// Consecutive deliveries to one subscription.
#[derive(Clone, Debug)]
pub struct Run {
    /// Number of the first.
    pub first_delivery: u64,
    /// Failures of before the last start of the gateway, and deliveries since, this one too: 1 for a first one.
    pub attempt: u32,
    /// Position of the first.
    pub first_position: Position,
    /// Events that retention took just before.
    pub gap: u64,
    /// When they were stored.
    pub stored: UnixMillis,
    /// From when on nobody gets them any more.
    pub expires: Option<UnixMillis>,
    /// The events, a slice of their block.
    pub events: EventRun,
}

impl Run {
    /// The run as deliveries of a session's subscription.
    #[must_use]
    pub fn of(self, subscription: u32) -> DeliverRun {
        DeliverRun {
            subscription,
            first_delivery: self.first_delivery,
            attempt: self.attempt,
            first_position: self.first_position,
            gap: self.gap,
            stored_unix_ms: self.stored.0,
            expires_unix_ms: self.expires.map_or(0, |at| at.0),
            events: self.events,
        }
    }
}

/// What is to happen.
#[derive(Clone, Debug)]
pub enum Output {
    /// Hand this to a subscription's sink.
    Deliver {
        /// Whose.
        subscription: SubscriptionKey,
        /// What.
        run: Run,
    },
}

/// Where the engine looks for blocks. It must not wait: a block that takes time
/// is [`Lookup::Pending`], and [`Engine::wake`] is called when it is there.
pub trait Source {
    /// A block that holds `from`.
    fn block(&mut self, topic: TopicId, from: Position) -> Lookup;

    /// The first position of a topic that retention has not taken.
    fn first(&mut self, topic: TopicId) -> Position;

    /// Claims room for so many bytes more of a topic, in the next commit.
    ///
    /// # Errors
    /// Why the store does not take them.
    fn claim(&mut self, topic: TopicId, bytes: u64) -> Result<(), StoreError>;

    /// What may be handed now to all members of a group together, before others have had their turn: what sinks
    /// say is about what they were handed already.
    fn at_once(&mut self) -> Room {
        Room::ALL
    }

    /// What may be handed to a subscription now.
    fn room(&mut self, _subscription: SubscriptionKey) -> Room {
        Room::ALL
    }

    /// A subscription has not got all that its credit allows, for want of room.
    /// [`Engine::feed`] is called when there is some.
    fn starved(&mut self, _topic: TopicId, _subscription: SubscriptionKey) {}
}

/// How much a subscription may be handed, whatever its credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Events.
    pub events: u64,
    /// Bytes; one event may pass over them.
    pub bytes: u64,
}

impl Room {
    /// As much as its credit allows.
    pub const ALL: Self = Self { events: u64::MAX, bytes: u64::MAX };
    /// Nothing.
    pub const NONE: Self = Self { events: 0, bytes: 0 };

    pub(crate) const fn is_none(self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    const fn take(&mut self, bytes: u64) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Bounds of one shard.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long identities are remembered.
    pub dedup_window: Duration,
    /// Longest wait of a settlement for a commit to ride in.
    pub settle_delay: Duration,
    /// Most events that a subscription without a group is behind on a topic in memory.
    pub max_lag_events: u64,
    /// There is a log.
    pub logged: bool,
    /// How long dead letters stay at least readable, in milliseconds.
    pub dead_letter_retention_ms: u64,
    /// Most bytes of the dead letters of one topic; over it the oldest go.
    pub dead_letter_bytes: u64,
}

/// One shard.
pub struct Engine {
    topics: BTreeMap<TopicId, topic::Topic>,
    dedup: dedup::DedupWindow,
    producers: producers::Producers,
    ops: Vec<Op>,
    /// Topics to look at in the next [`Engine::dispatch`].
    woken: BTreeSet<TopicId>,
    /// The one that was looked at last.
    last: Option<TopicId>,
    /// Lease deadlines of groups.
    timers: BTreeSet<(Moment, TopicId, GroupId)>,
    /// Groups with settlements that no commit carries yet, and since when they wait.
    unlogged: BTreeSet<(TopicId, GroupId)>,
    /// The one of which settlements were taken last.
    taken: (TopicId, GroupId),
    settles_due: Option<Moment>,
    /// Events that wait for their time.
    delays: delayed::Delays,
    notices: notices::Notices,
    settings: Settings,
}

impl Engine {
    /// An empty shard; all shards of a gateway share one budget of identities.
    #[must_use]
    pub fn new(settings: Settings, ids: Arc<IdBudget>) -> Self {
        Self {
            topics: BTreeMap::new(),
            dedup: dedup::DedupWindow::new(ids, settings.dedup_window),
            producers: producers::Producers::default(),
            ops: Vec::new(),
            woken: BTreeSet::new(),
            last: None,
            timers: BTreeSet::new(),
            unlogged: BTreeSet::new(),
            taken: (TopicId(0), GroupId(0)),
            settles_due: None,
            delays: delayed::Delays::new(DelayBudget::new((u64::MAX, u64::MAX))),
            notices: notices::Notices::default(),
            settings,
        }
    }

    /// Makes a topic.
    pub fn create_topic(&mut self, id: TopicId, settings: TopicSettings, now: Now) {
        let durability = settings.durability;
        self.add_topic(id, settings, 1, now.wall);
        self.push_topic(id);
        self.raise_letters(id, durability);
    }

    /// Adds a topic from the log, with its next position.
    pub fn add_topic(&mut self, id: TopicId, settings: TopicSettings, next: Position, stored: UnixMillis) {
        self.topics.insert(id, topic::Topic::new(id, settings, next, stored));
    }

    /// What this shard knows of a producer.
    #[must_use]
    pub fn producer(&self, id: &[u8; 16]) -> Option<&Producer> {
        self.producers.get(id)
    }

    /// What a topic is, and its next position.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<(&TopicSettings, Position)> {
        self.topics.get(&id).map(|t| (&t.settings, t.next))
    }

    /// Looks again at who waits for a block of a topic: one is there.
    pub fn wake(&mut self, id: TopicId) {
        if id.is_delayed() {
            return self.look_at_delayed(id.target());
        }
        // Whoever waits for dead letters is a group of their topic.
        let waiting = [TopicId(id.number()), TopicId::memory(id.number())];
        for id in waiting.into_iter().filter(|of| id.is_dead_letters() || *of == id) {
            if let Some(topic) = self.topics.get_mut(&id) {
                topic.readers.wake_for_block();
                self.woken.insert(id);
            }
        }
    }

    /// Looks at a reader in the next [`Engine::dispatch`].
    fn wake_reader(&mut self, id: TopicId, reader: Reader) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.readers.wake(reader);
            self.woken.insert(id);
        }
    }

    /// Looks at a subscription again: there is room for what it has not got.
    pub fn feed(&mut self, id: TopicId, key: SubscriptionKey) {
        if let Some(reader) = self.topics.get(&id).and_then(|t| t.reader(key)) {
            self.wake_reader(id, reader);
        }
    }

    /// Whether who reads for a subscription waits for a block.
    #[must_use]
    pub fn is_being_read(&self, id: TopicId, key: SubscriptionKey) -> bool {
        let topic = self.topics.get(&id);
        topic.is_some_and(|topic| topic.reader(key).is_some_and(|reader| topic.readers.is_reading(reader)))
    }

    /// Delivers what credit, leases, room and blocks allow.
    pub fn dispatch(&mut self, now: Now, source: &mut dyn Source, out: &mut Vec<Output>) {
        while self.dispatch_next(now, source, out) {}
    }

    /// The same for one group, or one subscription without one, in turn: nobody who is woken often comes before others
    /// a second time. `false` when nobody is left to look at.
    pub fn dispatch_next(&mut self, now: Now, source: &mut dyn Source, out: &mut Vec<Output>) -> bool {
        let Some(id) = readers::in_turn(&self.woken, self.last) else {
            return false;
        };
        self.last = Some(id);
        let letters = id.dead_letters(self.settings.logged);
        let (mut dying, most) = (Vec::new(), self.settings.max_lag_events);
        let topic = self.topics.get_mut(&id);
        match topic.and_then(|topic| topic.dispatch(now, (letters, most), (source, out), &mut dying)) {
            None => drop(self.woken.remove(&id)),
            Some(Reader::Solo(_)) => {}
            Some(Reader::Group(group)) => {
                if !dying.is_empty() {
                    self.bury(now, id, group, dying);
                }
                // What retention took, or is given up, is settled while dispatching.
                self.touched(now, id, group);
                self.note_owed(id, group);
            }
        }
        true
    }

    /// Whether somebody is to be looked at.
    #[must_use]
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// When [`Engine::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let lease = self.timers.first().map(|(at, _, _)| *at);
        [lease, self.settles_due, self.delays.first()].into_iter().flatten().min()
    }

    /// Ends what is due. [`Engine::release`], [`Engine::take_ops`] and [`Engine::dispatch`] follow.
    pub fn tick(&mut self, now: Now) {
        while let Some((_, topic_id, group_id)) = self.timers.first().copied().filter(|(at, _, _)| *at <= now.mono) {
            self.timers.pop_first();
            let Some(topic) = self.topics.get_mut(&topic_id) else {
                continue;
            };
            let Some(group) = topic.groups.get_mut(&group_id) else {
                continue;
            };
            group.timer = None;
            if group.expire(now) {
                self.wake_reader(topic_id, Reader::Group(group_id));
                self.touched(now, topic_id, group_id);
            } else {
                self.set_timer(topic_id, group_id);
            }
        }
    }

    /// A group has changed: its settlements wait for a commit, and its next deadline may be another.
    fn touched(&mut self, now: Now, id: TopicId, group: GroupId) {
        self.note_unlogged(now, id, group);
        self.set_timer(id, group);
    }

    fn set_timer(&mut self, id: TopicId, group_id: GroupId) {
        let Some(group) = self.topics.get_mut(&id).and_then(|t| t.groups.get_mut(&group_id)) else {
            return;
        };
        let deadline = group.deadline();
        if deadline != group.timer {
            if let Some(old) = group.timer {
                self.timers.remove(&(old, id, group_id));
            }
            if let Some(new) = deadline {
                self.timers.insert((new, id, group_id));
            }
            group.timer = deadline;
        }
    }
}
