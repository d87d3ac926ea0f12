//! Subscribing, settling and credit through the waist.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use meshwire_proto::wire::admin;
use meshwire_proto::{ErrorKind, GroupName, TopicName, UnixMillis};

use super::{Action, Caller, Mesh, Refusal, TopicRef, shard};
use crate::delivery::Sink;
use crate::engine::{
    Credit, GroupSpec, Leaving, SettleAnswer, SettleAs, SubscribeError, SubscribeSpec, Subscribed, SubscriptionKey,
};
use crate::store::{GroupId, Position, Since, Ticket};

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// `None`: a broadcast subscription of one's own.
    pub group: Option<GroupName>,
    /// First position; `None` for behind the last event of now.
    pub start: Option<Position>,
    /// In its place: the first event stored at this time or later.
    pub since: Option<UnixMillis>,
    /// What the group is to be like.
    pub settings: admin::GroupSettings,
    /// Most unsettled.
    pub credit: Credit,
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
    /// Only of meaning for a confirmed settle.
    pub ticket: Ticket,
}

impl Mesh {
    /// Joins a subscription. It stands once the ticket is kept, also when the
    /// group or the topic is one that somebody else has just created; nothing comes
    /// to `sink` before [`Mesh::start`], unless all is kept already. `None`: the place of its time is being
    /// looked up; ask again after [`Mesh::wake_when_fetched`].
    ///
    /// # Errors
    /// `DENIED`, `GROUP_CONFLICT`, `INVALID`, `TOO_LARGE` (too many groups).
    pub fn subscribe(
        &self,
        caller: &Caller,
        (topic, name): (TopicRef, &str),
        key: SubscriptionKey,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
    ) -> Option<Joined> {
        if let Err(refusal) = self.authorize(caller, Action::Subscribe, name) {
            return Some(Err(refusal));
        }
        // Taken back below unless a group is created.
        let may_create = self.inner.groups.fetch_add(1, Ordering::Relaxed) < self.inner.config.max_groups;
        let subscribed = self.join((topic, name), key, request, sink, may_create);
        if !matches!(&subscribed, Some(Ok((subscribed, _))) if subscribed.new_group) {
            self.inner.groups.fetch_sub(1, Ordering::Relaxed);
        }
        subscribed
    }

    fn join(
        &self,
        (topic, name): (TopicRef, &str),
        key: SubscriptionKey,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        may_create: bool,
    ) -> Option<Joined> {
        let mut shard = match self.shard(topic) {
            Ok(mutex) => shard::lock(mutex),
            Err(refusal) => return Some(Err(refusal)),
        };
        let start = match request.since.map(|at| self.inner.stores.of(topic.id).since(topic.id, at)) {
            // What is gone already is no gap later.
            None => request.start.map(|start| start.max(self.first_position(topic))),
            Some(Since::At(position)) => Some(position),
            Some(Since::Behind) => None,
            Some(Since::Pending) => return None,
        };
        let max_topic_groups = self.inner.config.max_topic_groups;
        let group = request.group.map(|name| GroupSpec {
            name,
            new_id: GroupId(self.inner.next_group.fetch_add(1, Ordering::Relaxed)),
            settings: request.settings,
            most: if may_create { max_topic_groups } else { 0 },
        });
        let spec = SubscribeSpec { group, start, credit: request.credit };
        let now = self.now();
        let subscribed = match shard.engine.subscribe(now, topic.id, key, spec) {
            Ok(subscribed) => subscribed,
            Err(e) => {
                return Some(Err(match TopicName::parse(name) {
                    Ok(name) => self.not_joined(&e, &name, may_create),
                    Err(e) => Refusal::new(ErrorKind::Invalid, e.to_string()),
                }));
            }
        };
        shard.sinks.insert(key, sink);
        self.inner.commit(&mut shard, now, false);
        let ticket = shard.engine.created(topic.id, Some(key));
        if !self.is_kept(ticket) {
            shard.engine.suspend(topic.id, key);
        }
        self.inner.deliver(&mut shard, now, None);
        Some(Ok((subscribed, ticket)))
    }

    /// Why a group cannot be had.
    pub(super) fn not_joined(&self, error: &SubscribeError, topic: &TopicName, may_create: bool) -> Refusal {
        match error {
            SubscribeError::NoTopic => Refusal::new(ErrorKind::TopicNotFound, error.to_string()),
            SubscribeError::Conflict { .. } => Refusal::new(ErrorKind::GroupConflict, error.to_string()),
            SubscribeError::InUse(_) | SubscribeError::Setting(_) => {
                Refusal::new(ErrorKind::Invalid, error.to_string())
            }
            SubscribeError::Full { group, has } => {
                let (of, option) = if may_create {
                    (format!("topic {topic} has {has} groups"), "max_topic_groups")
                } else {
                    (format!("there are {} groups", self.inner.config.max_groups), "max_groups")
                };
                let text = format!("{of} already; group {group} was not created: join one of them or raise {option}");
                Refusal::new(ErrorKind::TooLarge, text)
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
        let answers = shard.engine.settle(now, topic.id, key, asked.numbers, asked.how);
        // What is given up by it becomes a dead letter in the same commit.
        self.inner.deliver(&mut shard, now, None);
        self.inner.commit(&mut shard, now, asked.confirm);
        // What is said of a dead letter that was given back is kept with the dead letters.
        let ticket = shard.engine.ticket(topic.id).later(shard.engine.ticket(shard.engine.letters_of(topic.id)));
        Ok(SettleAnswers { answers, ticket })
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

    /// Ends a subscription.
    pub fn leave(&self, topic: TopicRef, key: SubscriptionKey, how: Leaving) {
        let Ok(mutex) = self.shard(topic) else { return };
        shard::lock(mutex).sinks.remove(&key);
        self.inner.with(mutex, |engine, now| engine.leave(now, topic.id, key, how));
    }
}
