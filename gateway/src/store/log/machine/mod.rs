//! The log writer as a state machine.
//!
//! *Invariant:* no I/O, no clock, no thread, no randomness. Batches come in
//! through [`LogMachine::commit`], what ended through [`LogMachine::handle`];
//! what is to be done goes out through the `poll` methods.
//!
//! - [`batch`]: the batch being gathered, and the record made of it;
//! - [`gather`]: when it may be written; [`write`](mod@write): writing and syncing, where
//!   an event becomes kept;
//! - [`retain`]: how far retention goes; [`space`]: segments, and the promise that what is accepted fits;
//! - [`held`]: why there is no room, in words; [`refusals`]: what the log of the gateway says of it; [`find`]: places by time; [`read`]: cache, index, fetches; [`jobs`]: everything in the background; [`ending`]: closed, stuck, failed.

mod batch;
#[cfg(test)]
mod bursts;
mod ending;
mod find;
mod gather;
mod held;
mod jobs;
mod places;
mod read;
mod refusals;
mod retain;
mod space;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::{Moment, UnixMillis};

use super::cache::BlockCache;
use super::disk::DiskError;
use super::fold::Fold;
use super::format::{SEGMENT_HEADER, record_len};
use super::index::SegmentIndex;
use super::job::JobResult;
use super::segment::Span;
use crate::store::log::times::CHANGE;
use crate::store::{Block, Op, Position, Settlements, StoreError, Times, TopicBytes, TopicId, Watermark};
use batch::{Cut, NewBlock, Pending};
use find::Finds;
use gather::Gather;
use jobs::Jobs;
use places::Places;
use read::Reads;
use refusals::Refusals;
use retain::Retention;
pub(super) use space::{Active, Space};

/// A batch is closed before its body is longer than this.
const CUT_BYTES: usize = 8 << 20;

/// Bytes that the heads of one commit's operations may take.
const OVERHEAD: usize = 4 << 10;

/// Room left for settlements when publishes are refused for space.
const SLACK: u64 = 1 << 20;

/// More of it for dead letters, where segments are long enough: one of the largest event by default, and some small ones.
const LETTERS: u64 = 6 << 20;

/// Number of an operation or job that a driver carries out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// What the log is told.
#[derive(Debug)]
pub enum Input {
    /// A disk operation of [`LogMachine::poll_write`] has ended.
    Done {
        /// Which.
        id: OpId,
        /// How.
        result: Result<(), DiskError>,
    },
    /// A job of [`LogMachine::poll_job`] has ended.
    JobDone {
        /// Which.
        id: OpId,
        /// How.
        result: JobResult,
    },
    /// Time has passed: retention and refused space are looked at. At least once a second.
    Tick {
        /// The wall clock.
        wall: UnixMillis,
    },
    /// Keep what was taken, then stop.
    Close,
}

/// How far the log has kept what it took, and what may be shown since the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The watermark.
    pub watermark: Watermark,
    /// Topics whose events up to before that position may be shown.
    pub heads: Vec<(TopicId, Position)>,
}

/// A fetch that has ended.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The topic that was read.
    pub topic: TopicId,
    /// The position that was asked for.
    pub from: Position,
    /// What was read in one go, in rising order; or why there is no block with the position.
    pub result: Result<Vec<Block>, StoreError>,
}

/// What the log starts from.
pub(super) struct Start {
    pub(super) fold: Fold,
    pub(super) space: Space,
    /// Indexes of sealed segments that have no file.
    pub(super) indexes: Vec<(u64, Arc<SegmentIndex>)>,
    /// The last batch; everything up to it is synced.
    pub(super) last_batch: u64,
    /// The highest mark of any record.
    pub(super) marked: u64,
    /// The slot the next checkpoint goes to, and the batch of the last one.
    pub(super) checkpoint: (u8, u64),
    pub(super) cache_bytes: usize,
    pub(super) now: Moment,
    pub(super) wall: UnixMillis,
}

