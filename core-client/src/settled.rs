//! What a program says of deliveries.

use std::sync::Arc;

use meshwire_proto::frame::SettleKind;

use crate::prefetched::Range;

/// What is said of deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) kind: SettleKind,
    /// For a nack: `None` for when the group's settings say.
    pub(crate) delay_ms: Option<u32>,
    pub(crate) reason: Option<Arc<str>>,
}

impl From<SettleKind> for How {
    fn from(kind: SettleKind) -> Self {
        Self { kind, delay_ms: None, reason: None }
    }
}

/// Consecutive deliveries settled alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) generation: u32,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) how: How,
}

impl Settled {
    /// Which they are.
    pub(crate) const fn range(&self) -> Range {
        (self.generation, self.first, self.count)
    }
}

/// Whether it is for ever: the program takes the event for done with.
pub(crate) const fn is_final(how: &How) -> bool {
    matches!(how.kind, SettleKind::Ack | SettleKind::Reject)
}
