//! Planted defects: each must be caught by the simulation. Never in a release.

use std::cell::Cell;

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
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Plants a defect in every log that this thread drives, or takes it out.
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

pub(super) fn is(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}
