//! The batch that is being gathered, and the record made of it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::retain::Change;
use crate::store::log::fold::Fold;
use crate::store::log::format::{FormatError, record_len};
use crate::store::log::ops::{self, AppendHead, Mark, OpView};
use crate::store::log::times;
use crate::store::{Append, Block, Durability, Entry, Op, Position, ProducerMark, TopicId};

/// Events from this size on keep the buffer they came in; smaller ones are
/// copied into their topic's open block.
const LARGE: usize = 16 << 10;

/// A block of small events is not made longer than this: it is what a reader fetches at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Marks of one append; bounds what an operation's head costs.
const MAX_MARKS: usize = 1024;

enum BlockBytes {
    /// The open block: small events, copied once.
    Copied(BytesMut),
    /// Large events where they came in.
    Shared(Bytes),
}

struct OpenBlock {
    topic: TopicId,
    first: Position,
    stored: meshwire_proto::UnixMillis,
    marks: Vec<Mark>,
    bytes: BlockBytes,
    index: Vec<Entry>,
}

enum Slot {
    Plain(Bytes),
    Block(OpenBlock),
}

/// Operations that no record holds yet.
#[derive(Default)]
pub(super) struct Pending {
    slots: Vec<Slot>,
    /// Where each topic's open block is in `slots`.
    open: BTreeMap<TopicId, usize>,
    body_len: usize,
    events: u64,
}

/// A block of a record, not yet shown to readers.
#[derive(Debug)]
pub(super) struct NewBlock {
    pub(super) topic: TopicId,
    /// The level it must reach to be shown.
    pub(super) level: Durability,
    pub(super) block: Block,
    /// Bytes of memory that `block.bytes` holds.
    pub(super) held: usize,
    pub(super) head: AppendHead,
    /// Of its bytes in the record's body.
    pub(super) body_offset: usize,
}

/// A record but for its header.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) batch: u64,
    pub(super) body: Vec<Bytes>,
    pub(super) body_len: usize,
    pub(super) body_crc: u32,
    pub(super) ops: u32,
    pub(super) events: u64,
    /// Its callers wait for a sync.
    pub(super) needs_sync: bool,
    pub(super) blocks: Vec<NewBlock>,
    /// What it changes of topics and groups.
    pub(super) changes: Vec<Change>,
}

impl Cut {
    /// Bytes it takes in a segment.
    pub(super) const fn len(&self) -> u64 {
        record_len(self.body_len as u64)
    }
}

impl Pending {
    pub(super) const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of a record's body made of it.
    pub(super) const fn body_len(&self) -> usize {
        self.body_len
    }

    /// The first position of a topic that came at a time or later.
    pub(super) fn since(&self, topic: TopicId, at: meshwire_proto::UnixMillis) -> Option<Position> {
        let block = |slot: &Slot| match slot {
            Slot::Block(open) if open.topic == topic && open.stored >= at => Some(open.first),
            _ => None,
        };
        self.slots.iter().find_map(block)
    }

    pub(super) fn push(&mut self, op: Op) {
        let mut out = BytesMut::new();
        match op {
            Op::Append(append) => return self.append(append),
            Op::Topic { topic, name, durability, retention_ms } => {
                ops::put_topic(&mut out, topic, &name, durability, retention_ms);
            }
            Op::Group { topic, group, name, start, settings } => {
                ops::put_group(&mut out, (topic, group), &name, start, &settings);
            }
            Op::Settle { topic, group, ranges } => {
                ops::put_settle(&mut out, topic, group, &ranges);
            }
            Op::Reasons { topic, group, reasons } => ops::put_reasons(&mut out, topic, group, &reasons),
            Op::GroupGone { topic, group } => ops::put_group_gone(&mut out, topic, group),
            Op::TopicGone { topic } => ops::put_topic_gone(&mut out, topic),
            Op::Limits { topic, limits } => ops::put_limits(&mut out, topic, limits),
            Op::Seek { topic, group, to } => ops::put_seek(&mut out, topic, group, to),
            Op::Graves { topic, changes } => ops::put_graves(&mut out, topic, &changes),
            Op::Times(times) => times::put(&mut out, &times),
        }
        self.body_len += out.len();
        self.slots.push(Slot::Plain(out.freeze()));
    }

