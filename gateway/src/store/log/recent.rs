//! Events of the de-duplication window, read again after the log is recovered.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use meshwire_proto::UnixMillis;

use super::disk::{Disk, DiskError, DiskFault};
use super::index::BlockEntry;
use super::scan::Scanner;
use crate::store::{Position, TopicId};

/// A stored block of the window.
#[derive(Clone, Copy, Debug)]
pub struct RecentBlock<'a> {
    /// Its topic.
    pub topic: TopicId,
    /// Position of its first event.
    pub first: Position,
    /// When it was stored.
    pub stored: UnixMillis,
    /// How many events.
    pub count: u32,
    /// The framed events.
    pub bytes: &'a [u8],
}

/// Where the newest events of the window are. They stay on disk until they are
/// asked for: a window of 500,000 events would not fit the memory budget.
#[derive(Clone, Default)]
pub struct RecentEvents {
    /// Not held: the directory is locked as long as its store lives, no longer.
    disk: Option<Weak<dyn Disk>>,
    blocks: VecDeque<(u64, TopicId, BlockEntry)>,
    events: u64,
    most: u64,
    since: UnixMillis,
}

impl RecentEvents {
    pub(super) fn new(disk: &Arc<dyn Disk>, most: u64, since: UnixMillis) -> Self {
        Self { disk: Some(Arc::downgrade(disk)), blocks: VecDeque::new(), events: 0, most, since }
    }

    /// How many events.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn add(&mut self, segment: u64, topic: TopicId, entry: BlockEntry) {
        if entry.stored < self.since || self.most == 0 {
            return;
        }
        self.events += u64::from(entry.count);
        self.blocks.push_back((segment, topic, entry));
        while let Some((_, _, oldest)) =
            self.blocks.front().filter(|(_, _, b)| self.events - u64::from(b.count) >= self.most)
        {
            self.events -= u64::from(oldest.count);
            self.blocks.pop_front();
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn forget(&mut self) {
        self.blocks.clear();
        self.events = 0;
    }

    /// Gives every block in log order. Reads each segment once, forward.
    ///
    /// # Errors
    /// A segment cannot be read, or the store was dropped; what follows is missing from the window.
    pub fn for_each(self, mut visit: impl FnMut(RecentBlock<'_>)) -> Result<(), DiskError> {
        let Some(disk) = self.disk else { return Ok(()) };
        let Some(disk) = disk.upgrade() else {
            let message = "recent events: the log is closed".to_owned();
            return Err(DiskError { fault: DiskFault::Missing, message });
        };
        let mut open: Option<(u64, Scanner<'_>)> = None;
        for (segment, topic, entry) in self.blocks {
            let mut scanner = match open.take() {
                Some((s, scanner)) if s == segment => scanner,
                _ => Scanner::new(&*disk, segment, u64::MAX),
            };
            let bytes = scanner.bytes(u64::from(entry.offset), entry.len as usize)?;
            let BlockEntry { first, stored, count, .. } = entry;
            visit(RecentBlock { topic, first, stored, count, bytes });
            open = Some((segment, scanner));
        }
        Ok(())
    }
}

impl std::fmt::Debug for RecentEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecentEvents").field("events", &self.events).finish_non_exhaustive()
    }
}
