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
    /// Every protocol version of a gateway is taken.
    AnyVersion,
    /// A login that is refused for good is tried again.
    RefusalRetried,
    /// A publish that is refused counts as kept.
    CodesSwallowed,
    /// The end of a subscription is not told.
    EndUnnoticed,
    /// A second welcome passes.
    WelcomeTwice,
    /// Deliveries for nobody pass.
    StrangersPass,
    /// What was kept meanwhile is not noticed.
    KeptForgotten,
    /// A login may take as long as it likes.
    LoginForEver,
    /// Frames that may be skipped end the connection.
    OptionalRefused,
    /// A topic that was made anew is taken for the one before it.
    TopicUnnoticed,
    /// A request that is sent again over the same connection keeps its number.
    NumberReused,
    /// A receipt is too much for it: it panics.
    Panics,
}

impl Defect {
    const ALL: [Self; 20] = [
        Self::ResumeWithoutReplay,
        Self::DeliveryGapsPass,
        Self::SettlesForgotten,
        Self::ReceiptsPass,
        Self::ConfirmationsPass,
        Self::LeaseLostSwallowed,
        Self::SilenceEndured,
        Self::UnknownSkipped,
        Self::AnyVersion,
        Self::RefusalRetried,
        Self::CodesSwallowed,
        Self::EndUnnoticed,
        Self::WelcomeTwice,
        Self::StrangersPass,
        Self::KeptForgotten,
        Self::LoginForEver,
        Self::OptionalRefused,
        Self::TopicUnnoticed,
        Self::NumberReused,
        Self::Panics,
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
