//! Segments and the space they take: what is accepted always fits what is allocated.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use meshwire_proto::{Moment, UnixMillis};

use super::held::is_held;
use crate::store::log::fold::Fold;
use crate::store::log::format::{SEGMENT_HEADER, SegmentHeader, generation};
use crate::store::log::index::SegmentIndex;
use crate::store::log::segment::{Sealed, Span};

/// Bytes written with zeros at a time, ahead of the writer.
const ZERO_STEP: u64 = 1 << 20;

/// The segment that takes records. Formula: `used <= len`.
#[derive(Debug)]
pub(in crate::store::log) struct Active {
    pub(in crate::store::log) number: u64,
    pub(in crate::store::log) generation: u64,
    pub(in crate::store::log) len: u64,
    /// Bytes up to behind the last record; 0 while its header is not written.
    pub(in crate::store::log) used: u64,
    pub(in crate::store::log) first_batch: u64,
    pub(in crate::store::log) next_batch: u64,
    pub(in crate::store::log) index: SegmentIndex,
}

/// An empty segment behind the active one; zeros are written up to `zeroed`.
#[derive(Debug)]
struct Ahead {
    len: u64,
    zeroed: u64,
}

/// Whether there can be another one.
#[derive(Debug)]
pub(in crate::store::log) enum More {
    /// It may be asked for.
    Open,
    /// A job is at it.
    Allocating,
    /// There was no space; asked again on the next tick from then on.
    Refused { limit: bool, cause: String, again: Moment },
}

/// Where a record goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the active segment.
    Here { offset: u64, header: bool },
    /// The next segment must become the active one first.
    Roll,
    /// There is no room until a job is done.
    Stalled,
}

/// A sealed segment whose events are past their retention.
#[derive(Debug)]
struct Retired {
    segment: Sealed,
    /// Counts those that were retired.
    turn: u64,
    /// Checkpoints begun since.
    checkpoints: u8,
}

#[derive(Debug)]
pub(in crate::store::log) struct Space {
    pub(in crate::store::log) active: Active,
    /// Formula: number `n` of them is segment `active.number + 1 + n`.
    ahead: VecDeque<Ahead>,
    pub(in crate::store::log) more: More,
    /// There was no space for a segment, and none was allocated since.
    scarce: bool,
    /// The segment that zeros are being written to.
    zeroing: Option<u64>,
    pub(in crate::store::log) sealed: BTreeMap<u64, Sealed>,
    pub(in crate::store::log) segment_len: u64,
    pub(in crate::store::log) max_disk: u64,
    pub(in crate::store::log) salt: u64,
    pub(in crate::store::log) epoch: u64,
    /// Segments begun in this epoch.
    pub(in crate::store::log) begun: u64,
    retired: Vec<Retired>,
    retirements: u64,
    /// Events so young are read again at opening.
    pub(in crate::store::log) dedup_window_ms: u64,
    /// Bytes that events leave for dead letters.
    pub(in crate::store::log) letters_room: u64,
    /// Longest record that waits for a segment that can hold it.
    wanted_len: u64,
    /// Segments whose files may go.
    free: Vec<u64>,
    /// Segments that nothing holds but the window of de-duplication, and until when, as of the last look.
    pub(super) windowed: Option<(usize, UnixMillis)>,
}

impl Space {
    pub(in crate::store::log) fn new(
        active: Active,
        sealed: BTreeMap<u64, Sealed>,
        (segment_len, max_disk): (u64, u64),
        (salt, epoch, begun): (u64, u64, u64),
    ) -> Self {
        Self {
            active,
            ahead: VecDeque::new(),
            more: More::Open,
            scarce: false,
            zeroing: None,
            sealed,
            segment_len,
            max_disk,
            salt,
            epoch,
            begun,
            retired: Vec::new(),
            retirements: 0,
            dedup_window_ms: 0,
            letters_room: 0,
            wanted_len: 0,
            free: Vec::new(),
            windowed: None,
        }
    }

    /// Bytes that events leave for dead letters now: an eighth of the last segment at most. The first one is short, and on a full disk there
    /// may never be another.
    pub(super) fn letters_room(&self) -> u64 {
        let last = self.ahead.back().map_or(self.active.len, |ahead| ahead.len);
        self.letters_room.min(last / 8)
    }

    /// Bytes of all segment files.
    pub(super) fn total(&self) -> u64 {
        let ahead: u64 = self.ahead.iter().map(|a| a.len).sum();
        let sealed: u64 = self.sealed.values().chain(self.retired.iter().map(|r| &r.segment)).map(|s| s.len).sum();
        sealed + self.active.len + ahead
    }

