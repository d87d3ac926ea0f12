//! What must hold of events that a group gives up, and of those that wait.

use std::collections::BTreeMap;

use meshwire_proto::wire::admin::DeathReason;

use crate::history::{Letter, Topic};
use crate::script::{BACKOFF, IMPATIENT, MAX_FAILURES};
use crate::seen::Seen;
use crate::verdict::Log;

/// Letters of an event, by group and position.
type ByEvent<'a> = BTreeMap<(u8, Topic, u64), Vec<&'a Letter>>;

/// An event is settled by an ack or is one dead letter, and never both for good.
pub(crate) fn what_is_given_up_is_one_dead_letter(
    seen: &Seen<'_>,
    logs: &BTreeMap<Topic, Log>,
    broken: &mut Vec<String>,
) {
    let history = seen.history;
    let mut letters = ByEvent::new();
    for letter in &history.letters {
        letters.entry((letter.group, letter.topic, letter.position)).or_default().push(letter);
    }
    for ((group, topic, position), all) in &letters {
        if *group != IMPATIENT || all.len() > 1 {
            broken.push(format!("group {group}: {} dead letters of {} {position}", all.len(), topic.name()));
        }
    }
    for (topic, log) in logs.iter().filter(|(topic, _)| !history.may_be_rewritten(**topic)) {
        for (id, position) in &log.position {
            let settled = history.settled.get(&(IMPATIENT, *id));
            let letter = letters.get(&(IMPATIENT, *topic, *position)).and_then(|all| all.first());
            match letter {
                None if settled.is_none_or(|s| s.acks.is_empty()) => broken.push(format!(
                    "group {IMPATIENT}: event {id} at {position} of {} was never acked and is no dead letter",
                    topic.name()
                )),
                None => {}
                Some(letter) => judge(seen, *id, letter, broken),
            }
        }
    }
}

fn judge(seen: &Seen<'_>, id: u32, letter: &Letter, broken: &mut Vec<String>) {
    let mut wrong = |what: &str| broken.push(format!("dead letter of event {id}: {what}: {letter:?}"));
    let published = seen.history.published.get(&id);
    if published.is_none_or(|p| p.bytes != letter.bytes) {
        wrong("changed bytes");
    }
    let settled = seen.history.settled.get(&(letter.group, id));
    let rejected = settled.is_some_and(|s| s.rejected);
    match letter.reason {
        DeathReason::Rejected if rejected => {}
        DeathReason::Failures if letter.failures >= MAX_FAILURES => {}
        _ => wrong("without a cause"),
    }
    let confirmed = settled.and_then(|s| s.confirmed);
    if confirmed.is_some_and(|at| seen.is_for_good(letter.topic, at)) {
        wrong("its ack was confirmed");
    }
}

/// A nack that reached the gateway holds its event for the group's back-off.
pub(crate) fn a_nacked_event_waits(seen: &Seen<'_>, broken: &mut Vec<String>) {
    for d in seen.history.delivered.iter().filter(|d| d.group == Some(IMPATIENT)) {
        if seen.may_be_given_up(IMPATIENT, d.id, d.topic, d.position) {
            continue;
        }
        let Some(settled) = seen.history.settled.get(&(IMPATIENT, d.id)) else {
            continue;
        };
        let early = |n: &&crate::history::Given| {
            n.attempt < d.attempt
                && d.at > n.at
                && d.at.since(n.at) < BACKOFF
                && !seen.restarted(n.at, d.at)
                && seen.must_stand(IMPATIENT, d, n)
        };
        if let Some(nack) = settled.nacks.iter().find(early) {
            broken.push(format!("event {} came at {:?}, too soon after its nack at {:?}", d.id, d.at, nack.at));
        }
    }
}