/// The log writer. See the module's text.
pub struct LogMachine {
    pub(super) fold: Fold,
    pub(super) space: Space,
    pending: Pending,
    /// Batches that are closed and not written.
    ready: VecDeque<Cut>,
    last_cut: u64,
    /// The last written batch that has operations, and the highest mark written. A mark record is due while
    /// `marked < last_op_batch`.
    last_op_batch: u64,
    marked: u64,
    watermark: Watermark,
    gather: Gather,
    writing: Option<(OpId, write::Writing)>,
    /// The disk was full: when to try again, and its words.
    full: Option<(Moment, String)>,
    refusals: Refusals,
    /// What [`StoreError::Full`] says, since something changed last.
    full_words: Option<String>,
    /// A written batch waits for a sync.
    sync_wanted: bool,
    /// Since when some written batch is not synced, and bytes of such.
    unsynced: Option<(Moment, u64)>,
    /// The active segment has writes that no sync covers.
    dirty: bool,
    idle_since: Moment,
    unshown: Vec<(u64, NewBlock)>,
    places: Places,
    cache: BlockCache,
    reads: Reads,
    finds: Finds,
    retention: Retention,
    jobs: Jobs,
    kept_changed: bool,
    heads: BTreeMap<TopicId, Position>,
    fetched: VecDeque<Fetched>,
    wall: UnixMillis,
    failed: Option<String>,
    closing: bool,
    /// Nothing is begun any more.
    closed: bool,
    next_id: u64,
}

/// Bytes of a segment in which a write of so many bytes finds room, and behind it what is always left free. 0: any.
pub(in crate::store::log) const fn segment_for(bytes: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    (SEGMENT_HEADER as u64 + record_len(bytes + OVERHEAD as u64) + SLACK).next_multiple_of(4096)
}

/// Bytes of settlements that are always less than what is left for them where there is no want of space. A guess.
const FEW_SETTLEMENTS: u64 = 32 << 10;

/// Room that is left for settlements, with segments of this length.
const fn settles_room(segment_len: u64) -> u64 {
    if SLACK < segment_len / 16 { SLACK } else { segment_len / 16 }
}

/// Room that is left for dead letters beside that. The largest write still finds its room in a fresh segment.
pub(in crate::store::log) fn letters_room(segment_len: u64, largest_write: u64) -> u64 {
    let spare = (segment_len + SLACK).saturating_sub(segment_for(largest_write) + settles_room(segment_len));
    LETTERS.min(segment_len / 8).min(spare)
}

impl LogMachine {
    pub(super) fn new(start: Start) -> Self {
        let mut places = Places::default();
        let sealed = start.space.sealed.values().flat_map(|s| s.spans.iter().map(|span| (*span, s.number)));
        let active = start.space.active.index.spans().into_iter().map(|span| (span, start.space.active.number));
        // Events that are gone, alone or with their topic, are there until their segment is.
        let is_there = |span: &Span| start.fold.topics.get(&span.topic).is_some_and(|t| t.first < span.next);
        for (span, segment) in sealed.chain(active).filter(|(span, _)| is_there(span)) {
            places.add(span.topic, span.first, segment);
        }
        for (id, topic) in &start.fold.topics {
            places.show(*id, topic.next);
        }
        let spans = start.space.sealed.values().flat_map(|s| s.spans.iter().copied());
        let retention = Retention::new(&start.fold, spans.chain(start.space.active.index.spans()));
        Self {
            last_op_batch: start.fold.batch,
            fold: start.fold,
            space: start.space,
            pending: Pending::default(),
            ready: VecDeque::new(),
            last_cut: start.last_batch,
            marked: start.marked,
            watermark: Watermark { written: start.last_batch, synced: start.last_batch, failed: false, stuck: false },
            gather: Gather::default(),
            writing: None,
            full: None,
            refusals: Refusals::default(),
            full_words: None,
            sync_wanted: false,
            unsynced: None,
            dirty: false,
            idle_since: start.now,
            unshown: Vec::new(),
            places,
            cache: BlockCache::new(start.cache_bytes),
            reads: Reads::default(),
            finds: Finds::default(),
            retention,
            jobs: Jobs::new(start.indexes, start.checkpoint),
            kept_changed: false,
            heads: BTreeMap::new(),
            fetched: VecDeque::new(),
            wall: start.wall,
            failed: None,
            closing: false,
            closed: false,
            next_id: 0,
        }
        .retained()
    }

