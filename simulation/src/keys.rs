//! What must hold of the events of one key when one of them fails.

use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind;

use crate::history::{Delivered, Given};
use crate::seen::Seen;

/// A nack takes back what its member has of the key behind the event, and acks
/// that are given for it later are void: it comes again. A reject takes back nothing: its key goes on.
pub(crate) fn a_nack_takes_back_what_follows_in_its_key(seen: &Seen<'_>, broken: &mut Vec<String>) {
    for ((group, id), settled) in &seen.history.settled {
        for nack in settled.nacks.iter().filter(|n| n.kind != SettleKind::Reject) {
            let nacked = seen.deliveries(*group, *id).iter().find(|d| is_about(nack, d));
            let Some(nacked) = nacked.filter(|d| !seen.history.may_be_rewritten(d.topic)) else {
                continue;
            };
            // Who is moved owes nothing of what was before.
            if seen.is_moved_after(nacked) {
                continue;
            }
            // A nack of what was given up before is void, and one of what was given back takes nothing with it.
            if seen.may_be_given_up(*group, *id, nacked.topic, nacked.position) {
                continue;
            }
            for (position, later) in seen.later(nacked) {
                // Nor is one that was given back taken with others.
                if seen.may_be_given_up(*group, *later, nacked.topic, *position) {
                    continue;
                }
                let mut held = seen.deliveries(*group, *later).iter().filter(|d| is_held(seen, nacked, nack, d));
                let given_up = |d: &Delivered| seen.is_given_up(*group, d.topic, d.position);
                if held.any(|d| !comes_again(seen, d, None) && !given_up(d)) {
                    broken.push(format!(
                        "group {group}: event {id} was nacked at {:?}, and {later} at {position} of its key was not taken back",
                        nack.at
                    ));
                }
            }
        }
    }
}

/// Whether a member must have got `d` behind the event that it nacks, and has
/// not settled it when it does.
fn is_held(seen: &Seen<'_>, nacked: &Delivered, nack: &Given, d: &Delivered) -> bool {
    let behind = d.at >= nacked.at && d.at <= nack.at;
    let by_the_same = (d.client, d.generation) == (nacked.client, nacked.generation);
    let settled = d.group.and_then(|group| seen.history.settled.get(&(group, d.id)));
    // A letter that was given back stands behind every event, and may have come before them.
    let acked = settled.is_some_and(|s| s.acks.iter().any(|a| is_about(a, d) && a.nth < nack.nth));
    // If the nacked event had been taken back before the nack, so had what was sent
    // behind it: unless that was sent behind its next delivery, which comes first.
    behind && by_the_same && !acked && !comes_again(seen, nacked, Some(d.at))
}

/// Whether a later delivery of the event was seen, or was seen by then.
fn comes_again(seen: &Seen<'_>, d: &Delivered, by: Option<Moment>) -> bool {
    let all = d.group.map_or(&[][..], |group| seen.deliveries(group, d.id));
    // Members may see them in another order than they were made in.
    all.iter().any(|next| (next.life, next.attempt) > (d.life, d.attempt) && by.is_none_or(|by| next.at <= by))
}

pub(crate) fn is_about(given: &Given, d: &Delivered) -> bool {
    (given.client, given.delivered, given.attempt) == (d.client, d.at, d.attempt)
}
