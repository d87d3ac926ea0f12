//! How a group delivers: fixed by whoever creates it, kept in the log.

use std::time::Duration;

use meshwire_proto::options::{self, Bounded};
use meshwire_proto::wire::admin::{self, AfterDeadLetter, GroupMode};
use prost::Message as _;

/// The settings of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Every member gets every event. Fixed when the group is made.
    pub broadcast: bool,
    /// How long a delivery may stay unsettled.
    pub ack_wait: Duration,
    /// Failures after which an event is a dead letter; 0: never.
    pub max_failures: u32,
    /// An event that failed and is older becomes a dead letter; zero: never.
    pub max_age: Duration,
    /// Delay after an event's first nack that names none.
    pub backoff_min: Duration,
    /// The longest such delay.
    pub backoff_max: Duration,
    /// After a dead letter the other events of its key wait for it.
    pub hold_key: bool,
    /// One unsettled event a key.
    pub strict_order: bool,
    /// Most unsettled deliveries of all members; 0: no limit.
    pub max_in_flight: u32,
    /// Most deliveries a second of all members; 0: no limit.
    pub max_rate: u32,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            broadcast: false,
            ack_wait: options::ACK_WAIT.default_duration(),
            max_failures: number(options::MAX_FAILURES.default),
            max_age: options::MAX_AGE.default_duration(),
            backoff_min: options::BACKOFF_MIN.default_duration(),
            backoff_max: options::BACKOFF_MAX.default_duration(),
            hold_key: false,
            strict_order: false,
            max_in_flight: 0,
            max_rate: 0,
        }
    }
}

fn number(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// A setting that differs from what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {has}, not {asked}")]
pub struct Difference {
    /// Its name.
    pub field: &'static str,
    /// What the group has.
    pub has: String,
    /// What was asked for.
    pub asked: String,
}

impl Difference {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        if self.field == "mode" {
            "subscribe in that mode, or with another group"
        } else {
            "leave it out to take the group's"
        }
    }
}

fn duration(option: &Bounded, millis: impl Into<u64>) -> Result<Duration, String> {
    option.check_duration(Duration::from_millis(millis.into()))
}

impl GroupSettings {
    /// These settings with everything that is asked for.
    ///
    /// # Errors
    /// The option that is out of its bounds.
    pub fn with(mut self, asked: &admin::GroupSettings) -> Result<Self, String> {
        match asked.mode.map(GroupMode::try_from) {
            None | Some(Ok(GroupMode::Unspecified)) => {}
            Some(Ok(mode)) => self.broadcast = mode == GroupMode::Broadcast,
            Some(Err(_)) => return Err("mode is neither cluster nor broadcast".to_owned()),
        }
        if let Some(wait) = asked.ack_wait_ms {
            self.ack_wait = duration(&options::ACK_WAIT, wait)?;
        }
        if let Some(failures) = asked.max_failures {
            self.max_failures = number(options::MAX_FAILURES.check(failures.into())?);
        }
        if let Some(age) = asked.max_age_ms {
            self.max_age = duration(&options::MAX_AGE, age)?;
        }
        if let Some(least) = asked.backoff_min_ms {
            self.backoff_min = duration(&options::BACKOFF_MIN, least)?;
        }
        if let Some(most) = asked.backoff_max_ms {
            self.backoff_max = duration(&options::BACKOFF_MAX, most)?;
        }
        if self.backoff_min > self.backoff_max {
            if asked.backoff_max_ms.is_some() {
                let (least, most) = (self.backoff_min, self.backoff_max);
                return Err(format!("backoff_min {least:?} is more than backoff_max {most:?}"));
            }
            self.backoff_max = self.backoff_min;
        }
        match asked.after_dead_letter.map(AfterDeadLetter::try_from) {
            None | Some(Ok(AfterDeadLetter::Unspecified)) => {}
            Some(Ok(after)) => self.hold_key = after == AfterDeadLetter::Hold,
            Some(Err(_)) => return Err("after_dead_letter is neither continue nor hold".to_owned()),
        }
        self.strict_order = asked.strict_order.unwrap_or(self.strict_order);
        self.max_in_flight = asked.max_in_flight.unwrap_or(self.max_in_flight);
        self.max_rate = asked.max_rate.unwrap_or(self.max_rate);
        Ok(self)
    }

    /// The first setting in which they differ.
    #[must_use]
    pub fn difference(&self, asked: &Self) -> Option<Difference> {
        let fields = self.fields().into_iter().zip(asked.fields());
        let mut different = fields.filter(|((_, has), (_, asked))| has != asked);
        different.next().map(|((field, has), (_, asked))| Difference { field, has, asked })
    }

