//! A group whose keys wait for their dead letters, which somebody removes: what is removed never comes again, is listed
//! nowhere, and its key goes on.

use std::collections::{BTreeMap, BTreeSet};

use meshwire::session::Session;
use meshwire_proto::{Event, Moment, TopicName};

use crate::history::{Delivered, History, Letter, Topic};
use crate::script::HOLDING;
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};

/// Ids from here on are of its events.
const FIRST: u32 = 4_000_000;

/// Keys of its events; the last of them is none.
const KEYS: u8 = 4;

/// What was seen of its topic.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) events: BTreeMap<u32, Kept>,
    pub(crate) came: Vec<Came>,
    pub(crate) purged: Vec<Purged>,
    pub(crate) listed: Vec<Listed>,
    /// When letters were given back.
    pub(crate) redriven: Vec<Moment>,
}

/// An event of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) key: Option<u8>,
    /// When it was answered as kept.
    pub(crate) acked: Option<Moment>,
}

/// One came to a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    pub(crate) at: Moment,
    /// In which life of the gateway.
    pub(crate) life: u32,
    pub(crate) id: u32,
    pub(crate) position: u64,
}

/// Letters were removed, all at once.
#[derive(Clone, Debug)]
pub(crate) struct Purged {
    pub(crate) at: Moment,
    pub(crate) life: u32,
    /// Of which events.
    pub(crate) ids: BTreeSet<u32>,
    /// When that was kept. What was not may be undone by the end of the gateway.
    pub(crate) kept: Option<Moment>,
}

/// Letters that were there: place and id of their events.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) at: Moment,
    pub(crate) letters: Vec<(u64, u32)>,
}

impl History {
    /// A receipt of one of its events.
    pub(crate) fn holding_acked(&mut self, now: Moment, id: u32) {
        if let Some(event) = self.holding.events.get_mut(&id) {
            event.acked.get_or_insert(now);
        }
    }

    pub(crate) fn has_holding(&self) -> bool {
        self.consumers.values().any(|group| *group == HOLDING)
    }

    /// Letters that are listed now: what was removed is not among them.
    pub(crate) fn letters_listed(&mut self, at: Moment, life: u32, letters: &[Letter]) {
        let letters: Vec<(u64, u32)> = letters.iter().map(|l| (l.position, l.id())).collect();
        let stand = self.holding.purged.iter().filter(|purged| purged.kept.is_some() || purged.life == life);
        let stand: Vec<&Purged> = stand.collect();
        for (_, id) in &letters {
            if let Some(purged) = stand.iter().find(|purged| purged.ids.contains(id)) {
                self.complaints
                    .push(format!("the dead letter of {id} was removed at {:?}, and is listed at {at:?}", purged.at));
            }
        }
        if !letters.is_empty() {
            self.holding.listed.push(Listed { at, letters });
        }
    }
}

impl Holding {
    pub(crate) fn came(&mut self, d: &Delivered) {
        self.came.push(Came { at: d.at, life: d.life, id: d.id, position: d.position });
    }
}

/// Publishes one; gives its sequence and its id.
pub(crate) fn publish(session: &mut Session, history: &mut History, rng: &mut fastrand::Rng) -> Option<(u64, u32)> {
    let id = FIRST + history.holding.events.len() as u32;
    let key = Some(rng.u8(0..KEYS)).filter(|key| *key < KEYS - 1);
    let mut event = Event::text("sim", "held").id(id.to_string()).source("/held");
    if let Some(key) = key {
        event = event.key(format!("key-{key}"));
    }
    let event = event.encode().ok()?;
    let sequence = session.publish(&TopicName::parse(Topic::Held.name()).ok()?, &event);
    history.holding.events.insert(id, Kept { key, acked: None });
    Some((sequence, id))
}

/// What was removed never comes again; a key waits for its letters, and for nothing else.
pub(crate) fn what_is_purged_is_gone_and_frees_its_key(seen: &Seen<'_>, broken: &mut Vec<String>) {
    let history = seen.history;
    let slack = |from, to| if seen.stalled(from, to) { HELD_BACK } else { UNDER_WAY };
    for purged in &history.holding.purged {
        let again = history.holding.came.iter().filter(|came| purged.ids.contains(&came.id));
        let mut again = again.filter(|came| purged.kept.is_some() || purged.life == came.life);
        if let Some(came) = again.find(|came| came.at > purged.at + slack(purged.at, came.at)) {
            broken.push(format!(
                "the dead letter of {} was removed at {:?}, and it came at {:?}",
                came.id, purged.at, came.at
            ));
        }
    }
    for listed in &history.holding.listed {
        for letter in &listed.letters {
            a_key_waits(seen, listed.at, *letter, broken);
        }
    }
    let had: BTreeSet<u32> = history.holding.came.iter().map(|came| came.id).collect();
    for (id, event) in &history.holding.events {
        if let Some(acked) = event.acked.filter(|_| !had.contains(id) && history.has_holding()) {
            broken.push(format!("event {id} was kept at {acked:?} and never came: what it waits for was removed"));
        }
    }
}

/// While a letter is there, what stands behind its event in its key does not come.
fn a_key_waits(seen: &Seen<'_>, at: Moment, (position, id): (u64, u32), broken: &mut Vec<String>) {
    let holding = &seen.history.holding;
    let key_of = |id: &u32| holding.events.get(id).and_then(|event| event.key);
    let Some(key) = key_of(&id) else { return };
    // One that was given back may be acked at any moment.
    if holding.redriven.iter().any(|redriven| *redriven <= at) {
        return;
    }
    let purged = holding.purged.iter().filter(|purged| purged.ids.contains(&id)).map(|purged| purged.at);
    let ends = seen.history.disasters.iter().map(|ended| ended.at).chain(holding.redriven.iter().copied());
    let until = purged.chain(ends).filter(|end| *end >= at).min().unwrap_or(seen.history.ended);
    let behind = holding.came.iter().filter(|came| came.position > position && key_of(&came.id) == Some(key));
    for came in behind.filter(|came| came.at < until) {
        let slack = if seen.stalled(at, came.at) { HELD_BACK } else { UNDER_WAY };
        if came.at > at + slack {
            broken.push(format!(
                "{} came at {:?}, and its key waits for the dead letter of {id} that was listed at {at:?}",
                came.id, came.at
            ));
            return;
        }
    }
}
