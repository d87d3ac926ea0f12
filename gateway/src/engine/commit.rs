//! What is handed to the store: operations, and settlements, which wait here for company, and on a full disk for room.

use std::ops::Bound::{Excluded, Unbounded};

use super::group::Group;
use super::no_room::NO_ROOM;
use super::{Engine, Now};
use crate::store::{GroupId, Op, TopicId};

/// Of at most so many groups it is summed up what settlements wait. A guess.
const MOST_SUMMED: usize = 256;

impl Engine {
    /// Whether a commit would take anything, if there is room.
    #[must_use]
    pub fn wants_commit(&self, now: Now, settle_now: bool) -> bool {
        let due = self.settles_due.is_some_and(|due| due <= now.mono);
        self.has_ops() || (settle_now || due) && !self.unlogged.is_empty()
    }

    /// Operations for the store, appends before the settlements that may be
    /// about them. Settlements that wait ride along when anything is committed,
    /// when they are due, or when `settle_now` asks.
    pub fn take_ops(&mut self, now: Now, settle_now: bool) -> Vec<Op> {
        self.take_ops_within(now, settle_now, u64::MAX)
    }

    /// The same with settlements of at most so many bytes, about: the store has room for no more. But dead letters and what they settle go
    /// together.
    pub fn take_ops_within(&mut self, now: Now, settle_now: bool, most: u64) -> Vec<Op> {
        if self.wants_commit(now, settle_now) {
            self.take_settles(now, most);
        }
        std::mem::take(&mut self.ops)
    }

    /// Whether something waits to be committed that is not only settlements.
    #[must_use]
    pub const fn has_ops(&self) -> bool {
        !self.ops.is_empty()
    }

    /// What it takes to commit the settlements that wait, about; their reasons are left out if there is no room for those. Of very many groups
    /// it is not summed up.
    #[must_use]
    pub fn unlogged_bytes(&self) -> u64 {
        if self.unlogged.len() > MOST_SUMMED {
            return u64::MAX;
        }
        let groups = self.unlogged.iter().filter_map(|(topic, group)| self.topics.get(topic)?.groups.get(group));
        groups.map(Group::unlogged_bytes).sum()
    }

    /// Whether settlements of a topic or of its dead letters wait.
    #[must_use]
    pub fn has_unlogged(&self, id: TopicId) -> bool {
        let of = |id| self.unlogged.range((id, GroupId(0))..=(id, GroupId(u32::MAX))).next().is_some();
        of(id) || of(self.letters_of(id))
    }

    /// Groups have their turns: of one that has much waiting it is not always the first.
    fn take_settles(&mut self, now: Now, most: u64) {
        self.settles_due = None;
        let letters = |op: &Op| matches!(op, Op::Append(_)).then(|| op.topic()).filter(|topic| topic.is_dead_letters());
        let letters: Vec<TopicId> = self.ops.iter().filter_map(letters).collect();
        let mut left = most;
        for _ in 0..self.unlogged.len() {
            if left == 0 && letters.is_empty() {
                break;
            }
            let behind = self.unlogged.range((Excluded(self.taken), Unbounded)).next();
            let Some((topic, group)) = behind.or_else(|| self.unlogged.first()).copied() else { break };
            self.taken = (topic, group);
            let goes_along = !letters.is_empty() && letters.contains(&self.letters_of(topic));
            let Some(of) = self.topics.get_mut(&topic).and_then(|t| t.groups.get_mut(&group)) else {
                self.unlogged.remove(&(topic, group));
                continue;
            };
            let before = of.unlogged_bytes();
            let ranges = of.take_unlogged(if goes_along { before } else { left });
            let rest = of.unlogged_bytes();
            left = left.saturating_sub(before - rest);
            if !ranges.is_empty() {
                self.ops.push(Op::Settle { topic, group, ranges });
            }
            if rest > 0 {
                continue;
            }
            // Behind the failures that they are of.
            let reasons = of.take_reasons();
            if !reasons.is_empty() {
                self.ops.push(Op::Reasons { topic, group, reasons });
            }
            self.unlogged.remove(&(topic, group));
        }
        if !self.unlogged.is_empty() {
            // At once, or when there may be room.
            self.settles_due = Some(if left < most { now.mono } else { now.mono + NO_ROOM });
        }
    }

    /// A group may have settlements that are to be committed.
    pub(super) fn note_unlogged(&mut self, now: Now, id: TopicId, group_id: GroupId) {
        let Some(group) = self.topics.get_mut(&id).and_then(|t| t.groups.get_mut(&group_id)) else {
            return;
        };
        let gone = group.take_gone();
        if id.is_memory() {
            // Nothing of a memory topic is logged.
            drop((group.take_unlogged(u64::MAX), group.take_reasons()));
        } else if group.has_unlogged() {
            self.unlogged.insert((id, group_id));
            self.settles_due.get_or_insert(now.mono + self.settings.settle_delay);
        }
        if !gone.is_empty() {
            self.end_graves(id, gone);
        }
    }
}
