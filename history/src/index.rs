//! A history by event, key and place.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DeadLetter, Delivery, History, Published, Settle};

/// What is known of an event in a group: by group and id.
type InGroups<'a, T> = BTreeMap<&'a str, BTreeMap<u64, Vec<&'a T>>>;

pub(crate) struct Index<'a> {
    pub(crate) history: &'a History,
    published: BTreeMap<u64, &'a Published>,
    /// Where an event stands; the first place, if there are two.
    positions: BTreeMap<u64, u64>,
    /// Positions and ids of the events of a key, in log order.
    keys: BTreeMap<&'a str, Vec<(u64, u64)>>,
    deliveries: InGroups<'a, Delivery>,
    settles: InGroups<'a, Settle>,
    letters: InGroups<'a, DeadLetter>,
    given_back: BTreeSet<(&'a str, u64)>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(history: &'a History) -> Self {
        let mut index = Self {
            history,
            published: history.published.iter().map(|p| (p.event.id, p)).collect(),
            positions: BTreeMap::new(),
            keys: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            settles: BTreeMap::new(),
            letters: BTreeMap::new(),
            given_back: history.given_back.iter().map(|(group, id)| (&**group, *id)).collect(),
        };
        for stored in &history.log {
            index.positions.entry(stored.event.id).or_insert(stored.position);
        }
        for (id, position) in &index.positions {
            if let Some(key) = index.published.get(id).and_then(|p| p.event.key.as_deref()) {
                index.keys.entry(key).or_default().push((*position, *id));
            }
        }
        index.keys.values_mut().for_each(|events| events.sort_unstable());
        for d in &history.deliveries {
            if let Some(group) = &d.group {
                add(&mut index.deliveries, group, d.event.id, d);
            }
        }
        for settle in &history.settles {
            add(&mut index.settles, &settle.group, settle.event, settle);
        }
        for letter in &history.letters {
            add(&mut index.letters, &letter.group, letter.event.id, letter);
        }
        index
    }

    pub(crate) fn published(&self, id: u64) -> Option<&'a Published> {
        self.published.get(&id).copied()
    }

    pub(crate) fn position(&self, id: u64) -> Option<u64> {
        self.positions.get(&id).copied()
    }

    /// Every event of the log with its position, by id.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (u64, u64)> {
        self.positions.iter().map(|(id, position)| (*id, *position))
    }

    /// Positions and ids of the events that stand before an event in its key, in log order.
    pub(crate) fn earlier(&self, d: &Delivery) -> &[(u64, u64)] {
        let key = self.published(d.event.id).and_then(|p| p.event.key.as_deref());
        let all = key.and_then(|key| self.keys.get(key)).map_or(&[][..], Vec::as_slice);
        let before = all.partition_point(|(position, _)| *position < d.position);
        all.get(..before).unwrap_or_default()
    }

    /// Deliveries of an event to a group, in the order in which they came.
    pub(crate) fn deliveries(&self, group: &str, id: u64) -> &[&'a Delivery] {
        all(&self.deliveries, group, id)
    }

    /// What was said of an event in a group.
    pub(crate) fn settles(&self, group: &str, id: u64) -> &[&'a Settle] {
        all(&self.settles, group, id)
    }

    /// Group, id and letters of every event that is a dead letter of a group.
    pub(crate) fn letters(&self) -> impl Iterator<Item = (&'a str, u64, &[&'a DeadLetter])> {
        let groups = self.letters.iter();
        groups.flat_map(|(group, events)| events.iter().map(|(id, letters)| (*group, *id, letters.as_slice())))
    }

    pub(crate) fn is_given_back(&self, group: &str, id: u64) -> bool {
        self.given_back.contains(&(group, id))
    }

    pub(crate) fn is_dead(&self, group: &str, id: u64) -> bool {
        !all(&self.letters, group, id).is_empty()
    }

    /// Whether a delivery is late: the same life had made a later one to another
    /// member by then, which was faster. So the event has not come again with it.
    pub(crate) fn is_overtaken(&self, group: &str, d: &Delivery) -> bool {
        let made_later = |other: &Delivery| other.life == d.life && other.attempt > d.attempt;
        let all = self.deliveries(group, d.event.id).iter();
        all.filter(|other| made_later(other)).any(|other| other.at <= d.at && other.member != d.member)
    }
}

fn add<'a, T>(to: &mut InGroups<'a, T>, group: &'a str, id: u64, what: &'a T) {
    to.entry(group).or_default().entry(id).or_default().push(what);
}

fn all<'s, 'a, T>(of: &'s InGroups<'a, T>, group: &str, id: u64) -> &'s [&'a T] {
    of.get(group).and_then(|events| events.get(&id)).map_or(&[], Vec::as_slice)
}
