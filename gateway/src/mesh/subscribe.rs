//! Subscribing, settling and credit through the waist.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::admin;
use meshwire_proto::{ErrorKind, GroupKey, TopicName, UnixMillis};

use super::{Action, Caller, Mesh, Refusal, TopicRef, shard};
use crate::delivery::Sink;
use crate::engine::{
    Credit, Engine, GroupSpec, Leaving, SettleAnswer, SettleAs, SubscribeError, SubscribeSpec, Subscribed,
    SubscriptionKey,
};
use crate::store::{GroupId, Position, Since, Ticket};

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// The group, or a durable member of it; `None`: a broadcast subscription of one's own.
    pub group: Option<GroupKey>,
    /// First position; one that no event has yet: behind the last event of now. `None`: the first event that can be read for
    /// a group and a durable member, else behind the last one.
    pub start: Option<Position>,
    /// In its place: the first event stored at this time or later.
    pub since: Option<UnixMillis>,
    /// What the group is to be like.
    pub settings: admin::GroupSettings,
    /// Most unsettled.
    pub credit: Credit,
    /// It has no session, whose client extends its leases and notices when it hangs: a lease that ends was lost with it.
    pub plain: bool,
}

/// A subscription that stands once the ticket is kept, or why there is none.
pub type Joined = Result<(Subscribed, Ticket), Refusal>;

/// What a consumer says of consecutive deliveries.
#[derive(Clone, Debug)]
pub struct SettleRequest<'a> {
    /// Delivery numbers.
    pub numbers: std::ops::Range<u64>,
    /// What happens to them.
    pub how: SettleAs<'a>,
    /// Start a commit for it.
    pub confirm: bool,
}

/// Answers to a settle, and when they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleAnswers {
    /// In order of the numbers.
    pub answers: Vec<SettleAnswer>,
    /// Only of meaning for a confirmed settle. `None`: there is no room on the disk to keep it now.
    pub ticket: Option<Ticket>,
}

/// Groups that the gateway may make for somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// What was taken of it.
    taken: usize,
    left: usize,
}

fn full(has: &str, group: &GroupKey, option: &str) -> Refusal {
    let text = format!(
        "{has} already, durable members included; group {group} was not created: join one of them or raise {option}"
    );
    Refusal::new(ErrorKind::TooLarge, text)
}

/// Behind a commit of all that is settled: what waits in the engine all the same found no room. What is said of a dead letter that was given
/// back is kept with the dead letters.
fn settled_through(engine: &Engine, topic: TopicRef) -> Option<Ticket> {
    let ticket = engine.ticket(topic.id).later(engine.ticket(engine.letters_of(topic.id)));
    (!engine.has_unlogged(topic.id)).then_some(ticket)
}

impl Mesh {
    /// Joins a subscription. It stands once the ticket is kept, also when the
    /// group or the topic is one that somebody else has just created; nothing comes
    /// to `sink` before [`Mesh::start`], unless all is kept already. `None`: the place of its time is being
    /// looked up; ask again after [`Mesh::wake_when_fetched`].
    ///
    /// # Errors
    /// `DENIED`, `GROUP_CONFLICT`, `INVALID`, `TOO_LARGE` (too many groups); `UNAVAILABLE`: the gateway stops.
    pub fn subscribe(
        &self,
        caller: &Caller,
        (topic, name): (TopicRef, &str),
        key: SubscriptionKey,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
    ) -> Option<Joined> {
        if let Err(refusal) = self.check_serving().and_then(|()| self.authorize(caller, Action::Subscribe, name)) {
            return Some(Err(refusal));
        }
        let room = self.room_for(request.group.as_ref());
        let subscribed = self.join((topic, name), key, request, sink, room);
        let made = match &subscribed {
            Some(Ok((subscribed, _))) => subscribed.made,
            _ => 0,
        };
        self.made(room, made);
        subscribed
    }

    /// Takes room for what may have to be made, until [`Mesh::made`].
    pub(super) fn room_for(&self, group: Option<&GroupKey>) -> Room {
        let taken = group.map_or(0, |key| 1 + usize::from(key.member.is_some()));
        let before = self.inner.groups.fetch_add(taken, Ordering::Relaxed);
        Room { taken, left: self.inner.config.max_groups.saturating_sub(before) }
    }

