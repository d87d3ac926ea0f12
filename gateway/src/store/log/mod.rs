//! The log: every durable event, settlement, topic and group, in one place.
//!
//! ```text
//! commit ─▶ machine ─ DiskOp ─▶ writer thread ─▶ disk      kept ─▶ Completions
//! read  ─▶ cache / index ─ Job ─▶ worker thread ─▶ disk    fetched ─▶ Completions
//! ```
//!
//! [`machine`] decides everything and does nothing; [`LogStore`] is its lock and
//! [`threads`] its two threads, which only carry out. Formats are in
//! docs/log-format.md; [`format`](mod@format), [`ops`] and [`checkpoint`] read and write them,
//! [`walk`] and [`recovery`] open a directory.

mod cache;
mod checkpoint;
mod disk;
mod fold;
mod format;
mod index;
mod job;
mod machine;
mod open_error;
mod ops;
mod os_disk;
#[cfg(feature = "testing")]
pub mod planted;
mod producers;
mod ranges;
mod recent;
mod recovery;
mod scan;
mod segment;
mod sim_disk;
mod store;
#[cfg(test)]
mod tests;
mod threads;
mod times;
mod walk;

use std::sync::Arc;

use meshwire_proto::{Moment, UnixMillis, options};

pub use disk::{Disk, DiskError, DiskFault, DiskOp, FileName, Part};
pub use fold::{Fold, GroupState, TopicState};
pub use job::{Job, JobResult};
pub use machine::{Fetched, Input, Kept, LogMachine, OpId};
pub use open_error::OpenError;
pub use os_disk::OsDisk;
pub use producers::{ProducerState, Producers};
pub use ranges::RangeSet;
pub use recent::{RecentBlock, RecentEvents};
pub use recovery::Recovered;
pub use sim_disk::{SimCounts, SimDisk, SimFault};
pub use store::{Ended, LogStore, Task};
pub use times::TimesFold;

/// Tells both clocks; called by the log's threads and at opening only.
pub type LogClock = Arc<dyn Fn() -> (Moment, UnixMillis) + Send + Sync>;

/// Bounds of a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes of the first segment. Default 4 MiB.
    pub first_segment_bytes: u64,
    /// Bytes of every later one. Default 64 MiB, at most 1 GiB; an eighth of `max_disk`, or of what the file system has
    /// for the log, if that is less, but never less than the largest write needs.
    pub segment_bytes: u64,
    /// Most bytes that are written at once: every segment but the first can hold them. Default 0: not known.
    pub largest_write: u64,
    /// Most bytes of all segments. 0, the default: 80 % of what was free at first start, at least
    /// [`LogOptions::least_max_disk`].
    pub max_disk: u64,
    /// Block cache, shared by all topics. Default 16 MiB.
    pub cache_bytes: usize,
    /// How far back [`Recovered::recent`] goes in stored time, in milliseconds; 0 for not at all.
    pub dedup_window_ms: u64,
    /// Most events of [`Recovered::recent`]: the newest.
    pub dedup_ids: u64,
    /// A random number, used when the directory is new.
    pub salt: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            first_segment_bytes: 4 << 20,
            segment_bytes: 64 << 20,
            largest_write: 0,
            max_disk: options::MAX_DISK.default,
            cache_bytes: 16 << 20,
            dedup_window_ms: options::DEDUP_WINDOW.default,
            dedup_ids: options::DEDUP_IDS.default,
            salt: 0,
        }
    }
}

impl LogOptions {
    /// Bytes of the next segment, with room for so many bytes of segments: a small disk holds several.
    fn segment_len(&self, room: u64) -> u64 {
        let most = self.segment_bytes.clamp(recovery::LEAST_SEGMENT, 1 << 30);
        let len = most.min((room / 8).max(self.first_segment_bytes.max(recovery::LEAST_SEGMENT)));
        len.max(machine::segment_for(self.largest_write))
    }

    /// The smallest `max_disk` of use, in whole MiB: a segment that takes events and the next one behind it. With less
    /// the log never leaves a full segment, and retention frees nothing.
    #[must_use]
    pub fn least_max_disk(&self) -> u64 {
        (2 * self.segment_len(0)).next_multiple_of(1 << 20)
    }

    /// What must be free for a new directory: those two segments, and a little for checkpoints and indexes, without
    /// which no segment is given back.
    fn least_free(&self) -> u64 {
        let segment = self.segment_len(0);
        2 * segment + segment / 8
    }
}
