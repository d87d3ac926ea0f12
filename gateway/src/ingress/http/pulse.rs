//! Whether the peer of a WebSocket is there: it is pinged, and must be heard.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

/// When a peer was heard last. Like a session it is dead after two and a half heartbeats without a byte.
#[derive(Debug)]
pub(super) struct Pulse {
    heard: Mutex<Instant>,
    heartbeat: Duration,
}

impl Pulse {
    pub(super) fn new(heartbeat: Duration) -> Self {
        Self { heard: Mutex::new(Instant::now()), heartbeat }
    }

    /// When it is pinged.
    pub(super) fn pings(&self) -> Interval {
        let mut pings = interval(self.heartbeat);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came of it; or it cannot be heard, as it is not read from.
    pub(super) fn heard(&self) {
        *self.last() = Instant::now();
    }

    /// Ends once it was silent for too long, also if it takes nothing of what it is sent.
    pub(super) async fn stops(&self) {
        loop {
            let dead = *self.last() + self.heartbeat * 5 / 2;
            if dead <= Instant::now() {
                return;
            }
            sleep_until(dead).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_dead_after_two_and_a_half_heartbeats_of_silence() {
        let (pulse, heartbeat) = (Pulse::new(Duration::from_secs(10)), Duration::from_secs(10));
        let began = Instant::now();
        let talking = async {
            for _ in 0..5 {
                tokio::time::sleep(heartbeat * 2).await;
                pulse.heard();
            }
        };
        tokio::join!(talking, pulse.stops());
        assert_eq!(began.elapsed(), heartbeat * 10 + heartbeat * 5 / 2);
    }
}