    /// Gives room back that was not needed.
    pub(super) fn made(&self, room: Room, made: usize) {
        self.inner.groups.fetch_sub(room.taken.saturating_sub(made), Ordering::Relaxed);
    }

    /// What is asked for, with ids for what may have to be made.
    pub(super) fn group_spec(&self, name: GroupKey, settings: admin::GroupSettings, room: Room) -> GroupSpec {
        let first = self.inner.next_group.fetch_add(2, Ordering::Relaxed);
        GroupSpec {
            name,
            new_ids: [GroupId(first), GroupId(first + 1)],
            settings,
            most: self.inner.config.max_topic_groups,
            room: room.left,
        }
    }

    fn join(
        &self,
        (topic, name): (TopicRef, &str),
        key: SubscriptionKey,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        room: Room,
    ) -> Option<Joined> {
        let mut shard = match self.shard(topic) {
            Ok(mutex) => shard::lock(mutex),
            Err(refusal) => return Some(Err(refusal)),
        };
        let group = request.group.map(|name| self.group_spec(name, request.settings, room));
        let start = match request.since.map(|at| self.inner.stores.of(topic.id).since(topic.id, at)) {
            None => {
                let first = group.as_ref().filter(|group| shard.engine.begins_first(topic.id, group)).map(|_| 1);
                // What is gone already is no gap later.
                request.start.or(first).map(|start| start.max(self.first_position(topic)))
            }
            Some(Since::At(position)) => Some(position),
            Some(Since::Behind) => None,
            Some(Since::Pending) => return None,
        };
        let spec = SubscribeSpec { group, start, credit: request.credit };
        let now = self.now();
        let subscribed = match shard.engine.subscribe(now, topic.id, key, spec) {
            Ok(subscribed) => subscribed,
            Err(e) => {
                return Some(Err(match TopicName::parse(name) {
                    Ok(name) => self.not_joined(&e, &name),
                    Err(e) => Refusal::new(ErrorKind::Invalid, e.to_string()),
                }));
            }
        };
        if request.plain {
            shard.engine.set_plain(topic.id, key);
        }
        shard.sinks.insert(key, sink);
        self.inner.commit(&mut shard, now, false);
        let ticket = shard.engine.created(topic.id, Some(key));
        if !self.is_kept(ticket) {
            shard.engine.hold_back(topic.id, key);
        }
        self.inner.deliver(&mut shard, now, None);
        Some(Ok((subscribed, ticket)))
    }

    /// Why a group cannot be had.
    pub(super) fn not_joined(&self, error: &SubscribeError, topic: &TopicName) -> Refusal {
        match error {
            SubscribeError::NoTopic => Refusal::new(ErrorKind::TopicNotFound, error.to_string()),
            SubscribeError::Conflict { .. } | SubscribeError::MemberInUse { .. } => {
                Refusal::new(ErrorKind::GroupConflict, error.to_string())
            }
            SubscribeError::NotBroadcast { .. } => Refusal::new(ErrorKind::Unsupported, error.to_string()),
            SubscribeError::InUse(_) | SubscribeError::Setting(_) => {
                Refusal::new(ErrorKind::Invalid, error.to_string())
            }
            SubscribeError::Full { group, has } => {
                full(&format!("topic {topic} has {has} groups"), group, "max_topic_groups")
            }
            SubscribeError::GatewayFull { group } => {
                full(&format!("there are {} groups", self.inner.config.max_groups), group, "max_groups")
            }
        }
    }

    /// Begins with the deliveries of a subscription whose ticket is kept.
    pub fn start(&self, topic: TopicRef, key: SubscriptionKey) {
        if let Ok(mutex) = self.shard(topic) {
            self.inner.with(mutex, |engine, _| engine.start(topic.id, key));
        }
    }

    pub(super) fn shard(&self, topic: TopicRef) -> Result<&std::sync::Mutex<shard::Shard>, Refusal> {
        self.inner.shards.get(topic.shard).ok_or_else(|| Refusal::new(ErrorKind::Internal, "a topic without a shard"))
    }

