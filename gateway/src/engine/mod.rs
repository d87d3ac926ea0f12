//! The engine: topics, groups, leases, retries, de-duplication, producers and
//! timers of one shard, as a state machine.
//!
//! *Invariant:* no I/O, no clock, no task, no randomness. Time comes in as
//! [`Now`], blocks through [`Source`], and what is to happen goes out as
//! operations for the store ([`Engine::take_ops`]) and as [`Output`]s. No
//! iteration order of a hash map reaches an output.
//!
//! - [`publish`]: new, duplicate or refused;
//! - [`group`]: consumer groups; [`solo`]: subscriptions without one;
//! - [`deliveries`]: delivery numbers, credit, first settle wins;
//! - [`kept`]: what is kept, and when it will be;
//! - [`groups`]: how groups are administered;
//! - [`delete`]: topics that are removed;
//! - [`dead_letters`]: what groups have given up;
//! - [`dedup`], [`producers`]: the two ways to know a duplicate;
//! - [`requests`]: requests and replies, a machine of its own beside the shards.

mod dead_letters;
mod dedup;
mod delete;
mod deliveries;
mod group;
mod groups;
mod kept;
mod keys;
#[cfg(feature = "testing")]
pub mod planted;
mod producers;
mod publish;
pub mod requests;
mod settle;
mod solo;
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

use crate::store::{GroupId, GroupSettings, Lookup, Op, Position, TopicId};

pub use dead_letters::{LetterError, LettersPage};
pub use dedup::{IdBudget, IdHasher};
pub use delete::{Deleted, TopicInUse};
pub use deliveries::Credit;
pub use group::GroupState;
pub(crate) use group::letter;
pub use groups::DeleteError;
pub use kept::Touched;
pub use producers::Producer;
pub use publish::{Judged, Scanned, Verdict, scan};
pub use settle::{SettleAnswer, SettleAs};
pub use subscribe::{GroupSpec, Leaving, SubscribeError, SubscribeSpec, Subscribed};
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
    /// 1 for a first delivery.
    pub attempt: u32,
    /// Position of the first.
    pub first_position: Position,
    /// Events that retention took just before.
    pub gap: u64,
    /// When they were stored.
    pub stored: UnixMillis,
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

    /// Whether the store takes so many bytes more for a topic, in the next commit.
    fn claim(&mut self, topic: TopicId, bytes: u64) -> bool;
}

/// Bounds of one shard.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long identities are remembered.
    pub dedup_window: Duration,
    /// Longest wait of a settlement for a commit to ride in.
    pub settle_delay: Duration,
    /// There is a log.
    pub logged: bool,
    /// How long dead letters stay at least readable, in milliseconds.
    pub dead_letter_retention_ms: u64,
}

