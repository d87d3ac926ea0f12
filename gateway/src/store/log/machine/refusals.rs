//! Publishes that are refused for want of space, as the log of the gateway tells it: once when that begins, once when it ends.

use std::fmt::Display;

use meshwire_proto::UnixMillis;

use crate::store::StoreError;

/// It begins at most so often: a disk that is nearly full may end and begin many times a second.
const TELL_EVERY_MS: i64 = 60_000;

#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Since space was there last.
    count: u64,
    /// It was said that they began.
    said: bool,
    /// When that was said last.
    last: Option<UnixMillis>,
}

impl Refusals {
    /// One more; whether it was said.
    pub(super) fn refused(&mut self, wall: UnixMillis, cause: &StoreError) -> bool {
        self.count += 1;
        self.begun(wall, cause)
    }

    /// Whoever asks is refused from now on; whether it was said.
    pub(super) fn begun(&mut self, wall: UnixMillis, cause: &dyn Display) -> bool {
        if self.said || self.last.is_some_and(|last| wall.0 < last.0.saturating_add(TELL_EVERY_MS)) {
            return false;
        }
        (self.said, self.last) = (true, Some(wall));
        tracing::warn!(%cause, "the disk is full: publishes are refused until there is space (DISK_FULL)");
        true
    }

    /// There is space again; how many were refused, if it was said that they were.
    pub(super) fn ended(&mut self) -> Option<u64> {
        let count = std::mem::take(&mut self.count);
        let said = std::mem::take(&mut self.said).then_some(count);
        if said.is_some() {
            tracing::info!(refused = count, "the disk has space again: publishes are taken");
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_said_when_they_begin_and_when_they_end_and_not_each_and_not_twice_a_minute() {
        let (mut refusals, full) = (Refusals::default(), StoreError::Full("full".to_owned()));
        assert_eq!(refusals.ended(), None, "nothing was wrong");
        assert!(refusals.refused(UnixMillis(5000), &full));
        assert!((0..80_000).all(|n| !refusals.refused(UnixMillis(5000 + 10 * n), &full)), "it lasts");
        assert_eq!((refusals.ended(), refusals.ended()), (Some(80_001), None));
        assert!(refusals.refused(UnixMillis(900_000), &full));
        assert_eq!(refusals.ended(), Some(1));
        assert!(!refusals.refused(UnixMillis(900_001), &full));
        assert_eq!(refusals.ended(), None, "of what was not said the end is not either");
        assert!(!refusals.refused(UnixMillis(900_002), &full));
        assert!(refusals.refused(UnixMillis(960_000), &full), "it still lasts a minute later");
    }
}
