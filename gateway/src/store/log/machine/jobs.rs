//! What goes on in the background, one job at a time: segments first, then reads, then what nobody waits for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::{Moment, UnixMillis};

use super::{FULL_RETRY, LogMachine, OpId};
use crate::store::log::checkpoint;
use crate::store::log::disk::{DiskError, DiskFault, FileName, Part};
use crate::store::log::index::SegmentIndex;
use crate::store::log::job::{Job, JobResult, Outcome, Work};
use crate::store::{Position, TopicId};

/// How long to wait before trying again what failed and nobody waits for.
const AGAIN: Duration = Duration::from_secs(1);

/// Least time between two lines about that, in milliseconds.
const TELL_MS: i64 = 60_000;

/// A checkpoint that waits for its batch to be synced.
#[derive(Debug)]
struct Snapshot {
    batch: u64,
    bytes: Bytes,
    /// So many retired segments are not in it.
    retired: u64,
}

/// What a job under way must be told of when it ends.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Allocate(u64),
    Zero,
    Checkpoint { batch: u64, retired: u64 },
    Index,
    Free,
    Read(TopicId, Position, u64),
    Find(u64),
}

/// Jobs to do.
#[derive(Debug)]
pub(super) struct Jobs {
    under_way: Option<(OpId, Kind)>,
    indexes: VecDeque<(u64, Arc<SegmentIndex>)>,
    checkpoint_wanted: bool,
    snapshot: Option<Snapshot>,
    /// The slot the next checkpoint goes to, and the batch of the last.
    slot: u8,
    checkpointed: u64,
    /// Why the last one that was tried was not written.
    checkpoint_failed: Option<DiskError>,
    /// Nothing is tried before, after a failure.
    not_before: Moment,
    /// Indexes of retired segments.
    stale: Vec<u64>,
    /// When a failure was told last.
    told: Option<UnixMillis>,
}

impl Jobs {
    pub(super) fn new(indexes: Vec<(u64, Arc<SegmentIndex>)>, (slot, checkpointed): (u8, u64)) -> Self {
        Self {
            under_way: None,
            indexes: indexes.into(),
            checkpoint_wanted: false,
            snapshot: None,
            slot,
            checkpointed,
            checkpoint_failed: None,
            not_before: Moment(0),
            stale: Vec::new(),
            told: None,
        }
    }

    /// Whether another failure is to be told: they come each second as long as their cause lasts.
    fn tells(&mut self, wall: UnixMillis) -> bool {
        let tells = self.told.is_none_or(|told| wall.0 - told.0 >= TELL_MS);
        if tells {
            self.told = Some(wall);
        }
        tells
    }

    /// A segment was sealed: its index is written and a checkpoint made.
    pub(super) fn sealed(&mut self, sealed: (u64, Arc<SegmentIndex>)) {
        self.indexes.push_back(sealed);
        self.checkpoint_wanted = true;
    }

    /// The index of a segment that was sealed, as long as it is not written.
    pub(super) fn index_of(&self, segment: u64) -> Option<&SegmentIndex> {
        self.indexes.iter().find(|(s, _)| *s == segment).map(|(_, index)| &**index)
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// What is under way never ends.
    pub(super) const fn forget(&mut self) {
        self.under_way = None;
    }

    /// Whether files are being removed.
    pub(super) const fn is_freeing(&self) -> bool {
        matches!(self.under_way, Some((_, Kind::Free)))
    }

    /// Why no checkpoint can be written, since the last one that was.
    pub(super) const fn checkpoint_failed(&self) -> Option<&DiskError> {
        self.checkpoint_failed.as_ref()
    }

    pub(super) const fn want_checkpoint(&mut self) {
        self.checkpoint_wanted = true;
    }
}

impl LogMachine {
    /// Whether the last checkpoint is older than the fold.
    pub(super) const fn checkpoint_due(&self) -> bool {
        self.jobs.checkpointed < self.fold.batch || self.retention.is_unsaved()
    }

