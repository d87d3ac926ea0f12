//! Going through the segments at open: what counts, what is cut, what is damage.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::disk::{Disk, DiskError, FileName, Part};
use super::fold::Fold;
use super::format::{FormatError, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader};
use super::index::{BlockEntry, SegmentIndex};
use super::open_error::OpenError;
use super::ops::{OpView, Ops};
use super::recent::RecentEvents;
use super::scan::{Found, Head, Scanner, Sought};

/// A segment file as it was listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) len: u64,
}

/// A segment as it was read.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) file: SegmentFile,
    pub(super) generation: u64,
    pub(super) first_batch: u64,
    pub(super) next_batch: u64,
    /// Offset behind the last record that counts.
    pub(super) used: u64,
    pub(super) index: SegmentIndex,
    /// More records may be written behind `used`.
    pub(super) can_grow: bool,
}

/// Where the log ends: file by number in the list, and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) file: usize,
    pub(super) offset: u64,
}

/// What comes behind a place where no record counts.
enum Behind {
    /// Records that count again from here on.
    Record(usize, u64, RecordHeader),
    /// Nothing that was ever acknowledged.
    Cut,
}

pub(super) struct Walk<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) files: &'a [SegmentFile],
    pub(super) fold: Fold,
    /// Batches up to this one are in the fold already.
    pub(super) covered: u64,
    /// Batches up to this one are known to have been synced.
    pub(super) known_synced: u64,
    /// The highest mark of any record.
    pub(super) marked: u64,
    /// The batch that should come next.
    pub(super) expected: u64,
    /// Segments behind others that were given back: between which batches these were.
    pub(super) holes: BTreeMap<u64, (u64, u64)>,
    /// The highest epoch of any record.
    pub(super) epoch: u64,
    pub(super) recent: RecentEvents,
    pub(super) scanned: Vec<Scanned>,
    pub(super) scanned_bytes: u64,
    pub(super) damage: Vec<String>,
}

