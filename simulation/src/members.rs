//! What must hold of durable members of a broadcast group, beyond what holds of groups.

use std::collections::BTreeMap;

use crate::history::Topic;
use crate::script::FIRST_MEMBER;
use crate::seen::Seen;

/// First deliveries come in log order. A key that waits for a failed event of it holds later ones back, so this is
/// looked for without keys; with them, the library does.
pub(crate) fn a_durable_member_sees_log_order(seen: &Seen<'_>, broken: &mut Vec<String>) {
    let mut last: BTreeMap<(u8, Topic, u32), u64> = BTreeMap::new();
    for d in seen.history.delivered.iter().filter(|d| d.attempt == 1 && seen.key(d.id).is_none()) {
        let Some(member) = d.group.filter(|group| *group >= FIRST_MEMBER) else {
            continue;
        };
        let before = last.entry((member, d.topic, d.life)).or_default();
        if d.position < *before {
            broken.push(format!(
                "{}: durable member {member} got {} at {:?} for the first time, behind {before}",
                d.topic.name(),
                d.position,
                d.at
            ));
        }
        *before = d.position.max(*before);
    }
}
