//! What must hold of failures: each has a cause. A member that leaves on purpose, or is told that the gateway stops,
//! fails nothing.

use std::collections::BTreeMap;

use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::admin::DeathReason;

use crate::history::{History, Topic};
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};
use crate::tuned::ack_waits;
use crate::verdict::Log;

/// What is logged of an event's failures is no more than what may have failed: nacks, leases that may have ended, and
/// members that were lost.
pub(crate) fn every_failure_has_a_cause(seen: &Seen<'_>, logs: &BTreeMap<Topic, Log>, broken: &mut Vec<String>) {
    // The first that is seen of an event in a life of the gateway.
    let mut first: BTreeMap<(u8, u32, u32), (u32, Moment)> = BTreeMap::new();
    for d in &seen.history.delivered {
        let Some(group) = d.group else { continue };
        let (attempt, _) = first.entry((group, d.id, d.life)).or_insert((d.attempt, d.at));
        *attempt = d.attempt.min(*attempt);
    }
    for ((group, id, life), (attempt, at)) in first {
        let began = seen.history.disasters.iter().find(|ended| ended.life + 1 == life).map_or(Moment(0), |e| e.at);
        let came_first = !seen.may_have_been_lost(group, began, at);
        let (failures, causes) = (attempt.saturating_sub(1), causes(seen, group, id, began));
        if came_first && failures > causes {
            broken.push(format!(
                "group {group}: event {id} came at {at:?} first in life {life}, as attempt {attempt}, and may have failed {causes} times"
            ));
        }
    }
    for letter in seen.history.letters.iter().filter(|l| l.reason == DeathReason::Failures) {
        let id = logs.get(&letter.topic).and_then(|log| log.at(letter.position));
        let causes = id.map_or(u32::MAX, |id| causes(seen, letter.group, id, seen.history.ended));
        if letter.failures > causes && !seen.history.may_be_rewritten(letter.topic) {
            broken.push(format!("a dead letter that may have failed {causes} times: {letter:?}"));
        }
    }
}

impl Seen<'_> {
    /// Whether a delivery to a group that was made in this span may never have come. It is an attempt all the same. Its member
    /// may also have gone, or the gateway ended, a little later: a nack of what stands before it in its key takes it back from a
    /// member that it is still on its way to, and the next one may have it sooner.
    fn may_have_been_lost(&self, group: u8, from: Moment, to: Moment) -> bool {
        let to = to + if self.stalled(to, to + UNDER_WAY) { HELD_BACK } else { UNDER_WAY };
        self.history.was_away(group, from, to) || self.restarted(from, to)
    }
}

/// How often an event may have failed by then.
fn causes(seen: &Seen<'_>, group: u8, id: u32, by: Moment) -> u32 {
    let nacks = seen.history.settled.get(&(group, id)).map_or(&[][..], |settled| &settled.nacks);
    // What is rejected does not come again, unless it is given back, without its failures.
    let nacked = nacks.iter().filter(|nack| nack.kind != SettleKind::Reject && nack.at <= by).count();
    let ends = seen.deliveries(group, id).iter().filter(|d| d.at + ack_waits(group).0 <= by + HELD_BACK).count();
    (nacked + ends + seen.history.lost_by(group, by)) as u32
}

impl History {
    fn clients(&self, group: u8) -> impl Iterator<Item = usize> {
        self.consumers.iter().filter(move |(_, of)| **of == group).map(|(client, _)| *client)
    }

    /// How often members of a group were lost by then, other than with the gateway.
    fn lost_by(&self, group: u8, by: Moment) -> usize {
        self.clients(group).filter_map(|client| self.lost.get(&client)).flatten().filter(|at| **at <= by).count()
    }

    /// Whether a member of a group was not there for a moment in this span, by its own doing or by a misfortune.
    pub(crate) fn was_away(&self, group: u8, from: Moment, to: Moment) -> bool {
        let times = |client| {
            let breaks = self.breaks.get(&client).into_iter().flatten();
            breaks.chain(self.left.get(&client).into_iter().flatten())
        };
        self.clients(group).flat_map(times).any(|at| *at >= from && *at <= to)
    }
}
