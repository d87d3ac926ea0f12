//! The end of a gateway, the same by every door: nothing more is delivered, nothing new begins, what members hold is settled, and
//! requests are answered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use meshwire_proto::ErrorKind;

use super::{Mesh, Refusal, shard};

/// How often it is looked whether members still hold something. A guess.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// When to ask again: another gateway may have taken over by then. A guess.
const RETRY_STOPPING_MS: u32 = 1000;

/// Why nothing new begins.
#[must_use]
pub fn stopping() -> Refusal {
    let text = "the gateway is stopping: it takes settlements of what was delivered, and nothing new; ask again";
    Refusal::new(ErrorKind::Unavailable, text).after(RETRY_STOPPING_MS)
}

impl Mesh {
    /// From here on nothing is delivered, and what would begin is refused: publishes, requests, subscriptions, and commands that keep
    /// something. What was begun goes on, and is settled and answered.
    pub fn stop(&self) {
        // What was taken before it was told to stop is still shown.
        self.inner.shards.iter().for_each(|shard| self.inner.deliver_left(&mut shard::lock(shard)));
        let _ = self.inner.stopped.set(self.now().mono);
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// What is left of this time, which begins when it is told to stop.
    #[must_use]
    pub fn left_to_stop(&self, time: Duration) -> Duration {
        let since = self.inner.stopped.get();
        since.map_or(time, |since| time.saturating_sub(self.now().mono.since(*since)))
    }

    /// What is told to whoever wants anything new of a gateway that stops.
    ///
    /// # Errors
    /// `UNAVAILABLE`: it was told to stop.
    pub fn check_serving(&self) -> Result<(), Refusal> {
        if self.is_stopping() { Err(stopping()) } else { Ok(()) }
    }

    /// How many deliveries the members of groups hold.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.inner.shards.iter().map(|s| shard::lock(s).engine.held()).sum()
    }

    /// Hands the log what was settled last and waits for company: with that, closing the log keeps it. Nobody settles
    /// any more.
    pub fn commit_settled(&self) {
        for shard in &self.inner.shards {
            self.inner.commit(&mut shard::lock(shard), self.now(), true);
        }
    }
}
