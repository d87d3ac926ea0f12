//! A history as the library of histories reads it: one for each topic, with
//! everything excused that only a simulation knows the reasons of.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use meshwire_history::{
    Absence, Answer, DeadLetter, Death, Delivery, Event, Group, History, Level, Name, Published, Settle, SettleKind,
    Stored,
};
use meshwire_proto::frame::SettleKind as Kind;
use meshwire_proto::{EventLimits, EventView, Moment};

use crate::history::{Delivered, Disaster, Given, Settled, Topic};
use crate::keys::is_about;
use crate::script::{ACK_WAIT, IMPATIENT, TUNED};
use crate::seen::{HELD_BACK, SETTLES_LOGGED_WITHIN, Seen, UNDER_WAY};
use crate::tuned::ack_waits;

/// What was seen of each topic.
pub(crate) fn reports(seen: &Seen<'_>) -> Vec<History> {
    Topic::ALL.into_iter().map(|topic| report(seen, topic)).collect()
}

fn report(seen: &Seen<'_>, topic: Topic) -> History {
    let mut report = History::new(topic.name());
    report.level = match topic {
        Topic::Orders | Topic::Brief | Topic::Scarce | Topic::Tight | Topic::Held | Topic::Fleeting => Level::Synced,
        Topic::Audit => Level::Written,
    };
    report.forgive.settle_before_death = SETTLES_LOGGED_WITHIN;
    report.forgive.under_way = UNDER_WAY;
    // A durable member has all of the topic for itself, as a group has.
    let tuned = seen.history.consumers.values().any(|group| *group == TUNED).then_some(TUNED);
    for group in [0, IMPATIENT].into_iter().chain(tuned).chain(seen.history.members.iter().copied()) {
        let max_failures = seen.history.gives_up_after(group);
        let (ack_wait, _) = ack_waits(group);
        report.groups.push(Group { name: group_name(group), ack_wait, max_failures, finished: true });
    }
    // What it has to do with an event ends when it is moved.
    let stretch = |name| Group { name, ack_wait: ACK_WAIT, max_failures: None, finished: false };
    report.groups.extend(seen.stretches(topic).into_iter().map(stretch));
    let history = seen.history;
    for p in history.published.values().filter(|p| p.topic == topic) {
        // A refusal is for want of room: what is published again may be kept.
        let answer = p.acked.map_or(Answer::Open, |at| Answer::Acknowledged(span(at)));
        report.published.push(Published { event: event(&p.bytes), at: span(p.at), answer });
    }
    let log = history.log.get(&topic).into_iter().flatten();
    report.log = log.map(|(position, bytes)| Stored { position: *position, event: event(bytes) }).collect();
    for letter in history.letters.iter().filter(|l| l.topic == topic) {
        let (group, event) = (group_name(letter.group), event(&letter.bytes));
        report.letters.push(DeadLetter { group, position: letter.position, event });
    }
    for ended in &history.disasters {
        let power_lost = ended.how == Disaster::PowerLoss;
        report.deaths.push(Death { at: span(ended.at), life: ended.life.into(), power_lost });
    }
    for (client, breaks) in &history.breaks {
        let member = member_name(*client);
        report.absences.extend(breaks.iter().map(|at| Absence { at: span(*at), member: member.clone() }));
    }
    for (client, left) in &history.left {
        let member = member_name(*client);
        report.absences.extend(left.iter().map(|at| Absence { at: span(*at), member: member.clone() }));
    }
    report.deliveries = deliveries(seen, topic);
    let log: Vec<(u64, u64)> = report.log.iter().map(|stored| (stored.event.id, stored.position)).collect();
    let given_back = log.iter().filter_map(|(id, position)| Some((u32::try_from(*id).ok()?, *position)));
    report.given_back = given_back
        .flat_map(|(id, position)| [(IMPATIENT, id, position), (TUNED, id, position)])
        .filter(|(group, id, position)| seen.may_be_given_up(*group, *id, topic, *position))
        .map(|(group, id, _)| (group_name(group), u64::from(id)))
        .chain(seen.out_of_stretch(topic, &log))
        .collect();
    for ((group, id), settled) in &history.settled {
        if history.published.get(id).is_some_and(|p| p.topic == topic) {
            report.settles.extend(settles(seen, *group, *id, settled));
        }
    }
    report
}

fn deliveries(seen: &Seen<'_>, topic: Topic) -> Vec<Delivery> {
    let mut last: BTreeMap<(u8, u32), &Delivered> = BTreeMap::new();
    let mut deliveries = Vec::new();
    for d in seen.history.delivered.iter().filter(|d| d.topic == topic) {
        let before = d.group.and_then(|group| last.insert((group, d.id), d));
        // A reader goes on where it was, whatever becomes of its sessions.
        let (life, session) = d.generation;
        let session = if d.group.is_some() { session } else { 0 };
        deliveries.push(Delivery {
            at: span(d.at),
            life: d.life.into(),
            group: seen.seen_as(d),
            member: member_name(d.client),
            subscription: u64::from(life) << 32 | u64::from(session),
            position: d.position,
            attempt: d.attempt,
            event: event(&d.bytes),
            excused: before.is_some_and(|before| may_come_again(seen, before, d)),
        });
    }
    deliveries
}

/// Whether a lease may have ended between two deliveries of an event, beyond what
/// the library knows: wires are held back here.
fn may_come_again(seen: &Seen<'_>, before: &Delivered, d: &Delivered) -> bool {
    let ended = d.group.is_some_and(|group| d.at.since(before.at) + HELD_BACK >= ack_waits(group).0);
    // Positions that went to others say nothing of what stands before an event.
    let unknown = seen.key(d.id).is_some() && seen.history.may_be_rewritten(d.topic);
    ended || unknown || d.group.is_some_and(|group| seen.may_be_taken_back(group, d, before.at, d.at))
}

fn settles(seen: &Seen<'_>, group: u8, id: u32, settled: &Settled) -> Vec<Settle> {
    let mut settles = Vec::new();
    for given in settled.acks.iter().chain(&settled.nacks) {
        let Some(d) = seen.deliveries(group, id).iter().find(|d| is_about(given, d)) else {
            continue;
        };
        // Nobody knows whether it was for what was before a move or behind it.
        let Some(name) = seen.stretch(d).and_then(|_| seen.seen_as(d)) else {
            continue;
        };
        let nacked = settled.nacks.iter().any(|n| n.at <= given.at);
        settles.push(Settle {
            at: span(given.at),
            life: d.life.into(),
            group: name,
            event: id.into(),
            kind: kind(given),
            confirmed: given.confirmed.map(span),
            excused: nacked || !seen.must_stand(group, d, given),
        });
    }
    settles
}

const fn kind(given: &Given) -> SettleKind {
    match given.kind {
        Kind::Ack => SettleKind::Ack,
        Kind::Reject => SettleKind::Reject,
        _ => SettleKind::Nack,
    }
}

/// An event as it can be read; bytes that are none are event 0, which nobody published.
fn event(bytes: &Bytes) -> Event {
    let view = EventView::parse(bytes, EventLimits::default());
    let (id, key) = view.map_or((0, None), |view| (view.id().parse().unwrap_or(0), view.key()));
    Event::new(id, key, bytes)
}

pub(crate) fn group_name(group: u8) -> Name {
    format!("g{group}").into()
}

fn member_name(client: usize) -> Name {
    format!("client-{client}").into()
}

fn span(at: Moment) -> Duration {
    at.since(Moment(0))
}