    /// Each by name, in words.
    fn fields(&self) -> [(&'static str, String); 10] {
        let mode = if self.broadcast { "broadcast" } else { "cluster" };
        let after = if self.hold_key { "hold" } else { "continue" };
        [
            ("mode", mode.to_owned()),
            ("ack_wait", format!("{:?}", self.ack_wait)),
            ("max_failures", self.max_failures.to_string()),
            ("max_age", format!("{:?}", self.max_age)),
            ("backoff_min", format!("{:?}", self.backoff_min)),
            ("backoff_max", format!("{:?}", self.backoff_max)),
            ("after_dead_letter", after.to_owned()),
            ("strict_order", self.strict_order.to_string()),
            ("max_in_flight", self.max_in_flight.to_string()),
            ("max_rate", self.max_rate.to_string()),
        ]
    }

    /// Every one of them, as the administration shows it.
    #[must_use]
    pub fn shown(&self) -> admin::GroupSettings {
        let after = if self.hold_key { AfterDeadLetter::Hold } else { AfterDeadLetter::Continue };
        admin::GroupSettings {
            ack_wait_ms: Some(millis(self.ack_wait)),
            max_failures: Some(self.max_failures),
            max_age_ms: Some(u64::try_from(self.max_age.as_millis()).unwrap_or(u64::MAX)),
            backoff_min_ms: Some(millis(self.backoff_min)),
            backoff_max_ms: Some(millis(self.backoff_max)),
            after_dead_letter: Some(after.into()),
            strict_order: Some(self.strict_order),
            max_in_flight: Some(self.max_in_flight),
            max_rate: Some(self.max_rate),
            mode: Some(if self.broadcast { GroupMode::Broadcast } else { GroupMode::Cluster }.into()),
        }
    }

    /// As bytes: `meshwire.admin.v1.GroupSettings` with every field.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.shown().encode_to_vec()
    }

    /// Reads them back; `None` for bytes that this version does not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let shown = admin::GroupSettings::decode(bytes).ok()?;
        // A field that a later version adds would be lost: better refused.
        let settings = Self::default().with(&shown).ok()?;
        (settings.encode() == bytes).then_some(settings)
    }

    /// How long an event waits after so many failures, the last one a nack that named no delay. `chance` spreads
    /// events that failed together.
    #[must_use]
    pub fn backoff(&self, failures: u32, chance: u64) -> Duration {
        let doubled = self.backoff_min.saturating_mul(1 << failures.saturating_sub(1).min(30));
        let wait = doubled.min(self.backoff_max);
        // Up to a fifth more: what was said is never cut short.
        wait + wait.mul_f64((chance % 1024) as f64 / 1024.0 / 5.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn what_is_not_asked_for_stays() {
        let asked = admin::GroupSettings { max_failures: Some(2), ..admin::GroupSettings::default() };
        let has = GroupSettings::default().with(&asked).unwrap();
        assert_eq!(has, GroupSettings { max_failures: 2, ..GroupSettings::default() });
        assert_eq!(has.with(&admin::GroupSettings::default()), Ok(has));
    }

    #[test]
    fn the_first_difference_is_named() {
        let has = GroupSettings::default();
        let asked = GroupSettings { max_failures: 2, max_rate: 9, ..has };
        assert_eq!(has.difference(&asked).unwrap().to_string(), "max_failures 5, not 2");
        assert_eq!(has.difference(&has), None);
    }

    #[test]
    fn they_are_read_as_they_were_written_and_newer_ones_not_at_all() {
        let settings = GroupSettings { broadcast: true, hold_key: true, max_rate: 7, ..GroupSettings::default() };
        let mut bytes = settings.encode();
        assert_eq!(GroupSettings::decode(&bytes), Some(settings));
        bytes.extend([0xf8, 0x07, 1]);
        assert_eq!(GroupSettings::decode(&bytes), None, "a field of a later version");
    }

    #[test]
    fn what_is_out_of_bounds_names_the_option() {
        let asked = admin::GroupSettings { ack_wait_ms: Some(1), ..admin::GroupSettings::default() };
        assert!(GroupSettings::default().with(&asked).unwrap_err().contains("ack_wait"));
        let asked = admin::GroupSettings { backoff_max_ms: Some(10), ..admin::GroupSettings::default() };
        assert!(GroupSettings::default().with(&asked).unwrap_err().contains("backoff_min"));
        let asked = admin::GroupSettings { mode: Some(9), ..admin::GroupSettings::default() };
        assert!(GroupSettings::default().with(&asked).unwrap_err().contains("mode"));
    }

    #[test]
    fn the_delay_doubles_up_to_its_most_and_is_never_less() {
        let settings = GroupSettings::default();
        let least: Vec<u64> = (1..9).map(|n| settings.backoff(n, 0).as_secs()).collect();
        assert_eq!(least, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(settings.backoff(1, 1023) <= Duration::from_millis(1200));
    }
}
