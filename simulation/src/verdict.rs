//! What must hold of a history. Each check is a promise of the core.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::Moment;

use crate::history::{Delivered, Disaster, Given, History, Topic};
use crate::script::ACK_WAIT;
use crate::wire::MAX_STALL;

/// Settles that the gateway had so long before its end are not forgotten.
const SETTLES_LOGGED_WITHIN: Duration = Duration::from_millis(250);

/// Every broken promise, as a sentence.
pub(crate) fn judge(history: &History) -> Vec<String> {
    let mut broken = history.complaints.clone();
    let logs: BTreeMap<Topic, Log> = Topic::ALL.iter().map(|t| (*t, Log::new(history, *t, &mut broken))).collect();
    nothing_acknowledged_is_lost(history, &logs, &mut broken);
    order_of_a_publisher(history, &logs, &mut broken);
    unnamed_readers_see_everything_in_order(history, &mut broken);
    confirmed_acks_stand(history, &mut broken);
    plain_acks_stand(history, &mut broken);
    no_event_is_leased_twice(history, &mut broken);
    keys_keep_their_order(history, &logs, &mut broken);
    broken
}

/// A topic as it was read at the end.
struct Log {
    position: BTreeMap<u32, u64>,
    order: Vec<u32>,
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

fn power_was_lost_after(history: &History, at: Moment) -> bool {
    history.disasters.iter().any(|(when, what)| *what != Disaster::Kill && *when >= at)
}

/// After power loss a written topic has lost its last events, and their
/// positions go to others.
fn may_be_rewritten(history: &History, topic: Topic) -> bool {
    topic == Topic::Audit && power_was_lost_after(history, Moment(0))
}

fn nothing_acknowledged_is_lost(history: &History, logs: &BTreeMap<Topic, Log>, broken: &mut Vec<String>) {
    for event in history.published.values() {
        let Some(acked) = event.acked else { continue };
        if event.topic == Topic::Audit && power_was_lost_after(history, acked) {
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
    // What was refused for want of space may be replayed behind what was taken, if
    // the refusal was lost with its connection: the publisher never heard of it.
    if history.disk_was_unwell {
        return;
    }
    for (topic, log) in logs {
        if may_be_rewritten(history, *topic) {
            continue;
        }
        let mut last: BTreeMap<(usize, u32), u32> = BTreeMap::new();
        for id in &log.order {
            let Some(event) = history.published.get(id).filter(|e| !e.refused) else {
                continue;
            };
            if let Some(before) = last.insert(event.publisher, *id).filter(|before| before > id) {
                broken.push(format!("{}: event {id} stands behind {before} of the same publisher", topic.name()));
            }
        }
    }
}

/// The position that an unnamed reader saw last, by client, life and topic.
type Seen = BTreeMap<(usize, u32, Topic), u64>;

fn unnamed_readers_see_everything_in_order(history: &History, broken: &mut Vec<String>) {
    let mut last = Seen::new();
    for d in history.delivered.iter().filter(|d| d.group.is_none()) {
        if may_be_rewritten(history, d.topic) {
            continue;
        }
        let before = last.insert((d.client, d.generation.0, d.topic), d.position).unwrap_or(0);
        if d.position != before + 1 {
            broken.push(format!("{}: reader {} got {} after {before}", d.topic.name(), d.client, d.position));
        }
    }
}

fn settled_for_good(history: &History, d: &Delivered, since: Moment) -> bool {
    d.topic == Topic::Orders || !power_was_lost_after(history, since)
}

fn confirmed_acks_stand(history: &History, broken: &mut Vec<String>) {
    for d in &history.delivered {
        let Some(group) = d.group else { continue };
        let Some(confirmed) = history.settled.get(&(group, d.id)).and_then(|s| s.confirmed) else {
            continue;
        };
        if confirmed < d.at && settled_for_good(history, d, confirmed) {
            broken.push(format!(
                "group {group}: event {} came again at {:?}, after its ack was confirmed at {confirmed:?}",
                d.id, d.at
            ));
        }
    }
}

fn plain_acks_stand(history: &History, broken: &mut Vec<String>) {
    for d in &history.delivered {
        // A failure of an earlier event of its key may have made an ack void.
        let keyed = history.published.get(&d.id).is_none_or(|p| p.key.is_some());
        let Some(settled) = d.group.filter(|_| !keyed).and_then(|group| history.settled.get(&(group, d.id))) else {
            continue;
        };
        for ack in &settled.acks {
            let logged_by = ack.at + SETTLES_LOGGED_WITHIN;
            let void = settled.nacks.iter().any(|n| n.at <= ack.at) || ack.at.since(ack.delivered) > ACK_WAIT / 2;
            if !void && logged_by < d.at && processed(history, ack, logged_by) && settled_for_good(history, d, ack.at) {
                broken.push(format!("event {} came again at {:?}, after its ack at {:?}", d.id, d.at, ack.at));
            }
        }
    }
}

/// Whether nothing stood between a settle and the log for long enough.
fn processed(history: &History, given: &Given, logged_by: Moment) -> bool {
    let within = |at: &Moment| *at >= given.at && *at <= logged_by;
    let broke = history.breaks.get(&given.client).is_some_and(|b| b.iter().any(within));
    let disaster = history.disasters.iter().any(|(at, _)| within(at));
    let stalled = history.stalls.iter().any(|at| *at <= logged_by && given.at <= *at + MAX_STALL);
    // A full disk may have no place for a settlement until it has space again.
    let full = history.full.iter().any(|(from, to)| *from <= logged_by && given.at <= *to + SETTLES_LOGGED_WITHIN);
    given.connected && !full && !broke && !disaster && !stalled
}

fn no_event_is_leased_twice(history: &History, broken: &mut Vec<String>) {
    let mut last: BTreeMap<(u8, u32), &Delivered> = BTreeMap::new();
    let mut seen: BTreeSet<(u32, u8, Topic, u64, u32)> = BTreeSet::new();
    for d in &history.delivered {
        let Some(group) = d.group else { continue };
        if !seen.insert((d.life, group, d.topic, d.position, d.attempt)) {
            broken.push(format!("group {group}: attempt {} of {} came twice", d.attempt, d.position));
        }
        let before = last.insert((group, d.id), d);
        // With a key, a failure of an earlier event takes this one back too.
        let Some(before) =
            before.filter(|b| b.life == d.life && history.published.get(&d.id).is_some_and(|p| p.key.is_none()))
        else {
            continue;
        };
        let nacked = history
            .settled
            .get(&(group, d.id))
            .is_some_and(|s| s.nacks.iter().any(|n| n.at >= before.at && n.at <= d.at));
        let gone =
            history.breaks.get(&before.client).is_some_and(|b| b.iter().any(|at| *at >= before.at && *at <= d.at));
        let ended = d.at.since(before.at) + MAX_STALL + Duration::from_secs(1) >= ACK_WAIT;
        if !nacked && !gone && !ended {
            broken.push(format!(
                "group {group}: event {} is with client {} and came to {} at {:?}",
                d.id, before.client, d.client, d.at
            ));
        }
    }
}

/// By group, client, generation and key: what that member got so far.
type Got = BTreeMap<(u8, usize, (u32, u32), u8), BTreeSet<u32>>;

fn keys_keep_their_order(history: &History, logs: &BTreeMap<Topic, Log>, broken: &mut Vec<String>) {
    let mut got = Got::new();
    let mut by_key: BTreeMap<(Topic, u8), Vec<(u64, u32)>> = BTreeMap::new();
    for (topic, log) in logs {
        for id in &log.order {
            if let (Some(key), Some(position)) = (history.published.get(id).and_then(|p| p.key), log.position.get(id)) {
                by_key.entry((*topic, key)).or_default().push((*position, *id));
            }
        }
    }
    for d in history.delivered.iter().filter(|d| !may_be_rewritten(history, d.topic)) {
        let (Some(group), Some(key)) = (d.group, history.published.get(&d.id).and_then(|p| p.key)) else {
            continue;
        };
        let mine = got.entry((group, d.client, d.generation, key)).or_default();
        mine.insert(d.id);
        for (position, earlier) in by_key.get(&(d.topic, key)).into_iter().flatten() {
            if *position >= d.position {
                break;
            }
            let acked = history.settled.get(&(group, *earlier)).is_some_and(|s| s.acks.iter().any(|a| a.at < d.at));
            if !mine.contains(earlier) && !acked {
                broken.push(format!(
                    "group {group}: event {} at {} of key {key} came at {:?} before {earlier} at {position}",
                    d.id, d.position, d.at
                ));
            }
        }
    }
}
