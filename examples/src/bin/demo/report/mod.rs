//! What became of every event, as numbers and as a verdict.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use bytes::Bytes;

use crate::consumers::GroupReport;
use crate::webhooks::Sent;

/// How it stood in the moment of the kill.
#[derive(Debug, Default)]
pub(crate) struct AtKill {
    /// Receipts that had come.
    pub(crate) answered: usize,
    /// Publishes without a receipt.
    pub(crate) unanswered: usize,
    /// Deliveries that the group had not settled.
    pub(crate) open: usize,
}

/// The table at the end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) at_kill: AtKill,
    sent: usize,
    without_key: usize,
    keys: usize,
    acknowledged: usize,
    received: usize,
    acked: usize,
    redelivered: usize,
    in_log: usize,
    lost: usize,
    never_received: usize,
    duplicates: usize,
    broken_acks: usize,
    foreign: usize,
    changed: usize,
    out_of_order: usize,
}

impl Report {
    /// Holds what came out against what went in.
    pub(crate) fn new(
        at_kill: AtKill,
        sent: &[Sent],
        acknowledged: &BTreeSet<String>,
        group: &GroupReport,
        log: &[(String, Bytes)],
    ) -> Self {
        let numbers: HashMap<&str, usize> = sent.iter().enumerate().map(|(n, s)| (s.id.as_str(), n)).collect();
        let in_log: BTreeSet<&str> = log.iter().map(|(id, _)| id.as_str()).collect();
        let keys: BTreeSet<&str> = sent.iter().filter_map(|s| s.key.as_deref()).collect();
        let seen = log.iter().map(|(id, bytes)| (id, bytes)).chain(&group.events);
        let event = |id: &str| numbers.get(id).and_then(|n| sent.get(*n));
        let changed = seen.filter(|(id, bytes)| event(id).is_some_and(|s| s.encoded != *bytes)).count();
        let order = |ids: &mut dyn Iterator<Item = &str>| {
            out_of_order(ids.filter_map(|id| Some((*numbers.get(id)?, event(id)?.key.as_deref()?))))
        };
        Self {
            at_kill,
            sent: sent.len(),
            without_key: sent.iter().filter(|s| s.key.is_none()).count(),
            keys: keys.len(),
            acknowledged: acknowledged.len(),
            received: group.first_seen.len(),
            acked: group.acked.iter().filter(|id| numbers.contains_key(id.as_str())).count(),
            redelivered: group.redelivered,
            in_log: log.len(),
            lost: acknowledged.iter().filter(|id| !in_log.contains(id.as_str())).count(),
            never_received: acknowledged.iter().filter(|id| !group.events.contains_key(*id)).count(),
            duplicates: log.len() - in_log.len(),
            broken_acks: group.broken_acks,
            foreign: in_log.iter().filter(|id| !numbers.contains_key(*id)).count(),
            changed,
            out_of_order: order(&mut log.iter().map(|(id, _)| id.as_str()))
                + order(&mut group.first_seen.iter().map(String::as_str)),
        }
    }

    /// What is not as promised; empty when all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let AtKill { answered, unanswered, open } = self.at_kill;
        let zero = [
            (self.lost, "acknowledged events are not in the log"),
            (self.never_received, "acknowledged events never reached the group"),
            (self.duplicates, "events are in the log twice"),
            (self.broken_acks, "events came again after their confirmed ack"),
            (self.foreign, "events in the log were never sent"),
            (self.changed, "events came back with other bytes"),
            (self.out_of_order, "events overtook one of their key"),
            (self.sent - self.acknowledged, "events were not acknowledged"),
            (self.sent - self.acked, "events were not acked by the group"),
        ];
        let zero = zero.into_iter().filter(|(count, _)| *count > 0);
        let mut faults: Vec<String> = zero.map(|(count, what)| format!("{count} {what}")).collect();
        if answered >= self.sent {
            faults.push("the kill came after the last receipt".to_owned());
        }
        if unanswered < 50 {
            faults.push(format!("only {unanswered} publishes were unanswered at the kill, fewer than 50"));
        }
        if open < 10 {
            faults.push(format!("only {open} leases were open at the kill, fewer than 10"));
        }
        faults
    }

    fn rows(&self) -> [(&'static str, String, String); 10] {
        let AtKill { answered, unanswered, .. } = self.at_kill;
        let kept = if self.out_of_order == 0 { "kept" } else { "BROKEN" };
        let bytes = if self.changed == 0 { "equal" } else { "DIFFER" };
        let keys = format!("{} keys; none is promised to the {} without", self.keys, self.without_key);
        let answers = format!("{answered} before the kill, {unanswered} unanswered then");
        let row = |what, value: &dyn fmt::Display, remark: &str| (what, value.to_string(), remark.to_owned());
        [
            row("sent", &self.sent, &format!("{} without a partitionkey", self.without_key)),
            row("acknowledged", &self.acknowledged, &answers),
            row("received", &self.received, "by the group `audit`"),
            row("acked", &self.acked, "by the group `audit`"),
            row("redelivered", &self.redelivered, "open at the kill, or their ack was under way"),
            row("in the log", &self.in_log, "as a late reader finds it, from the start"),
            row("lost", &self.lost, ""),
            row("duplicates in the log", &self.duplicates, ""),
            row("bytes", &bytes, "of every event, as published"),
            row("order per key", &kept, &keys),
        ]
    }
}

/// How many events come behind a later one of their key.
fn out_of_order<'a>(events: impl Iterator<Item = (usize, &'a str)>) -> usize {
    let mut last: HashMap<&str, usize> = HashMap::new();
    events.filter(|(number, key)| last.insert(key, *number).is_some_and(|before| before > *number)).count()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, value, remark) in self.rows() {
            writeln!(f, "{}", format!("  {what:<22} {value:>6}   {remark}").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
