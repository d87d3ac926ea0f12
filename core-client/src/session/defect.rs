//! Planted defects: the simulation must catch each. Absent without the feature
//! `testing`.

use std::cell::Cell;

/// A mistake that the session makes while it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// After a reconnect, unanswered publishes count as kept and are not replayed.
    ResumeWithoutReplay,
    /// Gaps and overlaps of delivery numbers pass.
    DeliveryGapsPass,
    /// Unconfirmed settles are forgotten at a resume.
    SettlesForgotten,
}

thread_local! {
    static ACTIVE: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Plants a defect in every session of this thread; `None` removes it.
pub fn set(defect: Option<Defect>) {
    ACTIVE.set(defect);
}

pub(super) fn is_set(defect: Defect) -> bool {
    ACTIVE.get() == Some(defect)
}
