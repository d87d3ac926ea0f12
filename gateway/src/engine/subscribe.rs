//! Joining and leaving.

use std::time::Duration;

use meshwire_proto::{GroupKey, GroupName, MemberName};

use super::readers::Reader;
use super::solo::Solo;
use super::subscriber::Subscriber;
use super::{Credit, Engine, GroupSpec, Now, SubscriptionKey};
use crate::store::{Difference, GroupId, Position, TopicId};

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct SubscribeSpec {
    /// `None`: a broadcast subscription of one's own.
    pub group: Option<GroupSpec>,
    /// First position: for a group only when it is created here. `None`, or one
    /// that no event has yet: behind the last event of now.
    pub start: Option<Position>,
    /// Most unsettled.
    pub credit: Credit,
}

/// The subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Number of the first delivery to come.
    pub next_delivery: u64,
    /// The next position never delivered.
    pub next_position: Position,
    /// Where the topic's next event will be: a start behind it begins there.
    pub topic_next: Position,
    /// How long a delivery may be held. Zero without a group: for ever.
    pub ack_wait: Duration,
    /// The group, or the durable member, was made for it, or it has no place of its own.
    pub new_group: bool,
    /// Groups and durable members that were made.
    pub made: usize,
}

/// Why it does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The topic is not of this shard.
    #[error("the topic does not exist")]
    NoTopic,
    /// The group has other settings.
    #[error("group {group} has {difference}; {}", difference.remedy())]
    Conflict {
        /// The group.
        group: GroupName,
        /// In what they differ.
        difference: Difference,
    },
    /// A setting is out of its bounds.
    #[error("{0}")]
    Setting(String),
    /// There are as many groups as may be.
    #[error("the topic has {has} groups and durable members, and {group} would be one more")]
    Full {
        /// The group.
        group: GroupKey,
        /// What there are.
        has: usize,
    },
    /// The gateway has as many as may be.
    #[error("the gateway has as many groups and durable members as it may, and {group} would be one more")]
    GatewayFull {
        /// The group.
        group: GroupKey,
    },
    /// Members of cluster groups have no names.
    #[error(
        "group {group} is a cluster group, whose members have no names: leave out member {member}, or name a broadcast group"
    )]
    NotBroadcast {
        /// The group.
        group: GroupName,
        /// The member.
        member: MemberName,
    },
    /// The durable member is connected.
    #[error(
        "member {member} of group {group} is connected already; end that subscription, or take another member name"
    )]
    MemberInUse {
        /// The group.
        group: GroupName,
        /// The member.
        member: MemberName,
    },
    /// The session has a subscription of this number.
    #[error("subscription number {0} is in use")]
    InUse(u32),
}

/// How a subscriber leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// On purpose: what it held comes again at once, without a failure.
    Clean,
    /// Its connection was lost and did not come back: that is a failure.
    Lost,
}

