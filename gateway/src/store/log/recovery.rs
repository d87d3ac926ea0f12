//! Opening a data directory: from what is on disk to a machine that goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use meshwire_proto::{Moment, UnixMillis};

use super::LogOptions;
use super::checkpoint::{self, Checkpoint};
use super::disk::{Disk, DiskOp, FileName, Part, read_whole, replace};
use super::fold::Fold;
use super::format::{
    Directory, EPOCH_SLOT, FILE_HEADER, FormatError, SEGMENT_HEADER, decode_epoch, encode_epoch, generation,
};
use super::index::SegmentIndex;
use super::job;
use super::machine::{Active, LogMachine, Space, Start, letters_room};
use super::open_error::OpenError;
use super::recent::RecentEvents;
use super::scan::{Head, Scanner};
use super::segment::Sealed;
use super::walk::{End, Scanned, SegmentFile, Walk};
use crate::store::Watermark;

/// What a log found at opening.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recovered {
    /// Topics, groups and producers.
    pub fold: Fold,
    /// How often the directory was opened, this time included.
    pub epoch: u64,
    /// Events that can be read.
    pub events: u64,
    /// Bytes of records that went through recovery.
    pub scanned_bytes: u64,
    /// Bytes that were cut: of batches that were never acknowledged as synced.
    pub torn_bytes: u64,
    /// Events of the de-duplication window.
    pub recent: RecentEvents,
    /// Each place that is not what was written: file, offset, batch, topics if readable.
    pub damage: Vec<String>,
    /// Everything found is kept.
    pub watermark: Watermark,
}

/// Opens the log on a disk that is ours alone.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    (now, wall): (Moment, UnixMillis),
) -> Result<(LogMachine, Recovered), OpenError> {
    let (names, files) = list(&**disk)?;
    let directory = open_directory(&**disk, options, &files)?;
    let (checkpoint, slot) = newest_checkpoint(&**disk)?;
    check_indexes(&**disk, &names)?;
    let mut damage = missing_segments(&checkpoint, &files);
    let since = UnixMillis(wall.0.saturating_sub(i64::try_from(options.dedup_window_ms).unwrap_or(i64::MAX)));
    let to_read = files_to_read(&files, &checkpoint, first_to_read(&checkpoint, options, since));
    let mut walk = walk(disk, &checkpoint, &to_read, (options, since));
    let end = walk.run()?;
    check_start(&walk, &checkpoint)?;
    let last_batch = last_batch(&mut walk);
    damage.append(&mut walk.damage);
    let Walk { mut fold, recent, scanned, scanned_bytes, marked, epoch, covered, .. } = walk;
    fold.close_gaps();
    let epoch = next_epoch(&**disk, epoch.max(checkpoint.epoch), names.contains(&FileName::of(Part::Epoch)))?;
    let mut parts = Parts { sealed: checkpoint.sealed, ..Parts::default() };
    parts.sealed.retain(|number, _| to_read.iter().chain(&files).any(|f| f.number == *number));
    parts.sort(scanned, end, &to_read, &names);
    let torn_bytes = parts.cut(&**disk, end, &to_read)?;
    parts.remove_strays(&**disk, &names)?;
    let max_disk = if options.max_disk == 0 { directory.max_disk } else { options.max_disk };
    let segment_len = options.segment_len(room(&**disk, max_disk, &parts)?);
    let mut begun = 0;
    let active = if let Some(active) = parts.active.take() {
        // After a killed process it may be in the kernel only.
        disk.run(&DiskOp::Sync { file: FileName::of(Part::Segment(active.number)) })?;
        active
    } else {
        begun = 1;
        let generation = generation(directory.salt, epoch, begun);
        let len = if parts.sealed.is_empty() { options.first_segment_bytes } else { segment_len };
        new_segment(&**disk, len, (highest_segment(&names, &parts) + 1, generation, last_batch + 1))?
    };
    let events = readable(&fold, parts.sealed.values(), &active.index);
    let mut space = Space::new(active, parts.sealed, (segment_len, max_disk), (directory.salt, epoch, begun));
    space.dedup_window_ms = options.dedup_window_ms;
    space.letters_room = letters_room(space.segment_len, options.largest_write);
    let machine = LogMachine::new(Start {
        fold,
        space,
        indexes: parts.indexes,
        last_batch,
        marked,
        checkpoint: (slot, covered),
        cache_bytes: options.cache_bytes,
        now,
        wall,
    });
    let (fold, watermark) = (machine.fold.clone(), machine.watermark());
    let mut recovered = Recovered { fold, epoch, events, scanned_bytes, torn_bytes, recent, damage, watermark };
    #[cfg(feature = "testing")]
    recovered.forget_if_planted();
    recovered.log();
    Ok((machine, recovered))
}

