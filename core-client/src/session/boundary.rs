//! Where what was on its way at a nack ends. The answer to a nack is held until that has come, or will not come any more:
//! numbers of deliveries that never arrived go to others when a session is resumed, so only what has come keeps its number.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::SettleKind;

use super::settle::Confirmed;
use super::subscribe::Phase;
use super::{Failure, Output, Session};

/// All of the session that the delivery was of: it is lost.
pub(super) const ALL: u64 = u64::MAX;

/// What became of a settlement that the gateway has no space for: as its answer over HTTP says (`ingress/waiting.rs`).
const UNKEPT: &str = "the disk is full: this settlement holds, and is kept as soon as there is space; the event comes again only if the \
                      gateway ends before";

impl Session {
    pub(super) fn confirmed(&mut self, done: Confirmed) {
        self.stats.leases_lost += u64::from(done.code == ErrorKind::LeaseLost.number());
        let come = self.come(done.subscription);
        if done.kind == SettleKind::Nack && come.is_some_and(|come| come < done.boundary) {
            self.held_answers.push(done);
        } else {
            self.tell(done, come);
        }
    }

    /// Deliveries of a subscription have come.
    pub(super) fn have_come(&mut self, wire: u32) {
        if self.held_answers.is_empty() {
            return;
        }
        let come = self.come(wire).unwrap_or(ALL);
        for done in
            self.held_answers.extract_if(.., |d| d.subscription == wire && d.boundary <= come).collect::<Vec<_>>()
        {
            self.tell(done, Some(come));
        }
    }

    /// Nothing that was on its way comes any more, to this subscription or to none.
    pub(super) fn nothing_comes(&mut self, wire: Option<u32>) {
        let of = |done: &mut Confirmed| wire.is_none_or(|wire| done.subscription == wire);
        for done in self.held_answers.extract_if(.., of).collect::<Vec<_>>() {
            let come = self.come(done.subscription);
            self.tell(done, come);
        }
    }

    /// Everything before this number has come.
    fn come(&self, wire: u32) -> Option<u64> {
        self.subscriptions.of_wire(wire).filter(|s| s.phase == Phase::Active).map(|s| s.next_delivery)
    }

    fn tell(&mut self, done: Confirmed, come: Option<u64>) {
        let come = come.unwrap_or(ALL);
        let boundary = if done.boundary == 0 { come } else { done.boundary.min(come) };
        let message = if done.code == ErrorKind::DiskFull.number() { UNKEPT } else { "" };
        let result = if done.code == 0 { Ok(()) } else { Err(Failure::from_wire(done.code, message, 0)) };
        self.output.push_back(Output::Settled { token: done.token, result, boundary });
    }

    /// Nobody will answer these.
    pub(super) fn unanswered_settles(&mut self, tokens: Vec<u64>, failure: &Failure) {
        for token in tokens {
            self.output.push_back(Output::Settled { token, result: Err(failure.clone()), boundary: ALL });
        }
    }
}
