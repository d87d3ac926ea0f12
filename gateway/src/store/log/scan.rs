//! Reading segments from disk, record by record.

use super::disk::{Disk, DiskError, FileName, Part};
use super::format::{ALIGN, FormatError, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader};
use super::index::{BlockEntry, SegmentIndex};
use super::ops::{OpView, Ops};

/// Read at a time.
const CHUNK: usize = 1 << 20;

/// What stands at a place of a segment.
pub(super) enum Found<'a> {
    /// A record whose checksums are right.
    Record(RecordHeader, &'a [u8]),
    /// A right header whose body is not what was written.
    BadBody(RecordHeader),
    /// No record header.
    Nothing,
    /// A record of a newer format.
    Newer(String),
}

/// What a search for records found.
pub(super) enum Sought {
    Record(u64, RecordHeader),
    /// A record of a newer format.
    Newer(u64, String),
    Nothing,
}

/// What stands at the beginning of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    Whole(SegmentHeader),
    /// Zeros: nothing was written to it yet, or what was is lost.
    Zero,
    Damaged,
    Newer(String),
}

/// Reads one segment forward through a buffer.
pub(super) struct Scanner<'d> {
    disk: &'d dyn Disk,
    file: FileName,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Formula: `buffer` holds `start..start + have`.
    start: u64,
    have: usize,
    buffer: Vec<u8>,
}

/// Most of a prepared segment is zeros: comparing with these is as fast as memory.
static ZEROS: [u8; 4096] = [0; 4096];

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk))
}

impl<'d> Scanner<'d> {
    pub(super) fn new(disk: &'d dyn Disk, segment: u64, len: u64) -> Self {
        Self { disk, file: FileName::of(Part::Segment(segment)), len, start: 0, have: 0, buffer: Vec::new() }
    }

