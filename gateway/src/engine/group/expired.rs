//! Events that have expired: settled without a delivery, and no dead letters.
//!
//! One that a member has may still be settled by it; it does not come again. One that
//! was given up before is a dead letter, and one that was given back by hand is delivered.

use meshwire_proto::UnixMillis;

use super::Group;
use super::dispatch::Pass;
use crate::store::{DEAD, Outcome, Position};

impl Group {
    /// Takes up `next` as settled if it has expired; and with it all behind it that have.
    pub(super) fn skip_expired(&mut self, pass: &Pass<'_>) -> bool {
        let position = self.window.next();
        let Some(end) = pass.expired_before(position) else {
            return false;
        };
        let end = self.window.may_jump_to(end);
        // What was given up before is a dead letter.
        let end = self.owed.next(position).map_or(end, |owed| end.min(owed));
        if end <= position {
            return false;
        }
        let count = u32::try_from(end - position).unwrap_or(u32::MAX);
        self.log(position, count, Outcome::Acked);
        self.window.skip_to(position + u64::from(count));
        self.expired += u64::from(count);
        true
    }

    /// Ends those that wait to come again.
    pub(super) fn expire_waiting(&mut self, pass: &mut Pass<'_>) {
        if pass.expiries.0.is_empty() {
            return;
        }
        let expired = self.waiting.events().into_iter().flatten().filter(|position| pass.has_expired(*position));
        expired.for_each(|position| self.end_expired(position));
    }

    /// One that waits ends.
    pub(super) fn end_expired(&mut self, position: Position) {
        self.unwait(position);
        self.end_for_good(position);
        self.finish(position);
        self.expired += 1;
    }
}

impl Pass<'_> {
    /// When the event of a position expires; one that was given back by hand does not.
    pub(super) fn expiry(&self, position: Position) -> Option<UnixMillis> {
        if position & DEAD == 0 { self.expiries.0.at(position) } else { None }
    }

    pub(super) fn has_expired(&self, position: Position) -> bool {
        position & DEAD == 0 && self.expired_before(position).is_some()
    }

    /// If a position has expired: the next one behind those that have with it.
    fn expired_before(&self, position: Position) -> Option<Position> {
        #[cfg(feature = "testing")]
        if crate::engine::planted::is(crate::engine::planted::Defect::ExpiryIgnored) {
            return None;
        }
        let (expiries, now) = self.expiries;
        expiries.expired_before(position, now).map(|end| end.min(self.head))
    }
}
