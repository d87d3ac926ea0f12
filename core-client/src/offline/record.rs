//! The bytes of an offline file: a head, then records that are only ever appended.
//!
//! Everything is little-endian. Head, 56 bytes: `MESHWIRE`, `OFFLINE\n`, u32 version, u32 epoch, 16 bytes producer id,
//! u64 first sequence that may be given, u32 reserved, u32 CRC32C of what stands before it. Record: u32 length of the
//! body, u32 CRC32C of all else, u64 how much of the file was on disk when it was written, u8 kind, body.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use meshwire_proto::{EventRun, Timing, TopicName, UnixMillis};

/// The newest version that is read, and the one that is written.
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEAD_BYTES: usize = 56;
const MAGIC: &[u8; 16] = b"MESHWIREOFFLINE\n";
pub(crate) const RECORD_HEAD_BYTES: usize = 17;
const EVENTS: u8 = 1;
const ANSWERED: u8 = 2;
/// No record is larger: a run has one event, or 64 KiB of them.
const MAX_BODY: usize = 1 << 30;

/// Who publishes, and with which sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// 128 random bits.
    pub(super) producer_id: [u8; 16],
    /// Of the sequences.
    pub(super) epoch: u32,
    /// No lower sequence is given any more.
    pub(super) next_sequence: u64,
}

/// Why bytes are no head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadProblem {
    /// It is not such a file.
    Foreign,
    /// Of a version that is newer than this program.
    Newer(u32),
    /// Its checksum is wrong.
    Damaged,
}

/// Consecutive events of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Filed {
    /// Sequence of the first.
    pub first: u64,
    /// When they were published.
    pub at: UnixMillis,
    /// Where they go.
    pub topic: TopicName,
    /// When they are delivered.
    pub timing: Timing,
    /// What they are.
    pub events: EventRun,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    Events(Filed),
    Answered(Vec<Range<u64>>),
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.producer_id);
        out.extend_from_slice(&self.next_sequence.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, HeadProblem> {
        let whole = bytes;
        if take(&mut bytes, MAGIC.len()).is_none_or(|magic| magic != MAGIC) {
            return Err(HeadProblem::Foreign);
        }
        let version = u32_of(&mut bytes).ok_or(HeadProblem::Damaged)?;
        if version > VERSION {
            return Err(HeadProblem::Newer(version));
        }
        let mut read = || {
            let epoch = u32_of(&mut bytes)?;
            let producer_id = take(&mut bytes, 16)?.try_into().ok()?;
            let next_sequence = u64_of(&mut bytes)?;
            take(&mut bytes, 4)?;
            let sum = u32_of(&mut bytes)?;
            let summed = whole.get(..HEAD_BYTES - 4)?;
            (sum == crc32c::crc32c(summed)).then_some(Self { producer_id, epoch, next_sequence })
        };
        read().ok_or(HeadProblem::Damaged)
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn u32_of(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

fn u64_of(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?))
}

/// Appends a record; `synced` is how much of the file is known to be on disk.
fn put(out: &mut BytesMut, synced: u64, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&synced.to_le_bytes());
    out.extend_from_slice(&[kind]);
    body(out);
    let len = u32::try_from(out.len() - start - RECORD_HEAD_BYTES).unwrap_or(u32::MAX).to_le_bytes();
    let sum = out.get(start + 8..).map_or(0, |rest| sum(len, rest)).to_le_bytes();
    for (to, from) in out.iter_mut().skip(start).zip(len.into_iter().chain(sum)) {
        *to = from;
    }
}

fn sum(len: [u8; 4], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&len), rest)
}

impl Filed {
    /// How many events.
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.events.count())
    }

    pub(crate) fn put(&self, out: &mut BytesMut, synced: u64) {
        put(out, synced, EVENTS, |out| {
            out.extend_from_slice(&self.first.to_le_bytes());
            out.extend_from_slice(&self.at.0.to_le_bytes());
            out.extend_from_slice(&self.timing.deliver_at.0.to_le_bytes());
            out.extend_from_slice(&self.timing.expires_in_ms.to_le_bytes());
            out.extend_from_slice(&self.events.count().to_le_bytes());
            let topic = self.topic.as_str();
            // A topic's name has at most 120 bytes.
            out.extend_from_slice(&[u8::try_from(topic.len()).unwrap_or(0)]);
            out.extend_from_slice(topic.as_bytes());
            out.extend_from_slice(self.events.as_bytes());
        });
    }

    fn read(mut body: &[u8]) -> Option<Self> {
        let bytes = &mut body;
        let first = u64_of(bytes)?;
        let at = UnixMillis(u64_of(bytes)?.cast_signed());
        let deliver_at = UnixMillis(u64_of(bytes)?.cast_signed());
        let expires_in_ms = u64_of(bytes)?;
        let count = u32_of(bytes)?;
        let topic = usize::from(*take(bytes, 1)?.first()?);
        let topic = TopicName::parse(std::str::from_utf8(take(bytes, topic)?).ok()?).ok()?;
        first.checked_add(u64::from(count))?;
        let events = EventRun::from_wire(Bytes::copy_from_slice(bytes), count).ok()?;
        Some(Self { first, at, topic, timing: Timing { deliver_at, expires_in_ms }, events })
    }
}

