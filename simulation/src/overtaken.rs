//! Events of topics with room for few: what retention took before somebody had it must be told, and nothing else
//! may be missing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use meshwire::session::Session;
use meshwire_proto::{Event, TopicName};

use crate::gateway::Gateway;
use crate::history::{Delivered, History, Topic};
use crate::script::{FIRST_MEMBER, IMPATIENT};

/// Ids from here on are of events of a topic.
const fn first_id(topic: Topic) -> u32 {
    if matches!(topic, Topic::Tight) { 3_000_000 } else { 2_000_000 }
}

/// What such a topic has room for.
pub(crate) const ROOM: u64 = 65_536;

/// What was seen of these topics.
#[derive(Debug, Default)]
pub(crate) struct Scarce {
    pub(crate) events: BTreeMap<u32, Offered>,
    pub(crate) came: Vec<Came>,
    /// Below this position everything was gone at some time.
    gone_before: u64,
    /// Some of what came tells of a gap, or is the first of its subscription, and it is not known yet what was gone
    /// by then.
    pub(crate) undated: bool,
}

/// An event that was published.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    bytes: Bytes,
    /// Its receipt came, with this position, 0 if it did not say.
    acked: Option<u64>,
}

/// One that came to a program.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) client: usize,
    generation: (u32, u32),
    group: Option<u8>,
    pub(crate) position: u64,
    id: u32,
    attempt: u32,
    /// How many were said to be missing just before.
    gap: u64,
    /// Everything below was gone when it was seen; `None` if that was not asked, or there was nobody to ask.
    gone_before: Option<u64>,
    intact: bool,
}

impl Scarce {
    /// A receipt; `false` if the event is of another topic.
    pub(crate) fn acked(&mut self, id: u32, position: u64) -> bool {
        let event = self.events.get_mut(&id);
        event.map(|event| event.acked = event.acked.max(Some(position))).is_some()
    }

    pub(crate) fn came(&mut self, d: &Delivered, gap: u64) {
        let intact = self.events.get(&d.id).is_some_and(|event| event.bytes == d.bytes);
        let is_same = |came: &&Came| (came.client, came.generation) == (d.client, d.generation);
        self.undated |= gap > 0 || !self.came.iter().rev().any(|came| is_same(&came));
        let Delivered { client, generation, group, position, id, attempt, .. } = *d;
        self.came.push(Came { client, generation, group, position, id, attempt, gap, gone_before: None, intact });
    }

    /// Of what was seen by now: below this position everything is gone.
    pub(crate) fn date(&mut self, first: Option<u64>) {
        self.gone_before = self.gone_before.max(first.unwrap_or(0));
        let known = first.map(|_| self.gone_before);
        let new = self.came.iter_mut().rev().take_while(|came| came.gone_before.is_none());
        new.for_each(|came| came.gone_before = known);
        self.undated = false;
    }
}

impl History {
    pub(crate) const fn scarce_mut(&mut self, topic: Topic) -> &mut Scarce {
        if matches!(topic, Topic::Tight) { &mut self.tight } else { &mut self.scarce }
    }

    /// Of what was seen by now of both topics: what is gone.
    pub(crate) fn date_gaps(&mut self, gateway: Option<&Gateway>) {
        let firsts = gateway.map(|gateway| gateway.firsts(Topic::SCARCE));
        for (n, topic) in Topic::SCARCE.into_iter().enumerate() {
            self.scarce_mut(topic).date(firsts.map(|firsts| firsts[n]));
        }
    }
}

/// Publishes one that was refused because its topic was full.
pub(crate) fn publish_again(session: &mut Session, history: &History, id: u32) -> Option<(u64, u32)> {
    let event = history.tight.events.get(&id)?;
    Some((session.publish(&TopicName::parse(Topic::Tight.name()).ok()?, &event.bytes), id))
}

/// Publishes one; gives its sequence and its id.
pub(crate) fn publish(session: &mut Session, history: &mut History, rng: &mut fastrand::Rng) -> Option<(u64, u32)> {
    let topic = if rng.bool() { Topic::Scarce } else { Topic::Tight };
    let scarce = history.scarce_mut(topic);
    let id = first_id(topic) + scarce.events.len() as u32;
    let data = vec![b'x'; rng.usize(2000..12_000)];
    let bytes = Event::bytes("sim", data).id(id.to_string()).source("/scarce").encode().ok()?;
    let sequence = session.publish(&TopicName::parse(topic.name()).ok()?, &bytes);
    scarce.events.insert(id, Offered { bytes, acked: None });
    Some((sequence, id))
}

/// Nobody misses what was there, and who misses what was taken is told how much it is.
pub(crate) fn what_retention_took_is_told_and_nothing_else_is_missing(history: &History, broken: &mut Vec<String>) {
    for (topic, scarce) in [(Topic::Scarce, &history.scarce), (Topic::Tight, &history.tight)] {
        let mut found = Vec::new();
        judge(history, topic, scarce, &mut found);
        broken.extend(found.into_iter().map(|sentence| format!("{}: {sentence}", topic.name())));
    }
}

