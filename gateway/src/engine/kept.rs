//! What is kept, and when what is not yet will be.

use super::readers::Reader;
use super::{Engine, SubscriptionKey};
use crate::store::{Durability, GroupId, Op, Position, Ticket, TopicId};

/// Whose tickets an operation moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    topic: TopicId,
    what: TouchedPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TouchedPart {
    Topic,
    Group(GroupId),
    Events(Option<[u8; 16]>),
    Settles,
}

impl From<&Op> for Touched {
    fn from(op: &Op) -> Self {
        let what = match op {
            Op::Topic { .. } | Op::Limits { .. } => TouchedPart::Topic,
            Op::Group { group, .. } => TouchedPart::Group(*group),
            Op::Append(append) => TouchedPart::Events(append.producer.map(|p| p.producer)),
            Op::Seek { group, .. } => TouchedPart::Group(*group),
            Op::Settle { .. }
            | Op::Reasons { .. }
            | Op::Graves { .. }
            | Op::GroupGone { .. }
            | Op::TopicGone { .. }
            | Op::Times(_) => TouchedPart::Settles,
        };
        // What waits for its time is kept when its topic is.
        let what = if op.topic().is_delayed() && what == TouchedPart::Topic { TouchedPart::Settles } else { what };
        Self { topic: op.topic().target(), what }
    }
}

impl Engine {
    /// When the last commit of a topic is kept.
    #[must_use]
    pub fn ticket(&self, id: TopicId) -> Ticket {
        self.topics.get(&id).map_or(Ticket::KEPT, |t| t.ticket)
    }

    /// Positions of a topic below `head` are kept and may be shown.
    pub fn kept(&mut self, id: TopicId, head: Position) {
        if id.is_delayed() {
            self.look_at_delayed(id.target());
        } else if let Some(topic) = self.topics.get_mut(&id).filter(|t| head > t.head) {
            topic.head = head;
            topic.readers.wake_for_events();
            self.woken.insert(id);
        }
    }

    /// These operations went into this batch.
    pub fn committed(&mut self, batch: u64, touched: &[Touched]) {
        for Touched { topic, what } in touched {
            let Some(topic) = self.topics.get_mut(topic) else {
                continue;
            };
            topic.ticket = Ticket { batch, level: topic.settings.durability };
            // What is created survives power loss, whatever the level of its events.
            let created = Ticket { batch, level: Durability::Synced };
            match what {
                TouchedPart::Topic => topic.created = created,
                TouchedPart::Group(id) => {
                    if let Some(group) = topic.groups.get_mut(id) {
                        group.created = created;
                    }
                }
                TouchedPart::Events(Some(producer)) => self.producers.committed(producer, topic.ticket),
                TouchedPart::Events(None) | TouchedPart::Settles => {}
            }
        }
    }

    /// When a topic is kept, and with `member` also the group that it is a member of.
    #[must_use]
    pub fn created(&self, id: TopicId, member: Option<SubscriptionKey>) -> Ticket {
        let Some(topic) = self.topics.get(&id) else {
            return Ticket::KEPT;
        };
        let group = match member.and_then(|key| topic.reader(key)) {
            Some(Reader::Group(id)) => Some(id),
            Some(Reader::Solo(key)) => topic.solos.get(&key).and_then(|solo| solo.group),
            None => None,
        };
        let group = group.and_then(|id| topic.groups.get(&id));
        topic.created.later(group.map_or(Ticket::KEPT, |g| g.created))
    }
}
