//! What is known of a segment that is full.

use meshwire_proto::UnixMillis;

use super::disk::{FileName, Part};
use crate::store::{Position, TopicId};

/// The events of one topic in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) topic: TopicId,
    pub(super) first: Position,
    pub(super) next: Position,
    /// When the last of them was stored.
    pub(super) stored: UnixMillis,
    pub(super) bytes: u64,
}

/// A segment that takes no more records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) first_batch: u64,
    /// Formula: its batches are `first_batch..next_batch`.
    pub(super) next_batch: u64,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Bytes up to behind the last record.
    pub(super) used: u64,
    pub(super) events: u64,
    /// By topic.
    pub(super) spans: Vec<Span>,
}

impl Sealed {
    pub(super) const fn file(&self) -> FileName {
        FileName::of(Part::Segment(self.number))
    }

    /// What it holds of one topic: spans are sorted by topic.
    pub(super) fn span(&self, topic: TopicId) -> Option<&Span> {
        let at = self.spans.binary_search_by_key(&topic, |span| span.topic).ok()?;
        self.spans.get(at)
    }

    /// When its last event was stored.
    pub(super) fn stored(&self) -> UnixMillis {
        self.spans.iter().map(|s| s.stored).max().unwrap_or_default()
    }
}
