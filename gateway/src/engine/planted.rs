//! Planted defects: each must be caught by the simulation or by a conformance case. Never in a release.

use std::cell::Cell;
use std::sync::OnceLock;

use meshwire_proto::wire::session::Reply;

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
    /// What was on its way at a nack is said to be what is on its way when it is asked.
    BoundaryForgotten,
    /// A reject takes back what follows in its key.
    RejectTakesBack,
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
    /// A member that leaves on purpose has failed what it held.
    LeavingFails,
    /// A dead letter that is given back stays where it is.
    RedriveForgotten,
    /// A purge removes nothing.
    PurgeForgotten,
    /// A restart forgets that dead letters were removed.
    PurgeUnlogged,
    /// A key waits for its dead letter after that is removed.
    PurgeHoldsKey,
    /// A dead letter that was given back comes again after it is removed.
    PurgeLeavesGiven,
    /// Why an event was rejected is not kept.
    ReasonForgotten,
    /// A request whose responder is lost goes to another one, allowed or not.
    RequestGivenTwice,
    /// Some replies go to another request of the same requester.
    ReplyMisdirected,
    /// A change of a group's settings changes nothing.
    UpdateIgnored,
    /// A group is delivered as many a second as there are.
    RateIgnored,
    /// A group has as many in flight as there are.
    InFlightIgnored,
    /// The last byte of what a publish has is stored as another one.
    ByteChanged,
    /// A group that is moved stays where it is.
    SeekIgnored,
    /// A restart forgets that a group was moved.
    SeekForgotten,
    /// What members hold of a group stays with them when it is moved.
    SeekLeavesLeases,
    /// A group that is removed is still there.
    DeleteIgnored,
    /// A restart forgets that a group was removed.
    DeleteUnlogged,
    /// A restart forgets that a topic was removed.
    TopicGoneUnlogged,
    /// A group that is made begins with the first event.
    CreateStartIgnored,
    /// A responder is not told that nobody waits any more.
    CancelForgotten,
    /// More credit for a reply stream does not come to the responder.
    GrantForgotten,
    /// Replies that nobody waits for are not counted.
    LateUncounted,
    /// A request that may be handled again is not given to another responder.
    RetryForgotten,
    /// A request whose responder is lost is left open.
    LossForgotten,
    /// What a responder says of a failure is not passed on.
    FailureUnsaid,
    /// The end of a reply stream is not passed on.
    StreamEndForgotten,
    /// Where nobody serves, all are said to be busy.
    NobodyIsBusy,
    /// A restart forgets the place of durable members.
    MemberForgotten,
    /// A durable member is given to a second subscription beside the first.
    MemberTakenTwice,
    /// Unnamed members of broadcast groups get every other event.
    BroadcastHalved,
    /// What waits for its time comes after half of it.
    DelayHalved,
    /// A restart forgets some of what waits for its time.
    DelayForgotten,
    /// What has come at its time still counts as waiting.
    ReleaseForgotten,
    /// Events are delivered however long ago they expired.
    ExpiryIgnored,
    /// Requests that are over are listed as open.
    OpenMiscounted,
    /// What is missing is not told.
    GapUntold,
    /// Whoever is overtaken loses an event more than retention took.
    GapTooWide,
}

impl Defect {
    const ALL: [Self; 54] = [
        Self::LeaseGivenTwice,
        Self::DeliveryGap,
        Self::KeyIgnored,
        Self::TakeBackForgotten,
        Self::RejectTakesBack,
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
        Self::LeavingFails,
        Self::RedriveForgotten,
        Self::PurgeForgotten,
        Self::PurgeUnlogged,
        Self::PurgeHoldsKey,
        Self::PurgeLeavesGiven,
        Self::ReasonForgotten,
        Self::RequestGivenTwice,
        Self::ReplyMisdirected,
        Self::UpdateIgnored,
        Self::RateIgnored,
        Self::InFlightIgnored,
        Self::ByteChanged,
        Self::SeekIgnored,
        Self::SeekForgotten,
        Self::SeekLeavesLeases,
        Self::DeleteIgnored,
        Self::DeleteUnlogged,
        Self::TopicGoneUnlogged,
        Self::CreateStartIgnored,
        Self::CancelForgotten,
        Self::GrantForgotten,
        Self::LateUncounted,
        Self::RetryForgotten,
        Self::LossForgotten,
        Self::FailureUnsaid,
        Self::StreamEndForgotten,
        Self::NobodyIsBusy,
        Self::MemberForgotten,
        Self::MemberTakenTwice,
        Self::BroadcastHalved,
        Self::DelayHalved,
        Self::DelayForgotten,
        Self::ReleaseForgotten,
        Self::ExpiryIgnored,
        Self::OpenMiscounted,
        Self::GapUntold,
        Self::GapTooWide,
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

/// What is stored of a publish.
pub(super) fn stored(bytes: bytes::Bytes) -> bytes::Bytes {
    if !is(Defect::ByteChanged) {
        return bytes;
    }
    let mut changed = bytes.to_vec();
    // The last byte of an event is one of its data, where it has some; text stays text.
    changed.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    changed.into()
}

/// A reply on its way to the requester.
pub(super) fn passed_on(reply: Reply) -> Reply {
    match reply {
        Reply { message, .. } if is(Defect::FailureUnsaid) && !message.is_empty() => {
            Reply { message: String::new(), ..reply }
        }
        Reply { end: true, code: 0, event, .. } if is(Defect::StreamEndForgotten) && event.is_empty() => {
            Reply { end: false, event, ..reply }
        }
        reply => reply,
    }
}
