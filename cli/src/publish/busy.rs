//! What the gateway was too busy for, until it is published again.

use std::time::Duration;

use meshwire::{Error, ErrorKind};
use tokio::time::Instant;

use crate::events::Item;

/// The wait where the gateway names none. A guess.
const PAUSE: Duration = Duration::from_millis(100);

/// Events that were answered `BUSY`, in the order of the answers.
pub(super) struct Busy {
    /// How long nothing may be taken before they count as failed.
    patience: Duration,
    waiting: Vec<(Item, Error)>,
    /// When they are published again.
    at: Option<Instant>,
    /// The first such answer since an event was taken.
    since: Option<Instant>,
    /// It was said that there are any.
    told: bool,
}

impl Busy {
    pub(super) const fn new(patience: Duration) -> Self {
        Self { patience, waiting: Vec::new(), at: None, since: None, told: false }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether what failed so is to be published again.
    pub(super) fn waits_for(&mut self, error: &Error) -> bool {
        if error.kind() != ErrorKind::Busy {
            return false;
        }
        let now = Instant::now();
        let at = now + error.retry_after().unwrap_or(PAUSE);
        let waits = at <= *self.since.get_or_insert(now) + self.patience;
        if waits {
            self.at = self.at.max(Some(at));
        }
        waits
    }

    /// Why what failed so is not published again, if that is for the time it would take.
    pub(super) fn why_not(&self, error: &Error) -> Option<String> {
        let since = self.since.filter(|_| error.kind() == ErrorKind::Busy)?;
        let (wait, most) = (error.retry_after().unwrap_or(PAUSE), self.patience.as_secs());
        Some(if wait > self.patience {
            format!("it would have to wait {:.0} s, over the {most} s that pub waits (--wait)", wait.as_secs_f64())
        } else {
            format!("nothing was taken for {} s, of the {most} s that pub waits (--wait)", since.elapsed().as_secs())
        })
    }

    /// Whether it is the first time, which is to be told.
    pub(super) const fn is_new(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    pub(super) fn push(&mut self, item: Item, error: Error) {
        self.waiting.push((item, error));
    }

    /// An event was taken.
    pub(super) const fn over(&mut self) {
        self.since = None;
    }

    /// When all of them are to be published again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.at
    }

    pub(super) fn take(&mut self) -> Vec<Item> {
        self.at = None;
        std::mem::take(&mut self.waiting).into_iter().map(|(item, _)| item).collect()
    }

    /// What was not published again, as it was interrupted.
    pub(super) fn into_waiting(self) -> Vec<(Item, Error)> {
        self.waiting
    }
}
