//! Frames out: control frames first, then deliveries with their blocks shared.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use meshwire_proto::frame::{DeliverRun, PREFACE, ServerFrame, begin_frame, end_frame};

use super::seen::Seen;

/// A block slice below this size is copied behind its header; above, it is
/// written from where it is. A guess: about what one more entry of a gathered
/// write costs.
const COPY_BELOW: usize = 4096;

/// Bytes of a frame, or of several.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    /// A slice of a block: as long as it waits it keeps all of the block in memory.
    shared: bool,
}

/// Bytes to write, in order.
#[derive(Debug, Default)]
pub struct WriteQueue {
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) bytes: usize,
    tail: BytesMut,
}

impl WriteQueue {
    /// The gateway's preface, before any frame.
    pub fn preface(&mut self) {
        self.tail.extend_from_slice(&PREFACE);
    }

    pub(super) fn frame(&mut self, frame: &ServerFrame, seen: Seen) {
        let start = begin_frame(&mut self.tail);
        frame.encode(&mut self.tail);
        end_frame(&mut self.tail, start, 0);
        seen.written(self.tail.get(start..), 0);
    }

    pub(super) fn delivery(&mut self, run: &DeliverRun, seen: Seen) {
        let events = run.events.as_bytes();
        let start = begin_frame(&mut self.tail);
        run.encode_frame_head(&mut self.tail);
        end_frame(&mut self.tail, start, events.len());
        seen.written(self.tail.get(start..), events.len());
        if events.len() < COPY_BELOW {
            self.tail.extend_from_slice(events);
        } else {
            self.seal();
            self.push(events.clone(), true);
        }
    }

    fn push(&mut self, bytes: Bytes, shared: bool) {
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { bytes, shared });
    }

    /// Copies what waits for a slow peer out of its blocks: a block may be many times as large.
    pub(super) fn own(&mut self) {
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.shared) {
            chunk.bytes = Bytes::copy_from_slice(&chunk.bytes);
            chunk.shared = false;
        }
    }

    /// Moves what was copied to the chunks.
    pub fn seal(&mut self) {
        if !self.tail.is_empty() {
            let chunk = self.tail.split().freeze();
            self.push(chunk, false);
        }
    }

    /// Whether everything was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.tail.is_empty()
    }

    /// Takes the next chunk, as for a carrier that takes whole ones.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.seal();
        let chunk = self.chunks.pop_front()?.bytes;
        self.bytes -= chunk.len();
        Some(chunk)
    }

    /// Drops `written` bytes from the front.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(front) = self.chunks.front_mut() {
            if written < front.bytes.len() {
                let _ = front.bytes.split_to(written);
                return;
            }
            written -= front.bytes.len();
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            // An idle connection keeps no buffer.
            self.tail = BytesMut::new();
        }
    }
}
