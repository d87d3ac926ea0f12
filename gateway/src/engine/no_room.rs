//! A store that refuses what is to be kept without anybody asking for it: dead letters, and events whose time has come.

use std::time::Duration;

use crate::store::StoreError;

/// When a store is asked again that has no room.
pub(super) const NO_ROOM: Duration = Duration::from_secs(1);

/// The same while it is making room. A guess.
const BUSY: Duration = Duration::from_millis(50);

/// When a store that refused is asked again.
pub(super) const fn ask_again(refused: &StoreError) -> Duration {
    if matches!(refused, StoreError::Busy(_)) { BUSY } else { NO_ROOM }
}

/// Whether only somebody who makes room on the disk can help.
pub(super) const fn is_for_want_of_disk(refused: &StoreError) -> bool {
    matches!(refused, StoreError::Full(_))
}
