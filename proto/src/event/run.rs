//! Runs: many encoded events in one buffer, framed as the wire frames them.

use bytes::{Buf, Bytes, BytesMut};

use super::scan::{Field, Scanner};
use super::{Defaults, EventError, EventParts};
use crate::frame::put_head;

/// Consecutive encoded events as protobuf's `repeated bytes events = 15`: what a
/// publisher sends, the log stores and a consumer receives, the same bytes.
#[derive(Clone, Debug, Default, Eq)]
pub struct EventRun {
    bytes: Bytes,
    count: u32,
    /// See [`EventRun::is_encoded`].
    encoded: bool,
}

/// Where its events were encoded does not matter.
impl PartialEq for EventRun {
    fn eq(&self, other: &Self) -> bool {
        (&self.bytes, self.count) == (&other.bytes, other.count)
    }
}

impl EventRun {
    /// The field number that frames each event.
    pub const FIELD: u32 = 15;

    /// Takes bytes from the wire; `count` is what their header said.
    ///
    /// # Errors
    /// What is wrong with them: another field in between, cut short, another count.
    pub fn from_wire(mut bytes: Bytes, count: u32) -> Result<Self, &'static str> {
        let run = Self::split_from_wire(&mut bytes, count)?;
        if bytes.is_empty() { Ok(run) } else { Err("more than the run's count of events stands there") }
    }

    /// Takes a run from the front of a message's fields, and leaves those behind it.
    ///
    /// # Errors
    /// As [`EventRun::from_wire`], but for what stands behind.
    pub fn split_from_wire(fields: &mut Bytes, count: u32) -> Result<Self, &'static str> {
        let mut scan = Scanner::new(fields);
        for _ in 0..count {
            match scan.next() {
                Ok(Some((15, Field::Bytes(_)))) => {}
                Ok(_) => return Err("the run's count is not that of its events"),
                Err(_) => return Err("the events are cut short"),
            }
        }
        let len = fields.len() - scan.rest().len();
        Ok(Self { bytes: fields.split_to(len), count, encoded: false })
    }

    /// Takes bytes that are known to hold `count` framed events, as a slice at
    /// event borders does.
    #[must_use]
    pub const fn from_parts(bytes: Bytes, count: u32) -> Self {
        Self { bytes, count, encoded: false }
    }

    /// How many events.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this process encoded all of its events, so that nothing but their size can be wrong with them.
    #[must_use]
    pub const fn is_encoded(&self) -> bool {
        self.encoded
    }

    /// The framed events.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Each event with its frame's bytes: `(framed, event)`.
    pub fn framed(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Self::framed_in(&self.bytes)
    }

    /// [`EventRun::framed`] of bytes that are no run's own.
    pub fn framed_in(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut scan = Scanner::new(bytes);
        let mut start = 0;
        std::iter::from_fn(move || match scan.next() {
            Ok(Some((_, Field::Bytes(event)))) => {
                let end = event.as_ptr() as usize - bytes.as_ptr() as usize + event.len();
                let framed = bytes.get(start..end)?;
                start = end;
                Some((framed, event))
            }
            _ => None,
        })
    }

    /// Takes the first event off the run, a slice of its buffer.
    pub fn pop_front(&mut self) -> Option<Bytes> {
        let (framed, len) = self.framed().next().map(|(framed, event)| (framed.len(), event.len()))?;
        let mut event = self.bytes.split_to(framed);
        event.advance(framed - len);
        self.count = self.count.saturating_sub(1);
        Some(event)
    }

    /// Takes events off its front: at most so many with at most so many bytes, but always one.
    #[must_use]
    pub fn split_front(&mut self, most: u64, bytes: u64) -> Self {
        if u64::from(self.count) <= most && self.bytes.len() as u64 <= bytes {
            return std::mem::take(self);
        }
        let (mut count, mut len) = (0, 0);
        for (framed, _) in self.framed() {
            let longer = len + framed.len();
            if count > 0 && (u64::from(count) >= most || longer as u64 > bytes) {
                break;
            }
            (count, len) = (count + 1, longer);
        }
        self.count = self.count.saturating_sub(count);
        Self { bytes: self.bytes.split_to(len), count, encoded: self.encoded }
    }

    /// The same in memory of its own: a run keeps all that it was received with.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..*self }
    }

    /// Each event, a slice of the run's buffer.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> {
        self.framed().map(|(_, event)| self.bytes.slice_ref(event))
    }
}