impl Engine {
    /// Starts a subscription. A new group becomes an operation for the store.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        &mut self,
        now: Now,
        topic_id: TopicId,
        key: SubscriptionKey,
        spec: SubscribeSpec,
    ) -> Result<Subscribed, SubscribeError> {
        let topic = self.topics.get(&topic_id).ok_or(SubscribeError::NoTopic)?;
        if topic.reader(key).is_some() {
            return Err(SubscribeError::InUse(key.subscription));
        }
        let topic_next = topic.next;
        let start = spec.start.unwrap_or(topic_next).clamp(1, topic_next);
        #[cfg(feature = "testing")]
        let start = if super::planted::is(super::planted::Defect::StartIgnored) { topic_next } else { start };
        let Some(asked) = spec.group else {
            return Ok(self.subscribe_alone(topic_id, key, (start, spec.credit), None));
        };
        let joined = self.find_or_make(now, topic_id, &asked, start)?;
        let made = joined.made.len();
        if joined.settings.broadcast && asked.name.member.is_none() {
            let alone = self.subscribe_alone(topic_id, key, (start, spec.credit), Some(joined.group));
            return Ok(Subscribed { made, ..alone });
        }
        self.take_over(now, topic_id, (&asked.name, joined.group))?;
        let topic = self.topics.get_mut(&topic_id).ok_or(SubscribeError::NoTopic)?;
        topic.join(joined.group, key, spec.credit);
        let next_position = topic.groups.get(&joined.group).map_or(start, |group| group.window.next());
        self.wake_reader(topic_id, Reader::Group(joined.group));
        let (ack_wait, new_group) = (joined.settings.ack_wait, joined.made.contains(&asked.name));
        Ok(Subscribed { next_delivery: 1, next_position, topic_next, ack_wait, new_group, made })
    }

    /// A subscription that has no place of its own, with a broadcast group or without.
    fn subscribe_alone(
        &mut self,
        topic_id: TopicId,
        key: SubscriptionKey,
        (start, credit): (Position, Credit),
        group: Option<GroupId>,
    ) -> Subscribed {
        let mut topic_next = start;
        if let Some(topic) = self.topics.get_mut(&topic_id) {
            topic_next = topic.next;
            let subscriber = Subscriber::new(key, credit, Duration::ZERO);
            topic.solos.insert(key, Solo { subscriber, group, next: start, fresh: true });
        }
        self.wake_reader(topic_id, Reader::Solo(key));
        let (ack_wait, new_group) = (Duration::ZERO, group.is_some());
        Subscribed { next_delivery: 1, next_position: start, topic_next, ack_wait, new_group, made: 0 }
    }

    /// A durable member has one subscription. A newcomer takes it over from one whose connection is lost: mostly it is
    /// the same program, started again.
    fn take_over(
        &mut self,
        now: Now,
        topic_id: TopicId,
        (name, group): (&GroupKey, GroupId),
    ) -> Result<(), SubscribeError> {
        let Some(member) = &name.member else {
            return Ok(());
        };
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::MemberTakenTwice) {
            return Ok(());
        }
        let group = self.topics.get(&topic_id).and_then(|t| t.groups.get(&group));
        match group.and_then(|g| g.members.values().next()).map(|holder| (holder.key, holder.away)) {
            None => Ok(()),
            Some((holder, true)) => {
                self.leave(now, topic_id, holder, Leaving::Lost);
                Ok(())
            }
            Some((_, false)) => Err(SubscribeError::MemberInUse { group: name.group.clone(), member: member.clone() }),
        }
    }

    /// Whether there is a subscription of this key.
    #[must_use]
    pub fn has_subscription(&self, topic: TopicId, key: SubscriptionKey) -> bool {
        self.topics.get(&topic).is_some_and(|topic| topic.reader(key).is_some())
    }

    fn subscriber(&mut self, topic: TopicId, key: SubscriptionKey) -> Option<&mut Subscriber> {
        self.topics.get_mut(&topic)?.subscriber(key)
    }

    /// Looks at a subscription in the next [`Engine::dispatch`].
    fn wake_subscription(&mut self, topic: TopicId, key: SubscriptionKey) {
        if let Some(reader) = self.topics.get(&topic).and_then(|t| t.reader(key)) {
            self.wake_reader(topic, reader);
        }
    }

    /// Sets a subscription's credit anew; `false` when there is none of this key.
    pub fn credit(&mut self, topic: TopicId, key: SubscriptionKey, credit: Credit) -> bool {
        let Some(subscriber) = self.subscriber(topic, key) else {
            return false;
        };
        subscriber.deliveries.set_credit(credit);
        subscriber.deaf = false;
        self.wake_subscription(topic, key);
        true
    }

    /// Deliveries that a subscription holds unsettled, and their bytes.
    #[must_use]
    pub fn held_by(&self, topic: TopicId, key: SubscriptionKey) -> (u32, u64) {
        let Some(topic) = self.topics.get(&topic) else { return (0, 0) };
        let subscriber = match topic.reader(key) {
            Some(Reader::Solo(key)) => topic.solos.get(&key).map(|solo| &solo.subscriber),
            Some(Reader::Group(id)) => topic.groups.get(&id).and_then(|group| group.members.get(&key)),
            None => None,
        };
        subscriber.map_or((0, 0), |s| (s.deliveries.held(), s.deliveries.held_bytes()))
    }

    /// Whether it is without a group, or an unnamed member of a broadcast group: it has nothing to settle.
    #[must_use]
    pub fn is_solo(&self, topic: TopicId, key: SubscriptionKey) -> bool {
        self.topics.get(&topic).is_some_and(|topic| topic.solos.contains_key(&key))
    }

    /// Its connection is lost: delivers nothing until [`Engine::resume`]; leases go on. Gives how many
    /// deliveries are held.
    pub fn suspend(&mut self, topic: TopicId, key: SubscriptionKey) -> u32 {
        let held = self.subscriber(topic, key).map_or(0, |subscriber| {
            (subscriber.suspended, subscriber.away) = (true, true);
            subscriber.deliveries.held()
        });
        // Others may be due now what was kept for it.
        self.wake_subscription(topic, key);
        held
    }

    /// A lease of it that ends was lost with it: it has no client that extends what it has not begun with.
    pub fn set_plain(&mut self, topic: TopicId, key: SubscriptionKey) {
        if let Some(subscriber) = self.subscriber(topic, key) {
            subscriber.plain = true;
        }
    }

    /// Delivers nothing until [`Engine::start`].
    pub fn hold_back(&mut self, topic: TopicId, key: SubscriptionKey) {
        if let Some(subscriber) = self.subscriber(topic, key) {
            subscriber.suspended = true;
        }
    }

    /// Delivers to a subscriber that was held back before it got anything.
    pub fn start(&mut self, topic: TopicId, key: SubscriptionKey) {
        if let Some(subscriber) = self.subscriber(topic, key) {
            subscriber.suspended = false;
            self.wake_subscription(topic, key);
        }
    }

    /// Delivers again, from the number that the subscriber expects next.
    /// `false` when that number cannot be.
    pub fn resume(&mut self, topic_id: TopicId, key: SubscriptionKey, next_delivery: u64) -> bool {
        let Some((topic, reader)) =
            self.topics.get_mut(&topic_id).and_then(|topic| topic.reader(key).map(|reader| (topic, reader)))
        else {
            return false;
        };
        let rewound = match reader {
            Reader::Solo(key) => topic.solos.get_mut(&key).is_some_and(|solo| solo.rewind(next_delivery)),
            Reader::Group(id) => topic.groups.get_mut(&id).is_some_and(|g| g.rewind(key, next_delivery)),
        };
        if rewound && let Some(subscriber) = topic.subscriber(key) {
            (subscriber.suspended, subscriber.away) = (false, false);
            self.wake_reader(topic_id, reader);
            if let Reader::Group(id) = reader {
                self.set_timer(topic_id, id);
            }
        }
        rewound
    }

    /// Ends a subscription.
    pub fn leave(&mut self, now: Now, topic_id: TopicId, key: SubscriptionKey, how: Leaving) {
        let Some(topic) = self.topics.get_mut(&topic_id) else {
            return;
        };
        if topic.solos.remove(&key).is_some() {
            topic.readers.forget(Reader::Solo(key));
        } else if let Some(id) = topic.leave(now, key, how) {
            self.wake_reader(topic_id, Reader::Group(id));
            self.touched(now, topic_id, id);
        }
    }
}