    fn header_len(&self) -> u64 {
        if self.active.used == 0 { SEGMENT_HEADER as u64 } else { 0 }
    }

    /// Where a record of so many bytes goes.
    pub(super) fn place(&mut self, len: u64) -> Place {
        let header = self.header_len();
        if self.active.used + header + len <= self.active.len {
            return Place::Here { offset: self.active.used, header: header > 0 };
        }
        let len = SEGMENT_HEADER as u64 + len;
        match self.ahead.front() {
            // A job is writing to it.
            Some(_) if self.zeroing.is_some() => Place::Stalled,
            Some(next) if len <= next.len => Place::Roll,
            // Given up, it would change the number of the one that is being made.
            Some(_) if matches!(self.more, More::Allocating) => Place::Stalled,
            _ => {
                self.give_up_ahead();
                self.wanted_len = self.wanted_len.max(len);
                Place::Stalled
            }
        }
    }

    /// There was no space for another segment.
    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.more, More::Refused { .. })
    }

    /// The same, also while it is asked for again.
    pub(super) const fn is_scarce(&self) -> bool {
        self.scarce
    }

    /// Nothing more can be written: there is no room for this record, and there was no space for another segment.
    pub(super) fn is_stuck(&self, len: u64) -> bool {
        self.is_refused() && !self.fits(std::iter::once(len))
    }

    /// Bytes that the active segment has left.
    fn rest(&self) -> u64 {
        self.active.len.saturating_sub(self.active.used + self.header_len())
    }

    /// Whether a segment should be allocated. One is always ahead, so that a full one is left at once. A second one is as
    /// soon as the first may be needed within what is written while it is allocated: when the active one has less than half
    /// a segment left, or less than the `backlog` that waits to be written. At the end only what the backlog needs is.
    pub(super) fn wants_segment(&self, backlog: u64, closing: bool) -> bool {
        let rest = self.rest();
        let wanted = match (closing, rest < self.segment_len / 2 || rest < backlog) {
            (false, false) => 1,
            (false, true) => 2,
            (true, _) => usize::from(rest < backlog),
        };
        matches!(self.more, More::Open) && self.ahead.len() < wanted
    }

    /// Lets go of the segments behind the active one: they are too short, or not to be trusted.
    fn give_up_ahead(&mut self) {
        let first = self.active.number + 1;
        self.free.extend((first..).zip(self.ahead.drain(..)).map(|(number, _)| number));
    }

    /// Whether records of these lengths, in this order, fit what is allocated.
    pub(super) fn fits(&self, records: impl Iterator<Item = u64>) -> bool {
        self.room_behind(records).is_some()
    }

    /// Whether records of these lengths fit, and behind them so many `bytes` in records of at most `longest`, however they
    /// are cut: each segment may be left with as much room as the longest is short of fitting.
    pub(super) fn fits_anyhow(&self, records: impl Iterator<Item = u64>, bytes: u64, longest: u64) -> bool {
        let longest = longest.min(bytes);
        let mut before = 0;
        for (n, room) in self.room_behind(records).into_iter().flatten().enumerate() {
            if n > 0 && room < longest {
                return false;
            }
            if bytes <= before + room {
                return true;
            }
            before += room.saturating_sub(longest);
        }
        false
    }

    /// What is left behind records of these lengths, in this order: of the segment that the last is in, and of those behind
    /// it. `None`: they do not fit.
    fn room_behind(&self, records: impl Iterator<Item = u64>) -> Option<impl Iterator<Item = u64>> {
        let mut room = self.rest();
        let mut ahead = self.ahead.iter().map(|a| a.len - SEGMENT_HEADER as u64);
        for len in records {
            if len > room {
                room = ahead.next().filter(|fresh| *fresh >= len)?;
            }
            room -= len;
        }
        Some(std::iter::once(room).chain(ahead))
    }

    /// Makes the next segment the active one; gives back the sealed one's number and index.
    pub(super) fn roll(&mut self) -> Option<(u64, Arc<SegmentIndex>)> {
        let Ahead { len, .. } = self.ahead.pop_front()?;
        self.begun += 1;
        let fresh = Active {
            number: self.active.number + 1,
            generation: generation(self.salt, self.epoch, self.begun),
            len,
            used: 0,
            first_batch: self.active.next_batch,
            next_batch: self.active.next_batch,
            index: SegmentIndex::default(),
        };
        let old = std::mem::replace(&mut self.active, fresh);
        if old.used == 0 {
            self.free.push(old.number);
            return None;
        }
        let sealed = Sealed {
            number: old.number,
            generation: old.generation,
            first_batch: old.first_batch,
            next_batch: old.next_batch,
            len: old.len,
            used: old.used,
            events: old.index.events(),
            spans: old.index.spans(),
        };
        self.sealed.insert(old.number, sealed);
        Some((old.number, Arc::new(old.index)))
    }

    pub(super) fn segment_header(&self, batch: u64) -> SegmentHeader {
        let Active { number, generation, .. } = self.active;
        SegmentHeader { number, generation, first_batch: batch, epoch: self.epoch }
    }

    /// The segment to allocate now, given that one is wanted.
    pub(super) fn allocate(&mut self, now: Moment) -> Option<(u64, u64)> {
        let len = self.segment_len.max(self.wanted_len.next_multiple_of(4096));
        if self.total() + len > self.max_disk {
            let cause = format!("the data directory is at max_disk ({} bytes)", self.max_disk);
            self.refused(true, cause, now);
            return None;
        }
        self.more = More::Allocating;
        let number = self.active.number + 1 + self.ahead.len() as u64;
        // It may have been given up before; made again, it must stay.
        self.free.retain(|free| *free != number);
        Some((number, len))
    }

    /// There is no space for the next segment until it is asked for again.
    pub(super) fn refused(&mut self, limit: bool, cause: String, again: Moment) {
        self.more = More::Refused { limit, cause, again };
        self.scarce = true;
    }

    pub(super) fn allocated(&mut self, len: u64) {
        self.wanted_len = 0;
        self.more = More::Open;
        self.scarce = false;
        self.ahead.push_back(Ahead { len, zeroed: 0 });
    }

    /// Files are gone: what was refused may be asked for at once.
    pub(super) fn freed(&mut self) {
        if self.is_refused() {
            self.more = More::Open;
        }
    }

    /// Asks again for what was refused.
    pub(super) fn ask_again(&mut self, now: Moment) {
        if matches!(self.more, More::Refused { again, .. } if again <= now) {
            self.more = More::Open;
        }
    }

    /// The next piece of the next segment to write zeros to. An idle log writes none.
    pub(super) fn zero(&mut self) -> Option<(u64, u64, u64)> {
        let next = self.ahead.front_mut().filter(|_| self.active.used > 0 && self.zeroing.is_none())?;
        let (segment, from) = (self.active.number + 1, next.zeroed);
        let step = ZERO_STEP.min(next.len - from);
        if step == 0 {
            return None;
        }
        next.zeroed += step;
        self.zeroing = Some(segment);
        Some((segment, from, step))
    }

    /// Whether [`Space::zero`] has something.
    pub(super) fn wants_zeros(&self) -> bool {
        let left = |next: &Ahead| next.zeroed < next.len;
        self.active.used > 0 && self.zeroing.is_none() && self.ahead.front().is_some_and(left)
    }

    pub(super) fn zeroed(&mut self) {
        self.zeroing = None;
    }

    /// A sync of zeros has failed: what it says later of that file cannot be trusted.
    pub(super) fn not_zeroed(&mut self) {
        self.zeroing = None;
        self.give_up_ahead();
    }

    /// Takes the segments out of whose events none can be read any more, or waits for its time. Those of the window of
    /// de-duplication only with all before them, as it is read again when the log is opened; but none is read for topics
    /// that were deleted.
    pub(super) fn retire(&mut self, wall: UnixMillis, fold: &Fold) -> Vec<Sealed> {
        let window_ms = i64::try_from(self.dedup_window_ms).unwrap_or(i64::MAX);
        let since = wall.0.saturating_sub(window_ms);
        let tells = |span: &Span| {
            let is_there = || fold.topics.contains_key(&span.topic.target());
            span.stored.0 >= since && !span.topic.is_dead_letters() && is_there()
        };
        let is_gone = |s: &Sealed| s.spans.iter().all(|span| !is_held(span, fold));
        let is_old = |s: &Sealed| !s.spans.is_empty() && s.stored().0 < since;
        let window = self.sealed.values().rev().find(|s| is_old(s)).map_or(0, |s| s.number);
        let (mut all, mut out) = (true, Vec::new());
        self.windowed = None;
        for segment in self.sealed.values() {
            let gone = is_gone(segment);
            all &= gone;
            if gone && (all || segment.number <= window || !segment.spans.iter().any(tells)) {
                out.push(segment.clone());
            } else if gone {
                let (count, until) = self.windowed.unwrap_or_default();
                let passes = UnixMillis(segment.stored().0.saturating_add(window_ms));
                self.windowed = Some((count + 1, until.max(passes)));
            }
        }
        for segment in &out {
            self.sealed.remove(&segment.number);
            self.retirements += 1;
            self.retired.push(Retired { segment: segment.clone(), turn: self.retirements, checkpoints: 0 });
        }
        out
    }

    /// Whether segments that nothing needs are on their way to be given back.
    pub(super) fn gives_back(&self) -> bool {
        !self.retired.is_empty() || !self.free.is_empty()
    }

    /// Whether a segment can only go after another checkpoint.
    pub(super) fn wants_checkpoint(&self) -> bool {
        !self.retired.is_empty()
    }

    /// A checkpoint was begun: it no longer needs what was retired before.
    pub(super) const fn retired_so_far(&self) -> u64 {
        self.retirements
    }

    /// A checkpoint that does not need the first `through` retired segments is durable. Both slots must be such.
    pub(super) fn checkpointed(&mut self, through: u64) {
        for retired in self.retired.iter_mut().filter(|r| r.turn <= through) {
            retired.checkpoints += 1;
        }
        self.free.extend(self.retired.extract_if(.., |r| r.checkpoints >= 2).map(|r| r.segment.number));
    }

    /// Segments whose files may go now.
    pub(super) fn take_free(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(active_len: u64, segment_len: u64, max_disk: u64) -> Space {
        let active = Active {
            number: 1,
            generation: 1,
            len: active_len,
            used: 0,
            first_batch: 1,
            next_batch: 1,
            index: SegmentIndex::default(),
        };
        Space::new(active, BTreeMap::new(), (segment_len, max_disk), (0, 1, 1))
    }

    #[test]
    fn only_what_fits_allocated_segments_is_accepted() {
        let mut space = space(1064, 2064, 100_000);
        assert!(space.fits([1000].into_iter()) && !space.fits([1001].into_iter()));
        assert_eq!(space.allocate(Moment(0)), Some((2, 2064)));
        assert!(!space.fits([1001].into_iter()));
        space.allocated(2064);
        assert!(space.fits([600, 600, 1400].into_iter()));
        assert!(!space.fits([600, 600, 1401].into_iter()) && !space.fits([2001].into_iter()));
    }

    #[test]
    fn what_may_be_cut_anyhow_is_accepted_only_if_the_worst_cut_fits() {
        let mut space = space(1064, 2064, 100_000);
        let fits = |space: &Space, bytes, longest| space.fits_anyhow([100].into_iter(), bytes, longest);
        assert!(fits(&space, 900, 1) && !fits(&space, 901, 1));
        for _ in 0..2 {
            space.allocate(Moment(0));
            space.allocated(2064);
        }
        // At worst 299 bytes of each segment are left.
        assert!(fits(&space, 600 + 1700 + 2000, 300) && !fits(&space, 600 + 1700 + 2001, 300));
        assert!(fits(&space, 2000, 5000) && !fits(&space, 2001, 5000), "one record may be all of it");
        assert!(!space.fits_anyhow([3000].into_iter(), 1, 1));
    }

    #[test]
    fn max_disk_refuses_the_next_segment_until_it_is_asked_again() {
        let mut space = space(1064, 2064, 3000);
        assert_eq!(space.allocate(Moment(0)), None);
        assert!(matches!(space.more, More::Refused { limit: true, .. }));
        space.max_disk = 4000;
        space.ask_again(Moment(1));
        assert_eq!(space.allocate(Moment(1)), Some((2, 2064)));
    }

    #[test]
    fn a_record_longer_than_a_segment_gets_a_segment_of_its_own_length() {
        let mut space = space(1064, 2064, 100_000);
        for number in [2, 3] {
            assert_eq!(space.allocate(Moment(0)), Some((number, 2064)));
            assert_eq!(space.place(5000), Place::Stalled);
            space.allocated(2064);
        }
        assert_eq!(space.place(5000), Place::Stalled);
        assert_eq!(space.total(), 1064, "both are given up");
        assert_eq!(space.allocate(Moment(0)), Some((2, 8192)));
        space.allocated(8192);
        assert_eq!(space.place(5000), Place::Roll);
        assert!(space.roll().is_none(), "an unused segment is not sealed");
        assert_eq!(space.take_free(), [3, 1], "and what was made again is not freed");
        assert_eq!(space.place(5000), Place::Here { offset: 0, header: true });
    }
}
