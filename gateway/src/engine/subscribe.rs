//! Joining and leaving.

use std::time::Duration;

use meshwire_proto::GroupName;
use meshwire_proto::wire::admin;

use super::group::{Group, GroupState};
use super::solo::Solo;
use super::subscriber::Subscriber;
use super::topic::Topic;
use super::{Credit, Engine, Now, SubscriptionKey};
use crate::store::{Difference, GroupId, Op, Position, TopicId};

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

/// The group part of it.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Its name.
    pub name: GroupName,
    /// Its id if it is new.
    pub new_id: GroupId,
    /// What it is asked to be like; what is absent is as it is, or as by default if it is new.
    pub settings: admin::GroupSettings,
    /// Most groups of the topic; 0 when no more can be in the gateway.
    pub most: usize,
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
    /// The group was created for it.
    pub new_group: bool,
}

/// Why it does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The topic is not of this shard.
    #[error("the topic does not exist")]
    NoTopic,
    /// The group has other settings.
    #[error("group {group} has {difference}; leave it out to take the group's")]
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
    #[error("the topic has {has} groups and group {group} would be one more")]
    Full {
        /// The group.
        group: GroupName,
        /// What there are.
        has: usize,
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

/// The group that is asked for, new or with these settings.
pub(super) fn join<'t>(
    topic: &'t mut Topic,
    asked: GroupSpec,
    start: Position,
    now: Now,
    ops: &mut Vec<Op>,
) -> Result<&'t mut Group, SubscribeError> {
    let has = topic.groups.get(&asked.name).map(|g| g.settings);
    let settings = has.unwrap_or_default().with(&asked.settings).map_err(SubscribeError::Setting)?;
    let difference = has.and_then(|has| has.difference(&settings));
    #[cfg(feature = "testing")]
    let difference = difference.filter(|_| !super::planted::is(super::planted::Defect::ConflictPasses));
    if let Some(difference) = difference {
        return Err(SubscribeError::Conflict { group: asked.name, difference });
    }
    let groups = topic.groups.len();
    if groups >= asked.most && has.is_none() {
        return Err(SubscribeError::Full { group: asked.name, has: groups });
    }
    let id = topic.id;
    Ok(topic.groups.entry(asked.name.clone()).or_insert_with(|| {
        if !id.is_memory() {
            ops.push(Op::Group { topic: id, group: asked.new_id, name: asked.name, start, settings });
        }
        let state = GroupState { floor: start, ..GroupState::default() };
        Group::new(asked.new_id, settings, now, state)
    }))
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
        let topic = self.topics.get_mut(&topic_id).ok_or(SubscribeError::NoTopic)?;
        if topic.solos.contains_key(&key) || topic.group_of(key).is_some() {
            return Err(SubscribeError::InUse(key.subscription));
        }
        let topic_next = topic.next;
        let start = spec.start.unwrap_or(topic_next).clamp(1, topic_next);
        #[cfg(feature = "testing")]
        let start = if super::planted::is(super::planted::Defect::StartIgnored) { topic_next } else { start };
        self.woken.insert(topic_id);
        match spec.group {
            None => {
                let subscriber = Subscriber::new(key, spec.credit);
                let solo = Solo { subscriber, next: start, fresh: true };
                topic.solos.insert(key, solo);
                let ack_wait = Duration::ZERO;
                Ok(Subscribed { next_delivery: 1, next_position: start, topic_next, ack_wait, new_group: false })
            }
            Some(asked) => {
                let (name, new_group) = (asked.name.clone(), !topic.groups.contains_key(&asked.name));
                let group = join(topic, asked, start, now, &mut self.ops)?;
                group.join(key, spec.credit);
                let (next_position, ack_wait) = (group.window.next(), group.settings.ack_wait);
                if new_group {
                    self.adopt_all(topic_id, &name);
                }
                Ok(Subscribed { next_delivery: 1, next_position, topic_next, ack_wait, new_group })
            }
        }
    }

    fn subscriber(&mut self, topic: TopicId, key: SubscriptionKey) -> Option<&mut Subscriber> {
        let topic = self.topics.get_mut(&topic)?;
        if let Some(solo) = topic.solos.get_mut(&key) {
            return Some(&mut solo.subscriber);
        }
        topic.groups.values_mut().find_map(|g| g.members.get_mut(&key))
    }

    /// Sets a subscription's credit anew; `false` when there is none of this key.
    pub fn credit(&mut self, topic: TopicId, key: SubscriptionKey, credit: Credit) -> bool {
        let Some(subscriber) = self.subscriber(topic, key) else {
            return false;
        };
        subscriber.deliveries.set_credit(credit);
        self.woken.insert(topic);
        true
    }

    /// Delivers nothing until [`Engine::resume`]; leases go on. Gives how many
    /// deliveries are held.
    pub fn suspend(&mut self, topic: TopicId, key: SubscriptionKey) -> u32 {
        self.subscriber(topic, key).map_or(0, |subscriber| {
            subscriber.suspended = true;
            subscriber.deliveries.held()
        })
    }

    /// Delivers to a subscriber that was suspended before it got anything.
    pub fn start(&mut self, topic: TopicId, key: SubscriptionKey) {
        if let Some(subscriber) = self.subscriber(topic, key) {
            subscriber.suspended = false;
            self.woken.insert(topic);
        }
    }

    /// Delivers again, from the number that the subscriber expects next.
    /// `false` when that number cannot be.
    pub fn resume(&mut self, topic_id: TopicId, key: SubscriptionKey, next_delivery: u64) -> bool {
        let Some(topic) = self.topics.get_mut(&topic_id) else {
            return false;
        };
        let rewound = match topic.solos.get_mut(&key) {
            Some(solo) => solo.rewind(next_delivery),
            None => topic.group_of(key).is_some_and(|g| g.rewind(key, next_delivery)),
        };
        if rewound && let Some(subscriber) = self.subscriber(topic_id, key) {
            subscriber.suspended = false;
            self.woken.insert(topic_id);
            self.set_timers(topic_id);
        }
        rewound
    }

    /// Ends a subscription.
    pub fn leave(&mut self, now: Now, topic_id: TopicId, key: SubscriptionKey, how: Leaving) {
        let Some(topic) = self.topics.get_mut(&topic_id) else {
            return;
        };
        if topic.solos.remove(&key).is_none()
            && let Some(group) = topic.group_of(key)
        {
            group.leave(now, key, how);
            self.woken.insert(topic_id);
            self.note_unlogged(now, topic_id);
            self.set_timers(topic_id);
        }
    }
}
