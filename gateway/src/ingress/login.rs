//! Logins that have not taken place yet, whatever carries them: each has one time, which counts from its beginning, and a place that others
//! may need more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Place;
use crate::mesh::Refusal;

/// One of them: of a connection, or of a session that has a stream or requests of one.
#[derive(Clone, Debug)]
pub struct Login {
    since: Instant,
    limit: Duration,
    place: Arc<Place>,
}

impl Login {
    /// One that begins now; `limit`: option `login_timeout`.
    pub(super) fn begin(limit: Duration, place: Arc<Place>) -> Self {
        Self { since: Instant::now(), limit, place }
    }

    /// A later one by the same connection: its time begins now.
    pub(super) fn again(&self) -> Self {
        Self::begin(self.limit, Arc::clone(&self.place))
    }

    /// The same one, with a place of its own.
    pub(super) fn at(&self, place: Arc<Place>) -> Self {
        Self { place, ..self.clone() }
    }

    /// How much of its time has gone by.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// How much is left.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.waited())
    }

    /// The place that it has until then.
    pub(super) const fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Carries out what belongs to it, within its time.
    ///
    /// # Errors
    /// `TIMEOUT`, `BUSY`: as [`Login::over`].
    pub(super) async fn within<T>(&self, step: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            done = step => Ok(done),
            why = self.over(|| false) => Err(why),
        }
    }

    /// Ends when it must, and says why: its time is over, which counts it as lost, unless it `has_begun` by then; or others need its place.
    pub(super) async fn over(&self, has_begun: impl Fn() -> bool) -> Refusal {
        tokio::select! {
            biased;
            () = self.place.shed() => return self.place.refusal(),
            () = sleep(self.left()) => {}
        }
        if !has_begun() {
            return self.place.overdue(self.limit);
        }
        self.place.shed().await;
        self.place.refusal()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;
    use meshwire_proto::ErrorKind;

    use super::*;
    use crate::ingress::Places;
    use crate::mesh::{Counts, Lost};

    const LIMIT: Duration = Duration::from_secs(5);

    /// Timers of a paused clock are a millisecond late at most.
    fn seconds(time: Duration) -> u128 {
        (time.as_millis() + 500) / 1000
    }

    #[tokio::test(start_paused = true)]
    async fn all_steps_of_a_login_have_one_time_and_a_later_one_has_its_own() {
        let counts = Arc::new(Counts::default());
        let places = Places::new(2, counts.clone());
        let login = Login::begin(LIMIT, places.take().unwrap());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(login.within(ready(())).await.is_ok());
        let moved = login.at(places.take().unwrap());
        assert_eq!((seconds(moved.left()), login.again().left()), (3, LIMIT));
        let began = Instant::now();
        let refused = moved.within(pending::<()>()).await.unwrap_err();
        assert_eq!((refused.kind, seconds(began.elapsed())), (ErrorKind::Timeout, 3));
        assert_eq!(counts.losses(Lost::LoginTimeout), 1);
        assert!(login.within(ready(())).await.is_ok(), "what is there at once is taken");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_begun_outlives_its_time_and_still_makes_room_for_others() {
        let counts = Arc::new(Counts::default());
        let places = Places::new(1, counts.clone());
        let login = Login::begin(LIMIT, places.take().unwrap());
        let mut over = std::pin::pin!(login.over(|| true));
        assert!(over.as_mut().now_or_never().is_none());
        tokio::time::sleep(LIMIT * 2).await;
        assert!(over.as_mut().now_or_never().is_none());
        let _another = places.take().unwrap();
        assert_eq!(over.await.kind, ErrorKind::Busy);
        assert_eq!(counts.losses(Lost::LoginTimeout), 0);
    }
}
