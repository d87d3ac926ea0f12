//! What must hold of events that a group gives up, and of those that wait.

use std::collections::BTreeMap;

use meshwire_proto::wire::admin::DeathReason;

use crate::history::{Settled, Topic};
use crate::script::{IMPATIENT, TUNED};
use crate::seen::Seen;
use crate::verdict::Log;

/// An event is given up when it was rejected, or failed too often.
pub(crate) fn what_is_given_up_has_a_cause(seen: &Seen<'_>, logs: &BTreeMap<Topic, Log>, broken: &mut Vec<String>) {
    for letter in seen.history.letters.iter().filter(|l| !seen.history.may_be_rewritten(l.topic)) {
        let id = logs.get(&letter.topic).and_then(|log| log.at(letter.position));
        let settled = id.and_then(|id| seen.history.settled.get(&(letter.group, id)));
        let has_cause = match letter.reason {
            DeathReason::Rejected => settled.is_some_and(Settled::is_rejected),
            DeathReason::Failures => {
                seen.history.gives_up_after(letter.group).is_some_and(|limit| letter.failures >= limit)
            }
            _ => false,
        };
        if !has_cause {
            broken.push(format!("a dead letter without a cause: {letter:?}"));
        }
    }
}

/// A nack that reached the gateway holds its event for the group's back-off.
pub(crate) fn a_nacked_event_waits(seen: &Seen<'_>, broken: &mut Vec<String>) {
    for d in &seen.history.delivered {
        let Some(group @ (IMPATIENT | TUNED)) = d.group else { continue };
        if seen.may_be_given_up(group, d.id, d.topic, d.position) {
            continue;
        }
        let Some(settled) = seen.history.settled.get(&(group, d.id)) else {
            continue;
        };
        let early = |n: &&crate::history::Given| {
            n.attempt < d.attempt
                && d.at > n.at
                && d.at.since(n.at) < seen.history.backoff(group, d.topic, (n.at, Seen::logged_by(n)))
                && !seen.restarted(n.at, d.at)
                && seen.must_stand(group, d, n)
        };
        if let Some(nack) = settled.nacks.iter().find(early) {
            broken.push(format!("event {} came at {:?}, too soon after its nack at {:?}", d.id, d.at, nack.at));
        }
    }
}
