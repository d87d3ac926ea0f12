//! Mistakes planted on purpose: a simulation that does not see them proves nothing.

use meshwire::session::defect;
use meshwire_gateway::engine::planted as engine;
use meshwire_gateway::store::log::planted as log;

/// One planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, and `name` in words")]
pub enum Planted {
    AckBeforeSync,
    SettleBeforeAppend,
    ResumeWithoutReplay,
    DedupForgotten,
    LeaseGivenTwice,
    DeliveryGap,
    SyncNothing,
    SettlesForgotten,
    KeyIgnored,
    TakeBackForgotten,
    RejectTakesBack,
    FailuresForgotten,
    LetterForgotten,
    DelayIgnored,
    RequestGivenTwice,
    ReplyMisdirected,
    DelayHalved,
    DelayForgotten,
    ReleaseForgotten,
    ExpiryIgnored,
    MemberForgotten,
    OpenMiscounted,
    GapUntold,
    GapTooWide,
    HoldIgnored,
    SeekIgnored,
    SeekForgotten,
    SeekLeavesLeases,
    LeavingFails,
    LeavingKeeps,
    UpdateIgnored,
    RateIgnored,
    InFlightIgnored,
}

impl Planted {
    /// Every one.
    pub const ALL: [Self; 33] = [
        Self::AckBeforeSync,
        Self::SettleBeforeAppend,
        Self::ResumeWithoutReplay,
        Self::DedupForgotten,
        Self::LeaseGivenTwice,
        Self::DeliveryGap,
        Self::SyncNothing,
        Self::SettlesForgotten,
        Self::KeyIgnored,
        Self::TakeBackForgotten,
        Self::RejectTakesBack,
        Self::FailuresForgotten,
        Self::LetterForgotten,
        Self::DelayIgnored,
        Self::RequestGivenTwice,
        Self::ReplyMisdirected,
        Self::DelayHalved,
        Self::DelayForgotten,
        Self::ReleaseForgotten,
        Self::ExpiryIgnored,
        Self::MemberForgotten,
        Self::OpenMiscounted,
        Self::GapUntold,
        Self::GapTooWide,
        Self::HoldIgnored,
        Self::SeekIgnored,
        Self::SeekForgotten,
        Self::SeekLeavesLeases,
        Self::LeavingFails,
        Self::LeavingKeeps,
        Self::UpdateIgnored,
        Self::RateIgnored,
        Self::InFlightIgnored,
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack before sync",
            Self::SettleBeforeAppend => "settle before append",
            Self::ResumeWithoutReplay => "resume without replay",
            Self::DedupForgotten => "dedup forgotten at restart",
            Self::LeaseGivenTwice => "a lease given twice",
            Self::DeliveryGap => "a gap in delivery numbers",
            Self::SyncNothing => "a sync that does nothing",
            Self::SettlesForgotten => "settles forgotten at a resume",
            Self::KeyIgnored => "a key's events with two members at once",
            Self::TakeBackForgotten => "what follows a failed event in its key is not taken back",
            Self::RejectTakesBack => "what follows a rejected event in its key is taken back",
            Self::FailuresForgotten => "failures forgotten at restart",
            Self::LetterForgotten => "an event given up without a dead letter",
            Self::DelayIgnored => "a nack's delay ignored",
            Self::RequestGivenTwice => "a request given to a second responder",
            Self::ReplyMisdirected => "a reply to another request",
            Self::DelayHalved => "a delayed event after half its time",
            Self::DelayForgotten => "delayed events forgotten at restart",
            Self::ReleaseForgotten => "a delayed event that waits again after it came",
            Self::ExpiryIgnored => "an expired event delivered",
            Self::MemberForgotten => "the place of a durable member forgotten at restart",
            Self::OpenMiscounted => "requests listed as open that are over",
            Self::GapUntold => "a gap that is not told",
            Self::GapTooWide => "a group that is overtaken loses an event more",
            Self::HoldIgnored => "what a group needs is taken though its topic blocks",
            Self::SeekIgnored => "a group that is moved stays where it is",
            Self::SeekForgotten => "a move forgotten at restart",
            Self::SeekLeavesLeases => "what members hold stays theirs when their group is moved",
            Self::LeavingFails => "what a member holds has failed when it leaves",
            Self::LeavingKeeps => "what a member holds stays its own when it leaves",
            Self::UpdateIgnored => "a change of settings that changes nothing",
            Self::RateIgnored => "a group that is delivered more a second than it may",
            Self::InFlightIgnored => "a group that has more in flight than it may",
        }
    }
}

