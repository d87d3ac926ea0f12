//! What becomes of events in a group: settled, failed, given up.

use std::collections::BTreeMap;

use meshwire_proto::{GroupKey, UnixMillis};

use super::Position;

/// What has become of leased events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: never delivered to the group again.
    Acked,
    /// One more failure: nacked, or the lease of a session ended.
    Failed {
        /// When, in stored time.
        at: UnixMillis,
        /// How long it waits from then on.
        delay_ms: u32,
    },
    /// One more failure: its member was lost with it; of one without a session the lease ended.
    Lost {
        /// When, in stored time.
        at: UnixMillis,
    },
    /// It is to be a dead letter.
    Rejected {
        /// When, in stored time.
        at: UnixMillis,
    },
}

/// What is known of an event that has failed and is not settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// How often.
    pub count: u32,
    /// How often of them its member was lost with it.
    pub lost: u32,
    /// When it failed first.
    pub first: UnixMillis,
    /// When it failed last.
    pub last: UnixMillis,
    /// How long it waits after the last time.
    pub delay_ms: u32,
    /// It was rejected.
    pub rejected: bool,
    /// What its consumer said last. In a log it is only of those that are given up and whose dead letter has to wait.
    pub said: String,
}

impl Failure {
    /// Whether it is given up: rejected, or failed as often as it may. `most` 0: as often as it likes.
    #[must_use]
    pub const fn is_final(&self, most: u32) -> bool {
        self.rejected || most > 0 && self.count >= most
    }

    /// Counts one more. An ack is none.
    pub fn add(&mut self, outcome: Outcome) {
        let (at, delay_ms) = match outcome {
            Outcome::Acked => return,
            Outcome::Failed { at, delay_ms } => (at, delay_ms),
            Outcome::Lost { at } | Outcome::Rejected { at } => (at, 0),
        };
        if self.count == 0 {
            self.first = at;
        }
        self.count = self.count.saturating_add(1);
        self.lost += u32::from(matches!(outcome, Outcome::Lost { .. }));
        self.rejected |= matches!(outcome, Outcome::Rejected { .. });
        self.last = self.last.max(at);
        self.delay_ms = delay_ms;
    }
}

/// A dead letter that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grave {
    /// Whose it is: a group's, or a durable member's.
    pub group: GroupKey,
    /// Hash of its key, 0 if it has none.
    pub key: u64,
    /// The key waits for it.
    pub holds: bool,
    /// It was given back to the group.
    pub redriven: bool,
}

impl Grave {
    /// The hash of its key, if that waits for it.
    #[must_use]
    pub fn held_key(&self) -> Option<u64> {
        (self.holds && self.key != 0).then_some(self.key)
    }
}

/// What happened to a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has become one.
    Buried(Grave),
    /// It was given back to its group.
    Redriven,
    /// It is settled, or was removed.
    Gone,
}

impl Change {
    /// Makes the change.
    pub fn apply(self, position: Position, graves: &mut BTreeMap<Position, Grave>) {
        match self {
            Self::Buried(grave) => drop(graves.insert(position, grave)),
            Self::Gone => drop(graves.remove(&position)),
            Self::Redriven => {
                if let Some(grave) = graves.get_mut(&position) {
                    grave.redriven = true;
                }
            }
        }
    }
}