/// The walk that reads what the checkpoint does not cover, and the window of
/// de-duplication.
fn walk<'a>(
    disk: &'a Arc<dyn Disk>,
    checkpoint: &Checkpoint,
    files: &'a [SegmentFile],
    (options, since): (&LogOptions, UnixMillis),
) -> Walk<'a> {
    let covered = checkpoint.fold.batch;
    let sealed = files.first().and_then(|f| checkpoint.sealed.get(&f.number));
    Walk {
        disk: &**disk,
        files,
        fold: checkpoint.fold.clone(),
        covered,
        // A segment is left only when all of it is synced.
        known_synced: covered.max(checkpoint.open_batch - 1),
        marked: 0,
        expected: sealed.map_or(checkpoint.open_batch, |s| s.first_batch),
        holes: holes(checkpoint),
        epoch: 0,
        recent: RecentEvents::new(disk, if options.dedup_window_ms == 0 { 0 } else { options.dedup_ids }, since),
        scanned: Vec::new(),
        scanned_bytes: 0,
        damage: Vec::new(),
    }
}

/// Segments behind others that were given back: the batch that the last one before ended with, and the first of theirs.
fn holes(checkpoint: &Checkpoint) -> BTreeMap<u64, (u64, u64)> {
    let open = (checkpoint.open_segment, checkpoint.open_batch, u64::MAX);
    let sealed = checkpoint.sealed.values().map(|s| (s.number, s.first_batch, s.next_batch));
    let (mut holes, mut ended) = (BTreeMap::new(), None);
    for (number, first, next) in sealed.chain(std::iter::once(open)) {
        holes.extend(ended.filter(|ended| *ended < first).map(|ended| (number, (ended, first))));
        ended = Some(next);
    }
    holes
}

/// Events of topics that are still there.
fn readable<'a>(fold: &Fold, sealed: impl Iterator<Item = &'a Sealed>, active: &SegmentIndex) -> u64 {
    let (mut events, mut spans) = (active.events(), active.spans());
    for segment in sealed {
        events += segment.events;
        spans.extend_from_slice(&segment.spans);
    }
    let gone = spans.iter().filter(|span| !fold.topics.contains_key(&span.topic)).map(|span| span.next - span.first);
    events.saturating_sub(gone.sum())
}

/// Not those that were given back and whose files are still there.
fn files_to_read(files: &[SegmentFile], checkpoint: &Checkpoint, start: u64) -> Vec<SegmentFile> {
    let is_kept = |number: u64| number >= checkpoint.open_segment || checkpoint.sealed.contains_key(&number);
    files.iter().copied().filter(|f| f.number >= start && is_kept(f.number)).collect()
}

/// The highest number of a segment that is or was.
fn highest_segment(names: &BTreeSet<FileName>, parts: &Parts) -> u64 {
    let numbers = names.iter().filter_map(|n| if let Part::Segment(s) = n.part { Some(s) } else { None });
    numbers.chain(parts.sealed.keys().copied()).max().unwrap_or(0)
}

