//! How a consumer group delivers.

use std::time::Duration;

use meshwire_proto::options::{self, Bounded};
use meshwire_proto::wire::admin::{self, AfterDeadLetter};

/// How a consumer group delivers: retries, dead letters, order, rate. Whoever
/// creates the group fixes it; what is not said is as by default, or as the group
/// has it. Give it to [`Subscribe::settings`](crate::Subscribe::settings).
///
/// ```
/// # use std::time::Duration;
/// let patient = meshwire::GroupSettings::new().max_failures(20).backoff(Duration::from_secs(5), Duration::from_secs(600));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct GroupSettings {
    pub(crate) asked: admin::GroupSettings,
    /// The first that is out of its bounds.
    problem: Option<String>,
}

impl GroupSettings {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn checked<T: TryFrom<u64>>(&mut self, option: &Bounded, value: u64) -> Option<T> {
        match option.check(value) {
            Ok(value) => T::try_from(value).ok(),
            Err(problem) => {
                self.problem.get_or_insert(problem);
                None
            }
        }
    }

    fn millis<T: TryFrom<u64>>(&mut self, option: &Bounded, value: Duration) -> Option<T> {
        self.checked(option, u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long a delivery may stay unsettled before it comes again. Default 30 s;
    /// from 1 s to 12 h.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.asked.ack_wait_ms = self.millis(&options::ACK_WAIT, wait);
        self
    }

    /// Failures (nack, ended lease, lost member) after which an event becomes a
    /// dead letter of the group. Default 5; 0: never; up to 1,000,000.
    pub fn max_failures(mut self, failures: u32) -> Self {
        self.asked.max_failures = self.checked(&options::MAX_FAILURES, failures.into());
        self
    }

    /// An event that has failed and was stored longer ago than this becomes a dead
    /// letter. Default 0: never; up to a year.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.asked.max_age_ms = self.millis(&options::MAX_AGE, age);
        self
    }

    /// Delay after an event's first nack that names none, which doubles with every
    /// failure, and its most. Up to 20 % are added at random. Default 1 s and 60 s;
    /// from 0 to 12 h.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.asked.backoff_min_ms = self.millis(&options::BACKOFF_MIN, first);
        self.asked.backoff_max_ms = self.millis(&options::BACKOFF_MAX, most);
        self
    }

    /// After a dead letter the other events of its key wait until it is redriven
    /// and acked, or purged. Without it they go on.
    pub fn hold_after_dead_letter(mut self) -> Self {
        self.asked.after_dead_letter = Some(AfterDeadLetter::Hold.into());
        self
    }

    /// At most one unsettled event of a key. Without it several may be on their way
    /// to the member that has the key.
    pub fn strict_order(mut self) -> Self {
        self.asked.strict_order = Some(true);
        self
    }

    /// Most unsettled deliveries of all members together. Default 0: no limit but
    /// the members' prefetch.
    pub fn max_in_flight(mut self, deliveries: u32) -> Self {
        self.asked.max_in_flight = Some(deliveries);
        self
    }

    /// Most deliveries a second of all members together, evenly. Default 0: no limit.
    pub fn max_rate(mut self, per_second: u32) -> Self {
        self.asked.max_rate = Some(per_second);
        self
    }

    /// With the ack wait of the other where this one says none.
    pub(crate) fn or_ack_wait_of(mut self, other: &Self) -> Self {
        self.asked.ack_wait_ms = self.asked.ack_wait_ms.or(other.asked.ack_wait_ms);
        self.problem = self.problem.or_else(|| other.problem.clone());
        self
    }

    /// What is asked for, if all of it is within its bounds.
    pub(crate) fn check(self) -> Result<admin::GroupSettings, String> {
        match self.problem {
            None => Ok(self.asked),
            Some(problem) => Err(problem),
        }
    }
}
