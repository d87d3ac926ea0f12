//! Planted defects: each must be caught by the simulation or by a conformance case. Never in a release.

use std::cell::Cell;
use std::sync::OnceLock;

/// A mistake that the engine makes while it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Some events without a key are leased to a second member at once.
    LeaseGivenTwice,
    /// Some delivery numbers are left out.
    DeliveryGap,
    /// Events go to whoever is free, whatever their key.
    KeyIgnored,
    /// A failed event leaves its member, the later ones of its key stay there.
    TakeBackForgotten,
    /// A restart forgets how often events have failed.
    FailuresForgotten,
    /// Some events that are given up are settled without a dead letter.
    LetterForgotten,
    /// Nacked events come again at once.
    DelayIgnored,
    /// An event that is here already is taken again.
    DuplicateTaken,
    /// Every subscription begins behind the newest event.
    StartIgnored,
    /// Events that were acked come again.
    AckForgotten,
    /// An extended lease ends as if it were not.
    ExtendIgnored,
    /// A lease that has ended counts as held.
    LateSettleTaken,
    /// A group takes subscribers that ask for other settings.
    ConflictPasses,
    /// A delivery says that it is the first.
    AttemptUncounted,
    /// A member that leaves keeps its events.
    LeavingKeeps,
    /// A dead letter that is given back stays where it is.
    RedriveForgotten,
    /// A purge removes nothing.
    PurgeForgotten,
    /// Why an event was rejected is not kept.
    ReasonForgotten,
    /// A request whose responder is lost goes to another one, allowed or not.
    RequestGivenTwice,
    /// Some replies go to another request of the same requester.
    ReplyMisdirected,
    /// A change of a group's settings changes nothing.
    UpdateIgnored,
    /// What waits for its time comes after half of it.
    DelayHalved,
    /// A restart forgets some of what waits for its time.
    DelayForgotten,
    /// What has come at its time still counts as waiting.
    ReleaseForgotten,
    /// Events are delivered however long ago they expired.
    ExpiryIgnored,
}

impl Defect {
    const ALL: [Self; 25] = [
        Self::LeaseGivenTwice,
        Self::DeliveryGap,
        Self::KeyIgnored,
        Self::TakeBackForgotten,
        Self::FailuresForgotten,
        Self::LetterForgotten,
        Self::DelayIgnored,
        Self::DuplicateTaken,
        Self::StartIgnored,
        Self::AckForgotten,
        Self::ExtendIgnored,
        Self::LateSettleTaken,
        Self::ConflictPasses,
        Self::AttemptUncounted,
        Self::LeavingKeeps,
        Self::RedriveForgotten,
        Self::PurgeForgotten,
        Self::ReasonForgotten,
        Self::RequestGivenTwice,
        Self::ReplyMisdirected,
        Self::UpdateIgnored,
        Self::DelayHalved,
        Self::DelayForgotten,
        Self::ReleaseForgotten,
        Self::ExpiryIgnored,
    ];

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

/// Plants a defect in every engine of this thread; `None` takes it out.
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

/// Plants a defect in every engine of this process, for good: a gateway has many threads.
pub fn plant_everywhere(defect: Defect) {
    // A second one changes nothing.
    let _ = EVERYWHERE.set(defect);
}

pub(super) fn is(defect: Defect) -> bool {
    PLANTED.get() == Some(defect) || EVERYWHERE.get() == Some(&defect)
}
