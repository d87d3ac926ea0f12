//! Leases that were extended. Each is remembered once however often it is extended, and goes with its delivery: a
//! consumer that extends as fast as it can costs no more than one that does so in time.

use std::collections::{BTreeMap, BTreeSet};

use meshwire_proto::Moment;

use super::Group;
use crate::engine::SubscriptionKey;

/// When an extended lease ends, and the latest it may.
#[derive(Clone, Copy)]
pub(super) struct Extension {
    pub(super) ends: Moment,
    pub(super) latest: Moment,
}

/// By delivery: as many as members hold, at most.
#[derive(Default)]
pub(super) struct Extended {
    of: BTreeMap<(SubscriptionKey, u64), Extension>,
    /// The same, by when they end.
    by_end: BTreeSet<(Moment, SubscriptionKey, u64)>,
}

impl Extended {
    pub(super) fn get(&self, member: SubscriptionKey, number: u64) -> Option<Extension> {
        self.of.get(&(member, number)).copied()
    }

    pub(super) fn set(&mut self, (member, number): (SubscriptionKey, u64), extension: Extension) {
        if let Some(before) = self.of.insert((member, number), extension) {
            self.by_end.remove(&(before.ends, member, number));
        }
        self.by_end.insert((extension.ends, member, number));
    }

    /// The one that ends first, and when.
    pub(super) fn first(&self) -> Option<(Moment, SubscriptionKey, u64)> {
        self.by_end.first().copied()
    }

    /// The delivery is not held any more, or its lease has ended.
    pub(super) fn remove(&mut self, member: SubscriptionKey, number: u64) {
        if let Some(known) = self.of.remove(&(member, number)) {
            self.by_end.remove(&(known.ends, member, number));
        }
    }

    /// The same for all deliveries of a member from a number on.
    pub(super) fn remove_from(&mut self, member: SubscriptionKey, number: u64) {
        let of: Vec<u64> =
            self.of.range((member, number)..=(member, u64::MAX)).map(|((_, number), _)| *number).collect();
        of.into_iter().for_each(|number| self.remove(member, number));
    }
}

impl Group {
    /// Takes a delivery away from its member.
    pub(super) fn lose(&mut self, member: SubscriptionKey, number: u64) {
        self.extended.remove(member, number);
        if let Some(subscriber) = self.members.get_mut(&member) {
            subscriber.deliveries.take_back(number);
        }
    }

    /// What is remembered of leases: entries with one deadline, and extended deliveries.
    #[cfg(test)]
    pub(in crate::engine) fn remembered(&self) -> (usize, usize) {
        (self.leases.len(), self.extended.of.len().max(self.extended.by_end.len()))
    }
}
