//! From which delivery on nobody has seen any: what is given back when a gateway stops, though nobody asks its consumer for more.

use std::sync::atomic::{AtomicU64, Ordering};

/// Nothing more is handed out. No delivery has a number so large.
const STOPPED: u64 = 1 << 63;

/// Number of the next delivery of a consumer. The consumer alone moves it on; a gateway that stops ends that, in one step with
/// learning where it was: no delivery is both given back and handed out.
#[derive(Debug)]
pub(super) struct Unseen(AtomicU64);

impl Unseen {
    pub(super) const fn from(next: u64) -> Self {
        Self(AtomicU64::new(next))
    }

    /// Hands out all before `next`; `false`: that is over.
    pub(super) fn hand_out(&self, next: u64) -> bool {
        let goes_on = |now: u64| (now & STOPPED == 0).then_some(next);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, goes_on).is_ok()
    }

    /// What was handed out from `next` on has not reached anybody.
    pub(super) fn go_back(&self, next: u64) {
        let back = |now: u64| Some(next | (now & STOPPED));
        // It is never refused.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
    }

    /// Ends it; gives the number of the next delivery.
    pub(super) fn stop(&self) -> u64 {
        self.0.fetch_or(STOPPED, Ordering::AcqRel) & !STOPPED
    }

    /// Number of the next delivery.
    pub(super) fn next(&self) -> u64 {
        self.0.load(Ordering::Acquire) & !STOPPED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_handed_out_from_when_it_was_stopped_and_its_place_stays_known() {
        let unseen = Unseen::from(5);
        assert!(unseen.hand_out(6) && unseen.hand_out(7));
        assert_eq!((unseen.stop(), unseen.stop()), (7, 7));
        assert!(!unseen.hand_out(8));
        assert_eq!(unseen.next(), 7);
        unseen.go_back(6);
        assert!(!unseen.hand_out(7) && unseen.next() == 6, "it stays stopped");
    }
}