    /// How far batches are kept.
    #[must_use]
    pub const fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Takes a batch of operations; the number says when it is kept. Nothing is kept after a failure.
    pub fn commit(&mut self, ops: Vec<Op>) -> u64 {
        // All that there was may have been left out.
        if ops.is_empty() && self.pending.is_empty() && self.failed.is_none() {
            return self.last_cut;
        }
        let len: usize = ops.iter().map(op_len).sum();
        if !self.pending.is_empty() && self.pending.body_len() + len > CUT_BYTES {
            self.cut();
        }
        if self.failed.is_none() {
            for op in ops {
                match &op {
                    Op::Append(append) => self.retention.add(append),
                    Op::Group { topic, start: at, .. } | Op::Seek { topic, to: at, .. } => {
                        self.retention.begins(*topic, *at);
                    }
                    _ => {}
                }
                self.pending.push(op);
            }
        }
        self.last_cut + 1
    }

    /// Whether `bytes` more can be taken of a publisher, while `claimed` bytes are promised and not committed. Gives what is to
    /// be promised: bytes of events and of what is written with them.
    ///
    /// # Errors
    /// [`StoreError::Full`] naming what holds the space, [`StoreError::Busy`], [`StoreError::Failed`].
    pub fn reserve(&mut self, bytes: u64, claimed: u64) -> Result<u64, StoreError> {
        let reserved = self.reserve_quietly(bytes, claimed);
        if let Err(full @ StoreError::Full(_)) = &reserved {
            self.refusals.refused(self.wall, full);
        }
        reserved
    }

    /// The same of what no publisher waits for: nobody is told that it was refused.
    ///
    /// # Errors
    /// As [`LogMachine::reserve`].
    pub fn reserve_quietly(&mut self, bytes: u64, claimed: u64) -> Result<u64, StoreError> {
        let slack = settles_room(self.space.segment_len) + self.space.letters_room();
        self.reserve_before(bytes, claimed, slack)
    }

    /// The same for dead letters, out of what is left for them, and of three quarters of what is for settlements.
    ///
    /// # Errors
    /// As [`LogMachine::reserve`].
    pub fn reserve_letter(&mut self, bytes: u64, claimed: u64) -> Result<u64, StoreError> {
        self.reserve_before(bytes, claimed, settles_room(self.space.segment_len) / 4)
    }

    /// The same for settlements; nothing is promised of few while there is no want of space. Since a segment was refused, until there is one
    /// again, a sixteenth of their room is for what gives space back, such as less retention or the end of a topic: behind a commit that does
    /// not fit it would wait for ever.
    pub(super) fn reserve_settlements(&self, settlements: Settlements, claimed: u64) -> Option<u64> {
        let is_free = self.full.is_none() && !self.space.is_scarce() && settlements.waiting <= FEW_SETTLEMENTS;
        // A log that has failed keeps none, and says that.
        if self.failed.is_some() || is_free {
            return Some(0);
        }
        self.room_before(settlements.bytes, claimed, settles_room(self.space.segment_len) / 16)
    }

    /// A commit without the reasons that find no room, while `claimed` bytes are promised, its own among them: settlements
    /// have an eighth of their room for themselves. Also while the next segment is being made: should there be none after all, a commit
    /// that does not fit would keep the settlements in it, and all commits behind it, from being written.
    pub(super) fn without_surplus(&self, mut ops: Vec<Op>, claimed: u64) -> Vec<Op> {
        let slack = settles_room(self.space.segment_len) / 8;
        let (mut taken, mut fits) = (0, true);
        for op in &mut ops {
            if let Op::Reasons { reasons, .. } = op {
                reasons.retain(|reason| {
                    let with = taken + reason_len(reason);
                    // Behind the first that does not, none does.
                    fits = fits && self.room_before(with as u64, claimed, slack).is_some();
                    taken = if fits { with } else { taken };
                    fits
                });
            }
        }
        ops.retain(|op| !matches!(op, Op::Reasons { reasons, .. } if reasons.is_empty()));
        ops
    }

    fn reserve_before(&mut self, bytes: u64, claimed: u64, slack: u64) -> Result<u64, StoreError> {
        self.room_before(bytes, claimed, slack).ok_or_else(|| self.no_room())
    }

