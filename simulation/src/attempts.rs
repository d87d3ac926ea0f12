//! What must hold of attempts.

use std::collections::BTreeMap;

use crate::history::{Delivered, Given};
use crate::keys::is_about;
use crate::seen::Seen;

/// An attempt is what is logged of an event's failures and its deliveries since
/// the gateway started. That no attempt comes twice in a life is looked for elsewhere.
pub(crate) fn attempts_count_failures_and_deliveries(seen: &Seen<'_>, broken: &mut Vec<String>) {
    // Two members may see their deliveries in another order than they were made in.
    let mut last: BTreeMap<(u8, u32, usize, usize), (u32, u32)> = BTreeMap::new();
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
        // Who is moved begins anew.
        let Some(stretch) = seen.stretch(d) else { continue };
        let before = last.insert((group, d.id, d.client, stretch), (d.life, d.attempt));
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
    let of_the_same = |n: &&Given| {
        let nacked = seen.deliveries(group, d.id).iter().find(|nacked| is_about(n, nacked));
        nacked.is_some_and(|nacked| seen.stretch(nacked) == seen.stretch(d))
    };
    let nacks = settled.nacks.iter().filter(of_the_same);
    let survived = nacks.filter(|n| seen.restarted(Seen::logged_by(n), d.at) && seen.must_stand(group, d, n));
    survived.count() as u32
}