impl Walk<'_> {
    /// Reads all files; `None` when there is none that holds a record.
    pub(super) fn run(&mut self) -> Result<Option<End>, OpenError> {
        let mut at = (0, None);
        let mut end = None;
        while let Some(file) = self.files.get(at.0).copied() {
            let (last, next) = self.segment(at.0, file, at.1)?;
            end = Some(last);
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(end)
    }

    /// Reads one segment from `entry` on; where it ended, and what to read next.
    #[allow(clippy::type_complexity, reason = "a place and the header found there, only passed from call to call")]
    fn segment(
        &mut self,
        at: usize,
        file: SegmentFile,
        entry: Option<(u64, RecordHeader)>,
    ) -> Result<(End, Option<(usize, Option<(u64, RecordHeader)>)>), OpenError> {
        let mut scanner = Scanner::new(self.disk, file.number, file.len);
        let head = self.head(&mut scanner, file)?;
        if let (None, Some(head)) = (&entry, &head) {
            self.expected = head.first_batch;
        }
        let (generation, mut offset, can_grow) = match (entry, head) {
            (Some((offset, header)), head) => (header.generation, offset, head.is_some()),
            (None, Some(head)) => (head.generation, SEGMENT_HEADER as u64, true),
            // It was too small for the first batch and never used.
            (None, None) if self.is_unused(&mut scanner)? && self.continues(at + 1)? => {
                return Ok((End { file: at, offset: 0 }, Some((at + 1, None))));
            }
            (None, None) => match self.behind(at, 0, 1, None, "segment header")? {
                Behind::Record(to, offset, header) if to == at => (header.generation, offset, false),
                Behind::Record(to, offset, header) => {
                    return Ok((End { file: at, offset: 0 }, Some((to, Some((offset, header))))));
                }
                Behind::Cut => {
                    return Ok((End { file: at, offset: 0 }, None));
                }
            },
        };
        let first_batch = self.expected;
        let mut index = SegmentIndex::default();
        let next = loop {
            let skip = match scanner.record(offset)? {
                Found::Newer(what) => return Err(OpenError::newer(file.number, offset, &what)),
                Found::Record(header, body) if self.is_next(&header, generation) => {
                    self.take(file.number, offset, &header, body, &mut index)?;
                    offset += header.record_len();
                    continue;
                }
                Found::BadBody(header) if self.is_next(&header, generation) => header.record_len(),
                _ => 1,
            };
            if self.continues(at + 1)? {
                break Some((at + 1, None));
            }
            let what = if skip > 1 { self.name_topics(&mut scanner, offset)? } else { "record header".to_owned() };
            match self.behind(at, offset, skip, Some(generation), &what)? {
                Behind::Record(to, found, _) if to == at => offset = found,
                Behind::Record(to, found, header) => break Some((to, Some((found, header)))),
                Behind::Cut => break None,
            }
        };
        self.scanned_bytes += offset;
        let next_batch = self.expected;
        self.scanned.push(Scanned { file, generation, first_batch, next_batch, used: offset, index, can_grow });
        Ok((End { file: at, offset }, next))
    }

    /// The header of a segment if it is the one that should come.
    fn head(&self, scanner: &mut Scanner<'_>, file: SegmentFile) -> Result<Option<SegmentHeader>, OpenError> {
        let header = match scanner.head()? {
            Head::Whole(header) if header.number == file.number && header.epoch >= self.epoch => header,
            Head::Newer(what) => return Err(OpenError::newer(file.number, 0, &what)),
            _ => return Ok(None),
        };
        let first = header.first_batch;
        // What was given back is not missing.
        let behind_hole = |hole: &(u64, u64)| *hole == (self.expected, first);
        let comes_next = first == self.expected || self.holes.get(&file.number).is_some_and(behind_hole);
        Ok(comes_next.then_some(header))
    }

    fn is_unused(&self, scanner: &mut Scanner<'_>) -> Result<bool, OpenError> {
        Ok(matches!(scanner.head()?, Head::Zero))
    }

    fn is_next(&self, header: &RecordHeader, generation: u64) -> bool {
        header.batch == self.expected && header.generation == generation && header.epoch >= self.epoch
    }

    /// Whether the log goes on at the beginning of this file.
    fn continues(&self, at: usize) -> Result<bool, OpenError> {
        let Some(file) = self.files.get(at).copied() else {
            return Ok(false);
        };
        let mut scanner = Scanner::new(self.disk, file.number, file.len);
        Ok(self.head(&mut scanner, file)?.is_some())
    }

    /// Adds a record's operations.
    fn take(
        &mut self,
        segment: u64,
        offset: u64,
        header: &RecordHeader,
        body: &[u8],
        index: &mut SegmentIndex,
    ) -> Result<(), OpenError> {
        for op in Ops::of(body) {
            let (op, at) = match op {
                Ok(op) => op,
                Err(FormatError::Newer(what)) => {
                    return Err(OpenError::newer(segment, offset, &what));
                }
                Err(FormatError::Damaged(what)) => {
                    self.damage.push(format!("{}: batch {}: {what}", place(segment, offset), header.batch));
                    break;
                }
            };
            if let OpView::Append { head, .. } = &op {
                let entry = BlockEntry::new(head, offset + (RECORD_HEADER + at) as u64);
                index.add(head.topic, entry);
                self.recent.add(segment, head.topic, entry);
            }
            if header.batch > self.covered {
                self.fold.apply(&op);
                self.fold.batch = header.batch;
            }
        }
        self.marked = self.marked.max(header.synced);
        self.known_synced = self.known_synced.max(header.synced);
        self.epoch = header.epoch;
        self.expected = header.batch + 1;
        Ok(())
    }

    /// No record counts at this place: looks behind it, and names what is damage.
    fn behind(
        &mut self,
        at: usize,
        offset: u64,
        skip: u64,
        generation: Option<u64>,
        what: &str,
    ) -> Result<Behind, OpenError> {
        let expected = self.expected;
        let mut first = None;
        let mut was_synced = self.known_synced >= expected;
        let mut unused = false;
        'files: for (number, file) in self.files.iter().enumerate().skip(at) {
            let mut scanner = Scanner::new(self.disk, file.number, file.len);
            let (mut from, generation) = if number == at && offset > 0 {
                (offset + skip, generation)
            } else {
                let generation = match scanner.head()? {
                    Head::Whole(head) => Some(head.generation),
                    Head::Newer(what) => return Err(OpenError::newer(file.number, 0, &what)),
                    // A segment is begun only when the one before it is full and synced: behind an unused one there is
                    // none that was ever begun, and segments that were only prepared need not be read.
                    Head::Zero if unused => continue,
                    Head::Zero => {
                        unused = true;
                        None
                    }
                    Head::Damaged => None,
                };
                (SEGMENT_HEADER as u64, generation)
            };
            let counts = |h: &RecordHeader| {
                h.batch >= expected && h.epoch >= self.epoch && generation.is_none_or(|g| g == h.generation)
            };
            loop {
                let (found, header) = match scanner.search(from, &counts)? {
                    Sought::Record(found, header) => (found, header),
                    Sought::Newer(found, what) => return Err(OpenError::newer(file.number, found, &what)),
                    Sought::Nothing => break,
                };
                first.get_or_insert((number, found, header));
                unused = false;
                was_synced |= header.synced >= expected;
                if was_synced {
                    break 'files;
                }
                from = found + header.record_len();
            }
        }
        if !was_synced {
            return Ok(Behind::Cut);
        }
        self.lost(at, offset, first.map_or(self.known_synced, |(_, _, h)| h.batch - 1), what);
        Ok(first.map_or(Behind::Cut, |(to, found, header)| Behind::Record(to, found, header)))
    }

    /// Names damage: at this place, what should come up to batch `through` is not there.
    fn lost(&mut self, at: usize, offset: u64, through: u64, what: &str) {
        let (segment, expected) = (self.files.get(at).map_or(0, |f| f.number), self.expected);
        let batches = match through.cmp(&expected) {
            Ordering::Greater => format!("batches {expected} to {through} are lost"),
            Ordering::Equal => format!("batch {expected} is lost"),
            Ordering::Less => "no batch is lost".to_owned(),
        };
        self.damage.push(format!("{}: not what was written ({what}); {batches}", place(segment, offset)));
        self.expected = through + 1;
    }

    /// The topics of a record with a bad body, as far as they can be read.
    fn name_topics(&self, scanner: &mut Scanner<'_>, offset: u64) -> Result<String, DiskError> {
        let mut ids = Vec::new();
        if let Some(Ok(Some(header))) = scanner.bytes(offset, RECORD_HEADER)?.first_chunk().map(RecordHeader::decode) {
            let body = scanner.bytes(offset + RECORD_HEADER as u64, header.body_len as usize)?;
            ids.extend(Ops::of(body).map_while(Result::ok).map(|(op, _)| op.topic()));
            ids.sort_unstable();
            ids.dedup();
        }
        let names: Vec<&str> = ids.iter().filter_map(|id| self.fold.topics.get(id)).map(|t| t.name.as_str()).collect();
        Ok(if names.is_empty() {
            "record body".to_owned()
        } else {
            format!("record body, topics {}", names.join(", "))
        })
    }
}

fn place(segment: u64, offset: u64) -> String {
    format!("{} at {offset}", FileName::of(Part::Segment(segment)))
}