/// Most bytes of the frame before an event.
const HEAD: usize = 6;

/// Builds a run event by event.
#[derive(Debug, Default)]
pub struct EventRunBuilder {
    bytes: BytesMut,
    count: u32,
    /// Some of its events were not encoded here.
    foreign: bool,
    /// The event that is being encoded.
    event: BytesMut,
}

impl EventRunBuilder {
    /// Makes room for `bytes` more, by a new buffer of at least `block` bytes when
    /// there is none: many runs then share one buffer.
    pub fn reserve(&mut self, bytes: usize, block: usize) {
        if self.bytes.capacity() - self.bytes.len() < bytes {
            self.bytes.reserve(bytes.max(block));
        }
    }

    /// Appends one encoded event.
    pub fn push(&mut self, event: &[u8]) {
        self.foreign = true;
        put_event(&mut self.bytes, event);
        self.count += 1;
    }

    /// Encodes an event and appends it.
    ///
    /// # Errors
    /// As [`EventParts::encode_with`]: nothing is appended.
    pub fn encode(&mut self, event: &EventParts<'_>) -> Result<(), EventError> {
        self.event.clear();
        event.encode_with(Defaults::default(), &mut self.event)?;
        put_event(&mut self.bytes, &self.event);
        self.count += 1;
        Ok(())
    }

    /// Appends an event that already carries its frame.
    pub fn push_framed(&mut self, framed: &[u8]) {
        self.foreign = true;
        self.bytes.extend_from_slice(framed);
        self.count += 1;
    }

    /// How many events.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes what was built; the builder goes on in the rest of its buffer.
    pub fn take(&mut self) -> EventRun {
        let (count, foreign) = (std::mem::take(&mut self.count), std::mem::take(&mut self.foreign));
        EventRun { bytes: self.bytes.split().freeze(), count, encoded: !foreign }
    }
}

fn put_event(out: &mut BytesMut, event: &[u8]) {
    // Head and event at once, or a buffer that is new grows twice.
    out.reserve(event.len() + HEAD);
    put_head(out, EventRun::FIELD, event.len());
    out.extend_from_slice(event);
}

impl FromIterator<Bytes> for EventRun {
    fn from_iter<I: IntoIterator<Item = Bytes>>(events: I) -> Self {
        let mut builder = EventRunBuilder::default();
        for event in events {
            builder.push(&event);
        }
        builder.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_run_have_at_most_so_many_events_and_bytes_but_always_one_and_are_all_of_it() {
        let whole: EventRun = [3, 3, 3, 100, 3].map(|len| Bytes::from(vec![7; len])).into_iter().collect();
        let pieces = |most, bytes| {
            let mut left = whole.clone();
            let mut pieces = Vec::new();
            while !left.is_empty() {
                pieces.push(left.split_front(most, bytes));
            }
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.as_bytes().to_vec()).collect();
            assert_eq!(joined, whole.as_bytes().to_vec());
            pieces.iter().map(EventRun::count).collect::<Vec<_>>()
        };
        assert_eq!(pieces(u64::MAX, u64::MAX), [5]);
        assert_eq!(pieces(2, u64::MAX), [2, 2, 1]);
        assert_eq!(pieces(u64::MAX, 20), [3, 1, 1]);
        assert_eq!(pieces(0, 0), [1; 5]);
    }
}
