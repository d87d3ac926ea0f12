//! Leases of what a program has not settled: kept, given back, or void.

use std::sync::atomic::Ordering;

use meshwire_proto::frame::SettleKind;
use tokio::time::Instant;

use super::{How, Inbox, Settled};
use crate::prefetched::Look;

impl Inbox {
    /// Leases of what no program has been handed: extended, or given back when the program is stuck. Gives when to look
    /// again, and whether something was given back.
    pub(crate) fn look_after_leases(&self) -> (Option<Instant>, bool) {
        let ack_wait = *self.ack_wait.borrow();
        let mut contents = self.lock();
        let done = contents.done;
        let Look { extend, release, again } = contents.prefetched.look(ack_wait, done);
        let stuck = !release.is_empty();
        if stuck {
            // What the stream took already it finds given back itself.
            contents.runs.clear();
            contents.paused = true;
        }
        // Whoever has a batch in hand may be waiting for more: it says so again, and gets more.
        let waker = contents.waker.take_if(|_| stuck);
        release.iter().for_each(|range| contents.is_settled(*range));
        for (ranges, kind) in [(extend, SettleKind::Extend), (release, SettleKind::Release)] {
            let how = How::from(kind);
            let of = |(generation, first, count)| Settled { generation, first, count, how: how.clone() };
            contents.settles.extend(ranges.into_iter().map(of));
        }
        drop(contents);
        if let Some(waker) = waker {
            waker.wake();
        }
        (again, stuck)
    }

    /// A delivery of a key is nacked: what has come of its key behind it, and no program has been handed yet, comes again behind it.
    pub(crate) fn nacked(&self, generation: u32, number: u64, key: &str) {
        if !self.keys_are_taken_back || self.ack_wait.borrow().is_zero() || self.is_stale(generation) {
            return;
        }
        let mut contents = self.lock();
        let (of, come) = contents.come;
        if of == generation && contents.prefetched.handed() < come {
            contents.taken_back.nacked((generation, number), key, come);
            self.has_taken_back.store(true, Ordering::SeqCst);
        }
    }

    /// Whether any delivery that may be handed out comes again because an earlier one of its key was nacked.
    pub(crate) fn has_taken_back(&self) -> bool {
        self.has_taken_back.load(Ordering::Relaxed)
    }

    /// Whether a delivery comes again because an earlier one of its key was nacked. One that is about to be handed out says, too, that
    /// none before it is.
    pub(crate) fn is_taken_back(&self, (generation, number): (u32, u64), key: Option<&str>, is_next: bool) -> bool {
        let mut contents = self.lock();
        let is_taken_back = key.is_some_and(|key| contents.taken_back.has((generation, number), key));
        if is_next && !contents.taken_back.passed((generation, number)) {
            self.has_taken_back.store(false, Ordering::SeqCst);
        }
        is_taken_back
    }
}
