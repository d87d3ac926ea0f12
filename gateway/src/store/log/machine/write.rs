//! Writing and syncing: the one place where a batch becomes kept.

use bytes::{BufMut as _, Bytes, BytesMut};
use meshwire_proto::Moment;

use super::batch::Cut;
use super::retain::Change;
use super::space::Place;
use super::{CUT_BYTES, FULL_RETRY, IDLE, LAZY_SYNC, LogMachine, OpId};
use crate::store::Ticket;
use crate::store::log::disk::{DiskError, DiskFault, DiskOp, FileName, Part};
use crate::store::log::format::{RECORD_HEADER, RecordHeader, SEGMENT_HEADER};
use crate::store::log::index::BlockEntry;

/// Written bytes that no sync covers yet are bounded by this.
const SYNC_BYTES: u64 = 32 << 20;

/// The operation that the writer thread is at.
pub(super) enum Writing {
    Batch {
        cut: Cut,
        /// Where the record begins.
        offset: u64,
        mark: u64,
    },
    Sync {
        /// Batches up to this one are synced when it ends.
        covers: u64,
        began: Moment,
    },
}

impl LogMachine {
    /// The next operation for the writer, one at a time. Its end is told by [`super::Input::Done`].
    pub fn poll_write(&mut self, now: Moment) -> Option<(OpId, DiskOp)> {
        loop {
            if self.writing.is_some() || self.failed.is_some() || self.closed {
                return None;
            }
            self.gather.let_pass(now);
            let blocked = self.full.as_ref().is_some_and(|(again, _)| now < *again);
            let unsynced = self.unsynced.map_or(0, |(_, bytes)| bytes);
            if let Some(len) = self.ready.front().map(Cut::len).filter(|_| !blocked && unsynced < SYNC_BYTES) {
                match self.space.place(len) {
                    Place::Here { offset, header } => return self.write(offset, header),
                    // A segment is left only when all of it is synced.
                    Place::Roll if self.dirty => return Some(self.sync(now)),
                    Place::Roll => {
                        self.full_words = None;
                        if let Some(sealed) = self.space.roll() {
                            self.jobs.sealed(sealed);
                            self.retention.sealed();
                        }
                        continue;
                    }
                    Place::Stalled => {}
                }
            }
            if self.sync_wanted || unsynced >= SYNC_BYTES {
                return Some(self.sync(now));
            }
            if self.ready.is_empty() && !self.pending.is_empty() && !self.must_gather(now) {
                self.gather.open();
                self.cut();
            } else if self.sync_due(now) {
                return Some(self.sync(now));
            } else if self.ready.is_empty() && self.pending.is_empty() && self.mark_due(Some(now)) {
                self.cut();
            } else {
                return None;
            }
        }
    }

    /// Whether a batch could be written that no one has been woken for.
    #[must_use]
    pub fn wants_writer(&self) -> bool {
        let waits = self.gather.waits(self.pending.events());
        self.writing.is_none() && !self.pending.is_empty() && (!waits || self.pending.body_len() >= CUT_BYTES)
    }

    /// When [`LogMachine::poll_write`] should be asked again though nothing happens.
    #[must_use]
    pub fn writer_deadline(&self) -> Option<Moment> {
        if self.writing.is_some() || self.failed.is_some() || self.closed {
            return None;
        }
        let nothing_ready = self.ready.is_empty();
        // Also with nothing pending: a first commit that waits for company wakes nobody.
        let gather = self.gather.deadline().filter(|_| nothing_ready);
        let sync = self.unsynced.map(|(since, _)| since + LAZY_SYNC);
        let mark = (nothing_ready && self.pending.is_empty() && self.mark_due(None)).then(|| self.idle_since + IDLE);
        let full = self.full.as_ref().map(|(again, _)| *again);
        [gather, sync, mark, full].into_iter().flatten().min()
    }

    fn must_gather(&self, now: Moment) -> bool {
        !self.closing && self.pending.body_len() < CUT_BYTES && self.gather.holds(now, self.pending.events())
    }

    fn sync_due(&self, now: Moment) -> bool {
        let late = self.unsynced.is_some_and(|(since, _)| since + LAZY_SYNC <= now);
        // At the end, also what is written before something that there is no space for.
        late || self.closing && self.dirty && (self.ready.is_empty() || self.is_stuck())
    }

    /// Bytes of the record that is being written.
    pub(super) fn writing_len(&self) -> u64 {
        match &self.writing {
            Some((_, Writing::Batch { cut, .. })) => cut.len(),
            _ => 0,
        }
    }

    /// The last batch is synced and no record says so. `None`: however short the log has been idle.
    pub(super) fn mark_due(&self, now: Option<Moment>) -> bool {
        let idle = self.closing || now.is_none_or(|now| self.idle_since + IDLE <= now);
        idle && self.marked < self.last_op_batch && self.watermark.synced >= self.last_op_batch
    }

