//! A topic that is deleted while it is published to and consumed from, and made anew by whoever names it next: nothing
//! of its old life is in the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwire::session::Session;
use meshwire_gateway::engine::Now;
use meshwire_proto::{Event, Moment, Timing, TopicName, UnixMillis};

use crate::history::{Delivered, History, Letter, Topic};
use crate::script::FLEETING;
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};

/// Ids from here on are of its events.
const FIRST: u32 = 5_000_000;

/// What was seen of it.
#[derive(Debug, Default)]
pub(crate) struct Fleeting {
    pub(crate) events: BTreeMap<u32, Passing>,
    pub(crate) came: Vec<Came>,
    pub(crate) deleted: Vec<Deleted>,
}

/// An event of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing {
    /// When it was first published.
    pub(crate) at: Moment,
    /// When it was answered as kept.
    pub(crate) acked: Option<Moment>,
}

/// One came to a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    pub(crate) at: Moment,
    /// In which life of the gateway.
    pub(crate) life: u32,
    pub(crate) group: Option<u8>,
    pub(crate) position: u64,
    pub(crate) id: u32,
}

/// The topic was deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deleted {
    pub(crate) at: Moment,
    pub(crate) life: u32,
    /// When that was kept. What was not may be undone by the end of the gateway.
    pub(crate) kept: Option<Moment>,
}

impl Deleted {
    fn stands(&self, life: u32) -> bool {
        self.kept.is_some() || self.life == life
    }
}

impl Fleeting {
    /// The last deletion that stands in this life and that an event was kept before.
    fn gone(&self, id: u32, life: u32) -> Option<&Deleted> {
        let acked = self.events.get(&id)?.acked?;
        self.deleted.iter().rev().find(|deleted| deleted.stands(life) && acked < deleted.at)
    }

    pub(crate) fn came(&mut self, d: &Delivered) {
        let Delivered { at, life, group, position, id, .. } = *d;
        self.came.push(Came { at, life, group, position, id });
    }

    /// A receipt of one of its events.
    pub(crate) fn acked(&mut self, now: Moment, id: u32) {
        if let Some(event) = self.events.get_mut(&id) {
            event.acked.get_or_insert(now);
        }
    }
}

impl History {
    pub(crate) fn has_fleeting(&self) -> bool {
        self.consumers.values().any(|group| *group == FLEETING)
    }

    /// Dead letters that are listed now are none of a life that is over.
    pub(crate) fn fleeting_listed(&mut self, at: Moment, life: u32, letters: &[Letter]) {
        for id in letters.iter().map(Letter::id) {
            if let Some(deleted) = self.fleeting.gone(id, life) {
                let when = deleted.at;
                self.complaints
                    .push(format!("the topic of {id} was deleted at {when:?}, and it is a dead letter at {at:?}"));
            }
        }
    }
}

/// Publishes one, some of them for later; gives its sequence and its id.
pub(crate) fn publish(
    session: &mut Session,
    now: Now,
    history: &mut History,
    rng: &mut fastrand::Rng,
) -> Option<(u64, u32)> {
    let id = FIRST + history.fleeting.events.len() as u32;
    let event = Event::text("sim", "fleeting").id(id.to_string()).source("/fleeting");
    let event = if rng.bool() { event.key(format!("key-{}", rng.u8(0..3))) } else { event };
    let event = event.encode().ok()?;
    let later = rng.u32(0..5) == 0;
    let deliver_at = UnixMillis(if later { now.wall.0 + rng.i64(1..3000) } else { 0 });
    let topic = TopicName::parse(Topic::Fleeting.name()).ok()?;
    let sequence = session.publish_timed(&topic, &event, Timing { deliver_at, expires_in_ms: 0 });
    history.fleeting.events.insert(id, Passing { at: now.mono, acked: None });
    history.totals.delayed += u64::from(later);
    Some((sequence, id))
}

/// Nothing of a life that is over comes, and all of the one that is not does, each event at its own place.
pub(crate) fn nothing_of_a_deleted_topic_comes_again(seen: &Seen<'_>, broken: &mut Vec<String>) {
    let fleeting = &seen.history.fleeting;
    let slack = |from, to| if seen.stalled(from, to) { HELD_BACK } else { UNDER_WAY };
    for came in &fleeting.came {
        let gone = fleeting.gone(came.id, came.life).filter(|d| came.at > d.at + slack(d.at, came.at));
        if let Some(deleted) = gone {
            broken.push(format!(
                "fleeting: event {} came at {:?}, and its topic was deleted at {:?}",
                came.id, came.at, deleted.at
            ));
        }
    }
    let mine = fleeting.came.iter().filter(|came| came.group == Some(FLEETING));
    let had: BTreeSet<u32> = mine.map(|came| came.id).collect();
    let last = fleeting.deleted.last().map_or(Moment(0), |deleted| deleted.at);
    let after_last = fleeting.events.iter().filter(|(_, event)| event.at > last || last == Moment(0));
    for (id, event) in after_last.filter(|(id, _)| seen.history.has_fleeting() && !had.contains(id)) {
        if let Some(acked) = event.acked {
            broken.push(format!("fleeting: event {id} was kept at {acked:?}, and never came"));
        }
    }
    each_has_its_place(seen, (last, slack(last, seen.history.ended)), broken);
}

/// Of what came for certain of the last life: places begin with the first, and each has one event.
fn each_has_its_place(seen: &Seen<'_>, (last, slack): (Moment, Duration), broken: &mut Vec<String>) {
    let fleeting = &seen.history.fleeting;
    if fleeting.deleted.last().is_some_and(|deleted| deleted.kept.is_none()) {
        return;
    }
    let mut at: BTreeMap<u64, u32> = BTreeMap::new();
    for came in fleeting.came.iter().filter(|came| came.at > last + slack) {
        let id = *at.entry(came.position).or_insert(came.id);
        if id != came.id {
            broken.push(format!("fleeting: events {id} and {} came at {}", came.id, came.position));
        }
    }
    let events = fleeting.events.len() as u64;
    if let Some((position, id)) = at.last_key_value().filter(|(position, _)| **position > events) {
        broken.push(format!("fleeting: event {id} came at {position}, and {events} were published in all"));
    }
}
