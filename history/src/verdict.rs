//! The list of checks, and what they come to.

use std::fmt;

use crate::index::Index;
use crate::model::History;
use crate::{leases, log, order, settles};

/// A promise that a history can show broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// An acknowledged event is not in the log.
    Lost,
    /// An event was seen that nobody had published, or that was refused.
    Phantom,
    /// An event was seen with other bytes or another key than it was published with.
    Changed,
    /// An event is in the log twice.
    Doubled,
    /// A position was said to be another event's than the log says at the end.
    Misplaced,
    /// An event came before an earlier one of its key, or to a reader out of order.
    Reordered,
    /// An event came again, or is a dead letter, although its ack must stand.
    AckLost,
    /// An event was with two members at once.
    LeasedTwice,
    /// An event is neither acked nor a dead letter at the end.
    LeftOpen,
    /// An event is more than one dead letter of a group, or one of a group that gives nothing up.
    DeadTwice,
}

impl Check {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Lost,
        Self::Phantom,
        Self::Changed,
        Self::Doubled,
        Self::Misplaced,
        Self::Reordered,
        Self::AckLost,
        Self::LeasedTwice,
        Self::LeftOpen,
        Self::DeadTwice,
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Phantom => "phantom",
            Self::Changed => "changed",
            Self::Doubled => "doubled",
            Self::Misplaced => "misplaced",
            Self::Reordered => "reordered",
            Self::AckLost => "ack lost",
            Self::LeasedTwice => "leased twice",
            Self::LeftOpen => "left open",
            Self::DeadTwice => "dead twice",
        }
    }

    fn run(self, index: &Index<'_>, forgiven: &mut Forgiven) -> Vec<String> {
        match self {
            Self::Lost => log::lost(index),
            Self::Phantom => log::phantom(index),
            Self::Changed => log::changed(index),
            Self::Doubled => log::doubled(index),
            Self::Misplaced => log::misplaced(index),
            Self::Reordered => order::reordered(index),
            Self::AckLost => settles::ack_lost(index, forgiven),
            Self::LeasedTwice => leases::leased_twice(index),
            Self::LeftOpen => settles::left_open(index),
            Self::DeadTwice => settles::dead_twice(index),
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which promise.
    pub check: Check,
    /// Names the topic, the event and, where there are some, group, members and times.
    pub sentence: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check.name(), self.sentence)
    }
}

/// Acks that were forgotten as the rules allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgiven {
    /// The ack was given in the last moments of the life it was for.
    pub just_before_a_death: usize,
    /// That life was over: the client could not know, or was not connected.
    pub for_a_dead_life: usize,
}

/// What a history came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Every broken promise.
    pub broken: Vec<Broken>,
    /// What would be one without [`Forgive`](crate::Forgive).
    pub forgiven: Forgiven,
}

/// Makes every check.
#[must_use]
pub fn judge(history: &History) -> Verdict {
    let index = Index::new(history);
    let mut verdict = Verdict::default();
    for check in Check::ALL {
        let sentences = check.run(&index, &mut verdict.forgiven);
        let sentences = sentences.into_iter().map(|sentence| format!("{}: {sentence}", history.topic));
        verdict.broken.extend(sentences.map(|sentence| Broken { check, sentence }));
    }
    verdict
}
