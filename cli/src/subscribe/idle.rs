//! How long nothing came, while something could have come.

use std::time::Duration;

use meshwire::State;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Counts the time without events, only while the client is connected; a lost
/// connection begins the count anew.
pub(super) struct Idle {
    limit: Option<Duration>,
    state: watch::Receiver<State>,
    since: Option<Instant>,
}

impl Idle {
    /// Without a limit it never passes.
    pub(super) const fn new(limit: Option<Duration>, state: watch::Receiver<State>) -> Self {
        Self { limit, state, since: None }
    }

    /// Something came: the count begins anew.
    pub(super) const fn heard(&mut self) {
        self.since = None;
    }

    /// Resolves when the limit is reached.
    ///
    /// # Cancel safety
    /// The count goes on.
    pub(super) async fn passed(&mut self) {
        let Some(limit) = self.limit else {
            return std::future::pending().await;
        };
        loop {
            // An error means that the client is gone; its subscription says so.
            let changed = self.state.has_changed().unwrap_or_default();
            let connected = *self.state.borrow_and_update() == State::Connected;
            if changed || !connected {
                self.since = None;
            }
            let since = *self.since.get_or_insert_with(Instant::now);
            tokio::select! {
                () = sleep_until(since + limit), if connected => return,
                Ok(()) = self.state.changed() => self.state.mark_changed(),
                else => return std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use tokio::time::{advance, timeout};

    const LIMIT: Duration = Duration::from_secs(2);

    fn idle(state: State) -> (watch::Sender<State>, Idle) {
        let (sender, receiver) = watch::channel(state);
        (sender, Idle::new(Some(LIMIT), receiver))
    }

    /// Virtual seconds until it passes, `None` if it does not within a minute.
    async fn passes(idle: &mut Idle) -> Option<u64> {
        let start = Instant::now();
        let passed = timeout(Duration::from_secs(60), idle.passed()).await;
        passed.is_ok().then(|| start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_counts_from_the_last_event() {
        let (_sender, mut idle) = idle(State::Connected);
        assert!(timeout(Duration::from_millis(1500), idle.passed()).await.is_err());
        idle.heard();
        assert_eq!(passes(&mut idle).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_in_pieces_counts_as_waiting_at_once() {
        let (_sender, mut idle) = idle(State::Connected);
        assert!(timeout(Duration::from_millis(1500), idle.passed()).await.is_err());
        assert_eq!(passes(&mut idle).await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_a_connection_does_not_count() {
        let (sender, mut idle) = idle(State::Reconnecting);
        assert_eq!(passes(&mut idle).await, None);
        sender.send_replace(State::Connected);
        assert_eq!(passes(&mut idle).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_begins_the_count_anew_even_if_it_came_back_unseen() {
        let (sender, mut idle) = idle(State::Connected);
        assert!(timeout(Duration::from_millis(1900), idle.passed()).await.is_err());
        sender.send_replace(State::Reconnecting);
        advance(Duration::from_millis(50)).await;
        sender.send_replace(State::Connected);
        assert!(timeout(Duration::from_millis(1900), idle.passed()).await.is_err());
        assert_eq!(passes(&mut idle).await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_never_passes() {
        let (_sender, receiver) = watch::channel(State::Connected);
        let mut idle = Idle::new(None, receiver);
        assert_eq!(passes(&mut idle).await, None);
    }
}