    /// Behind what is taken so much stays free. Gives what is to be promised; `None`: there is no room.
    fn room_before(&self, bytes: u64, claimed: u64, slack: u64) -> Option<u64> {
        if self.failed.is_some() || self.full.is_some() {
            return None;
        }
        let (open, new) = (self.pending.body_len() as u64, bytes + OVERHEAD as u64);
        let records = std::iter::once(self.writing_len()).chain(self.ready.iter().map(Cut::len));
        let fits = if claimed > 0 {
            // In which order and in which records they are committed is not known.
            let longest = record_len(new.max(claimed).max(CUT_BYTES as u64));
            self.space.fits_anyhow(records, record_len(open + claimed + new) + slack, longest)
        } else if open > 0 && open + new > CUT_BYTES as u64 {
            self.space.fits(records.chain([record_len(open), record_len(new), slack]))
        } else {
            self.space.fits(records.chain([record_len(open + new), slack]))
        };
        fits.then_some(new)
    }

    /// Bytes of the records that are not written yet, the one that is being gathered included.
    fn backlog(&self) -> u64 {
        let ready: u64 = self.ready.iter().map(Cut::len).sum();
        self.writing_len() + ready + record_len(self.pending.body_len() as u64)
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.full_words = None;
        match input {
            Input::Done { id, result } => self.write_done(now, id, result),
            Input::JobDone { id, result } => self.job_done(now, id, result),
            Input::Tick { wall } => {
                self.wall = self.wall.max(wall);
                // What goes at the end goes at the next opening: each first position that moves would ask for one more checkpoint.
                if !self.closing {
                    self.retain();
                    self.retire();
                    // Before space is asked for again: until that is refused once more, it looks as if there were some.
                    self.save_firsts();
                }
                self.space.ask_again(now);
            }
            Input::Close => self.closing = true,
        }
    }

    /// News about what is kept, if there is any.
    pub fn poll_kept(&mut self) -> Option<Kept> {
        let stuck = self.is_stuck();
        if !std::mem::take(&mut self.kept_changed) && stuck == self.watermark.stuck {
            return None;
        }
        self.watermark.stuck = stuck;
        let heads = std::mem::take(&mut self.heads).into_iter().collect();
        Some(Kept { watermark: self.watermark, heads })
    }

    /// A fetch that has ended, if there is one.
    pub fn poll_fetched(&mut self) -> Option<Fetched> {
        self.fetched.pop_front()
    }

    /// Bytes of one topic.
    #[must_use]
    pub fn topic_bytes(&self, topic: TopicId) -> TopicBytes {
        let sealed = self.space.sealed.values().filter_map(|s| s.span(topic)).map(|span| span.bytes);
        let physical = sealed.chain(std::iter::once(self.space.active.index.bytes_of(topic))).sum();
        TopicBytes { live: self.retention.live(topic), physical }
    }

    /// A topic is no more: nothing of it is shown, read or kept in memory from here on.
    fn forget(&mut self, topic: TopicId) {
        self.places.forget(topic);
        self.cache.forget(topic);
        self.unshown.retain(|(_, new)| new.topic != topic);
        self.heads.remove(&topic);
        self.forget_reads(topic);
        self.forget_finds(topic);
    }

    fn id(&mut self) -> OpId {
        self.next_id += 1;
        OpId(self.next_id)
    }
}

/// Bytes of a record's body that an operation takes, roughly.
fn op_len(op: &Op) -> usize {
    match op {
        Op::Append(append) => append.bytes.len() + 128,
        Op::Settle { ranges, .. } => 16 + ranges.len() * 25,
        Op::Reasons { reasons, .. } => 16 + reasons.iter().map(reason_len).sum::<usize>(),
        Op::Graves { changes, .. } => 16 + changes.len() * 265,
        Op::Times(Times::Delays { changes, .. }) => 16 + changes.len() * CHANGE,
        Op::Times(Times::Expires { .. }) => 32,
        Op::Group { .. } => 400,
        Op::Topic { .. } | Op::GroupGone { .. } | Op::Seek { .. } | Op::TopicGone { .. } | Op::Limits { .. } => 240,
    }
}

const fn reason_len((_, said): &(Position, String)) -> usize {
    10 + said.len()
}

/// A batch that only needs `written` is synced at the latest so long after it was written.
const LAZY_SYNC: Duration = Duration::from_secs(1);

/// How long nothing must happen before a mark record is written.
const IDLE: Duration = Duration::from_millis(50);

/// How long to wait before trying a full disk again.
const FULL_RETRY: Duration = Duration::from_millis(250);
