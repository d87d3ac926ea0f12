//! Who of a topic's readers is to be looked at: only those for whom something has
//! changed, so that what one does costs the same however many others there are.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::SubscriptionKey;
use crate::store::GroupId;

/// What has a place of its own in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reader {
    /// A subscription without a group.
    Solo(SubscriptionKey),
    /// A group.
    Group(GroupId),
}

/// What a reader waits for when it has been looked at. A settlement, credit, a member or its time wake it as well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits {
    /// For events: somebody has room for them.
    pub(super) for_events: bool,
    /// For a block that is not there yet.
    pub(super) for_block: bool,
    /// For nothing but its next turn.
    pub(super) again: bool,
}

#[derive(Default)]
pub(super) struct Readers {
    woken: BTreeSet<Reader>,
    for_events: BTreeSet<Reader>,
    for_block: BTreeSet<Reader>,
    /// Who was looked at last.
    last: Option<Reader>,
    /// How many were looked at.
    #[cfg(test)]
    pub(super) looks: u64,
}

/// The one behind `last`, and after the highest the lowest: whoever is put in again and again comes behind all
/// others.
pub(super) fn in_turn<T: Copy + Ord>(all: &BTreeSet<T>, last: Option<T>) -> Option<T> {
    let behind = last.and_then(|last| all.range((Bound::Excluded(last), Bound::Unbounded)).next());
    behind.or_else(|| all.first()).copied()
}

fn set(readers: &mut BTreeSet<Reader>, reader: Reader, within: bool) {
    if within {
        readers.insert(reader);
    } else {
        readers.remove(&reader);
    }
}

impl Readers {
    pub(super) fn wake(&mut self, reader: Reader) {
        self.woken.insert(reader);
    }

    /// There are new events. Who waits for a block may wait for one of these.
    pub(super) fn wake_for_events(&mut self) {
        self.woken.append(&mut self.for_events);
        self.woken.append(&mut self.for_block);
    }

    /// A block has come.
    pub(super) fn wake_for_block(&mut self) {
        self.woken.append(&mut self.for_block);
    }

    /// Whether a reader waits for a block.
    pub(super) fn is_reading(&self, reader: Reader) -> bool {
        self.for_block.contains(&reader)
    }

    /// The next one to look at, in turn.
    pub(super) fn next(&mut self) -> Option<Reader> {
        let next = in_turn(&self.woken, self.last);
        if let Some(reader) = next {
            self.woken.remove(&reader);
            self.last = next;
        }
        #[cfg(test)]
        {
            self.looks += u64::from(next.is_some());
        }
        next
    }

    /// It was looked at.
    pub(super) fn note(&mut self, reader: Reader, waits: Waits) {
        set(&mut self.for_events, reader, waits.for_events);
        set(&mut self.for_block, reader, waits.for_block);
        if waits.again {
            self.woken.insert(reader);
        }
    }

    /// It is no more.
    pub(super) fn forget(&mut self, reader: Reader) {
        self.woken.remove(&reader);
        self.note(reader, Waits::default());
    }
}
