//! What must hold of a history. Each check is a promise of the core; those about
//! settles stand in `leases` and `keys`.

use std::collections::BTreeMap;

use bytes::Bytes;
use meshwire_proto::Moment;

use crate::history::{History, Published, Topic};
use crate::keys::{a_nack_takes_back_what_follows_in_its_key, keys_keep_their_order};
use crate::leases::{
    attempts_count_failures_and_deliveries, confirmed_acks_stand, no_event_is_leased_twice, plain_acks_stand,
};
use crate::letters::{a_nacked_event_waits, what_is_given_up_is_one_dead_letter};
use crate::requests::requests_end_once_and_are_handled_at_most_once;
use crate::seen::Seen;

/// Every broken promise, as a sentence.
pub(crate) fn judge(history: &History) -> Vec<String> {
    let mut broken = history.complaints.clone();
    let logs: BTreeMap<Topic, Log> = Topic::ALL.iter().map(|t| (*t, Log::new(history, *t, &mut broken))).collect();
    nothing_acknowledged_is_lost(history, &logs, &mut broken);
    order_of_a_publisher(history, &logs, &mut broken);
    unnamed_readers_see_everything_in_order(history, &mut broken);
    let seen = Seen::new(history, &logs);
    for check in [
        confirmed_acks_stand,
        plain_acks_stand,
        no_event_is_leased_twice,
        attempts_count_failures_and_deliveries,
        keys_keep_their_order,
        a_nack_takes_back_what_follows_in_its_key,
        a_nacked_event_waits,
    ] {
        check(&seen, &mut broken);
    }
    what_is_given_up_is_one_dead_letter(&seen, &logs, &mut broken);
    requests_end_once_and_are_handled_at_most_once(history, &mut broken);
    broken
}

/// A topic as it was read at the end.
pub(crate) struct Log {
    pub(crate) position: BTreeMap<u32, u64>,
    pub(crate) order: Vec<u32>,
}

impl Log {
    /// No phantom, no changed byte, no duplicate.
    fn new(history: &History, topic: Topic, broken: &mut Vec<String>) -> Self {
        let by_bytes: BTreeMap<&Bytes, u32> =
            history.published.values().filter(|p| p.topic == topic).map(|p| (&p.bytes, p.id)).collect();
        let mut log = Self { position: BTreeMap::new(), order: Vec::new() };
        for (position, bytes) in history.log.get(&topic).into_iter().flatten() {
            let Some(id) = by_bytes.get(bytes) else {
                broken.push(format!(
                    "{} {position}: an event that nobody published, or with changed bytes",
                    topic.name()
                ));
                continue;
            };
            if let Some(first) = log.position.insert(*id, *position) {
                broken.push(format!("{}: event {id} is in the log twice, at {first} and {position}", topic.name()));
            }
            log.order.push(*id);
        }
        log
    }
}

fn nothing_acknowledged_is_lost(history: &History, logs: &BTreeMap<Topic, Log>, broken: &mut Vec<String>) {
    for event in history.published.values() {
        let Some(acked) = event.acked else { continue };
        if event.topic == Topic::Audit && history.power_was_lost_after(acked) {
            continue;
        }
        if !logs.get(&event.topic).is_some_and(|l| l.position.contains_key(&event.id)) {
            broken.push(format!(
                "{}: event {} was acknowledged at {acked:?} and is lost",
                event.topic.name(),
                event.id
            ));
        }
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
    let may_have_been_refused =
        |event: &Published| event.refused || history.no_room.iter().any(|(at, last)| open(event, *at, *last));
    for (topic, log) in logs {
        if history.may_be_rewritten(*topic) {
            continue;
        }
        let mut last: BTreeMap<(usize, u32), u32> = BTreeMap::new();
        for id in &log.order {
            let Some(event) = history.published.get(id).filter(|e| !may_have_been_refused(e)) else {
                continue;
            };
            if let Some(before) = last.insert(event.publisher, *id).filter(|before| before > id) {
                broken.push(format!("{}: event {id} stands behind {before} of the same publisher", topic.name()));
            }
        }
    }
}

/// The position that an unnamed reader saw last, by client, life and topic.
type ReadTo = BTreeMap<(usize, u32, Topic), u64>;

fn unnamed_readers_see_everything_in_order(history: &History, broken: &mut Vec<String>) {
    let mut last = ReadTo::new();
    for d in history.delivered.iter().filter(|d| d.group.is_none()) {
        if history.may_be_rewritten(d.topic) {
            continue;
        }
        let before = last.insert((d.client, d.generation.0, d.topic), d.position).unwrap_or(0);
        if d.position != before + 1 {
            broken.push(format!("{}: reader {} got {} after {before}", d.topic.name(), d.client, d.position));
        }
    }
}