/// One shard.
pub struct Engine {
    topics: BTreeMap<TopicId, topic::Topic>,
    dedup: dedup::DedupWindow,
    producers: producers::Producers,
    ops: Vec<Op>,
    /// Topics to look at in the next [`Engine::dispatch`].
    woken: BTreeSet<TopicId>,
    /// Lease deadlines of groups.
    timers: BTreeSet<(Moment, TopicId, GroupId)>,
    /// Topics with settlements that no commit carries yet, and since when they wait.
    unlogged: BTreeSet<TopicId>,
    settles_due: Option<Moment>,
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
            timers: BTreeSet::new(),
            unlogged: BTreeSet::new(),
            settles_due: None,
            settings,
        }
    }

    /// Makes a topic.
    pub fn create_topic(&mut self, id: TopicId, settings: TopicSettings, now: Now) {
        self.add_topic(id, settings, 1, now.wall);
        self.push_topic(id);
    }

    /// Adds a topic from the log, with its next position.
    pub fn add_topic(&mut self, id: TopicId, settings: TopicSettings, next: Position, stored: UnixMillis) {
        self.topics.insert(id, topic::Topic::new(id, settings, next, stored));
    }

    /// Adds a group from the log.
    pub fn restore_group(
        &mut self,
        topic: TopicId,
        name: meshwire_proto::GroupName,
        (id, settings): (GroupId, GroupSettings),
        now: Now,
        state: GroupState,
    ) {
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.groups.insert(name, group::Group::new(id, settings, now, state));
        }
    }

    /// Remembers identities of one block of the log.
    pub fn restore_identities(
        &mut self,
        topic: TopicId,
        identities: impl Iterator<Item = (Position, dedup::IdHash)>,
        stored: UnixMillis,
    ) {
        // A topic that was deleted since.
        if !self.topics.contains_key(&topic) {
            return;
        }
        let second = dedup::second_of(stored);
        let before = self.dedup.len(topic);
        for (position, id) in identities {
            self.dedup.insert(topic, id, position, second);
        }
        self.dedup.trim(topic, before, second);
    }

    /// Adds a producer from the log.
    pub fn restore_producer(&mut self, id: [u8; 16], producer: Producer) {
        self.producers.restore(id, producer);
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

    /// Looks at a topic again: a block that was pending is there.
    pub fn wake(&mut self, id: TopicId) {
        if id.is_dead_letters() {
            // Whoever waits for them is a group of their topic.
            self.woken.extend([TopicId(id.number()), TopicId::memory(id.number())]);
        } else {
            self.woken.insert(id);
        }
    }

    /// Delivers what credit, leases and blocks allow.
    pub fn dispatch(&mut self, now: Now, source: &mut dyn Source, out: &mut Vec<Output>) {
        while let Some(id) = self.woken.pop_first() {
            let letters = id.dead_letters(self.settings.logged);
            if let Some(topic) = self.topics.get_mut(&id) {
                for (group, dying) in topic.dispatch(now, letters, source, out) {
                    self.bury(now, id, &group, dying);
                }
                // What retention took, or is given up, is settled while dispatching.
                self.note_unlogged(now, id);
                self.set_timers(id);
            }
        }
    }

    /// Operations for the store, appends before the settlements that may be
    /// about them. Settlements that wait ride along when anything is committed,
    /// when they are due, or when `settle_now` asks.
    pub fn take_ops(&mut self, now: Now, settle_now: bool) -> Vec<Op> {
        let due = self.settles_due.is_some_and(|d| d <= now.mono);
        if settle_now || due || !self.ops.is_empty() {
            self.take_settles();
        }
        std::mem::take(&mut self.ops)
    }

    fn take_settles(&mut self) {
        self.settles_due = None;
        while let Some(id) = self.unlogged.pop_first() {
            let Some(topic) = self.topics.get_mut(&id) else {
                continue;
            };
            for group in topic.groups.values_mut().filter(|g| g.has_unlogged()) {
                let ranges = group.take_unlogged();
                self.ops.push(Op::Settle { topic: id, group: group.id, ranges });
            }
        }
    }

    /// Whether something waits to be committed that is not only settlements.
    #[must_use]
    pub const fn has_ops(&self) -> bool {
        !self.ops.is_empty()
    }

    /// When [`Engine::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let lease = self.timers.first().map(|(at, _, _)| *at);
        lease.into_iter().chain(self.settles_due).min()
    }

    /// Ends what is due. [`Engine::take_ops`] and [`Engine::dispatch`] follow.
    pub fn tick(&mut self, now: Now) {
        while let Some((_, topic_id, group_id)) = self.timers.first().copied().filter(|(at, _, _)| *at <= now.mono) {
            self.timers.pop_first();
            let Some(topic) = self.topics.get_mut(&topic_id) else {
                continue;
            };
            let Some(group) = topic.groups.values_mut().find(|g| g.id == group_id) else {
                continue;
            };
            group.timer = None;
            if group.expire(now) {
                self.woken.insert(topic_id);
                self.note_unlogged(now, topic_id);
            }
            self.set_timers(topic_id);
        }
    }

    /// Settlements of a topic wait for a commit.
    fn note_unlogged(&mut self, now: Now, id: TopicId) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        let gone: Vec<Position> = topic.groups.values_mut().flat_map(group::Group::take_gone).collect();
        if id.is_memory() {
            // Nothing of a memory topic is logged.
            for group in topic.groups.values_mut() {
                group.take_unlogged();
            }
        } else if topic.groups.values().any(group::Group::has_unlogged) {
            self.unlogged.insert(id);
            self.settles_due.get_or_insert(now.mono + self.settings.settle_delay);
        }
        if !gone.is_empty() {
            self.end_graves(id, gone);
        }
    }

    fn set_timers(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        for group in topic.groups.values_mut() {
            let deadline = group.deadline();
            if deadline != group.timer {
                if let Some(old) = group.timer {
                    self.timers.remove(&(old, id, group.id));
                }
                if let Some(new) = deadline {
                    self.timers.insert((new, id, group.id));
                }
                group.timer = deadline;
            }
        }
    }
}

/// A line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its name.
    pub name: meshwire_proto::GroupName,
    /// Everything below is settled.
    pub floor: Position,
    /// Members now.
    pub members: u32,
    /// Deliveries that are not settled.
    pub in_flight: u64,
    /// Events that are not settled and may still be delivered.
    pub lag: u64,
    /// How it delivers.
    pub settings: GroupSettings,
    /// Events that it gave up.
    pub dead_letters: u64,
    /// Events that wait for a delay to pass.
    pub delayed: u64,
}
