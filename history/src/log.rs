//! What must hold of the log, and of every event that was seen anywhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::Index;
use crate::model::{Answer, DeadLetter, Delivery, Event, Published};

pub(crate) fn lost(index: &Index<'_>) -> Vec<String> {
    let history = index.history;
    let lost = history.published.iter().filter_map(|published| {
        let Answer::Acknowledged(at) = published.answer else {
            return None;
        };
        let id = published.event.id;
        let is_lost = index.position(id).is_none() && history.is_for_good(at);
        is_lost.then(|| format!("event {id} was acknowledged at {at:?} and is not in the log"))
    });
    lost.collect()
}

pub(crate) fn phantom(index: &Index<'_>) -> Vec<String> {
    let of_whom = |event: &Event, place: &Place<'_>| match index.published(event.id) {
        None => Some("nobody published it".to_owned()),
        Some(Published { answer: Answer::Refused(at), .. }) => Some(format!("it was refused at {at:?}")),
        Some(Published { at, .. }) => match place {
            Place::Delivery(d) if d.at < *at => Some(format!("it was published at {at:?}")),
            _ => None,
        },
    };
    let seen = sightings(index).filter_map(|(event, place)| Some((event, of_whom(event, &place)?, place)));
    seen.map(|(event, why, place)| format!("event {} {}, and {why}", event.id, place.say())).collect()
}

pub(crate) fn changed(index: &Index<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    for (event, place) in sightings(index) {
        let Some(published) = index.published(event.id).map(|p| &p.event).filter(|p| *p != event) else {
            continue;
        };
        let what = if published.key == event.key { "bytes" } else { "key" };
        sentences.push(format!("event {} {}, and its {what} changed", event.id, place.say()));
    }
    sentences
}

pub(crate) fn doubled(index: &Index<'_>) -> Vec<String> {
    let twice = index.history.log.iter().filter_map(|stored| {
        let (id, position) = (stored.event.id, stored.position);
        let first = index.position(id).filter(|first| *first != position)?;
        Some(format!("event {id} is in the log twice, at {first} and at {position}"))
    });
    twice.collect()
}

pub(crate) fn misplaced(index: &Index<'_>) -> Vec<String> {
    let history = index.history;
    let mut sentences = Vec::new();
    let mut at = BTreeMap::new();
    for stored in &history.log {
        if let Some(other) = at.insert(stored.position, stored.event.id) {
            sentences
                .push(format!("events {other} and {} are both at {} of the log", stored.event.id, stored.position));
        }
    }
    if history.may_be_rewritten() {
        return sentences;
    }
    // An event that is there twice is at both places.
    let stands: BTreeSet<(u64, u64)> = history.log.iter().map(|stored| (stored.position, stored.event.id)).collect();
    for (event, place) in sightings(index).filter(|(event, place)| !stands.contains(&(place.position(), event.id))) {
        if index.published(event.id).is_some() {
            let stands = index.position(event.id);
            let stands = stands.map_or("is not in the log".to_owned(), |at| format!("is at {at} of the log"));
            sentences.push(format!("event {} {}, and {stands}", event.id, place.say()));
        }
    }
    sentences
}

/// Where an event was seen.
enum Place<'a> {
    Log(u64),
    Delivery(&'a Delivery),
    Letter(&'a DeadLetter),
}

impl Place<'_> {
    const fn position(&self) -> u64 {
        match self {
            Self::Log(position) => *position,
            Self::Delivery(d) => d.position,
            Self::Letter(letter) => letter.position,
        }
    }

    fn say(&self) -> String {
        match self {
            Self::Log(position) => format!("is at {position} of the log"),
            Self::Delivery(d) => {
                let group = d.group.as_ref().map_or(String::new(), |group| format!(" of group {group}"));
                format!("came to {}{group} at {:?} as position {}", d.member, d.at, d.position)
            }
            Self::Letter(letter) => {
                format!("is a dead letter of group {} with position {}", letter.group, letter.position)
            }
        }
    }
}

/// Every place where an event was seen.
fn sightings<'a>(index: &Index<'a>) -> impl Iterator<Item = (&'a Event, Place<'a>)> {
    let history = index.history;
    let log = history.log.iter().map(|stored| (&stored.event, Place::Log(stored.position)));
    let deliveries = history.deliveries.iter().map(|d| (&d.event, Place::Delivery(d)));
    log.chain(deliveries).chain(history.letters.iter().map(|letter| (&letter.event, Place::Letter(letter))))
}