    fn append(&mut self, append: Append) {
        let count = append.index.len();
        if count == 0 {
            return;
        }
        self.events += count as u64;
        if append.bytes.len() / count >= LARGE {
            let mark = append.producer.map(|p| mark(&p, 0, count as u32));
            self.body_len += ops::append_head_len(usize::from(mark.is_some())) + append.bytes.len();
            self.open.remove(&append.topic);
            self.slots.push(Slot::Block(OpenBlock {
                topic: append.topic,
                first: append.first,
                stored: append.stored,
                marks: mark.into_iter().collect(),
                bytes: BlockBytes::Shared(append.bytes),
                index: append.index,
            }));
            return;
        }
        let (mut done, mut from) = (0, 0);
        while let Some(rest) = append.index.get(done..).filter(|r| !r.is_empty()) {
            let taken = self.copy(&append, done, from, rest);
            from = append.index.get(done + taken - 1).map_or(from, |e| e.end as usize);
            done += taken;
        }
    }

    /// Copies events from number `done` at offset `from` on into the topic's open block; at least one.
    fn copy(&mut self, append: &Append, done: usize, from: usize, rest: &[Entry]) -> usize {
        let first = append.first + done as u64;
        let slot = self.open_block(append.topic, first, append);
        let Some(Slot::Block(OpenBlock { stored, marks, bytes: BlockBytes::Copied(bytes), index, .. })) =
            self.slots.get_mut(slot)
        else {
            return rest.len();
        };
        *stored = (*stored).max(append.stored);
        let room = BLOCK_BYTES.saturating_sub(bytes.len());
        let taken = rest.partition_point(|e| e.end as usize - from <= room).max(1);
        let Some(taken_entries) = rest.get(..taken) else {
            return rest.len();
        };
        let to = taken_entries.last().map_or(from, |e| e.end as usize);
        let shift = bytes.len() as u32;
        index.extend(taken_entries.iter().map(|e| Entry { end: e.end - from as u32 + shift, key: e.key }));
        bytes.extend_from_slice(append.bytes.get(from..to).unwrap_or_default());
        self.body_len += to - from;
        if let Some(producer) = &append.producer {
            let new = mark(producer, done as u64, taken as u32);
            match marks.last_mut().filter(|m| continues(m, &new)) {
                Some(last) => {
                    last.count += new.count;
                    last.answered_through = last.answered_through.max(new.answered_through);
                }
                None => {
                    marks.push(new);
                    self.body_len += ops::append_head_len(1) - ops::append_head_len(0);
                }
            }
        }
        taken
    }

    /// The topic's block that position `first` may be added to; a new one if need be.
    fn open_block(&mut self, topic: TopicId, first: Position, append: &Append) -> usize {
        if let Some(slot) = self.open.get(&topic).copied()
            && let Some(Slot::Block(block)) = self.slots.get(slot)
            && let BlockBytes::Copied(bytes) = &block.bytes
            && bytes.len() < BLOCK_BYTES
            && block.marks.len() < MAX_MARKS
            && block.first + block.index.len() as u64 == first
        {
            return slot;
        }
        let slot = self.slots.len();
        self.open.insert(topic, slot);
        self.body_len += ops::append_head_len(0);
        self.slots.push(Slot::Block(OpenBlock {
            topic,
            first,
            stored: append.stored,
            marks: Vec::new(),
            bytes: BlockBytes::Copied(BytesMut::with_capacity(append.bytes.len().min(BLOCK_BYTES))),
            index: Vec::with_capacity(append.index.len()),
        }));
        slot
    }

    /// Makes the record, and adds its operations to the fold.
    ///
    /// # Errors
    /// What was encoded cannot be read again: a defect of ours, nothing may be written.
    pub(super) fn cut(&mut self, batch: u64, fold: &mut Fold) -> Result<Cut, FormatError> {
        let pending = std::mem::take(self);
        #[cfg(feature = "testing")]
        let pending = self.hold_back(pending);
        pending.make(batch, fold)
    }

    fn make(self, batch: u64, fold: &mut Fold) -> Result<Cut, FormatError> {
        let mut cut = Cut {
            batch,
            body: Vec::with_capacity(self.slots.len() * 2),
            body_len: 0,
            body_crc: 0,
            ops: self.slots.len() as u32,
            events: self.events,
            needs_sync: false,
            blocks: Vec::new(),
            changes: Vec::new(),
        };
        let mut heads = BytesMut::new();
        for slot in self.slots {
            match slot {
                Slot::Plain(bytes) => {
                    let (settled, change) = apply(fold, &bytes)?;
                    cut.needs_sync |= needs_sync(fold, settled);
                    cut.changes.extend(change);
                    heads.extend_from_slice(&bytes);
                }
                Slot::Block(open) => cut.block(open, &mut heads, fold)?,
            }
        }
        cut.part(heads.freeze());
        if cut.ops > 0 {
            fold.batch = batch;
        }
        Ok(cut)
    }

