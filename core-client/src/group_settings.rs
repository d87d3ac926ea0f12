//! How a consumer group delivers.

use std::time::Duration;

use meshwire_proto::options::{self, Bounded};
use meshwire_proto::wire::admin::{self, AfterDeadLetter};

/// Who gets an event of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupMode {
    /// One member. The default.
    Cluster,
    /// Every member; see [`GroupSettings::broadcast`].
    Broadcast,
}

impl GroupMode {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Broadcast => "broadcast",
        }
    }
}

/// How a consumer group delivers: retries, dead letters, order, rate. Whoever
/// creates the group fixes it; what is not said is as by default, or as the group
/// has it. Give it to [`Subscribe::settings`](crate::Subscribe::settings).
///
/// ```
/// # use std::time::Duration;
/// let patient = meshwire::GroupSettings::new().max_failures(20).backoff(Duration::from_secs(5), Duration::from_secs(600));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct GroupSettings {
    /// See [`broadcast`](Self::broadcast).
    pub mode: Option<GroupMode>,
    /// See [`ack_wait`](Self::ack_wait()).
    pub ack_wait: Option<Duration>,
    /// See [`max_failures`](Self::max_failures()).
    pub max_failures: Option<u32>,
    /// See [`max_age`](Self::max_age()).
    pub max_age: Option<Duration>,
    /// See [`backoff`](Self::backoff).
    pub backoff_min: Option<Duration>,
    /// See [`backoff`](Self::backoff).
    pub backoff_max: Option<Duration>,
    /// See [`hold_after_dead_letter`](Self::hold_after_dead_letter()).
    pub hold_after_dead_letter: Option<bool>,
    /// See [`strict_order`](Self::strict_order()).
    pub strict_order: Option<bool>,
    /// See [`max_in_flight`](Self::max_in_flight()).
    pub max_in_flight: Option<u32>,
    /// See [`max_rate`](Self::max_rate()).
    pub max_rate: Option<u32>,
}

fn millis<T: TryFrom<u128>>(option: &Bounded, value: Option<Duration>) -> Result<Option<T>, String> {
    let checked = value.map(|value| option.check_duration(value)).transpose()?;
    Ok(checked.and_then(|value| T::try_from(value.as_millis()).ok()))
}

const fn wire_mode(mode: GroupMode) -> admin::GroupMode {
    match mode {
        GroupMode::Cluster => admin::GroupMode::Cluster,
        GroupMode::Broadcast => admin::GroupMode::Broadcast,
    }
}

fn duration(millis: Option<impl Into<u64>>) -> Option<Duration> {
    millis.map(|ms| Duration::from_millis(ms.into()))
}

impl GroupSettings {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every member gets every event, in log order. A member with a name
    /// ([`Subscribe::member`](crate::Subscribe::member)) is durable: it has a place,
    /// settlements, retries and dead letters of its own. One without begins behind the
    /// newest event, lasts as long as its session, and what it settles only makes room
    /// for more. The mode is fixed when the group is made; all other settings are those of
    /// each durable member. Default: [`GroupMode::Cluster`].
    pub const fn broadcast(mut self) -> Self {
        self.mode = Some(GroupMode::Broadcast);
        self
    }

    /// How long a delivery may stay unsettled before it comes again. Default 30 s;
    /// from 1 s to 12 h.
    pub const fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = Some(wait);
        self
    }

    /// Failures (nack, ended lease, lost member) after which an event becomes a
    /// dead letter of the group. Default 5; 0: never; up to 1,000,000.
    pub const fn max_failures(mut self, failures: u32) -> Self {
        self.max_failures = Some(failures);
        self
    }

    /// An event that has failed and was stored longer ago than this becomes a dead
    /// letter. Default 0: never; up to a year.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Delay after an event's first nack that names none, which doubles with every
    /// failure, and its most. Up to 20 % are added at random. Default 1 s and 60 s;
    /// from 0 to 12 h.
    pub const fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff_min = Some(first);
        self.backoff_max = Some(most);
        self
    }

    /// After a dead letter the other events of its key wait until it is redriven
    /// and acked, or purged. Default: they go on.
    pub const fn hold_after_dead_letter(mut self, hold: bool) -> Self {
        self.hold_after_dead_letter = Some(hold);
        self
    }

    /// At most one unsettled event of a key. Default: several may be on their way
    /// to the member that has the key.
    pub const fn strict_order(mut self, strict: bool) -> Self {
        self.strict_order = Some(strict);
        self
    }

    /// Most unsettled deliveries of all members of a cluster group together. Default 0: no limit but
    /// the members' prefetch.
    pub const fn max_in_flight(mut self, deliveries: u32) -> Self {
        self.max_in_flight = Some(deliveries);
        self
    }

    /// Most deliveries a second of all members of a cluster group together, evenly. Default 0: no limit.
    pub const fn max_rate(mut self, per_second: u32) -> Self {
        self.max_rate = Some(per_second);
        self
    }

    /// As the gateway is asked for it, if all of it is within its bounds.
    pub(crate) fn check(&self) -> Result<admin::GroupSettings, String> {
        let failures = self.max_failures.map(|n| options::MAX_FAILURES.check(n.into())).transpose()?;
        let after = |hold| if hold { AfterDeadLetter::Hold } else { AfterDeadLetter::Continue };
        Ok(admin::GroupSettings {
            ack_wait_ms: millis(&options::ACK_WAIT, self.ack_wait)?,
            max_failures: failures.and_then(|n| u32::try_from(n).ok()),
            max_age_ms: millis(&options::MAX_AGE, self.max_age)?,
            backoff_min_ms: millis(&options::BACKOFF_MIN, self.backoff_min)?,
            backoff_max_ms: millis(&options::BACKOFF_MAX, self.backoff_max)?,
            after_dead_letter: self.hold_after_dead_letter.map(|hold| after(hold).into()),
            strict_order: self.strict_order,
            max_in_flight: self.max_in_flight,
            max_rate: self.max_rate,
            mode: self.mode.map(|mode| wire_mode(mode).into()),
        })
    }

    /// What a gateway says of a group.
    pub(crate) fn of(has: &admin::GroupSettings) -> Self {
        Self {
            mode: match has.mode() {
                admin::GroupMode::Unspecified => None,
                admin::GroupMode::Cluster => Some(GroupMode::Cluster),
                admin::GroupMode::Broadcast => Some(GroupMode::Broadcast),
            },
            ack_wait: duration(has.ack_wait_ms),
            max_failures: has.max_failures,
            max_age: duration(has.max_age_ms),
            backoff_min: duration(has.backoff_min_ms),
            backoff_max: duration(has.backoff_max_ms),
            hold_after_dead_letter: has.after_dead_letter.map(|_| has.after_dead_letter() == AfterDeadLetter::Hold),
            strict_order: has.strict_order,
            max_in_flight: has.max_in_flight,
            max_rate: has.max_rate,
        }
    }
}