fn judge(history: &History, topic: Topic, scarce: &Scarce, broken: &mut Vec<String>) {
    let mut at: BTreeMap<u64, u32> = BTreeMap::new();
    for came in &scarce.came {
        let id = *at.entry(came.position).or_insert(came.id);
        if id != came.id || !came.intact {
            broken.push(format!("event {} came at {}, where {id} stands, or changed", came.id, came.position));
        }
    }
    for (id, event) in &scarce.events {
        let Some(position) = event.acked.filter(|position| *position > 0) else { continue };
        match at.get(&position) {
            Some(other) if other != id => broken.push(format!("{other} came at {position} of event {id}")),
            None if position >= scarce.gone_before => {
                broken.push(format!("event {id} was kept at {position}, could be read, and never came"));
            }
            _ => {}
        }
    }
    for group in [0, IMPATIENT].into_iter().chain(history.members.iter().copied()) {
        let had: BTreeSet<u64> = scarce.came.iter().filter(|c| c.group == Some(group)).map(|c| c.position).collect();
        for position in at.keys().filter(|position| **position >= scarce.gone_before && !had.contains(position)) {
            broken.push(format!("{position} could be read and never came to group {group}"));
        }
    }
    if topic == Topic::Tight {
        groups_hold_it_up(history, &at, broken);
    }
    readers_are_told(scarce, broken);
    durable_members_are_told(scarce, broken);
}

/// A subscription without a place gets one event after the other, or is told exactly how many are missing.
fn readers_are_told(scarce: &Scarce, broken: &mut Vec<String>) {
    let mut last = BTreeMap::new();
    for came in scarce.came.iter().filter(|came| came.group.is_none()) {
        let Some(before) = last.insert((came.client, came.generation), came.position) else { continue };
        if before + 1 + came.gap != came.position {
            broken.push(format!(
                "reader {} got {} behind {before} and was told that {} are missing",
                came.client, came.position, came.gap
            ));
        }
        looked_for(came, before + 1..came.position, broken);
    }
}

/// What is missing was gone.
fn looked_for(came: &Came, missing: std::ops::Range<u64>, broken: &mut Vec<String>) {
    if let Some(first) = came.gone_before.filter(|first| missing.end > *first && !missing.is_empty()) {
        broken.push(format!(
            "client {} was told that what is before {} is missing, and {first} could be read",
            came.client, missing.end
        ));
    }
}

/// The same of one that has a place: it does not get again what it had before. What was gone when it began may have
/// been told to the subscription before it, and settled.
fn durable_members_are_told(scarce: &Scarce, broken: &mut Vec<String>) {
    let mut had: BTreeSet<(u8, u64)> = BTreeSet::new();
    let mut last = BTreeMap::new();
    for came in &scarce.came {
        let Some(group) = came.group.filter(|group| *group >= FIRST_MEMBER) else { continue };
        // The highest position, what was told with older ones since, and what was gone when the subscription began.
        let begins = (0_u64, 0_u64, came.gone_before.unwrap_or(u64::MAX));
        let (highest, told, gone) = last.entry((came.client, came.generation)).or_insert(begins);
        *told += came.gap;
        if came.position > *highest {
            let between = *highest + 1..came.position;
            let new = between.clone().filter(|position| *position >= *gone);
            let missing = new.filter(|position| !had.contains(&(group, *position))).count() as u64;
            if *highest > 0 && missing > *told {
                broken.push(format!(
                    "member {group} got {} behind {highest}, misses {missing}, and was told of {told}",
                    came.position
                ));
            }
            // One that comes again may have been taken where it waited.
            if *highest > 0 && came.attempt == 1 && *told > 0 && missing > 0 {
                looked_for(came, between, broken);
            }
            (*highest, *told) = (came.position, 0);
        }
        had.insert((group, came.position));
    }
}

/// From its first event on a group gets all of a topic that blocks, and never hears of a gap.
fn groups_hold_it_up(history: &History, at: &BTreeMap<u64, u32>, broken: &mut Vec<String>) {
    for group in [0, IMPATIENT].into_iter().chain(history.members.iter().copied()) {
        let mine = || history.tight.came.iter().filter(|came| came.group == Some(group));
        let had: BTreeSet<u64> = mine().map(|came| came.position).collect();
        let Some(first) = had.first() else { continue };
        for position in at.range(first..).map(|(position, _)| position).filter(|position| !had.contains(position)) {
            broken.push(format!("{position} never came to group {group}, for which it was to be kept"));
        }
        if let Some(told) = mine().find(|came| came.gap > 0) {
            broken.push(format!("group {group} was told that {} are missing before {}", told.gap, told.position));
        }
    }
}
