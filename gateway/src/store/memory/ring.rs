//! The ring of one topic.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use meshwire_proto::UnixMillis;

use crate::store::{Append, Block, Entry, Limits, Lookup, Position};

/// Appends below this size are copied together; larger ones stay the buffer they came in.
const COPY_BELOW: usize = 16 * 1024;

/// What a block costs beside its bytes and index.
const BLOCK_OVERHEAD: usize = 128;

/// A ring is at least so many blocks, but for events that are larger: with one block that goes, little goes.
const PARTS: usize = 8;

/// Events past their age go once a second.
const STEP_MS: i64 = 1000;

fn cost(block: &Block) -> usize {
    block.bytes.len() + std::mem::size_of_val(&*block.index) + BLOCK_OVERHEAD
}

#[derive(Debug)]
pub(super) struct Ring {
    /// Consecutive.
    blocks: VecDeque<Block>,
    /// Position behind the last event.
    next: Position,
    bytes: usize,
    /// The newest events while nobody has asked for them, if they are small: they become one block.
    tail: Option<Tail>,
    /// Their bytes; blocks are split off it.
    open: BytesMut,
    /// How long events stay.
    keep_ms: i64,
    limits: Limits,
    /// When there are [`Limits::block`]: everything from here on stays.
    needed: Position,
}

/// What is known of them beside their bytes.
#[derive(Debug)]
struct Tail {
    first: Position,
    stored: UnixMillis,
    index: Vec<Entry>,
}

impl Ring {
    pub(super) fn new(next: Position) -> Self {
        Self {
            blocks: VecDeque::new(),
            next,
            bytes: 0,
            tail: None,
            open: BytesMut::new(),
            keep_ms: i64::MAX,
            limits: Limits::default(),
            needed: 0,
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether its oldest events go when others need the room.
    pub(super) const fn gives_way(&self) -> bool {
        !self.limits.block
    }

    pub(super) fn keep(&mut self, retention_ms: u64) {
        self.keep_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
    }

    pub(super) fn limit(&mut self, limits: Limits, ring_bytes: usize) {
        self.limits = limits;
        self.drop_surplus(ring_bytes);
    }

    fn most(&self, ring_bytes: usize) -> usize {
        match usize::try_from(self.limits.bytes).unwrap_or(usize::MAX) {
            0 => ring_bytes,
            bytes => bytes.min(ring_bytes),
        }
    }

    pub(super) fn push(&mut self, append: Append, ring_bytes: usize) {
        let Append { first, stored, bytes, index, .. } = append;
        let part = self.most(ring_bytes) / PARTS;
        if bytes.len() > part && index.len() > 1 {
            self.push_parts((first, stored), &bytes, &index, ring_bytes);
        } else if bytes.len() < COPY_BELOW {
            self.push_small((first, stored), &bytes, index, part.min(COPY_BELOW));
            self.drop_surplus(ring_bytes);
        } else {
            self.push_block(Block { first, stored, bytes, index: index.into() }, ring_bytes);
        }
        self.expire(stored);
    }

    /// Small appends of one time stand in one block, of at most so many bytes, for as long as nobody has asked for them; but not where a
    /// publisher waits for each event to go.
    fn push_small(&mut self, (first, stored): (Position, UnixMillis), bytes: &[u8], index: Vec<Entry>, most: usize) {
        if self.open.len() + bytes.len() > most || self.tail.as_ref().is_some_and(|tail| tail.stored != stored) {
            self.seal();
        }
        self.next = first + index.len() as u64;
        self.bytes += bytes.len() + std::mem::size_of_val(&*index);
        let start = self.open.len() as u32;
        match &mut self.tail {
            Some(tail) => tail.index.extend(index.iter().map(|entry| Entry { end: start + entry.end, ..*entry })),
            None => {
                self.bytes += BLOCK_OVERHEAD;
                self.tail = Some(Tail { first, stored, index });
            }
        }
        self.write(bytes);
        if self.limits.block {
            self.seal();
        }
    }

    /// Ends the block that is being written.
    pub(super) fn seal(&mut self) {
        let Some(Tail { first, stored, index }) = self.tail.take() else { return };
        let bytes = self.open.split().freeze();
        self.blocks.push_back(Block { first, stored, bytes, index: index.into() });
    }

    /// Of what is large beside the ring each part goes by itself, and has memory of its own.
    fn push_parts(
        &mut self,
        (first, stored): (Position, UnixMillis),
        bytes: &Bytes,
        index: &[Entry],
        ring_bytes: usize,
    ) {
        let most = self.most(ring_bytes) / PARTS;
        let (mut first, mut start, mut left) = (first, 0_u32, index);
        while !left.is_empty() {
            let fits = left.partition_point(|entry| entry.end.saturating_sub(start) as usize <= most).max(1);
            let Some((part, rest)) = left.split_at_checked(fits) else { return };
            let end = part.last().map_or(start, |last| last.end);
            let Some(events) = bytes.get(start as usize..end as usize) else { return };
            let events = if events.len() < COPY_BELOW { self.copy(events) } else { Bytes::copy_from_slice(events) };
            let index = part.iter().map(|entry| Entry { end: entry.end.saturating_sub(start), ..*entry });
            let index = index.collect::<Vec<_>>().into();
            self.push_block(Block { first, stored, bytes: events, index }, ring_bytes);
            (first, start, left) = (first + part.len() as u64, end, rest);
        }
    }

    fn push_block(&mut self, block: Block, ring_bytes: usize) {
        self.seal();
        self.next = block.next();
        self.bytes += cost(&block);
        self.blocks.push_back(block);
        self.drop_surplus(ring_bytes);
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.seal();
        self.write(bytes);
        self.open.split().freeze()
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.open.capacity() - self.open.len() < bytes.len() {
            let written = std::mem::replace(&mut self.open, BytesMut::with_capacity(4 * COPY_BELOW));
            self.open.extend_from_slice(&written);
        }
        self.open.extend_from_slice(bytes);
    }

    /// The oldest block, if need be the one that is being written.
    fn oldest(&mut self) -> Option<&Block> {
        if self.blocks.is_empty() {
            self.seal();
        }
        self.blocks.front()
    }

    fn may_drop(&mut self) -> bool {
        let needed = self.needed;
        !self.limits.block || self.oldest().is_some_and(|oldest| oldest.next() <= needed)
    }

    fn pop(&mut self) {
        self.oldest();
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= cost(&block);
        }
    }

    fn drop_surplus(&mut self, ring_bytes: usize) {
        let most = self.most(ring_bytes);
        while self.bytes > most && self.may_drop() && self.drop_oldest() {}
    }

    /// Lets the oldest block go, whoever needs it. The newest one stays: one event larger than the ring still passes.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let any = self.blocks.len() + usize::from(self.tail.is_some()) > 1;
        if any {
            self.pop();
        }
        any
    }

