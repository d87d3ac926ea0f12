//! Rates of the whole gateway that can be changed while it runs.
//!
//! A rate is kept by shares of time: what is taken moves the moment up to which the rate is used up, and whoever comes
//! has the next share. A few atomics, whatever comes in between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meshwire_proto::wire::admin::{self, answer};
use meshwire_proto::{ErrorKind, Moment, options};

use super::admin::Answered;
use super::{Action, Caller, Mesh, Refusal, Ticket, shard};

/// How much of a rate may be used at once after a pause.
const BURST: Duration = Duration::from_millis(100);

const SECOND: u64 = 1_000_000_000;

/// Most that may be published and delivered, as events and bytes a second. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// By all publishers together.
    pub publish: (u64, u64),
    /// To all subscriptions together.
    pub deliver: (u64, u64),
}

/// Events and bytes a second, together: whichever is used up first. 0: no limit.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    events: AtomicU64,
    bytes: AtomicU64,
    /// Up to when the rate is used up, in nanoseconds.
    spent: AtomicU64,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Pacer {
    pub(super) const fn new((events, bytes): (u64, u64)) -> Self {
        Self { events: AtomicU64::new(events), bytes: AtomicU64::new(bytes), spent: AtomicU64::new(0) }
    }

    /// Events and bytes a second.
    pub(super) fn rates(&self) -> (u64, u64) {
        (self.events.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Sets the rates anew, with nothing used of them.
    pub(super) fn set(&self, (events, bytes): (u64, u64)) {
        self.events.store(events, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_off(&self) -> bool {
        self.rates() == (0, 0)
    }

    fn cost(&self, events: u64, bytes: u64) -> u64 {
        let share = |count: u64, rate: u64| count.saturating_mul(SECOND).checked_div(rate).unwrap_or(0);
        let (event_rate, byte_rate) = self.rates();
        share(events, event_rate).max(share(bytes, byte_rate))
    }

    /// Takes a share; gives how long to wait for it, or, without taking it, how long that would be if it is longer
    /// than `most`.
    pub(super) fn reserve(
        &self,
        now: Moment,
        (events, bytes): (u64, u64),
        most: Duration,
    ) -> Result<Duration, Duration> {
        if self.is_off() {
            return Ok(Duration::ZERO);
        }
        let (now, cost) = (now.0.saturating_mul(1000), self.cost(events, bytes));
        let next = |spent: u64| {
            let begins = spent.max(now.saturating_sub(nanos(BURST)));
            (begins.saturating_sub(now) <= nanos(most)).then(|| begins.saturating_add(cost))
        };
        let wait = |spent: u64| Duration::from_nanos(spent.saturating_sub(now));
        match self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(spent) => Ok(wait(spent)),
            Err(spent) => Err(wait(spent)),
        }
    }

    /// How long it takes until so much more has had its share.
    pub(super) fn wait_behind(&self, now: Moment, (events, bytes): (u64, u64)) -> Duration {
        let spent = self.spent.load(Ordering::Relaxed).saturating_sub(now.0.saturating_mul(1000));
        Duration::from_nanos(spent.saturating_add(self.cost(events, bytes)))
    }

    /// Takes a share that was used already.
    pub(super) fn charge(&self, now: Moment, used: (u64, u64)) {
        // Any wait is short enough.
        let _ = self.reserve(now, used, Duration::MAX);
    }

    /// Until when the rate is used up, if it is.
    pub(super) fn used_up(&self, now: Moment) -> Option<Moment> {
        if self.is_off() {
            return None;
        }
        let until = Moment(self.spent.load(Ordering::Relaxed).div_ceil(1000));
        (until > now).then_some(until)
    }

    /// As many events and bytes as may be taken at once; at least one.
    pub(super) fn at_once(&self) -> (u64, u64) {
        let part = |rate: u64| if rate == 0 { u64::MAX } else { (rate / 10).max(1) };
        let (events, bytes) = self.rates();
        (part(events), part(bytes))
    }
}

impl Mesh {
    pub(super) fn get_limits(&self, caller: &Caller) -> Answered {
        self.authorize(caller, Action::ReadLimits, "")?;
        Ok((self.limits_in_force(), Ticket::KEPT))
    }

    /// Changes what is named, all of it or nothing.
    pub(super) fn set_limits(&self, caller: &Caller, set: &admin::SetLimits) -> Answered {
        self.authorize(caller, Action::SetLimits, "")?;
        let inner = &*self.inner;
        let asked = set.limits.unwrap_or_default();
        let (publish, deliver) = (inner.publishes.rates(), inner.deliveries.rates());
        let publish_to = (
            rate(&options::MAX_PUBLISH_RATE, asked.publish_rate, publish.0)?,
            rate(&options::MAX_PUBLISH_BYTES_RATE, asked.publish_bytes_rate, publish.1)?,
        );
        let deliver_to = (
            rate(&options::MAX_DELIVER_RATE, asked.deliver_rate, deliver.0)?,
            rate(&options::MAX_DELIVER_BYTES_RATE, asked.deliver_bytes_rate, deliver.1)?,
        );
        if let Some(bytes) = asked.publish_budget_bytes {
            let most = inner.config.publish_budget_bytes;
            if !(1..=most).contains(&bytes) {
                let text = format!(
                    "publish_budget_bytes is {bytes}; from 1 to {most} is accepted, which the gateway was started with"
                );
                return Err(Refusal::new(ErrorKind::Invalid, text));
            }
            inner.budget.set_limit(bytes);
        }
        if publish_to != publish {
            inner.publishes.set(publish_to);
        }
        if deliver_to != deliver {
            inner.deliveries.set(deliver_to);
        }
        // What waited for the old rate need not wait for the new one, nor a shard for those that did.
        inner.shards.iter().for_each(|shard| inner.wait_no_more(&mut shard::lock(shard)));
        for shard in &inner.shards {
            inner.with(shard, |_, _| {});
        }
        tracing::info!(principal = %caller.principal, ?publish_to, ?deliver_to, "the gateway's limits were set");
        Ok((self.limits_in_force(), Ticket::KEPT))
    }

    fn limits_in_force(&self) -> admin::Answer {
        let inner = &*self.inner;
        let (publish, deliver) = (inner.publishes.rates(), inner.deliveries.rates());
        let limits = admin::Limits {
            publish_rate: Some(publish.0),
            publish_bytes_rate: Some(publish.1),
            publish_budget_bytes: Some(inner.budget.limit()),
            deliver_rate: Some(deliver.0),
            deliver_bytes_rate: Some(deliver.1),
        };
        let in_force = admin::LimitsInForce {
            limits: Some(limits),
            unkept_bytes: inner.budget.used(),
            sending_bytes: inner.memory.used() + inner.answers.used(),
            sending_most: inner.config.connection_bytes,
        };
        admin::Answer { answer: Some(answer::Answer::Limits(in_force)) }
    }
}

fn rate(option: &options::Bounded, asked: Option<u64>, now: u64) -> Result<u64, Refusal> {
    let invalid = |problem| Refusal::new(ErrorKind::Invalid, problem);
    asked.map_or(Ok(now), |rate| option.check(rate).map_err(invalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Moment {
        Moment(millis * 1000)
    }

    #[test]
    fn shares_follow_each_other_and_a_pause_gives_no_more_than_a_burst() {
        let pacer = Pacer::new((100, 0));
        let most = Duration::from_secs(5);
        let waits: Vec<u128> =
            (0..15).filter_map(|_| pacer.reserve(at(60_000), (1, 0), most).ok()).map(|w| w.as_millis()).collect();
        let expected: Vec<u128> = std::iter::repeat_n(0, 11).chain([10, 20, 30, 40]).collect();
        assert_eq!(waits, expected);
        assert_eq!(pacer.used_up(at(60_000)), Some(at(60_050)));
        assert_eq!(pacer.used_up(at(60_050)), None);
    }

    #[test]
    fn who_would_wait_too_long_takes_nothing_and_is_told_how_long() {
        let pacer = Pacer::new((0, 1000));
        let most = Duration::from_secs(1);
        assert_eq!(pacer.reserve(at(1000), (1, 3100), most), Ok(Duration::ZERO));
        assert_eq!(pacer.reserve(at(1000), (1, 10), most), Err(Duration::from_secs(3)));
        assert_eq!(pacer.reserve(at(3000), (1, 10), most), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn other_rates_hold_at_once() {
        let pacer = Pacer::new((1, 0));
        pacer.charge(at(0), (3600, 0));
        assert!(pacer.reserve(at(0), (1, 1), Duration::from_secs(5)).is_err());
        pacer.set((1000, 0));
        assert_eq!(pacer.reserve(at(0), (1, 1), Duration::from_secs(5)), Ok(Duration::ZERO));
        pacer.set((0, 0));
        assert!(pacer.is_off() && pacer.used_up(at(0)).is_none());
    }
}
