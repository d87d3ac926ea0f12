//! Headers of segments and records, and the small files. Layouts: docs/log-format.md.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The format this program writes, and the highest it reads.
pub(super) const VERSION: u32 = 1;

pub(super) const SEGMENT_HEADER: usize = 64;
pub(super) const RECORD_HEADER: usize = 56;
/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;

const SEGMENT_MAGIC: &[u8; 8] = b"MESHWLOG";
const RECORD_MAGIC: &[u8; 4] = b"MWRB";
const EPOCH_MAGIC: &[u8; 8] = b"MESHWEPO";
/// How a checkpoint and an index begin, in this and every later format: magic, version, checksum of all other bytes.
/// So a newer file is told from a damaged one.
pub(super) const FILE_HEADER: usize = 16;
/// A slot of EPOCH is a sector: it is written whole or not at all.
pub(super) const EPOCH_SLOT: usize = 512;

/// Bytes in a form that is not read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FormatError {
    /// Not what was written.
    Damaged(&'static str),
    /// Written by a newer program; what exactly is new.
    Newer(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) first_batch: u64,
    pub(super) epoch: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut head = Vec::with_capacity(12);
        head.put_slice(SEGMENT_MAGIC);
        head.put_u32_le(VERSION);
        let mut tail = Vec::with_capacity(SEGMENT_HEADER - 16);
        for value in [self.number, self.generation, self.first_batch, self.epoch, 0, 0] {
            tail.put_u64_le(value);
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), &tail);
        let mut out = [0; SEGMENT_HEADER];
        let mut rest = out.as_mut_slice();
        rest.put_slice(&head);
        rest.put_u32_le(crc);
        rest.put_slice(&tail);
        out
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<Self, FormatError> {
        let (head, rest) = bytes.split_at(12);
        let (mut crc, mut tail) = rest.split_at(4);
        if crc.get_u32_le() != crc32c::crc32c_append(crc32c::crc32c(head), tail) || !head.starts_with(SEGMENT_MAGIC) {
            return Err(FormatError::Damaged("segment header"));
        }
        let mut version = head.split_at(8).1;
        match version.get_u32_le() {
            VERSION => {}
            newer => return Err(FormatError::Newer(format!("segment format {newer}"))),
        }
        let mut next = || tail.get_u64_le();
        Ok(Self { number: next(), generation: next(), first_batch: next(), epoch: next() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) generation: u64,
    pub(super) batch: u64,
    /// Batches up to this one were known to be synced. Formula: `synced < batch`.
    pub(super) synced: u64,
    pub(super) epoch: u64,
    pub(super) body_len: u32,
    pub(super) body_crc: u32,
    pub(super) ops: u32,
}

impl RecordHeader {
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut tail = Vec::with_capacity(RECORD_HEADER - 8);
        for value in [self.generation, self.batch, self.synced, self.epoch] {
            tail.put_u64_le(value);
        }
        for value in [self.body_len, self.body_crc, 0, self.ops] {
            tail.put_u32_le(value);
        }
        let mut out = [0; RECORD_HEADER];
        let mut rest = out.as_mut_slice();
        rest.put_slice(RECORD_MAGIC);
        rest.put_u32_le(crc32c::crc32c(&tail));
        rest.put_slice(&tail);
        out
    }

    /// `Ok(None)`: no header stands here.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER]) -> Result<Option<Self>, FormatError> {
        let (magic, rest) = bytes.split_at(4);
        let (mut crc, mut tail) = rest.split_at(4);
        if magic != RECORD_MAGIC || crc.get_u32_le() != crc32c::crc32c(tail) {
            return Ok(None);
        }
        let header = Self {
            generation: tail.get_u64_le(),
            batch: tail.get_u64_le(),
            synced: tail.get_u64_le(),
            epoch: tail.get_u64_le(),
            body_len: tail.get_u32_le(),
            body_crc: tail.get_u32_le(),
            ops: {
                let flags = tail.get_u32_le();
                if flags != 0 {
                    return Err(FormatError::Newer(format!("record flags {flags:#x}")));
                }
                tail.get_u32_le()
            },
        };
        Ok(Some(header))
    }

    /// Bytes of the record with its header and the padding behind it.
    pub(super) const fn record_len(&self) -> u64 {
        record_len(self.body_len as u64)
    }
}

/// Bytes of a record with this body.
pub(super) const fn record_len(body: u64) -> u64 {
    (RECORD_HEADER as u64 + body).next_multiple_of(ALIGN as u64)
}

/// Gives a file its header, for which its first [`FILE_HEADER`] bytes are left free.
pub(super) fn seal(mut file: BytesMut, magic: &[u8; 8]) -> Bytes {
    let body = file.split_off(FILE_HEADER);
    file.clear();
    file.put_slice(magic);
    file.put_u32_le(VERSION);
    file.put_u32_le(crc32c::crc32c_append(crc32c::crc32c(&file), &body));
    file.unsplit(body);
    file.freeze()
}

