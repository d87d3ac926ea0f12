//! One topic of a shard: where it stands and who reads it.

use std::collections::BTreeMap;

use meshwire_proto::{GroupName, TopicName, UnixMillis};

use super::group::{Dying, Group, Pass};
use super::solo::Solo;
use super::{Now, Output, Source, SubscriptionKey};
use crate::store::{Durability, Grave, Limits, Position, Ticket, TopicId};

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
    pub(super) groups: BTreeMap<GroupName, Group>,
    pub(super) solos: BTreeMap<SubscriptionKey, Solo>,
    /// Of a topic of dead letters: those that are not settled.
    pub(super) graves: BTreeMap<Position, Grave>,
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
            solos: BTreeMap::new(),
            graves: BTreeMap::new(),
        }
    }

    /// Delivers to everyone what credit allows; what groups give up goes to `dying`.
    pub(super) fn dispatch(
        &mut self,
        now: Now,
        letters: TopicId,
        source: &mut dyn Source,
        out: &mut Vec<Output>,
    ) -> Vec<(GroupName, Vec<Dying>)> {
        for solo in self.solos.values_mut() {
            solo.dispatch(self.id, self.head, source, out);
        }
        let mut all = Vec::new();
        for (name, group) in &mut self.groups {
            let mut dying = Vec::new();
            group.dispatch(Pass::new(now, (self.id, letters), self.head, name, (source, out), &mut dying));
            if !dying.is_empty() {
                all.push((name.clone(), dying));
            }
        }
        all
    }

    /// The group a subscription is a member of.
    pub(super) fn group_of(&mut self, key: SubscriptionKey) -> Option<&mut Group> {
        self.groups.values_mut().find(|g| g.members.contains_key(&key))
    }
}
