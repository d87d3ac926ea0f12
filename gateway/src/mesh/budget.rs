//! Bytes that were accepted and are not kept yet: bounded over all connections.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::store::Watermark;

#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    used: u64,
    /// `(batch, bytes)`, rising.
    batches: VecDeque<(u64, u64)>,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, open: Mutex::default() }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_room(&self) -> bool {
        self.open().used < self.limit
    }

    pub(super) fn take(&self, batch: u64, bytes: u64) {
        let mut open = self.open();
        open.used += bytes;
        match open.batches.back_mut() {
            Some((last, sum)) if *last == batch => *sum += bytes,
            _ => open.batches.push_back((batch, bytes)),
        }
    }

    /// Written bytes no longer wait in memory, at whatever level.
    pub(super) fn kept(&self, watermark: Watermark) {
        let mut open = self.open();
        while let Some((_, bytes)) = open.batches.front().copied().filter(|(batch, _)| *batch <= watermark.written) {
            open.used -= bytes;
            open.batches.pop_front();
        }
    }
}