/// The last batch there is or was.
fn last_batch(walk: &mut Walk<'_>) -> u64 {
    let (covered, found) = (walk.covered, walk.expected - 1);
    if found < covered {
        walk.damage
            .push(format!("the log ends at batch {found}, a checkpoint says {covered}: the batches between are lost"));
    }
    found.max(covered)
}

impl Recovered {
    #[cfg(feature = "testing")]
    fn forget_if_planted(&mut self) {
        if super::planted::is(super::planted::Defect::DedupForgotten) {
            self.fold.producers = super::producers::Producers::default();
            self.recent.forget();
        }
    }

    fn log(&mut self) {
        for place in &self.damage {
            tracing::error!(%place, "damage in the log");
        }
        if self.torn_bytes > 0 {
            tracing::warn!(
                bytes = self.torn_bytes,
                "cut the torn end of the log: no batch in it was acknowledged as synced"
            );
        }
    }
}

/// All files, and the segments among them.
fn list(disk: &dyn Disk) -> Result<(BTreeSet<FileName>, Vec<SegmentFile>), OpenError> {
    let listing = disk.list()?;
    let segment = |(name, len): &(FileName, u64)| match name {
        FileName { part: Part::Segment(number), draft: false } => Some(SegmentFile { number: *number, len: *len }),
        _ => None,
    };
    let mut files: Vec<_> = listing.iter().filter_map(segment).collect();
    files.sort_unstable_by_key(|f| f.number);
    Ok((listing.into_iter().map(|(name, _)| name).collect(), files))
}

/// Bytes that segments can have: not more than the file system has, with what those hold that stay. Larger ones
/// would leave a small disk with room that none of them fits.
fn room(disk: &dyn Disk, max_disk: u64, parts: &Parts) -> Result<u64, OpenError> {
    let sealed: u64 = parts.sealed.values().map(|sealed| sealed.len).sum();
    let held = sealed + parts.active.as_ref().map_or(0, |active| active.len);
    let there = disk.free_space()?.saturating_add(held);
    if there < max_disk {
        tracing::warn!(
            "max_disk is {max_disk} bytes, and the file system of the data directory has {there} for the log; publishes \
             are refused when those are used up"
        );
    }
    Ok(max_disk.min(there))
}

/// Reads FORMAT, or writes it in a new directory.
fn open_directory(disk: &dyn Disk, options: &LogOptions, files: &[SegmentFile]) -> Result<Directory, OpenError> {
    let least = options.least_max_disk();
    let found = match read_whole(disk, FileName::of(Part::Format), 64 << 10)? {
        Some(bytes) => Directory::decode(&bytes).map_err(|e| match e {
            FormatError::Newer(what) => OpenError::NewerFormat { what: format!("FORMAT: {what}") },
            FormatError::Damaged(what) => OpenError::Damaged(format!(
                "FORMAT is damaged ({what}); put back its text (see docs/log-format.md) or name another directory"
            )),
        }),
        None if !files.is_empty() => Err(OpenError::Damaged(
            "the directory has segments in log/ but no FORMAT file; put it back (see docs/log-format.md)".to_owned(),
        )),
        None => {
            let (free, needed) = (disk.free_space()?, options.least_free());
            if free < needed {
                return Err(OpenError::NoRoom { free, least: needed });
            }
            let directory = Directory { max_disk: (free / 5 * 4).max(least), salt: options.salt };
            replace(disk, Part::Format, Bytes::from(directory.encode()))?;
            Ok(directory)
        }
    };
    // Also where frames were smaller when it was made.
    found.map(|directory| Directory { max_disk: directory.max_disk.max(least), ..directory })
}