    /// The next job, one at a time. Its end is told by [`super::Input::JobDone`].
    pub fn poll_job(&mut self, now: Moment) -> Option<(OpId, Job)> {
        if self.jobs.under_way.is_some() || self.closed {
            return None;
        }
        // Also what is not done changes: there may be no space to allocate.
        self.full_words = None;
        let (kind, work) = self.next_job(now)?;
        let id = self.id();
        self.jobs.under_way = Some((id, kind));
        Some((id, Job(work)))
    }

    /// When [`LogMachine::poll_job`] should be asked again though nothing happens.
    #[must_use]
    pub fn worker_deadline(&self) -> Option<Moment> {
        if self.jobs.under_way.is_some() || self.closed {
            return None;
        }
        self.retry_at().into_iter().chain(self.find_again_at()).min()
    }

    /// Whether [`LogMachine::poll_job`] has something that should not wait for a tick.
    #[must_use]
    pub fn wants_worker(&self) -> bool {
        self.jobs.under_way.is_none()
            && (self.has_reads() || self.has_finds() || self.wants_segment() || self.wants_zeros())
    }

    /// Whether a segment must be allocated for what is written or will be soon.
    #[must_use]
    pub fn wants_segment(&self) -> bool {
        self.failed.is_none() && self.space.wants_segment(self.backlog(), self.closing)
    }

    fn wants_zeros(&self) -> bool {
        !self.closing && self.failed.is_none() && self.space.wants_zeros()
    }

    fn next_job(&mut self, now: Moment) -> Option<(Kind, Work)> {
        // Before reads: a reader that catches up always has one.
        if self.wants_segment()
            && let Some((segment, len)) = self.space.allocate(now)
        {
            return Some((Kind::Allocate(len), Work::Allocate { segment, len }));
        }
        if let Some(Work::Read(read)) = self.next_read(now) {
            return Some((Kind::Read(read.topic, read.from, read.segment), Work::Read(read)));
        }
        if let Some(Work::Find(of)) = self.next_find(now) {
            return Some((Kind::Find(of.segment), Work::Find(of)));
        }
        if self.failed.is_some() {
            return None;
        }
        if now < self.jobs.not_before {
            return None;
        }
        let files = self.free_files();
        if !files.is_empty() {
            return Some((Kind::Free, Work::Free { files }));
        }
        if let Some((segment, index)) = self.jobs.indexes.pop_front()
            && let Some(sealed) = self.space.sealed.get(&segment)
        {
            let bytes = index.encode(sealed.generation);
            self.reads.keep(segment, index);
            return Some((Kind::Index, Work::Index { segment, bytes }));
        }
        if let Some(job) = self.next_checkpoint() {
            return Some(job);
        }
        let (segment, offset, len) = self.space.zero().filter(|_| !self.closing)?;
        Some((Kind::Zero, Work::Zero { segment, offset, len }))
    }

    /// Files that may go: segments that two checkpoints do without, and indexes
    /// of retired segments at once, so that even a full disk has room for a checkpoint.
    fn free_files(&mut self) -> Vec<FileName> {
        let stale = std::mem::take(&mut self.jobs.stale).into_iter().map(Part::Index);
        stale.chain(self.space.take_free().into_iter().map(Part::Segment)).map(FileName::of).collect()
    }

    fn next_checkpoint(&mut self) -> Option<(Kind, Work)> {
        let last = self.closing && self.ready.is_empty() && self.pending.is_empty() && self.checkpoint_due();
        let jobs = &mut self.jobs;
        let wanted = jobs.checkpoint_wanted || self.space.wants_checkpoint() || last;
        if jobs.snapshot.is_none() && wanted {
            jobs.checkpoint_wanted = false;
            let open = (self.space.active.number, self.space.active.first_batch);
            let bytes = checkpoint::encode(&self.fold, self.space.epoch, open, &self.space.sealed);
            let retired = self.space.retired_so_far();
            self.retention.saved();
            jobs.snapshot = Some(Snapshot { batch: self.fold.batch, bytes, retired });
        }
        // It must not be true before the log is: a cursor would be ahead of its events.
        let synced = self.watermark.synced;
        let Snapshot { batch, bytes, retired } = jobs.snapshot.take_if(|s| s.batch <= synced)?;
        Some((Kind::Checkpoint { batch, retired }, Work::Checkpoint { slot: jobs.slot, bytes }))
    }