/// Appends the record that says what has its answer.
pub(crate) fn put_answered(out: &mut BytesMut, synced: u64, ranges: &[Range<u64>]) {
    put(out, synced, ANSWERED, |out| {
        for range in ranges {
            out.extend_from_slice(&range.start.to_le_bytes());
            out.extend_from_slice(&range.end.to_le_bytes());
        }
    });
}

fn read_answered(mut body: &[u8]) -> Option<Vec<Range<u64>>> {
    let mut ranges = Vec::with_capacity(body.len() / 16);
    while !body.is_empty() {
        ranges.push(u64_of(&mut body)?..u64_of(&mut body)?);
    }
    Some(ranges)
}

/// A record that is whole: itself, how much was on disk at it, and its length.
pub(crate) fn read(bytes: &[u8]) -> Option<(Record, u64, usize)> {
    let (kind, synced, body) = check(bytes)?;
    let record = match kind {
        EVENTS => Record::Events(Filed::read(body)?),
        ANSWERED => Record::Answered(read_answered(body)?),
        _ => return None,
    };
    Some((record, synced, RECORD_HEAD_BYTES + body.len()))
}

fn check(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let mut rest = bytes;
    let len = u32_of(&mut rest)?;
    let sum_told = u32_of(&mut rest)?;
    let body = usize::try_from(len).ok().filter(|len| *len <= MAX_BODY)?;
    let summed = rest.get(..RECORD_HEAD_BYTES - 8 + body)?;
    if sum(len.to_le_bytes(), summed) != sum_told {
        return None;
    }
    let mut summed = summed;
    let synced = u64_of(&mut summed)?;
    let kind = *take(&mut summed, 1)?.first()?;
    Some((kind, synced, summed))
}

/// Most bytes behind a bad record that are searched for good ones: then a sum is made for each place that may be one.
const SEARCHED: usize = 64 << 20;

/// Whether a whole record comes later that says that the file was on disk beyond `offset`: `bytes` begin there.
pub(crate) fn is_damage(bytes: &[u8], offset: u64) -> bool {
    let places = 1..bytes.len().min(SEARCHED).saturating_sub(RECORD_HEAD_BYTES);
    places.into_iter().any(|at| {
        let Some(rest) = bytes.get(at..) else { return false };
        // The cheap looks first: hardly any place has a kind, and a size of the file that it can have.
        let likely = matches!(rest.get(16), Some(&(EVENTS | ANSWERED)));
        let mut told = rest.get(8..16).unwrap_or_default();
        likely
            && u64_of(&mut told).is_some_and(|told| told > offset && told <= offset + at as u64)
            && check(rest).is_some()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use meshwire_proto::EventRunBuilder;

    use super::*;

    fn filed() -> Filed {
        let mut run = EventRunBuilder::default();
        run.push(b"one");
        run.push(b"two");
        Filed {
            first: 7,
            at: UnixMillis(5),
            topic: TopicName::parse("orders").unwrap(),
            timing: Timing { deliver_at: UnixMillis(9), expires_in_ms: 3 },
            events: run.take(),
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let head = Head { producer_id: [7; 16], epoch: 3, next_sequence: 99 };
        assert_eq!(head.encode().len(), HEAD_BYTES);
        assert_eq!(Head::decode(&head.encode()), Ok(head));
        let mut out = BytesMut::new();
        filed().put(&mut out, 56);
        let len = out.len();
        put_answered(&mut out, 60, &[1..4, 7..9]);
        assert_eq!(read(&out), Some((Record::Events(filed()), 56, len)));
        assert_eq!(read(&out[len..]), Some((Record::Answered(vec![1..4, 7..9]), 60, out.len() - len)));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut out = BytesMut::new();
        filed().put(&mut out, 56);
        for bit in 0..out.len() * 8 {
            let mut bytes = out.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bytes), None, "bit {bit}");
        }
        for len in 0..out.len() {
            assert_eq!(read(&out[..len]), None);
        }
        let head = Head { producer_id: [7; 16], epoch: 3, next_sequence: 99 }.encode();
        for bit in 0..head.len() * 8 {
            let mut bytes = head.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::decode(&bytes).is_err(), "bit {bit}");
        }
    }
}