    pub(super) fn clear(&mut self) {
        self.seal();
        self.blocks.clear();
        self.bytes = 0;
    }

    /// When its oldest events were stored.
    fn since_when(&self) -> Option<UnixMillis> {
        self.blocks.front().map(|block| block.stored).or(self.tail.as_ref().map(|tail| tail.stored))
    }

    fn is_past(&self, now: UnixMillis) -> bool {
        self.since_when().is_some_and(|stored| stored.0.saturating_add(self.keep_ms) <= now.0)
    }

    /// Lets go of what is past its age, the newest block too.
    pub(super) fn expire(&mut self, now: UnixMillis) {
        while self.is_past(now) && self.may_drop() {
            self.pop();
        }
    }

    /// When [`Ring::expire`] has something to do; not of a topic that blocks, of which nothing goes but for a publish.
    pub(super) fn due(&self) -> Option<UnixMillis> {
        let oldest = self.since_when().filter(|_| self.gives_way() && self.keep_ms < i64::MAX)?;
        let due = oldest.0.saturating_add(self.keep_ms);
        Some(UnixMillis((due.saturating_add(STEP_MS - 1) / STEP_MS).saturating_mul(STEP_MS)))
    }

    /// Lets go of what may and has to go before more is taken; `false` if something has to that is needed.
    pub(super) fn make_room(&mut self, needed: &dyn Fn() -> Position, now: UnixMillis, ring_bytes: usize) -> bool {
        let most = self.most(ring_bytes);
        if self.bytes < most && !self.is_past(now) {
            // Nothing goes until it is asked again.
            self.needed = 0;
            return true;
        }
        self.needed = needed();
        self.expire(now);
        while self.bytes >= most && self.may_drop() {
            self.pop();
        }
        self.bytes < most && !self.is_past(now)
    }

    pub(super) fn read(&mut self, from: Position) -> Lookup {
        if from >= self.next {
            return Lookup::Ahead;
        }
        if self.tail.as_ref().is_some_and(|tail| tail.first <= from) {
            self.seal();
        }
        // Most want the newest.
        let at = match self.blocks.back() {
            Some(newest) if newest.first <= from => self.blocks.len() - 1,
            _ => self.blocks.partition_point(|block| block.next() <= from),
        };
        match self.blocks.get(at) {
            Some(block) if block.first <= from => Lookup::Ready(block.clone()),
            Some(block) => Lookup::Gone(block.first),
            None => Lookup::Gone(self.tail.as_ref().map_or(self.next, |tail| tail.first)),
        }
    }

    /// The first position that is left, or that comes next.
    pub(super) fn first(&self) -> Position {
        let tail = self.tail.as_ref().map_or(self.next, |tail| tail.first);
        self.blocks.front().map_or(tail, |block| block.first)
    }

    /// The first event stored at a time or later.
    pub(super) fn since(&mut self, at: UnixMillis) -> Option<Position> {
        self.seal();
        self.blocks.get(self.blocks.partition_point(|b| b.stored < at)).map(|block| block.first)
    }
}
