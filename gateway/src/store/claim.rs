//! Space that is promised and not used yet.

use std::sync::atomic::{AtomicU64, Ordering};

/// Room that [`Store::reserve`](super::Store::reserve) has promised: nobody else is promised it as long as this lives. It is held until the
/// commit that it is for has been taken; dropped without one, it is free again.
#[derive(Debug)]
#[must_use = "the promise ends when this is dropped"]
pub struct Claim<'a> {
    of: Option<(&'a AtomicU64, u64)>,
}

impl<'a> Claim<'a> {
    /// Of a store that always has room.
    pub const fn unbounded() -> Self {
        Self { of: None }
    }

    /// Adds `bytes` to the sum of what a store has promised, and takes them off again when it is dropped.
    pub(crate) fn new(promised: &'a AtomicU64, bytes: u64) -> Self {
        promised.fetch_add(bytes, Ordering::Relaxed);
        Self { of: Some((promised, bytes)) }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some((promised, bytes)) = self.of {
            promised.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
