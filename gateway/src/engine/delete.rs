//! Topics that are removed, with all that is theirs.

use meshwire_proto::counted;

use super::{Engine, SubscriptionKey};
use crate::store::{Op, TopicId};

/// What went with a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Subscriptions that ended with it, in order.
    pub subscriptions: Vec<SubscriptionKey>,
    /// How many groups it had.
    pub groups: usize,
}

/// Somebody reads the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {}; end them first, or force it, which ends them", counted(*.subscriptions as u64, "subscription"))]
pub struct TopicInUse {
    /// How many.
    pub subscriptions: usize,
}

impl Engine {
    /// Whether there is a topic of this id.
    #[must_use]
    pub fn has_topic(&self, id: TopicId) -> bool {
        self.topics.contains_key(&id)
    }

    /// Removes a topic: events, groups, dead letters, what waits for its time, identities. One that is read only if it is forced.
    ///
    /// # Errors
    /// [`TopicInUse`].
    pub fn delete_topic(&mut self, id: TopicId, force: bool) -> Result<Deleted, TopicInUse> {
        let Some(topic) = self.topics.get(&id) else {
            return Ok(Deleted::default());
        };
        let solos = topic.solos.keys().copied();
        let mut subscriptions: Vec<_> =
            solos.chain(topic.groups.values().flat_map(|g| g.members.keys().copied())).collect();
        subscriptions.sort_unstable();
        if !subscriptions.is_empty() && !force {
            return Err(TopicInUse { subscriptions: subscriptions.len() });
        }
        let groups = topic.groups.len();
        let timers: Vec<_> = topic.groups.values().filter_map(|g| Some((g.timer?, id, g.id))).collect();
        for timer in timers {
            self.timers.remove(&timer);
        }
        self.forget_delayed(id);
        for id in [id, self.letters_of(id)] {
            #[cfg(feature = "testing")]
            let logged = !super::planted::is(super::planted::Defect::TopicGoneUnlogged);
            #[cfg(not(feature = "testing"))]
            let logged = true;
            if self.topics.remove(&id).is_some() && logged {
                self.ops.push(Op::TopicGone { topic: id });
            }
            self.dedup.forget(id);
            self.woken.remove(&id);
            self.unlogged.retain(|(of, _)| *of != id);
        }
        Ok(Deleted { subscriptions, groups })
    }
}