    /// Planted: settlements are written now, appends of the same batch one batch later.
    #[cfg(feature = "testing")]
    fn hold_back(&mut self, mut pending: Self) -> Self {
        use crate::store::log::planted::{Defect, is};
        let settles = pending.slots.iter().any(|s| matches!(s, Slot::Plain(_)));
        if is(Defect::SettleBeforeAppend) && settles && pending.events > 0 {
            let slots = std::mem::take(&mut pending.slots);
            let (plain, blocks) = slots.into_iter().partition(|s| matches!(s, Slot::Plain(_)));
            pending.slots = plain;
            *self = Self { slots: blocks, events: pending.events, body_len: pending.body_len, ..Self::default() };
        }
        pending
    }
}

impl Cut {
    fn part(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.body_crc = crc32c::crc32c_append(self.body_crc, &part);
            self.body_len += part.len();
            self.body.push(part);
        }
    }

    fn block(&mut self, open: OpenBlock, heads: &mut BytesMut, fold: &mut Fold) -> Result<(), FormatError> {
        let (bytes, held) = match open.bytes {
            BlockBytes::Copied(bytes) => {
                let held = bytes.capacity();
                (bytes.freeze(), held)
            }
            BlockBytes::Shared(bytes) => {
                let held = bytes.len();
                (bytes, held)
            }
        };
        // Stored time never goes back within a topic.
        let stored = fold.topics.get(&open.topic).map_or(open.stored, |t| t.stored.max(open.stored));
        let head = AppendHead {
            topic: open.topic,
            first: open.first,
            stored,
            count: open.index.len() as u32,
            len: bytes.len() as u32,
            crc: crc32c::crc32c(&bytes),
        };
        let before = heads.len();
        ops::put_append(heads, &head, &open.marks);
        apply(fold, heads.split_at(before).1)?;
        let level = fold.topics.get(&open.topic).map_or(Durability::Synced, |t| t.durability);
        self.needs_sync |= level == Durability::Synced;
        self.part(heads.split().freeze());
        let body_offset = self.body_len;
        self.part(bytes.clone());
        let block = Block { first: open.first, stored, bytes, index: open.index.into() };
        self.blocks.push(NewBlock { topic: open.topic, level, block, held, head, body_offset });
        Ok(())
    }
}

/// Adds one encoded operation to the fold; the topic whose level it is kept at, and what changed of topics and groups.
fn apply(fold: &mut Fold, mut bytes: &[u8]) -> Result<(Option<TopicId>, Option<Change>), FormatError> {
    let op = OpView::decode(&mut bytes)?;
    fold.apply(&op);
    Ok(match op {
        OpView::Settle { topic, .. } | OpView::Reasons { topic, .. } => (Some(topic), None),
        OpView::Times(times) => (Some(times.topic()), Some(Change::Delays)),
        OpView::Topic { topic, .. } | OpView::Limits { topic, .. } => (None, Some(Change::Settings(topic))),
        OpView::TopicGone { topic } => (None, Some(Change::Gone(topic))),
        OpView::Group { topic, group, .. } => (None, Some(Change::Group(topic, group))),
        OpView::GroupGone { topic, group } => (None, Some(Change::GroupGone(topic, group))),
        OpView::Append { .. } | OpView::Graves { .. } | OpView::Seek { .. } => (None, None),
    })
}

/// Topics and groups are synced before their answer, settlements if their topic is.
fn needs_sync(fold: &Fold, settled: Option<TopicId>) -> bool {
    settled.and_then(|t| fold.topics.get(&t)).is_none_or(|t| t.durability == Durability::Synced)
}

fn mark(producer: &ProducerMark, skip: u64, count: u32) -> Mark {
    Mark {
        producer: producer.producer,
        epoch: producer.epoch,
        count,
        first_sequence: producer.first_sequence + skip,
        answered_through: producer.answered_through,
    }
}

fn continues(last: &Mark, new: &Mark) -> bool {
    last.producer == new.producer
        && last.epoch == new.epoch
        && last.first_sequence + u64::from(last.count) == new.first_sequence
}