    /// At most `len` bytes from `offset` on; fewer only at the end of the file.
    pub(super) fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], DiskError> {
        let len = len.min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let held = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = match held.filter(|at| at + len <= self.have) {
            Some(at) => at,
            None => {
                self.fill(offset, held.filter(|at| *at < self.have), len)?;
                0
            }
        };
        Ok(self.buffer.get(at..self.have.min(at + len)).unwrap_or_default())
    }

    /// Makes the buffer begin at `offset` and hold `len` bytes; `held` of it may be there already.
    fn fill(&mut self, offset: u64, held: Option<usize>, len: usize) -> Result<(), DiskError> {
        let before = std::mem::take(&mut self.have);
        if let Some(at) = held {
            self.buffer.copy_within(at..before, 0);
            self.have = before - at;
        }
        self.start = offset;
        let want = usize::try_from(self.len - offset).map_or(usize::MAX, |rest| rest.min(len.max(CHUNK)));
        let more = want.saturating_sub(self.buffer.len());
        self.buffer.append(&mut vec![0; more]);
        let rest = self.buffer.get_mut(self.have..want.max(self.have)).unwrap_or_default();
        self.have += self.disk.read(self.file, offset + self.have as u64, rest)?;
        Ok(())
    }

    pub(super) fn head(&mut self) -> Result<Head, DiskError> {
        let bytes = self.bytes(0, SEGMENT_HEADER)?;
        Ok(match bytes.first_chunk().map(SegmentHeader::decode) {
            Some(Ok(header)) => Head::Whole(header),
            Some(Err(FormatError::Newer(what))) => Head::Newer(what),
            _ if bytes.iter().all(|b| *b == 0) => Head::Zero,
            _ => Head::Damaged,
        })
    }

    /// What stands at an offset.
    pub(super) fn record(&mut self, offset: u64) -> Result<Found<'_>, DiskError> {
        let header = match self.bytes(offset, RECORD_HEADER)?.first_chunk().map(RecordHeader::decode) {
            Some(Ok(Some(header))) => header,
            Some(Err(FormatError::Newer(what))) => return Ok(Found::Newer(what)),
            _ => return Ok(Found::Nothing),
        };
        if offset + header.record_len() > self.len {
            return Ok(Found::BadBody(header));
        }
        let body = self.bytes(offset + RECORD_HEADER as u64, header.body_len as usize)?;
        if body.len() < header.body_len as usize || crc32c::crc32c(body) != header.body_crc {
            return Ok(Found::BadBody(header));
        }
        Ok(Found::Record(header, body))
    }

    /// The first right record header at or behind `offset` that `counts`, or cannot be read here.
    pub(super) fn search(
        &mut self,
        mut offset: u64,
        counts: &dyn Fn(&RecordHeader) -> bool,
    ) -> Result<Sought, DiskError> {
        const STEP: usize = 64 << 10;
        offset = offset.next_multiple_of(ALIGN as u64);
        while offset < self.len {
            // A window overlaps the next by a header, so that none is missed.
            let window = self.bytes(offset, STEP + RECORD_HEADER)?;
            if window.len() < RECORD_HEADER {
                return Ok(Sought::Nothing);
            }
            if is_zero(window) {
                offset += STEP as u64;
                continue;
            }
            for (n, place) in window.windows(RECORD_HEADER).step_by(ALIGN).enumerate() {
                let Some(bytes) = place.first_chunk() else {
                    continue;
                };
                if !place.starts_with(b"MWRB") {
                    continue;
                }
                let at = offset + (n * ALIGN) as u64;
                match RecordHeader::decode(bytes) {
                    Ok(Some(header)) if counts(&header) => return Ok(Sought::Record(at, header)),
                    Err(FormatError::Newer(what)) => return Ok(Sought::Newer(at, what)),
                    _ => {}
                }
            }
            offset += STEP as u64;
        }
        Ok(Sought::Nothing)
    }

    /// Offset behind the last byte that is not zero, at least `from`.
    pub(super) fn end_of_data(&mut self, from: u64) -> Result<u64, DiskError> {
        let (mut offset, mut end) = (from, from);
        while offset < self.len {
            let bytes = self.bytes(offset, CHUNK)?;
            if bytes.is_empty() {
                break;
            }
            let step = bytes.len() as u64;
            if !is_zero(bytes)
                && let Some(last) = bytes.iter().rposition(|b| *b != 0)
            {
                end = offset + last as u64 + 1;
            }
            offset += step;
        }
        Ok(end)
    }
}

/// The index of a segment, made from its records. What is damaged is named and not in it.
///
/// # Errors
/// Not all of it could be read: nothing is known of what it holds.
pub(super) fn index_segment(
    disk: &dyn Disk,
    segment: u64,
    generation: u64,
    used: u64,
) -> Result<SegmentIndex, DiskError> {
    let mut index = SegmentIndex::default();
    let mut scanner = Scanner::new(disk, segment, used);
    let mut offset = SEGMENT_HEADER as u64;
    while offset < used {
        let skip = match scanner.record(offset)? {
            Found::Record(header, body) if header.generation == generation => {
                add_blocks(&mut index, body, offset);
                offset += header.record_len();
                continue;
            }
            Found::BadBody(header) if header.generation == generation => header.record_len(),
            _ => 1,
        };
        let next = match scanner.search(offset + skip, &|h| h.generation == generation)? {
            Sought::Record(found, _) | Sought::Newer(found, _) => found,
            Sought::Nothing => used,
        };
        let file = FileName::of(Part::Segment(segment));
        tracing::error!(%file, offset, next, "damage: what stands between these offsets is not what was written");
        offset = next;
    }
    Ok(index)
}

/// Adds the blocks of one record's body to an index.
pub(super) fn add_blocks(index: &mut SegmentIndex, body: &[u8], record: u64) {
    for (op, at) in Ops::of(body).flatten() {
        if let OpView::Append { head, .. } = op {
            index.add(head.topic, BlockEntry::new(&head, record + (RECORD_HEADER + at) as u64));
        }
    }
}
