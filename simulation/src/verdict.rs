//! What must hold of a history. What everybody's history can show is left to the
//! library ([`crate::report`]); what only a simulation knows enough of stands here
//! and in `attempts`, `brief`, `delayed`, `failures`, `fleeting`, `holding`, `keys`, `letters`, `limits`, `members`, `moved`, `overtaken`, `stops` and `tuned`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use meshwire_proto::Moment;

use crate::attempts::attempts_count_failures_and_deliveries;
use crate::brief::expired_events_are_not_delivered_and_others_are;
use crate::delayed::{delayed_events_come_in_the_order_of_their_times, delayed_events_never_come_early};
use crate::failures::every_failure_has_a_cause;
use crate::fleeting::nothing_of_a_deleted_topic_comes_again;
use crate::history::{History, Published, Topic};
use crate::holding::what_is_purged_is_gone_and_frees_its_key;
use crate::keys::a_nack_takes_back_what_follows_in_its_key;
use crate::letters::{a_nacked_event_waits, what_is_given_up_has_a_cause};
use crate::limits::rates_hold_as_they_are_changed;
use crate::members::a_durable_member_sees_log_order;
use crate::moved::a_moved_group_goes_on_where_it_was_moved;
use crate::overtaken::what_retention_took_is_told_and_nothing_else_is_missing;
use crate::report::reports;
use crate::requests::requests_end_once_and_are_handled_at_most_once;
use crate::seen::Seen;
use crate::stops::{a_gateway_that_stops_delivers_nothing, what_was_acked_before_a_stop_stays_acked};
use crate::tuned::limits_of_a_group_hold_as_they_are_changed;

/// Every broken promise, as a sentence.
pub(crate) fn judge(history: &History) -> Vec<String> {
    let mut broken = history.complaints.clone();
    let logs: BTreeMap<Topic, Log> = Topic::ALL.iter().map(|t| (*t, Log::new(history, *t))).collect();
    let seen = Seen::new(history, &logs);
    for report in reports(&seen) {
        broken.extend(meshwire_history::judge(&report).broken.iter().map(ToString::to_string));
    }
    order_of_a_publisher(history, &logs, &mut broken);
    unnamed_readers_begin_with_the_first(history, &mut broken);
    for check in [
        attempts_count_failures_and_deliveries,
        a_nack_takes_back_what_follows_in_its_key,
        a_nacked_event_waits,
        a_durable_member_sees_log_order,
        limits_of_a_group_hold_as_they_are_changed,
        rates_hold_as_they_are_changed,
        a_gateway_that_stops_delivers_nothing,
        what_is_purged_is_gone_and_frees_its_key,
        nothing_of_a_deleted_topic_comes_again,
        what_was_acked_before_a_stop_stays_acked,
    ] {
        check(&seen, &mut broken);
    }
    what_is_given_up_has_a_cause(&seen, &logs, &mut broken);
    every_failure_has_a_cause(&seen, &logs, &mut broken);
    a_moved_group_goes_on_where_it_was_moved(&seen, &logs, &mut broken);
    delayed_events_never_come_early(history, &mut broken);
    delayed_events_come_in_the_order_of_their_times(history, &logs, &mut broken);
    expired_events_are_not_delivered_and_others_are(history, &mut broken);
    what_retention_took_is_told_and_nothing_else_is_missing(history, &mut broken);
    requests_end_once_and_are_handled_at_most_once(history, &mut broken);
    broken
}

/// A topic as it was read at the end.
pub(crate) struct Log {
    pub(crate) position: BTreeMap<u32, u64>,
    pub(crate) order: Vec<u32>,
    by_position: BTreeMap<u64, u32>,
}

impl Log {
    /// Events that nobody published are left out: the report has them.
    fn new(history: &History, topic: Topic) -> Self {
        let by_bytes: BTreeMap<&Bytes, u32> =
            history.published.values().filter(|p| p.topic == topic).map(|p| (&p.bytes, p.id)).collect();
        let mut log = Self { position: BTreeMap::new(), order: Vec::new(), by_position: BTreeMap::new() };
        for (position, bytes) in history.log.get(&topic).into_iter().flatten() {
            if let Some(id) = by_bytes.get(bytes) {
                log.position.insert(*id, *position);
                log.by_position.insert(*position, *id);
                log.order.push(*id);
            }
        }
        log
    }

    /// The event at a position.
    pub(crate) fn at(&self, position: u64) -> Option<u32> {
        self.by_position.get(&position).copied()
    }
}

fn order_of_a_publisher(history: &History, logs: &BTreeMap<Topic, Log>, broken: &mut Vec<String>) {
    if history.disk_was_unwell {
        return;
    }
    // What was refused for want of room may be replayed behind what was taken, if
    // the refusal was lost with its connection: the publisher never heard of it.
    let open =
        |event: &Published, at: Moment, last: u32| event.id <= last && event.acked.is_none_or(|acked| acked > at);
    // What waits for its time stands where that falls; a clock that is set back brings a time that was past ahead.
    let may_stand_elsewhere = |event: &Published| {
        event.refused
            || event.delay_ms != 0
            || history.may_be_held_back(event)
            || history.no_room.iter().any(|(at, last)| open(event, *at, *last))
    };
    for (topic, log) in logs {
        if history.may_be_rewritten(*topic) {
            continue;
        }
        let mut last: BTreeMap<(usize, u32), u32> = BTreeMap::new();
        for id in &log.order {
            let Some(event) = history.published.get(id).filter(|e| !may_stand_elsewhere(e)) else {
                continue;
            };
            if let Some(before) = last.insert(event.publisher, *id).filter(|before| before > id) {
                broken.push(format!("{}: event {id} stands behind {before} of the same publisher", topic.name()));
            }
        }
    }
}

/// A reader gets everything from the start on; the report has what it gets then.
fn unnamed_readers_begin_with_the_first(history: &History, broken: &mut Vec<String>) {
    let mut known = BTreeSet::new();
    for d in history.delivered.iter().filter(|d| d.group.is_none() && !history.may_be_rewritten(d.topic)) {
        if known.insert((d.client, d.generation.0, d.topic)) && d.position != 1 {
            broken.push(format!("{}: reader {} got {} first", d.topic.name(), d.client, d.position));
        }
    }
}