/// What stands behind the header of a file; `what` names its kind.
pub(super) fn unseal<'a>(file: &'a [u8], magic: &[u8; 8], what: &str) -> Result<&'a [u8], FormatError> {
    let (head, body) = file.split_at_checked(FILE_HEADER).ok_or(FormatError::Damaged("cut short"))?;
    let (named, mut crc) = head.split_at(12);
    let mut version = named.strip_prefix(magic).ok_or(FormatError::Damaged("not such a file"))?;
    if crc.get_u32_le() != crc32c::crc32c_append(crc32c::crc32c(named), body) {
        return Err(FormatError::Damaged("checksum"));
    }
    match version.get_u32_le() {
        VERSION => Ok(body),
        newer => Err(FormatError::Newer(format!("{what} format {newer}"))),
    }
}

/// One bijective mix: generations differ whenever (epoch, count) do, and cannot be guessed without the salt.
pub(super) const fn generation(salt: u64, epoch: u64, count: u64) -> u64 {
    // The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
    let mut x = salt ^ (epoch << 24 | count & 0xFF_FFFF);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What FORMAT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) max_disk: u64,
    pub(super) salt: u64,
}

impl Directory {
    pub(super) fn encode(&self) -> String {
        let text = format!("meshwire log\nversion {VERSION}\nmax_disk {}\nsalt {:016x}\n", self.max_disk, self.salt);
        format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        const DAMAGED: FormatError = FormatError::Damaged("its text is not what was written");
        let text = std::str::from_utf8(bytes).map_err(|_| DAMAGED)?;
        let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).ok_or(DAMAGED);
        let intact = text
            .rfind("crc32c ")
            .and_then(|at| text.split_at_checked(at))
            .is_some_and(|(body, line)| line == format!("crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())));
        // A newer format may end in another way; only its version is read, and only if it is whole text of that kind.
        match field("version")?.parse::<u32>() {
            Ok(version) if version > VERSION && (intact || text.starts_with("meshwire log\n")) => {
                return Err(FormatError::Newer(format!("format {version}")));
            }
            Ok(VERSION) if intact => {}
            _ => return Err(DAMAGED),
        }
        Ok(Self {
            max_disk: field("max_disk")?.parse().map_err(|_| DAMAGED)?,
            salt: u64::from_str_radix(field("salt")?, 16).map_err(|_| DAMAGED)?,
        })
    }
}

/// A slot of EPOCH.
pub(super) fn encode_epoch(epoch: u64) -> BytesMut {
    let mut slot = BytesMut::with_capacity(EPOCH_SLOT);
    slot.put_slice(EPOCH_MAGIC);
    slot.put_u64_le(epoch);
    slot.put_u32_le(crc32c::crc32c(&slot));
    slot.resize(EPOCH_SLOT, 0);
    slot
}

/// The higher of both slots; `None` when neither is whole.
pub(super) fn decode_epoch(bytes: &[u8]) -> Option<u64> {
    let slot = |slot: &[u8]| {
        let (body, mut crc) = slot.split_at_checked(16)?;
        let mut epoch = body.strip_prefix(EPOCH_MAGIC)?;
        (crc.try_get_u32_le().ok()? == crc32c::crc32c(body)).then(|| epoch.get_u64_le())
    };
    bytes.chunks(EPOCH_SLOT).filter_map(slot).max()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    const SEGMENT: SegmentHeader = SegmentHeader { number: 3, generation: 77, first_batch: 900, epoch: 5 };
    const RECORD: RecordHeader =
        RecordHeader { generation: 77, batch: 901, synced: 900, epoch: 5, body_len: 1234, body_crc: 9, ops: 3 };

    #[test]
    fn headers_are_read_as_they_were_written() {
        assert_eq!(SegmentHeader::decode(&SEGMENT.encode()), Ok(SEGMENT));
        assert_eq!(RecordHeader::decode(&RECORD.encode()), Ok(Some(RECORD)));
        let directory = Directory { max_disk: 1 << 40, salt: 0xabc };
        assert_eq!(Directory::decode(directory.encode().as_bytes()), Ok(directory));
        let slots = [encode_epoch(8), encode_epoch(7)].concat();
        assert_eq!(decode_epoch(&slots), Some(8));
    }

    #[test]
    fn no_flipped_bit_of_a_header_passes() {
        let (segment, record) = (SEGMENT.encode(), RECORD.encode());
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut bytes = segment;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
        }
        for bit in 0..RECORD_HEADER * 8 {
            let mut bytes = record;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes), Ok(None), "bit {bit}");
        }
        let slots = [encode_epoch(8), encode_epoch(7)].concat();
        for bit in 0..20 * 8 {
            let mut bytes = slots.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_epoch(&bytes), Some(7), "bit {bit}");
        }
    }

    #[test]
    fn no_flipped_bit_of_the_format_file_passes() {
        let text = Directory { max_disk: 1000, salt: 7 }.encode().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Directory::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_named_even_when_nothing_else_is_understood() {
        let newer = "meshwire log\nversion 9\nwhatever\n";
        assert_eq!(Directory::decode(newer.as_bytes()), Err(FormatError::Newer("format 9".to_owned())));
    }

    #[test]
    fn generations_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..50 {
            for count in 0..50 {
                assert!(seen.insert(generation(99, epoch, count)));
            }
        }
    }
}