/// The valid checkpoint with the higher batch, and the slot for the next one.
fn newest_checkpoint(disk: &dyn Disk) -> Result<(Checkpoint, u8), OpenError> {
    let mut newest: Option<(Checkpoint, u8)> = None;
    for slot in [0, 1] {
        // The fold of 100,000 producers and 10,000 topics has some 10 MB.
        let Some(bytes) = read_whole(disk, FileName::of(Part::Checkpoint(slot)), 1 << 30)? else {
            continue;
        };
        match checkpoint::decode(&bytes) {
            Ok(found) if newest.as_ref().is_none_or(|(c, _)| c.fold.batch <= found.fold.batch) => {
                newest = Some((found, slot ^ 1));
            }
            Ok(_) => {}
            Err(FormatError::Newer(what)) => {
                return Err(OpenError::NewerFormat { what: format!("checkpoint.{slot}: {what}") });
            }
            Err(error) => tracing::warn!(slot, ?error, "a checkpoint cannot be used; more of the log is read instead"),
        }
    }
    Ok(newest.unwrap_or_else(|| (Checkpoint::none(), 0)))
}

/// An index of a newer format is refused too: what is not understood is not overwritten.
fn check_indexes(disk: &dyn Disk, names: &BTreeSet<FileName>) -> Result<(), OpenError> {
    for file in names.iter().copied().filter(|name| matches!(name.part, Part::Index(_)) && !name.draft) {
        let mut head = [0; FILE_HEADER];
        // One that cannot be read is no reason to refuse: an index can be made anew.
        if disk.read(file, 0, &mut head).is_err() || !SegmentIndex::may_be_newer(&head) {
            continue;
        }
        let bytes = read_whole(disk, file, 1 << 30)?.unwrap_or_default();
        if let Some(what) = SegmentIndex::newer(&bytes) {
            return Err(OpenError::NewerFormat { what: format!("{file}: {what}") });
        }
    }
    Ok(())
}

fn missing_segments(checkpoint: &Checkpoint, files: &[SegmentFile]) -> Vec<String> {
    let is_missing = |s: &&Sealed| files.binary_search_by_key(&s.number, |f| f.number).is_err();
    let line =
        |s: &Sealed| format!("{} is missing: batches {} to {} are lost", s.file(), s.first_batch, s.next_batch - 1);
    checkpoint.sealed.values().filter(is_missing).map(line).collect()
}

/// The first segment to read: what the checkpoint does not cover, and the de-duplication window.
fn first_to_read(checkpoint: &Checkpoint, options: &LogOptions, since: UnixMillis) -> u64 {
    let (mut start, mut events) = (checkpoint.open_segment, 0);
    for segment in checkpoint.sealed.values().rev() {
        // One without events says nothing of the time.
        let is_old = !segment.spans.is_empty() && segment.stored() < since;
        if options.dedup_window_ms == 0 || is_old || events >= options.dedup_ids {
            break;
        }
        events += segment.events;
        start = start.min(segment.number);
    }
    start
}

/// Without a checkpoint the log must begin at the first batch.
fn check_start(walk: &Walk<'_>, checkpoint: &Checkpoint) -> Result<(), OpenError> {
    let is_late = |s: &&Scanned| s.first_batch > 1 && checkpoint.open_segment == 0;
    let Some(first) = walk.scanned.first().filter(is_late) else {
        return Ok(());
    };
    Err(OpenError::Damaged(format!(
        "log/ begins at batch {}, and no readable checkpoint says what was before; \
         put back checkpoint.0 or checkpoint.1, or the segments before number {}",
        first.first_batch, first.file.number
    )))
}

/// Raises the epoch durably, in place: a full disk can be opened too.
fn next_epoch(disk: &dyn Disk, seen: u64, exists: bool) -> Result<u64, OpenError> {
    let file = FileName::of(Part::Epoch);
    let stored = read_whole(disk, file, 2 * EPOCH_SLOT)?.and_then(|bytes| decode_epoch(&bytes));
    let epoch = stored.unwrap_or(0).max(seen) + 1;
    if !exists {
        disk.run(&DiskOp::Create { file, len: 2 * EPOCH_SLOT as u64 })?;
    }
    let offset = epoch % 2 * EPOCH_SLOT as u64;
    disk.run(&DiskOp::Write { file, offset, parts: vec![encode_epoch(epoch).freeze()] })?;
    disk.run(&DiskOp::Sync { file })?;
    if !exists {
        disk.run(&DiskOp::SyncDirectory { of: file })?;
    }
    Ok(epoch)
}

