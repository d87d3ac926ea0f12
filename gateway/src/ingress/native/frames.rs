//! Frames out: control frames first, then deliveries with their blocks shared.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use meshwire_proto::frame::{DeliverRun, PREFACE, ServerFrame, begin_frame, end_frame};

/// A block slice below this size is copied behind its header; above, it is
/// written from where it is. A guess: about what one more entry of a gathered
/// write costs.
const COPY_BELOW: usize = 4096;

/// Bytes to write, in order.
#[derive(Debug, Default)]
pub struct WriteQueue {
    pub(super) chunks: VecDeque<Bytes>,
    pub(super) bytes: usize,
    tail: BytesMut,
}

impl WriteQueue {
    /// The gateway's preface, before any frame.
    pub fn preface(&mut self) {
        self.tail.extend_from_slice(&PREFACE);
    }

    pub(super) fn frame(&mut self, frame: &ServerFrame) {
        let start = begin_frame(&mut self.tail);
        frame.encode(&mut self.tail);
        end_frame(&mut self.tail, start, 0);
    }

    pub(super) fn delivery(&mut self, run: &DeliverRun) {
        let events = run.events.as_bytes();
        let start = begin_frame(&mut self.tail);
        run.encode_frame_head(&mut self.tail);
        end_frame(&mut self.tail, start, events.len());
        if events.len() < COPY_BELOW {
            self.tail.extend_from_slice(events);
        } else {
            self.seal();
            self.push(events.clone());
        }
    }

    fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Moves what was copied to the chunks.
    pub fn seal(&mut self) {
        if !self.tail.is_empty() {
            let chunk = self.tail.split().freeze();
            self.push(chunk);
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
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.len();
        Some(chunk)
    }

    /// Drops `written` bytes from the front.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(front) = self.chunks.front_mut() {
            if written < front.len() {
                let _ = front.split_to(written);
                return;
            }
            written -= front.len();
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            // An idle connection keeps no buffer.
            self.tail = BytesMut::new();
        }
    }
}
