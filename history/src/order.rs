//! What must hold of the order in which events come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::index::Index;
use crate::model::{Delivery, SettleKind};

/// After a death that took events the log says nothing of the order before.
pub(crate) fn reordered(index: &Index<'_>) -> Vec<String> {
    if index.history.may_be_rewritten() {
        return Vec::new();
    }
    let mut sentences = within_keys(index);
    sentences.extend(behind_a_nack(index));
    sentences.extend(before_readers(index));
    sentences
}

/// What a subscription got of a key.
#[derive(Default)]
struct Got {
    ids: BTreeSet<u64>,
    /// So many events from the start of the key are done or came here.
    whole: usize,
}

/// Events of a key come to a member in log order: before each, all earlier ones
/// came to the same member, or were acked or given up.
fn within_keys(index: &Index<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut got: BTreeMap<(&str, &str, u64, &str), Got> = BTreeMap::new();
    for d in &index.history.deliveries {
        let key = index.published(d.event.id).and_then(|p| p.event.key.as_deref());
        let (Some(group), Some(key)) = (d.group.as_deref(), key) else {
            continue;
        };
        let mine = got.entry((group, &d.member, d.subscription, key)).or_default();
        mine.ids.insert(d.event.id);
        if index.is_given_back(group, d.event.id) {
            continue;
        }
        let is_fine = |id: u64| mine.ids.contains(&id) || is_done(index, group, id, d);
        let earlier = index.earlier(d).get(mine.whole..).unwrap_or_default();
        // Over a long history these are looked at once, not once for each event behind them.
        let whole = earlier.iter().take_while(|(_, id)| is_fine(*id)).count();
        for (position, id) in earlier.iter().skip(whole).filter(|(_, id)| !is_fine(*id)) {
            sentences.push(format!(
                "event {} at {} of key {key} came to {} of group {group} at {:?} before event {id} at {position}",
                d.event.id, d.position, d.member, d.at
            ));
        }
        mine.whole += whole;
    }
    sentences
}

/// Whether an event was acked or rejected before a delivery came, or may have been given up by then.
fn is_done(index: &Index<'_>, group: &str, id: u64, d: &Delivery) -> bool {
    let settled = index.settles(group, id).iter().any(|s| s.kind != SettleKind::Nack && s.at < d.at);
    settled || index.is_given_back(group, id) || may_be_given_up(index, group, id, d)
}

/// Whether an event that failed for the last time had done so before a delivery came.
fn may_be_given_up(index: &Index<'_>, group: &str, id: u64, d: &Delivery) -> bool {
    let history = index.history;
    let settings = history.groups.iter().find(|g| &*g.name == group);
    let deliveries = index.deliveries(group, id);
    // A death may have taken the letter itself.
    let limit = settings.and_then(|g| g.max_failures);
    let at_its_limit = limit.is_some_and(|limit| deliveries.iter().any(|d| d.attempt >= limit));
    if !at_its_limit && !index.is_dead(group, id) {
        return false;
    }
    let Some(last) = deliveries.last() else { return true };
    let failed = index.settles(group, id).iter().any(|s| s.at >= last.at && s.at < d.at);
    let lease = settings.map_or(Duration::ZERO, |g| g.ack_wait).saturating_sub(history.forgive.under_way);
    let gone = history.absences.iter().any(|a| a.member == last.member && a.at >= last.at && a.at <= d.at);
    last.at < d.at && (failed || gone || last.excused || last.life < d.life || d.at - last.at >= lease)
}

/// A nack takes back what its member has of the key behind the event: what came to it then stands for nothing until the event
/// has come again, and comes again behind it.
fn behind_a_nack(index: &Index<'_>) -> Vec<String> {
    let mut of_keys: BTreeMap<(&str, &str), Vec<&Delivery>> = BTreeMap::new();
    for d in &index.history.deliveries {
        let key = index.published(d.event.id).and_then(|p| p.event.key.as_deref());
        if let (Some(group), Some(key)) = (d.group.as_deref(), key) {
            of_keys.entry((group, key)).or_default().push(d);
        }
    }
    let mut sentences = Vec::new();
    for ((group, key), deliveries) in of_keys {
        if !index.history.groups.iter().any(|g| &*g.name == group && g.finished) {
            continue;
        }
        for nacked in deliveries.iter().filter(|d| !index.is_given_back(group, d.event.id)) {
            let id = nacked.event.id;
            let settles = index.settles(group, id);
            let next = index.deliveries(group, id).iter().find(|d| d.at > nacked.at);
            let (Some(next), Some(first)) = (next, settles.iter().find(|s| s.at >= nacked.at)) else { continue };
            if first.kind != SettleKind::Nack || first.excused || first.at >= next.at {
                continue;
            }
            let from = deliveries.partition_point(|d| d.at <= first.at);
            let between = deliveries.iter().skip(from).take_while(|d| d.at < next.at);
            let same = |d: &&&Delivery| {
                (&d.member, d.subscription, d.life) == (&nacked.member, nacked.subscription, nacked.life)
            };
            for d in between.filter(same).filter(|d| d.position > nacked.position) {
                let comes = index.deliveries(group, d.event.id).iter().any(|again| again.at >= next.at);
                if !comes && !index.is_given_back(group, d.event.id) && !index.is_dead(group, d.event.id) {
                    sentences.push(format!(
                        "event {} at {} of key {key} came to {} of group {group} at {:?}, before event {id} at {}, which was nacked at {:?}, came again",
                        d.event.id, d.position, d.member, d.at, nacked.position, first.at
                    ));
                }
            }
        }
    }
    sentences
}

/// A subscription without a group gets what the log has, one after the other.
fn before_readers(index: &Index<'_>) -> Vec<String> {
    let mut places: BTreeMap<u64, usize> = BTreeMap::new();
    for (place, stored) in index.history.log.iter().enumerate() {
        places.entry(stored.position).or_insert(place);
    }
    let mut sentences = Vec::new();
    let mut last: BTreeMap<(&str, u64), (usize, u64)> = BTreeMap::new();
    for d in index.history.deliveries.iter().filter(|d| d.group.is_none()) {
        let Some(place) = places.get(&d.position) else {
            continue;
        };
        let before = last.insert((&d.member, d.subscription), (*place, d.position));
        if let Some((_, position)) = before.filter(|(before, _)| before + 1 != *place) {
            sentences.push(format!(
                "event {} at {} came to {} at {:?} right after position {position}",
                d.event.id, d.position, d.member, d.at
            ));
        }
    }
    sentences
}
