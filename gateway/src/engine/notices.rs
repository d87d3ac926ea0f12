//! What an operator should know and nobody is answered: gathered here, and told at most once a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire_proto::{GroupKey, Moment, TopicName};

use super::Engine;
use crate::store::{GroupId, TopicId};

/// The same is not told again before.
const EVERY: Duration = Duration::from_secs(60);

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// Dead letters of a group wait for room in the store.
    LettersWait,
    /// Retention took events that a group had given up before their dead letters had room.
    LettersLost,
    /// Events whose time has come wait for room in the store.
    EventsWait,
}

/// One line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// Of which topic.
    pub topic: TopicName,
    /// Of which group, if it is about one.
    pub group: Option<GroupKey>,
    /// How many.
    pub count: u64,
}

type Key = (TopicId, Option<GroupId>, NoticeKind);

/// Those that wait, and when each was told last.
#[derive(Default)]
pub(super) struct Notices {
    waiting: BTreeMap<Key, u64>,
    told: BTreeMap<Key, Moment>,
}

impl Notices {
    /// So many wait now.
    pub(super) fn now(&mut self, of: Key, count: u64) {
        if count > 0 {
            self.waiting.insert(of, count);
        } else {
            self.waiting.remove(&of);
        }
    }

    /// Whether it would be told now.
    pub(super) fn may_tell(&self, of: Key, now: Moment) -> bool {
        self.told.get(&of).is_none_or(|at| now.since(*at) >= EVERY)
    }

    /// So many more.
    pub(super) fn more(&mut self, of: Key, count: u64) {
        if count > 0 {
            *self.waiting.entry(of).or_default() += count;
        }
    }

    fn take(&mut self, now: Moment) -> Vec<(Key, u64)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.told.retain(|_, at| now.since(*at) < EVERY);
        let waiting = self.waiting.iter().filter(|(key, _)| !self.told.contains_key(key));
        let due: Vec<(Key, u64)> = waiting.map(|(key, count)| (*key, *count)).collect();
        for (key, _) in &due {
            self.waiting.remove(key);
            self.told.insert(*key, now);
        }
        due
    }
}

impl Engine {
    /// What is to be told now. Cheap when there is nothing.
    pub fn take_notices(&mut self, now: Moment) -> Vec<Notice> {
        let due = self.notices.take(now);
        let notice = |((id, group, kind), count): (Key, u64)| {
            let topic = self.topics.get(&id)?;
            let group = group.and_then(|group| topic.groups.get(&group)).map(|group| group.name.clone());
            Some(Notice { kind, topic: topic.settings.name.clone(), group, count })
        };
        due.into_iter().filter_map(notice).collect()
    }

    /// A group was looked at: what of its dead letters is not as it should be.
    pub(super) fn note_owed(&mut self, id: TopicId, group: GroupId) {
        if let Some(found) = self.topics.get_mut(&id).and_then(|topic| topic.groups.get_mut(&group)) {
            let (wait, lost) = found.take_owed();
            self.notices.now((id, Some(group), NoticeKind::LettersWait), wait);
            self.notices.more((id, Some(group), NoticeKind::LettersLost), lost);
        }
    }
}