    pub(super) fn job_done(&mut self, now: Moment, id: OpId, result: JobResult) {
        let Some((_, kind)) = self.jobs.under_way.take_if(|(expected, _)| *expected == id) else {
            return;
        };
        match (kind, result.0) {
            (Kind::Read(topic, from, segment), Outcome::Read(fetch)) => self.read_done((topic, from, segment), fetch),
            (Kind::Read(topic, from, _), Outcome::Unread(error)) => self.read_failed(now, (topic, from), &error),
            (Kind::Find(segment), Outcome::Found(index)) => {
                self.find_done(segment, &index);
                self.reads.keep(segment, index);
                self.retain_with_index(segment);
            }
            (Kind::Find(_), Outcome::Unread(error)) => {
                tracing::error!(%error, "an index of the log cannot be read; who looks for a time waits, and it is tried again");
                self.find_failed(now);
            }
            (kind, Outcome::Ended(Ok(()))) => self.job_succeeded(kind),
            (kind, Outcome::Ended(Err(error)) | Outcome::Unread(error)) => self.job_failed(now, kind, &error),
            (_, Outcome::Read(_) | Outcome::Found(_)) => {}
        }
    }

    fn job_succeeded(&mut self, kind: Kind) {
        match kind {
            Kind::Allocate(len) => {
                self.space.allocated(len);
                if self.full.is_none() {
                    self.refusals.ended();
                }
            }
            Kind::Free => self.space.freed(),
            Kind::Zero => self.space.zeroed(),
            Kind::Checkpoint { batch, retired } => {
                self.jobs.checkpointed = batch;
                self.jobs.checkpoint_failed = None;
                self.jobs.slot ^= 1;
                self.space.checkpointed(retired);
            }
            Kind::Index | Kind::Read(..) | Kind::Find(_) => {}
        }
    }

    fn job_failed(&mut self, now: Moment, kind: Kind, error: &DiskError) {
        match kind {
            Kind::Allocate(_) => {
                let cause = format!("no space for the next segment of the log: {}", error.message);
                self.space.refused(false, cause, now + FULL_RETRY);
                return;
            }
            // Zeros are only for speed, but a sync of this file has failed: what it says later cannot be trusted.
            Kind::Zero if error.fault != DiskFault::NoSpace => self.space.not_zeroed(),
            Kind::Zero => self.space.zeroed(),
            Kind::Checkpoint { .. } => {
                self.jobs.checkpoint_wanted = true;
                self.jobs.checkpoint_failed = Some(error.clone());
                // At the end there is no later: what it would have saved is only time.
                if self.closing {
                    self.jobs.checkpointed = self.fold.batch;
                    self.jobs.checkpoint_wanted = false;
                }
            }
            Kind::Index | Kind::Free | Kind::Read(..) | Kind::Find(_) => {}
        }
        if self.jobs.tells(self.wall) {
            tracing::warn!(%error, "a background job of the log failed; it is tried again, and told at most once a minute");
        }
        self.jobs.not_before = now + AGAIN;
    }

    /// Gives up segments of whose events none can be read any more.
    pub(super) fn retire(&mut self) {
        if self.failed.is_some() || !self.retention.take_moved(self.wall) {
            return;
        }
        for segment in self.space.retire(self.wall, &self.fold) {
            for span in segment.spans.iter().filter(|span| span.topic.is_delayed()) {
                if !self.fold.times.waits(span.topic, 0, span.next) {
                    self.fold.retain_from(span.topic, span.next);
                }
            }
            self.places.remove(&segment);
            self.jobs.stale.push(segment.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_lasts_is_told_once_a_minute() {
        let mut jobs = Jobs::new(Vec::new(), (0, 0));
        let told = (0..181).filter(|second| jobs.tells(UnixMillis(second * 1000))).collect::<Vec<_>>();
        assert_eq!(told, [0, 60, 120, 180]);
    }
}
