//! What must hold of the order in which events come.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::Index;
use crate::model::{Delivery, SettleKind};

/// After a death that took events the log says nothing of the order before.
pub(crate) fn reordered(index: &Index<'_>) -> Vec<String> {
    if index.history.may_be_rewritten() {
        return Vec::new();
    }
    let mut sentences = within_keys(index);
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

/// Whether an event was acked before a delivery came, or may have been given up.
fn is_done(index: &Index<'_>, group: &str, id: u64, d: &Delivery) -> bool {
    let limit = index.history.groups.iter().find(|g| &*g.name == group).and_then(|g| g.max_failures);
    // A death may have taken the letter itself.
    let failed = |limit| index.deliveries(group, id).iter().any(|d| d.attempt >= limit);
    let settled = index.settles(group, id).iter().any(|s| match s.kind {
        SettleKind::Ack => s.at < d.at,
        SettleKind::Reject => true,
        SettleKind::Nack => false,
    });
    settled || index.is_dead(group, id) || index.is_given_back(group, id) || limit.is_some_and(failed)
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
