//! A history by event and by key, and what may have stood between a settle and
//! its effect.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind;

use crate::history::{Delivered, Disaster, Given, History, Settled, Topic};
use crate::script::ACK_WAIT;
use crate::tuned::ack_waits;
use crate::verdict::Log;
use crate::wire::MAX_STALL;

/// Settles that the gateway had so long before its end are not forgotten.
pub(crate) const SETTLES_LOGGED_WITHIN: Duration = Duration::from_millis(250);

/// What is under way has arrived after so long, unless its wire is held back:
/// there and back, each at most 20 ms.
pub(crate) const UNDER_WAY: Duration = Duration::from_millis(100);

/// The same for a wire that is held back.
pub(crate) const HELD_BACK: Duration = Duration::from_secs(1).saturating_add(MAX_STALL);

/// A settle that was given so long after its delivery may meet the end of the lease.
const TIMELY: Duration = Duration::from_secs(ACK_WAIT.as_secs() / 2);

pub(crate) struct Seen<'a> {
    pub(crate) history: &'a History,
    /// Deliveries of an event to a group, in order.
    deliveries: BTreeMap<(u8, u32), Vec<&'a Delivered>>,
    /// Position and id of the events of a key, in log order.
    keys: BTreeMap<(Topic, u8), Vec<(u64, u32)>>,
    /// Group, topic and position of dead letters.
    given_up: BTreeSet<(u8, Topic, u64)>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(history: &'a History, logs: &BTreeMap<Topic, Log>) -> Self {
        let mut deliveries: BTreeMap<(u8, u32), Vec<&Delivered>> = BTreeMap::new();
        for d in &history.delivered {
            if let Some(group) = d.group {
                deliveries.entry((group, d.id)).or_default().push(d);
            }
        }
        let mut keys: BTreeMap<(Topic, u8), Vec<(u64, u32)>> = BTreeMap::new();
        for (topic, log) in logs {
            for id in &log.order {
                let key = history.published.get(id).and_then(|p| p.key);
                if let (Some(key), Some(position)) = (key, log.position.get(id)) {
                    keys.entry((*topic, key)).or_default().push((*position, *id));
                }
            }
        }
        let given_up = history.letters.iter().map(|l| (l.group, l.topic, l.position)).collect();
        Self { history, deliveries, keys, given_up }
    }

    pub(crate) fn key(&self, id: u32) -> Option<u8> {
        self.history.published.get(&id).and_then(|p| p.key)
    }

    /// Whether an event is a dead letter of a group at the end.
    pub(crate) fn is_given_up(&self, group: u8, topic: Topic, position: u64) -> bool {
        self.given_up.contains(&(group, topic, position))
    }

    /// Whether it was a dead letter at some time: a crash may have taken the letter, or it was given back.
    pub(crate) fn may_be_given_up(&self, group: u8, id: u32, topic: Topic, position: u64) -> bool {
        let settled = self.history.settled.get(&(group, id));
        let Some(limit) = self.history.gives_up_after(group) else { return false };
        let failed = self.deliveries(group, id).iter().any(|d| d.attempt >= limit);
        failed || settled.is_some_and(Settled::is_rejected) || self.is_given_up(group, topic, position)
    }

    /// Deliveries of an event to a group, in order.
    pub(crate) fn deliveries(&self, group: u8, id: u32) -> &[&'a Delivered] {
        self.deliveries.get(&(group, id)).map_or(&[], Vec::as_slice)
    }

    /// Events of the same key that stand before an event.
    fn earlier(&self, d: &Delivered) -> &[(u64, u32)] {
        let all = self.of_key(d);
        all.split_at(all.partition_point(|(position, _)| *position < d.position)).0
    }

    /// Events of the same key that stand behind an event.
    pub(crate) fn later(&self, d: &Delivered) -> &[(u64, u32)] {
        let all = self.of_key(d);
        all.split_at(all.partition_point(|(position, _)| *position <= d.position)).1
    }

    fn of_key(&self, d: &Delivered) -> &[(u64, u32)] {
        let key = self.key(d.id).and_then(|key| self.keys.get(&(d.topic, key)));
        key.map_or(&[], Vec::as_slice)
    }

    /// Whether an earlier event of the key may have failed in this span, otherwise than by a reject, and this
    /// one been taken back with it. Its member is the same: a lost one is not looked for.
    pub(crate) fn may_be_taken_back(&self, group: u8, d: &Delivered, from: Moment, to: Moment) -> bool {
        let slack = if self.stalled(from, to) { HELD_BACK } else { UNDER_WAY };
        self.earlier(d).iter().any(|(_, earlier)| {
            let settled = self.history.settled.get(&(group, *earlier));
            // One that a connection kept back arrives after a resume, whenever that is.
            let arrives = |n: &Given| n.at + slack >= from || !self.is_processed(n, Self::logged_by(n));
            let takes = |n: &&Given| n.kind != SettleKind::Reject && n.at <= to;
            let nacked = settled.is_some_and(|s| s.nacks.iter().filter(takes).any(arrives));
            // The gateway's lease began before the delivery was seen.
            let (shortest, longest) = ack_waits(group);
            let ends = |b: &&Delivered| b.at + longest + slack >= from && b.at + shortest <= to + HELD_BACK;
            nacked || self.deliveries(group, *earlier).iter().any(ends)
        })
    }

    /// Whether a wire may have been held back in this span.
    pub(crate) fn stalled(&self, from: Moment, to: Moment) -> bool {
        self.history.stalls.iter().any(|at| *at <= to && from <= *at + HELD_BACK)
    }

    /// Whether a settle of this event must have found its lease and reached the
    /// log, and the log has kept it since. The event's own failures are the caller's.
    pub(crate) fn must_stand(&self, group: u8, d: &Delivered, given: &Given) -> bool {
        let logged_by = Self::logged_by(given);
        given.at.since(given.delivered) <= TIMELY
            && self.is_processed(given, logged_by)
            && self.is_for_good(d.topic, given.at)
            && !self.may_be_taken_back(group, d, given.delivered, logged_by)
    }

    pub(crate) fn logged_by(given: &Given) -> Moment {
        given.at + SETTLES_LOGGED_WITHIN
    }

    /// Whether nothing stood between a settle and the log for long enough.
    fn is_processed(&self, given: &Given, logged_by: Moment) -> bool {
        let within = |at: &Moment| *at >= given.at && *at <= logged_by;
        let history = self.history;
        let broke = history.breaks.get(&given.client).is_some_and(|b| b.iter().any(within));
        // One that stops has taken what was settled.
        let disaster = history.disasters.iter().any(|d| within(&d.at) && d.how != Disaster::Stop);
        let stalled = history.stalls.iter().any(|at| *at <= logged_by && given.at <= *at + MAX_STALL);
        // A full disk may have no place for a settlement until it has space again.
        let full = history.full.iter().any(|(from, to)| *from <= logged_by && given.at <= *to + SETTLES_LOGGED_WITHIN);
        given.connected && !full && !broke && !disaster && !stalled
    }

    /// Whether a settlement that reached the log is never lost.
    pub(crate) fn is_for_good(&self, topic: Topic, since: Moment) -> bool {
        topic == Topic::Orders || !self.history.power_was_lost_after(since)
    }

    /// Whether the gateway was started again in this span.
    pub(crate) fn restarted(&self, after: Moment, by: Moment) -> bool {
        self.history.disasters.iter().any(|d| d.at > after && d.at <= by)
    }
}

impl History {
    pub(crate) fn power_was_lost_after(&self, at: Moment) -> bool {
        self.disasters.iter().any(|d| d.how == Disaster::PowerLoss && d.at >= at)
    }

    /// After power loss a written topic has lost its last events, and their
    /// positions go to others.
    pub(crate) fn may_be_rewritten(&self, topic: Topic) -> bool {
        topic == Topic::Audit && self.power_was_lost_after(Moment(0))
    }
}
