//! Planted defects: the simulation or a conformance case must catch each. Absent without the feature
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
    /// Receipts for what was never sent pass.
    ReceiptsPass,
    /// Confirmations of settles that were never sent pass.
    ConfirmationsPass,
    /// An error of a confirmed settle counts as success.
    LeaseLostSwallowed,
    /// Silence is taken for life.
    SilenceEndured,
    /// Frames that must be understood are skipped.
    UnknownSkipped,
}

impl Defect {
    const ALL: [Self; 8] = [
        Self::ResumeWithoutReplay,
        Self::DeliveryGapsPass,
        Self::SettlesForgotten,
        Self::ReceiptsPass,
        Self::ConfirmationsPass,
        Self::LeaseLostSwallowed,
        Self::SilenceEndured,
        Self::UnknownSkipped,
    ];

    /// The defect of that name, as it is written here.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|defect| format!("{defect:?}") == name)
    }
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
