//! Planted defects: each must be caught by the simulation. Never in a release.

use std::cell::Cell;

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
    /// A request whose responder is lost goes to another one, allowed or not.
    RequestGivenTwice,
    /// Some replies go to another request of the same requester.
    ReplyMisdirected,
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Plants a defect in every engine of this thread; `None` takes it out.
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

pub(super) fn is(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}
