//! Keeping events while their handlers run: their leases are extended, three times
//! in an ack wait.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::delivery::Place;

/// A handler keeps its event for at most so many ack waits: one that hangs gives
/// it up in the end.
const MOST_WAITS: u32 = 10;

/// What handlers work on, and since when.
pub(super) struct Leases {
    /// What the gateway told last: another session may be told another wait.
    ack_wait: watch::Receiver<Duration>,
    running: HashMap<(u32, u64), (Instant, Place)>,
    extended: Instant,
}

impl Leases {
    pub(super) fn new(ack_wait: watch::Receiver<Duration>) -> Self {
        Self { ack_wait, running: HashMap::new(), extended: Instant::now() }
    }

    /// How long a handler may run; zero without a group.
    pub(super) fn longest(&self) -> Duration {
        *self.ack_wait.borrow() * MOST_WAITS
    }

    /// Whether there are any: without one nothing that fails is taken back, and nothing comes again.
    pub(super) fn exist(&self) -> bool {
        !self.ack_wait.borrow().is_zero()
    }

    pub(super) fn begin(&mut self, place: Place) {
        self.running.insert((place.generation, place.number), (Instant::now(), place));
    }

    pub(super) fn end(&mut self, place: Place) {
        self.running.remove(&(place.generation, place.number));
    }

    /// When leases are to be extended; never without a group.
    pub(super) async fn due(&mut self) {
        loop {
            let wait = *self.ack_wait.borrow_and_update();
            tokio::select! {
                () = sleep_until(self.extended + wait / 3), if !wait.is_zero() => return,
                changed = self.ack_wait.changed() => if changed.is_err() {
                    return pending().await;
                },
            }
        }
    }

    /// What is to be extended; `None` when every handler that runs is stuck.
    pub(super) fn extend(&mut self) -> Option<Vec<Place>> {
        let now = Instant::now();
        self.extended = now;
        let most = self.longest();
        let alive = |since: &Instant| now.duration_since(*since) < most;
        let places: Vec<Place> = self.running.values().filter(|(since, _)| alive(since)).map(|(_, p)| *p).collect();
        (!places.is_empty() || self.running.is_empty()).then_some(places)
    }
}
