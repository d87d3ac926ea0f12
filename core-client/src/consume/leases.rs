//! Keeping events while their handlers run: their leases are extended, three times
//! in an ack wait.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::delivery::Place;

/// A handler keeps its event for at most so many ack waits: one that hangs gives
/// it up in the end.
const MOST_WAITS: u32 = 10;

/// What handlers work on, and since when.
pub(super) struct Leases {
    ack_wait: Duration,
    running: HashMap<(u32, u64), (Instant, Place)>,
    next: Instant,
}

impl Leases {
    pub(super) fn new(ack_wait: Duration) -> Self {
        Self { ack_wait, running: HashMap::new(), next: Instant::now() + ack_wait / 3 }
    }

    pub(super) fn begin(&mut self, place: Place) {
        self.running.insert((place.generation, place.number), (Instant::now(), place));
    }

    pub(super) fn end(&mut self, place: Place) {
        self.running.remove(&(place.generation, place.number));
    }

    /// When leases are to be extended; never without a group.
    pub(super) async fn due(&self) {
        if self.ack_wait.is_zero() {
            return std::future::pending().await;
        }
        sleep_until(self.next).await;
    }

    /// What is to be extended; `None` when every handler that runs is stuck.
    pub(super) fn extend(&mut self) -> Option<Vec<Place>> {
        let now = Instant::now();
        self.next = now + self.ack_wait / 3;
        let most = self.ack_wait * MOST_WAITS;
        let alive = |since: &Instant| now.duration_since(*since) < most;
        let places: Vec<Place> = self.running.values().filter(|(since, _)| alive(since)).map(|(_, p)| *p).collect();
        (!places.is_empty() || self.running.is_empty()).then_some(places)
    }
}
