//! What must hold of leases, settles and attempts.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Delivered, Topic};
use crate::script::ACK_WAIT;
use crate::seen::{HELD_BACK, Seen};

pub(crate) fn confirmed_acks_stand(seen: &Seen<'_>, broken: &mut Vec<String>) {
    for d in &seen.history.delivered {
        let Some(group) = d.group.filter(|group| !seen.is_overtaken(*group, d)) else { continue };
        let Some(confirmed) = seen.history.settled.get(&(group, d.id)).and_then(|s| s.confirmed) else {
            continue;
        };
        if confirmed < d.at && seen.is_for_good(d.topic, confirmed) {
            broken.push(format!(
                "group {group}: event {} came again at {:?}, after its ack was confirmed at {confirmed:?}",
                d.id, d.at
            ));
        }
    }
}

pub(crate) fn plain_acks_stand(seen: &Seen<'_>, broken: &mut Vec<String>) {
    for d in &seen.history.delivered {
        let Some(group) = d.group.filter(|group| !seen.is_overtaken(*group, d)) else { continue };
        let Some(settled) = seen.history.settled.get(&(group, d.id)) else {
            continue;
        };
        if seen.may_be_given_up(group, d.id, d.topic, d.position) {
            continue;
        }
        for ack in settled.acks.iter().filter(|ack| Seen::logged_by(ack) < d.at) {
            let nacked = settled.nacks.iter().any(|n| n.at <= ack.at);
            if !nacked && seen.must_stand(group, d, ack) {
                broken.push(format!("event {} came again at {:?}, after its ack at {:?}", d.id, d.at, ack.at));
            }
        }
    }
}

pub(crate) fn no_event_is_leased_twice(seen: &Seen<'_>, broken: &mut Vec<String>) {
    let mut last: BTreeMap<(u8, u32), &Delivered> = BTreeMap::new();
    let mut once: BTreeSet<(u32, u8, Topic, u64, u32)> = BTreeSet::new();
    for d in &seen.history.delivered {
        let Some(group) = d.group else { continue };
        // A dead letter that was given back begins again at attempt 1.
        if seen.may_be_given_up(group, d.id, d.topic, d.position) {
            continue;
        }
        if !once.insert((d.life, group, d.topic, d.position, d.attempt)) {
            broken.push(format!("group {group}: attempt {} of {} came twice", d.attempt, d.position));
        }
        let before = last.insert((group, d.id), d);
        if let Some(before) = before.filter(|b| b.life == d.life && !may_come_again(seen, group, b, d)) {
            broken.push(format!(
                "group {group}: event {} is with client {} and came to {} at {:?}",
                d.id, before.client, d.client, d.at
            ));
        }
    }
}

/// Whether a lease may have ended between two deliveries of an event.
fn may_come_again(seen: &Seen<'_>, group: u8, before: &Delivered, d: &Delivered) -> bool {
    let history = seen.history;
    let within = |at| at >= before.at && at <= d.at;
    let settled = history.settled.get(&(group, d.id));
    let nacked = settled.is_some_and(|s| s.nacks.iter().any(|n| within(n.at)));
    let gone = history.breaks.get(&before.client).is_some_and(|b| b.iter().any(|at| within(*at)));
    let ended = d.at.since(before.at) + HELD_BACK >= ACK_WAIT;
    // Positions that went to others say nothing of what stands before an event.
    let unknown = seen.key(d.id).is_some() && history.may_be_rewritten(d.topic);
    nacked || gone || ended || unknown || seen.may_be_taken_back(group, d, before.at, d.at)
}

/// An attempt is what is logged of an event's failures and its deliveries since
/// the gateway started. That no attempt comes twice in a life is looked for above.
pub(crate) fn attempts_count_failures_and_deliveries(seen: &Seen<'_>, broken: &mut Vec<String>) {
    // Two members may see their deliveries in another order than they were made in.
    let mut last: BTreeMap<(u8, u32, usize), (u32, u32)> = BTreeMap::new();
    for d in &seen.history.delivered {
        let Some(group) = d.group else {
            if d.attempt != 1 {
                broken.push(format!("reader {} got {} as attempt {}", d.client, d.position, d.attempt));
            }
            continue;
        };
        if seen.may_be_given_up(group, d.id, d.topic, d.position) {
            continue;
        }
        let before = last.insert((group, d.id, d.client), (d.life, d.attempt));
        let before = before.filter(|(life, _)| *life == d.life).map_or(0, |(_, attempt)| attempt);
        let least = before.max(failures_that_survived(seen, group, d)) + 1;
        if d.attempt < least {
            broken.push(format!(
                "group {group}: event {} came at {:?} as attempt {}, and it is at least number {least}",
                d.id, d.at, d.attempt
            ));
        }
    }
}

/// Nacks of an event that were logged before the gateway was started again.
fn failures_that_survived(seen: &Seen<'_>, group: u8, d: &Delivered) -> u32 {
    let Some(settled) = seen.history.settled.get(&(group, d.id)) else {
        return 0;
    };
    let survived =
        settled.nacks.iter().filter(|n| seen.restarted(Seen::logged_by(n), d.at) && seen.must_stand(group, d, n));
    survived.count() as u32
}