/// An empty segment to go on with.
fn new_segment(disk: &dyn Disk, len: u64, (number, generation, batch): (u64, u64, u64)) -> Result<Active, OpenError> {
    job::allocate(disk, number, len)?;
    Ok(Active {
        number,
        generation,
        len,
        used: 0,
        first_batch: batch,
        next_batch: batch,
        index: SegmentIndex::default(),
    })
}

/// The segments, told apart.
#[derive(Default)]
struct Parts {
    sealed: BTreeMap<u64, Sealed>,
    active: Option<Active>,
    indexes: Vec<(u64, Arc<SegmentIndex>)>,
}

impl Parts {
    /// Tells what was read apart: the last segment goes on, those before it are full.
    fn sort(&mut self, scanned: Vec<Scanned>, end: Option<End>, files: &[SegmentFile], names: &BTreeSet<FileName>) {
        let last = end.and_then(|e| files.get(e.file)).map(|f| f.number);
        for segment in scanned {
            let Scanned { file, generation, first_batch, next_batch, used, index, can_grow } = segment;
            let (number, len) = (file.number, file.len);
            if Some(number) == last && can_grow && !self.sealed.contains_key(&number) {
                self.active = Some(Active { number, generation, len, used, first_batch, next_batch, index });
                continue;
            }
            if !names.contains(&FileName::of(Part::Index(number))) {
                self.indexes.push((number, Arc::new(index.clone())));
            }
            let (events, spans) = (index.events(), index.spans());
            let sealed = Sealed { number, generation, first_batch, next_batch, len, used, events, spans };
            self.sealed.entry(number).or_insert(sealed);
        }
    }

    /// Cuts everything behind the end, so that it can never come back; how many bytes that were.
    fn cut(&self, disk: &dyn Disk, end: Option<End>, files: &[SegmentFile]) -> Result<u64, OpenError> {
        let mut torn = 0;
        let Some(end) = end else { return Ok(0) };
        let (mut tail, mut unused) = (None, false);
        for (at, file) in files.iter().enumerate().skip(end.file) {
            let is_active = self.active.as_ref().is_some_and(|a| a.number == file.number);
            if self.sealed.contains_key(&file.number) {
                continue;
            }
            let from = if at == end.file { end.offset } else { 0 };
            let mut scanner = Scanner::new(disk, file.number, file.len);
            // As in the walk: behind an unused segment there are only such.
            if from == 0 && scanner.head()? == Head::Zero && std::mem::replace(&mut unused, true) {
                continue;
            }
            let until = scanner.end_of_data(from)?;
            torn += until - from;
            if is_active && until > from {
                tail = Some((file.number, from, until));
            }
        }
        // Only when everything could be read.
        if let Some((segment, from, until)) = tail {
            tracing::warn!(file = %FileName::of(Part::Segment(segment)), from, until, "cutting a torn tail");
            job::zero(disk, segment, from, until - from)?;
        }
        Ok(torn)
    }

    /// Removes what a crash left over: drafts, unused segments, those that retention has given up.
    fn remove_strays(&self, disk: &dyn Disk, names: &BTreeSet<FileName>) -> Result<(), OpenError> {
        let active = self.active.as_ref().map(|a| a.number);
        let is_stray = |name: &&FileName| match name.part {
            _ if name.draft => true,
            Part::Segment(number) => Some(number) != active && !self.sealed.contains_key(&number),
            Part::Index(number) => !self.sealed.contains_key(&number),
            _ => false,
        };
        let (in_log, outside): (Vec<_>, Vec<_>) = names.iter().filter(is_stray).partition(|name| name.is_in_log());
        job::free(disk, &in_log)?;
        job::free(disk, &outside)?;
        Ok(())
    }
}

/// A first segment has at least its header and a small record.
pub(super) const LEAST_SEGMENT: u64 = SEGMENT_HEADER as u64 + 4096;
