//! Planted defects: each must be caught by the simulation. Never in a release.

use std::cell::Cell;
use std::sync::OnceLock;

/// A defect of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// What is only written counts as synced.
    AckBeforeSync,
    /// A sync is answered without being done.
    SyncNothing,
    /// Of a batch with both, settlements are written one batch before the appends.
    SettleBeforeAppend,
    /// A restart finds neither producers nor recent events.
    DedupForgotten,
    /// Retention takes what a group needs, also where it is to be kept.
    HoldIgnored,
}

impl Defect {
    const ALL: [Self; 5] =
        [Self::AckBeforeSync, Self::SyncNothing, Self::SettleBeforeAppend, Self::DedupForgotten, Self::HoldIgnored];

    /// The defect of that name, as it is written here.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|defect| format!("{defect:?}") == name)
    }
}

static EVERYWHERE: OnceLock<Defect> = OnceLock::new();

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Plants a defect in every log that this thread drives, or takes it out.
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

/// Plants a defect in every log of this process, for good: a gateway has many threads.
pub fn plant_everywhere(defect: Defect) {
    // A second one changes nothing.
    let _ = EVERYWHERE.set(defect);
}

pub(super) fn is(defect: Defect) -> bool {
    PLANTED.get() == Some(defect) || EVERYWHERE.get() == Some(&defect)
}
