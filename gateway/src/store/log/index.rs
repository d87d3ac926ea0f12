//! Where the blocks of a segment are. Layout of the file: docs/log-format.md.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use meshwire_proto::UnixMillis;

use super::format::{FILE_HEADER, FormatError, VERSION, seal, unseal};
use super::ops::AppendHead;
use super::segment::Span;
use crate::store::{Position, TopicId};

const MAGIC: &[u8; 8] = b"MESHWIDX";
const ENTRY: usize = 32;

/// One block of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockEntry {
    pub(super) first: Position,
    pub(super) stored: UnixMillis,
    pub(super) count: u32,
    /// Of its bytes, in the segment.
    pub(super) offset: u32,
    pub(super) len: u32,
    pub(super) crc: u32,
}

impl BlockEntry {
    pub(super) const fn new(head: &AppendHead, offset: u64) -> Self {
        let AppendHead { first, stored, count, len, crc, .. } = *head;
        Self { first, stored, count, offset: offset as u32, len, crc }
    }

    pub(super) const fn next(&self) -> Position {
        self.first + self.count as u64
    }
}

/// All blocks of one segment, by topic and position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentIndex {
    topics: BTreeMap<TopicId, Vec<BlockEntry>>,
    entries: usize,
}

impl SegmentIndex {
    pub(super) fn add(&mut self, topic: TopicId, entry: BlockEntry) {
        self.topics.entry(topic).or_default().push(entry);
        self.entries += 1;
    }

    /// The blocks of a topic from the one on that holds `from`, or the first behind it.
    pub(super) fn blocks_from(&self, topic: TopicId, from: Position) -> &[BlockEntry] {
        let blocks = self.blocks(topic);
        blocks.split_at(blocks.partition_point(|b| b.next() <= from)).1
    }

    /// The first position of a topic in a block that was stored at a time or later: stored time never goes back in a topic.
    pub(super) fn since(&self, topic: TopicId, at: UnixMillis) -> Option<Position> {
        let blocks = self.topics.get(&topic)?;
        blocks.get(blocks.partition_point(|b| b.stored < at)).map(|b| b.first)
    }

    /// When the last block of a topic was stored.
    pub(super) fn last_stored(&self, topic: TopicId) -> Option<UnixMillis> {
        self.topics.get(&topic)?.last().map(|b| b.stored)
    }

    /// What it holds of each topic.
    pub(super) fn spans(&self) -> Vec<Span> {
        let span = |(topic, blocks): (&TopicId, &Vec<BlockEntry>)| {
            Some(Span {
                topic: *topic,
                first: blocks.first()?.first,
                next: blocks.last()?.next(),
                stored: blocks.iter().map(|b| b.stored).max()?,
                bytes: blocks.iter().map(|b| u64::from(b.len)).sum(),
            })
        };
        self.topics.iter().filter_map(span).collect()
    }

    /// All blocks of a topic.
    pub(super) fn blocks(&self, topic: TopicId) -> &[BlockEntry] {
        self.topics.get(&topic).map(Vec::as_slice).unwrap_or_default()
    }

    /// Bytes of one topic.
    pub(super) fn bytes_of(&self, topic: TopicId) -> u64 {
        self.blocks(topic).iter().map(|b| u64::from(b.len)).sum()
    }

    pub(super) fn events(&self) -> u64 {
        self.topics.values().flatten().map(|b| u64::from(b.count)).sum()
    }

    /// Bytes of memory, roughly.
    pub(super) fn weight(&self) -> usize {
        self.entries * size_of::<BlockEntry>() + self.topics.len() * 64
    }

    pub(super) fn encode(&self, generation: u64) -> Bytes {
        let mut body = BytesMut::with_capacity(FILE_HEADER + 16 + self.topics.len() * 8 + self.entries * ENTRY);
        body.put_bytes(0, FILE_HEADER);
        body.put_u64_le(generation);
        body.put_u32_le(self.topics.len() as u32);
        for (topic, blocks) in &self.topics {
            body.put_u32_le(topic.0);
            body.put_u32_le(blocks.len() as u32);
            for b in blocks {
                body.put_u64_le(b.first);
                body.put_i64_le(b.stored.0);
                for value in [b.count, b.offset, b.len, b.crc] {
                    body.put_u32_le(value);
                }
            }
        }
        seal(body, MAGIC)
    }

    /// Whether a file that begins so may be of a newer format: only all of it can say.
    pub(super) fn may_be_newer(head: &[u8]) -> bool {
        head.strip_prefix(MAGIC).is_some_and(|mut rest| rest.try_get_u32_le().is_ok_and(|version| version > VERSION))
    }

    /// What is new about a whole file of a newer format.
    pub(super) fn newer(bytes: &[u8]) -> Option<String> {
        match unseal(bytes, MAGIC, "index") {
            Err(FormatError::Newer(what)) => Some(what),
            _ => None,
        }
    }

    /// `None` when it is not the whole index of this generation: it is made anew then.
    pub(super) fn decode(bytes: &[u8], generation: u64) -> Option<Self> {
        let mut rest = unseal(bytes, MAGIC, "index").ok()?;
        if rest.try_get_u64_le().ok()? != generation {
            return None;
        }
        let mut index = Self::default();
        for _ in 0..rest.try_get_u32_le().ok()? {
            let topic = TopicId(rest.try_get_u32_le().ok()?);
            for _ in 0..rest.try_get_u32_le().ok()? {
                let entry = BlockEntry {
                    first: rest.try_get_u64_le().ok()?,
                    stored: UnixMillis(rest.try_get_i64_le().ok()?),
                    count: rest.try_get_u32_le().ok()?,
                    offset: rest.try_get_u32_le().ok()?,
                    len: rest.try_get_u32_le().ok()?,
                    crc: rest.try_get_u32_le().ok()?,
                };
                index.add(topic, entry);
            }
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    fn index() -> SegmentIndex {
        let mut index = SegmentIndex::default();
        for (topic, first, count) in [(1, 1, 4), (2, 1, 1), (1, 5, 2), (1, 9, 3)] {
            let stored = UnixMillis(first as i64);
            index.add(TopicId(topic), BlockEntry { first, stored, count, offset: 64, len: 10, crc: 7 });
        }
        index
    }

    #[test]
    fn an_index_is_read_as_it_was_written_and_only_for_its_generation() {
        let bytes = index().encode(5);
        assert_eq!(SegmentIndex::decode(&bytes, 5), Some(index()));
        assert_eq!(SegmentIndex::decode(&bytes, 6), None);
    }

    #[test]
    fn no_cut_and_no_flipped_bit_of_an_index_passes() {
        let bytes = index().encode(5);
        for len in 0..bytes.len() {
            assert_eq!(SegmentIndex::decode(&bytes[..len], 5), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentIndex::decode(&bytes, 5), None, "bit {bit}");
        }
    }

    #[test]
    fn a_position_finds_its_block_and_a_hole_the_one_behind_it() {
        let index = index();
        let first = |from| index.blocks_from(TopicId(1), from).first().map(|b| b.first);
        assert_eq!(
            [first(1), first(4), first(6), first(7), first(11), first(12)],
            [Some(1), Some(1), Some(5), Some(9), Some(9), None]
        );
        assert_eq!(index.spans().len(), 2);
        assert_eq!(index.events(), 10);
    }
}