/// Plants one in this thread, or takes it out.
pub fn plant(planted: Option<Planted>) {
    log::plant(match planted {
        Some(Planted::AckBeforeSync) => Some(log::Defect::AckBeforeSync),
        Some(Planted::SettleBeforeAppend) => Some(log::Defect::SettleBeforeAppend),
        Some(Planted::DedupForgotten) => Some(log::Defect::DedupForgotten),
        Some(Planted::SyncNothing) => Some(log::Defect::SyncNothing),
        Some(Planted::HoldIgnored) => Some(log::Defect::HoldIgnored),
        _ => None,
    });
    engine::plant(match planted {
        Some(Planted::LeaseGivenTwice) => Some(engine::Defect::LeaseGivenTwice),
        Some(Planted::DeliveryGap) => Some(engine::Defect::DeliveryGap),
        Some(Planted::KeyIgnored) => Some(engine::Defect::KeyIgnored),
        Some(Planted::TakeBackForgotten) => Some(engine::Defect::TakeBackForgotten),
        Some(Planted::RejectTakesBack) => Some(engine::Defect::RejectTakesBack),
        Some(Planted::FailuresForgotten) => Some(engine::Defect::FailuresForgotten),
        Some(Planted::LetterForgotten) => Some(engine::Defect::LetterForgotten),
        Some(Planted::DelayIgnored) => Some(engine::Defect::DelayIgnored),
        Some(Planted::RequestGivenTwice) => Some(engine::Defect::RequestGivenTwice),
        Some(Planted::ReplyMisdirected) => Some(engine::Defect::ReplyMisdirected),
        Some(Planted::DelayHalved) => Some(engine::Defect::DelayHalved),
        Some(Planted::DelayForgotten) => Some(engine::Defect::DelayForgotten),
        Some(Planted::ReleaseForgotten) => Some(engine::Defect::ReleaseForgotten),
        Some(Planted::ExpiryIgnored) => Some(engine::Defect::ExpiryIgnored),
        Some(Planted::MemberForgotten) => Some(engine::Defect::MemberForgotten),
        Some(Planted::OpenMiscounted) => Some(engine::Defect::OpenMiscounted),
        Some(Planted::GapUntold) => Some(engine::Defect::GapUntold),
        Some(Planted::GapTooWide) => Some(engine::Defect::GapTooWide),
        Some(Planted::SeekIgnored) => Some(engine::Defect::SeekIgnored),
        Some(Planted::SeekForgotten) => Some(engine::Defect::SeekForgotten),
        Some(Planted::SeekLeavesLeases) => Some(engine::Defect::SeekLeavesLeases),
        Some(Planted::LeavingFails) => Some(engine::Defect::LeavingFails),
        Some(Planted::LeavingKeeps) => Some(engine::Defect::LeavingKeeps),
        Some(Planted::UpdateIgnored) => Some(engine::Defect::UpdateIgnored),
        Some(Planted::RateIgnored) => Some(engine::Defect::RateIgnored),
        Some(Planted::InFlightIgnored) => Some(engine::Defect::InFlightIgnored),
        _ => None,
    });
    defect::set(match planted {
        Some(Planted::ResumeWithoutReplay) => Some(defect::Defect::ResumeWithoutReplay),
        Some(Planted::SettlesForgotten) => Some(defect::Defect::SettlesForgotten),
        _ => None,
    });
}
