//! Whose a delivery is, before it is settled: how bindings hand it to their program, and let go of it.

use meshwire_proto::frame::SettleKind;

use super::{Delivery, because, in_millis};
use crate::consume::Settlement;
use crate::inbox::How;

impl Delivery {
    /// The program is handed it now, and with it all before it; `false`: it comes again, or the client drains, and it is to be
    /// [forgotten](Self::forget). For bindings, which took it [ahead](crate::Subscription::take_ahead). What is said of it claims it too.
    #[doc(hidden)]
    pub fn claim(&mut self) -> bool {
        // First: either this sees that the client drains, or the drain that it is out.
        let claimed = self.claim_anyhow() && !self.inbox.is_stopped() && !self.is_stale();
        if claimed {
            (self.unclaimed, self.handed) = (None, true);
        }
        claimed
    }

    /// The program is handed it in a batch, as [claim](Self::claim) does it; but as long as it has not settled those before it, its lease is
    /// looked after as if it waited here. In order. The first of the batch is claimed, unless others that the program has wait for their turn.
    #[doc(hidden)]
    pub fn hand(&mut self, is_first: bool) -> bool {
        // First, as in `claim`.
        let handed = self.unclaimed.as_ref().is_none_or(|claim| claim.hand(self.place.number, is_first));
        self.handed = handed && !self.inbox.is_stopped() && !self.is_stale();
        self.handed
    }

    /// `false`: its lease was given back.
    fn claim_anyhow(&self) -> bool {
        self.unclaimed.as_ref().is_none_or(|claim| claim.take(self.place.number))
    }

    /// What is said of one that no program was handed, its binding says. One that was has its turn when those before it are settled, or
    /// when it is.
    pub(super) fn claim_unhanded(&self) {
        if !self.handed {
            self.claim_anyhow();
        }
    }

    /// Gives it back unbegun: it comes again at once, and has not failed. So is one that is dropped before the program is handed it.
    #[doc(hidden)]
    pub fn give_back(mut self) {
        self.return_unbegun();
    }

    /// What becomes of it if it is dropped: a handler has said so, and whoever heard that has ended before it was done.
    #[doc(hidden)]
    pub fn if_dropped(&self, settled: Result<Settlement, String>) {
        let how = match settled {
            Ok(Settlement::Ack) => SettleKind::Ack.into(),
            Ok(Settlement::NackAfter(delay)) => How { delay_ms: Some(in_millis(delay)), ..SettleKind::Nack.into() },
            Ok(Settlement::Reject(reason)) => because(SettleKind::Reject, &reason),
            Ok(Settlement::GiveBack) => SettleKind::Release.into(),
            Err(problem) => because(SettleKind::Nack, &problem),
        };
        // The first word holds.
        let _ = self.word.set(Box::new(how));
    }

    /// Those before it that the program has in hand are claimed by that: what comes behind is to find nothing left of its run.
    pub(super) fn return_unbegun(&mut self) {
        self.settled = true;
        if self.is_stale() || !self.claim_anyhow() {
            return self.inbox.forget(&self.range(SettleKind::Release.into()));
        }
        self.inbox.settle(self.range(SettleKind::Release.into()), self.event.len(), self.place.position);
    }

    /// Lets go without a word, because the event is known to come again.
    #[doc(hidden)]
    pub fn forget(mut self) {
        self.settled = true;
        self.inbox.forget(&self.range(SettleKind::Release.into()));
    }
}