    /// Settles deliveries. A confirmed settle starts a
    /// commit of its own and holds once the ticket is kept.
    ///
    /// # Errors
    /// `DENIED`. A lost lease is in the answers.
    pub fn settle(
        &self,
        caller: &Caller,
        (topic, name): (TopicRef, &str),
        key: SubscriptionKey,
        asked: SettleRequest<'_>,
    ) -> Result<SettleAnswers, Refusal> {
        self.authorize(caller, Action::Subscribe, name)?;
        let mut shard = shard::lock(self.shard(topic)?);
        let now = self.now();
        let mut answers = shard.engine.settle(now, topic.id, key, asked.numbers, asked.how);
        // Without a group a settle only gives credit back.
        let is_solo = shard.engine.is_solo(topic.id, key);
        if !is_solo {
            self.inner.counts.settled(asked.how.kind, &answers);
        }
        if asked.confirm {
            answers = shard.engine.with_boundaries(topic.id, key, answers);
        }
        // What is given up by it becomes a dead letter in the same commit.
        self.inner.deliver(&mut shard, now, None);
        self.inner.commit(&mut shard, now, asked.confirm);
        // Of these nothing is kept: a lease is in memory alone.
        let keeps_nothing = is_solo || matches!(asked.how.kind, SettleKind::Extend | SettleKind::Release);
        let waits = asked.confirm && !keeps_nothing;
        let ticket = if waits { settled_through(&shard.engine, topic) } else { Some(Ticket::KEPT) };
        Ok(SettleAnswers { answers, ticket })
    }

    /// When all is kept that was settled of a topic until now; `None`: there is no room on the disk to keep it now.
    #[must_use]
    pub fn settled_through(&self, topic: TopicRef) -> Option<Ticket> {
        let Ok(mutex) = self.shard(topic) else { return Some(Ticket::KEPT) };
        let mut shard = shard::lock(mutex);
        self.inner.commit(&mut shard, self.now(), true);
        settled_through(&shard.engine, topic)
    }

    /// Sets a subscription's credit anew.
    ///
    /// # Errors
    /// `DENIED`, `NOT_FOUND`.
    pub fn credit(
        &self,
        caller: &Caller,
        (topic, name): (TopicRef, &str),
        key: SubscriptionKey,
        credit: Credit,
    ) -> Result<(), Refusal> {
        self.authorize(caller, Action::Subscribe, name)?;
        let known = self.inner.with(self.shard(topic)?, |engine, _| engine.credit(topic.id, key, credit));
        let text = || format!("there is no subscription {}", key.subscription);
        if known { Ok(()) } else { Err(Refusal::new(ErrorKind::NotFound, text())) }
    }

    /// Delivers nothing to a subscription until [`Mesh::resume`]; its leases go on.
    /// Gives how many deliveries it holds.
    pub fn suspend(&self, topic: TopicRef, key: SubscriptionKey) -> u32 {
        self.shard(topic).map_or(0, |mutex| self.inner.with(mutex, |engine, _| engine.suspend(topic.id, key)))
    }

    /// Delivers to a subscription again, through this sink, from the number that
    /// it expects next. `false` when that number cannot be.
    #[must_use]
    pub fn resume(&self, topic: TopicRef, key: SubscriptionKey, next_delivery: u64, sink: Arc<dyn Sink>) -> bool {
        let Ok(mutex) = self.shard(topic) else {
            return false;
        };
        let mut shard = shard::lock(mutex);
        let now = self.now();
        if !shard.engine.resume(topic.id, key, next_delivery) {
            return false;
        }
        shard.sinks.insert(key, sink);
        self.inner.deliver(&mut shard, now, None);
        true
    }

    /// Whether a subscription is there: not if its topic was deleted, or somebody else has its durable member.
    #[must_use]
    pub fn has_subscription(&self, topic: TopicRef, key: SubscriptionKey) -> bool {
        self.shard(topic).is_ok_and(|mutex| shard::lock(mutex).engine.has_subscription(topic.id, key))
    }

    /// Delivers what a subscription's sink had no room for.
    pub fn feed(&self, topic: TopicRef, key: SubscriptionKey) {
        if let Ok(mutex) = self.shard(topic) {
            self.inner.with(mutex, |engine, _| engine.feed(topic.id, key));
        }
    }

    /// Ends a subscription.
    pub fn leave(&self, topic: TopicRef, key: SubscriptionKey, how: Leaving) {
        let Ok(mutex) = self.shard(topic) else { return };
        shard::lock(mutex).sinks.remove(&key);
        self.inner.with(mutex, |engine, now| engine.leave(now, topic.id, key, how));
    }
}
