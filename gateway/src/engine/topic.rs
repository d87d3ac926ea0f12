//! One topic of a shard: where it stands and who reads it.

use std::collections::BTreeMap;

use meshwire_proto::{GroupKey, GroupName, TopicName, UnixMillis};

use super::delayed::Delayed;
use super::group::{Dying, Group, Pass};
use super::readers::{Reader, Readers};
use super::solo::Solo;
use super::subscriber::Subscriber;
use super::{Credit, Leaving, Now, Output, Source, SubscriptionKey};
use crate::store::{Durability, Expiries, Grave, GroupId, Limits, Position, Ticket, TopicId};

/// What a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Its name.
    pub name: TopicName,
    /// What an acknowledgement says.
    pub durability: Durability,
    /// How long events stay at least readable, in milliseconds.
    pub retention_ms: u64,
    /// How much of it is kept.
    pub limits: Limits,
}

pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) settings: TopicSettings,
    /// Position of the next append.
    pub(super) next: Position,
    /// Positions below may be shown: they are kept.
    pub(super) head: Position,
    /// When the last commit of this topic is kept.
    pub(super) ticket: Ticket,
    /// When the topic itself is kept.
    pub(super) created: Ticket,
    /// Stored time never goes back.
    pub(super) stored: UnixMillis,
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// Groups, and durable members of broadcast groups.
    pub(super) names: BTreeMap<GroupKey, GroupId>,
    /// The group of each member.
    members: BTreeMap<SubscriptionKey, GroupId>,
    pub(super) solos: BTreeMap<SubscriptionKey, Solo>,
    pub(super) readers: Readers,
    /// Of a topic of dead letters: those that are not settled.
    pub(super) graves: BTreeMap<Position, Grave>,
    /// Events that wait for their time, if ever there were some.
    pub(super) delayed: Option<Box<Delayed>>,
    /// Until when events are delivered.
    pub(super) expiries: Expiries,
}

impl Topic {
    pub(super) fn new(id: TopicId, settings: TopicSettings, next: Position, stored: UnixMillis) -> Self {
        Self {
            id,
            settings,
            next,
            head: next,
            ticket: Ticket::KEPT,
            created: Ticket::KEPT,
            stored,
            groups: BTreeMap::new(),
            names: BTreeMap::new(),
            members: BTreeMap::new(),
            solos: BTreeMap::new(),
            readers: Readers::default(),
            graves: BTreeMap::new(),
            delayed: None,
            expiries: Expiries::default(),
        }
    }

    pub(super) fn add_group(&mut self, group: Group) {
        self.names.insert(group.name.clone(), group.id);
        self.groups.insert(group.id, group);
    }

    /// Durable members of a broadcast group, by name.
    pub(super) fn members_of(&self, group: &GroupName) -> impl Iterator<Item = &Group> {
        let from = GroupKey::from(group.clone());
        let within = self.names.range(from..).take_while(move |(name, _)| name.group == *group);
        within.filter(|(name, _)| name.member.is_some()).filter_map(|(_, id)| self.groups.get(id))
    }

    pub(super) fn remove_group(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.remove(&id)?;
        self.names.remove(&group.name);
        self.readers.forget(Reader::Group(id));
        Some(group)
    }

    pub(super) fn named(&self, name: &GroupKey) -> Option<&Group> {
        self.groups.get(self.names.get(name)?)
    }

    pub(super) fn named_mut(&mut self, name: &GroupKey) -> Option<&mut Group> {
        self.groups.get_mut(self.names.get(name)?)
    }

    pub(super) fn join(&mut self, id: GroupId, key: SubscriptionKey, credit: Credit) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.join(key, credit);
            self.members.insert(key, id);
            self.readers.wake(Reader::Group(id));
        }
    }

    /// A member goes; its group is named.
    pub(super) fn leave(&mut self, now: Now, key: SubscriptionKey, how: Leaving) -> Option<GroupId> {
        let id = self.members.remove(&key)?;
        self.groups.get_mut(&id)?.leave(now, key, how);
        Some(id)
    }

    /// Who reads for a subscription.
    pub(super) fn reader(&self, key: SubscriptionKey) -> Option<Reader> {
        match self.members.get(&key) {
            Some(id) => Some(Reader::Group(*id)),
            None => self.solos.contains_key(&key).then_some(Reader::Solo(key)),
        }
    }

    pub(super) fn subscriber(&mut self, key: SubscriptionKey) -> Option<&mut Subscriber> {
        match self.reader(key)? {
            Reader::Solo(key) => self.solos.get_mut(&key).map(|solo| &mut solo.subscriber),
            Reader::Group(id) => self.groups.get_mut(&id)?.members.get_mut(&key),
        }
    }

    /// Delivers to the next reader that was woken what credit allows; what its group gives up goes to `dying`.
    pub(super) fn dispatch(
        &mut self,
        now: Now,
        (letters, max_lag): (TopicId, u64),
        (source, out): (&mut dyn Source, &mut Vec<Output>),
        dying: &mut Vec<Dying>,
    ) -> Option<Reader> {
        let reader = self.readers.next()?;
        // The time of a topic never goes back: what has expired stays so.
        let expiries = (&self.expiries, self.stored.max(now.wall));
        let waits = match reader {
            Reader::Solo(key) => {
                // What is in a log can be read from there, however far behind.
                let floor = if self.id.is_memory() { self.head.saturating_sub(max_lag) } else { 0 };
                let solo = self.solos.get_mut(&key);
                solo.map(|solo| solo.dispatch(self.id, (floor, self.head), expiries, (source, out)))
            }
            Reader::Group(id) => self.groups.get_mut(&id).map(|group| {
                group.dispatch(Pass::new((now, expiries), (self.id, letters), self.head, (source, out), dying))
            }),
        };
        self.readers.note(reader, waits.unwrap_or_default());
        Some(reader)
    }
}
