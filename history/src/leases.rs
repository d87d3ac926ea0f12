//! What must hold of leases: an event is with one member of a group at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::index::Index;
use crate::model::{Delivery, SettleKind};

pub(crate) fn leased_twice(index: &Index<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut last: BTreeMap<(&str, u64), &Delivery> = BTreeMap::new();
    let mut attempts: BTreeMap<(&str, u64, u64, u32), &Delivery> = BTreeMap::new();
    for d in &index.history.deliveries {
        let Some(group) = d.group.as_deref() else { continue };
        let (id, attempt) = (d.event.id, d.attempt);
        if index.is_given_back(group, id) {
            continue;
        }
        let before = last.insert((group, id), d).filter(|before| before.life == d.life);
        if let Some(first) = attempts.insert((group, id, d.life, attempt), d) {
            sentences.push(format!(
                "event {id} came twice as attempt {attempt} in group {group}, to {} at {:?} and to {} at {:?}",
                first.member, first.at, d.member, d.at
            ));
        } else if let Some(before) = before.filter(|before| !may_come_again(index, group, before, d)) {
            sentences.push(format!(
                "event {id} came to {} of group {group} at {:?}, and {} had it since {:?}",
                d.member, d.at, before.member, before.at
            ));
        }
    }
    sentences
}

/// Whether a lease may have ended between two deliveries of an event in one life.
fn may_come_again(index: &Index<'_>, group: &str, before: &Delivery, d: &Delivery) -> bool {
    let within = |at: Duration| at >= before.at && at <= d.at;
    // If an ack stands that nothing excuses, another check speaks of it.
    let settled = |event| {
        let all = index.settles(group, event).iter();
        all.filter(|s| s.kind != SettleKind::Ack || !s.excused).any(|s| within(s.at))
    };
    let history = index.history;
    let gone = history.absences.iter().any(|a| a.member == before.member && within(a.at));
    let ended = d.at - before.at + history.forgive.under_way >= ack_wait(index, group);
    d.excused || gone || ended || settled(d.event.id) || is_taken_back(index, group, before, d)
}

/// Whether an earlier event of the key may have failed since, which takes this one back.
fn is_taken_back(index: &Index<'_>, group: &str, before: &Delivery, d: &Delivery) -> bool {
    let slack = index.history.forgive.under_way;
    let wait = ack_wait(index, group);
    let failed = |id: u64| {
        let settles = index.settles(group, id);
        let mut nacks = settles.iter().filter(|s| s.kind != SettleKind::Ack);
        let acked =
            |from, to| settles.iter().any(|s| s.kind == SettleKind::Ack && !s.excused && s.at >= from && s.at < to);
        let spans = index.deliveries(group, id).iter().map(|b| (b.at, b.at.saturating_add(wait)));
        let mut ends = spans.filter(|(from, to)| !acked(*from, *to)).map(|(_, to)| to);
        nacks.any(|s| s.at + slack >= before.at && s.at <= d.at)
            || ends.any(|end| end.saturating_add(slack) >= before.at && end <= d.at + slack)
    };
    index.earlier(d).iter().any(|(_, earlier)| failed(*earlier))
}

fn ack_wait(index: &Index<'_>, group: &str) -> Duration {
    index.history.groups.iter().find(|g| &*g.name == group).map_or(Duration::MAX, |g| g.ack_wait)
}