    /// Closes the batch that is being gathered.
    pub(super) fn cut(&mut self) {
        self.full_words = None;
        self.last_cut += 1;
        match self.pending.cut(self.last_cut, &mut self.fold) {
            Ok(cut) => {
                self.retention.cut(&cut.changes);
                for change in &cut.changes {
                    if let Change::Gone(topic) = change {
                        self.forget(*topic);
                    }
                }
                self.ready.push_back(cut);
            }
            Err(error) => self.fail(format!("an operation was encoded wrongly, which is a defect of ours: {error:?}")),
        }
    }

    fn write(&mut self, offset: u64, header: bool) -> Option<(OpId, DiskOp)> {
        let cut = self.ready.pop_front()?;
        let mark = self.watermark.synced;
        let record = RecordHeader {
            generation: self.space.active.generation,
            batch: cut.batch,
            synced: mark,
            epoch: self.space.epoch,
            body_len: cut.body_len as u32,
            body_crc: cut.body_crc,
            ops: cut.ops,
        };
        let mut head = BytesMut::with_capacity(SEGMENT_HEADER + RECORD_HEADER);
        if header {
            head.put_slice(&self.space.segment_header(cut.batch).encode());
        }
        head.put_slice(&record.encode());
        let padding = record.record_len() as usize - RECORD_HEADER - cut.body_len;
        let mut parts = vec![head.freeze()];
        parts.extend(cut.body.iter().cloned());
        parts.push(Bytes::from_static(&[0; 8]).slice(..padding));
        let file = FileName::of(Part::Segment(self.space.active.number));
        let begins = if header { SEGMENT_HEADER as u64 } else { offset };
        let id = self.id();
        self.writing = Some((id, Writing::Batch { cut, offset: begins, mark }));
        Some((id, DiskOp::Write { file, offset, parts }))
    }

    fn sync(&mut self, now: Moment) -> (OpId, DiskOp) {
        let id = self.id();
        self.writing = Some((id, Writing::Sync { covers: self.watermark.written, began: now }));
        (id, DiskOp::Sync { file: FileName::of(Part::Segment(self.space.active.number)) })
    }

    pub(super) fn write_done(&mut self, now: Moment, id: OpId, result: Result<(), DiskError>) {
        let Some((_, writing)) = self.writing.take_if(|(expected, _)| *expected == id) else {
            return;
        };
        match (writing, result) {
            (Writing::Batch { cut, offset, mark }, Ok(())) => self.written(now, cut, offset, mark),
            // What was written of it is written again at the same place: a torn tail if the process ends before.
            (Writing::Batch { cut, .. }, Err(error)) if error.fault == DiskFault::NoSpace => {
                self.ready.push_front(cut);
                let cause = format!("no space for the log: {error}");
                self.refusals.begun(self.wall, &cause);
                self.full = Some((now + FULL_RETRY, cause));
            }
            (Writing::Sync { covers, began }, Ok(())) => self.synced(now, covers, began),
            // Never tried again: pages of a failed sync count as clean, so a second one would lie.
            (_, Err(error)) => self.fail(error.message),
        }
    }

    fn written(&mut self, now: Moment, cut: Cut, offset: u64, mark: u64) {
        if self.full.take().is_some() {
            self.refusals.ended();
        }
        let active = &mut self.space.active;
        if active.used == 0 {
            active.first_batch = cut.batch;
        }
        active.used = offset + cut.len();
        active.next_batch = cut.batch + 1;
        self.marked = self.marked.max(mark);
        self.dirty = true;
        self.watermark.written = cut.batch;
        self.idle_since = now;
        if cut.ops > 0 {
            self.last_op_batch = cut.batch;
            let (since, bytes) = self.unsynced.unwrap_or((now, 0));
            self.unsynced = Some((since, bytes + cut.len()));
            self.kept_changed = true;
        }
        self.sync_wanted |= cut.needs_sync;
        self.gather.wrote(cut.events);
        for new in cut.blocks {
            let entry = BlockEntry::new(&new.head, offset + (RECORD_HEADER + new.body_offset) as u64);
            active.index.add(new.topic, entry);
            // Deleted since it was taken.
            if !self.fold.topics.contains_key(&new.topic) {
                continue;
            }
            self.places.add(new.topic, new.head.first, active.number);
            self.unshown.push((cut.batch, new));
        }
        #[cfg(feature = "testing")]
        if crate::store::log::planted::is(crate::store::log::planted::Defect::AckBeforeSync) {
            self.watermark.synced = self.watermark.written;
        }
        self.show();
    }

    fn synced(&mut self, now: Moment, covers: u64, began: Moment) {
        self.watermark.synced = self.watermark.synced.max(covers);
        self.sync_wanted = false;
        self.unsynced = None;
        self.dirty = false;
        self.idle_since = now;
        self.kept_changed = true;
        self.gather.synced(now, now.since(began), self.pending.events());
        self.show();
    }

    /// Shows the blocks that are kept to their topic's level: into the cache first, then to readers.
    fn show(&mut self) {
        let watermark = self.watermark;
        for (_, new) in
            self.unshown.extract_if(.., |(batch, new)| watermark.covers(Ticket { batch: *batch, level: new.level }))
        {
            let next = new.block.next();
            self.cache.insert(new.topic, new.block, new.held);
            self.places.show(new.topic, next);
            self.heads.insert(new.topic, next);
        }
    }
}
