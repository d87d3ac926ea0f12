//! A group whose settings are changed while it runs: how many it may have in flight, how many a second, how long they
//! are leased, when they are given up, how long a failed one waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::wire::admin::GroupSettings;

use crate::history::{Delivered, History, Topic};
use crate::keys::is_about;
use crate::script::{ACK_WAIT, BACKOFF, IMPATIENT, MAX_FAILURES, TUNED};
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};

/// After a pause a group may make up for so much time.
const BURST: Duration = Duration::from_millis(100);

/// Bounds of its ack wait.
const ACK_WAITS: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(15));

/// What it is like. 0: no limit, never, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    ack_wait_ms: u32,
    max_failures: u32,
    backoff_ms: u32,
    max_in_flight: u32,
    max_rate: u32,
}

/// As whoever comes first makes it.
const FIRST: Settings = Settings {
    ack_wait_ms: ACK_WAIT.as_millis() as u32,
    max_failures: 0,
    backoff_ms: 0,
    max_in_flight: 0,
    max_rate: 0,
};

impl Settings {
    /// Those of a subscription before anybody changed them.
    pub(crate) fn first() -> GroupSettings {
        FIRST.asked()
    }

    pub(crate) fn asked(self) -> GroupSettings {
        GroupSettings {
            ack_wait_ms: Some(self.ack_wait_ms),
            max_failures: Some(self.max_failures),
            backoff_min_ms: Some(self.backoff_ms),
            max_in_flight: Some(self.max_in_flight),
            max_rate: Some(self.max_rate),
            ..GroupSettings::default()
        }
    }

    fn changed(mut self, rng: &mut fastrand::Rng) -> Self {
        for _ in 0..rng.u32(1..=3) {
            let some = |rng: &mut fastrand::Rng, from, to| if rng.u32(0..3) == 0 { 0 } else { rng.u32(from..to) };
            match rng.u32(0..6) {
                0 => self.ack_wait_ms = rng.u32(ACK_WAITS.0.as_millis() as u32..=ACK_WAITS.1.as_millis() as u32),
                1 => self.max_failures = some(rng, 2, 6),
                2 => self.backoff_ms = some(rng, 50, 400),
                3 | 4 => self.max_in_flight = some(rng, 1, 9),
                _ => self.max_rate = some(rng, 20, 200),
            }
        }
        self
    }

    const fn limit(value: u32) -> Option<u32> {
        if value == 0 { None } else { Some(value) }
    }
}

/// Somebody changed them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuned {
    pub(crate) at: Moment,
    pub(crate) topic: Topic,
    pub(crate) settings: Settings,
    /// When that was kept. What was not may be undone by the end of the gateway.
    pub(crate) kept: Option<Moment>,
}

impl History {
    fn tuned_of(&self, topic: Topic) -> impl Iterator<Item = &Tuned> {
        self.tuned.iter().filter(move |tuned| tuned.topic == topic)
    }

    /// Other settings than the last ones.
    pub(crate) fn next_settings(&self, topic: Topic, rng: &mut fastrand::Rng) -> Settings {
        self.tuned_of(topic).last().map_or(FIRST, |tuned| tuned.settings).changed(rng)
    }

    /// What may have been in force in this span.
    fn in_force(&self, topic: Topic, from: Moment, to: Moment) -> Vec<Settings> {
        let mut all = vec![FIRST];
        for tuned in self.tuned_of(topic).take_while(|tuned| tuned.at <= to) {
            let undone = tuned.kept.is_none() && self.disasters.iter().any(|d| d.at >= tuned.at && d.at <= to);
            if tuned.at <= from && !undone {
                all.clear();
            }
            all.push(tuned.settings);
        }
        all
    }

    /// After how many failures a group gives an event up, at the least; `None`: never.
    pub(crate) fn gives_up_after(&self, group: u8) -> Option<u32> {
        match group {
            IMPATIENT => Some(MAX_FAILURES),
            TUNED => self.tuned.iter().filter_map(|tuned| Settings::limit(tuned.settings.max_failures)).min(),
            _ => None,
        }
    }

    /// How long an event that failed waits, at the least, if the gateway heard of it in this span.
    pub(crate) fn backoff(&self, group: u8, topic: Topic, (from, to): (Moment, Moment)) -> Duration {
        let least = || self.in_force(topic, from, to).into_iter().map(|settings| settings.backoff_ms).min();
        match group {
            IMPATIENT => BACKOFF,
            TUNED => Duration::from_millis(least().unwrap_or(0).into()),
            _ => Duration::ZERO,
        }
    }
}

/// The shortest and the longest lease of a group.
pub(crate) const fn ack_waits(group: u8) -> (Duration, Duration) {
    if group == TUNED { ACK_WAITS } else { (ACK_WAIT, ACK_WAIT) }
}

/// A group has no more in flight, and is delivered no more a second, than its settings of that moment say.
pub(crate) fn limits_of_a_group_hold_as_they_are_changed(seen: &Seen<'_>, broken: &mut Vec<String>) {
    for topic in Topic::ALL {
        let all = seen.history.delivered.iter().filter(|d| d.topic == topic && d.group == Some(TUNED));
        let all: Vec<&Delivered> = all.collect();
        in_flight(seen, topic, &all, broken);
        rate(seen, topic, &all, broken);
    }
}

fn under_way(seen: &Seen<'_>, at: Moment) -> Duration {
    let before = Moment(at.0.saturating_sub(HELD_BACK.as_micros() as u64));
    if seen.stalled(before, at) { HELD_BACK } else { UNDER_WAY }
}

fn back(at: Moment, by: Duration) -> Moment {
    Moment(at.0.saturating_sub(by.as_micros() as u64))
}

fn in_flight(seen: &Seen<'_>, topic: Topic, all: &[&Delivered], broken: &mut Vec<String>) {
    let held: Vec<Moment> = all.iter().map(|d| held_until(seen, d)).collect();
    for (n, d) in all.iter().enumerate() {
        let sent = back(d.at, under_way(seen, d.at));
        let settings = seen.history.in_force(topic, sent, d.at);
        let limits: Option<Vec<u32>> = settings.iter().map(|s| Settings::limit(s.max_in_flight)).collect();
        let Some(most) = limits.and_then(|limits| limits.into_iter().max()) else { continue };
        let before = all.iter().zip(&held).take(n);
        let with_it = before.filter(|(other, until)| other.life == d.life && other.at < sent && **until > d.at);
        let ids: BTreeSet<u32> = with_it.map(|(other, _)| other.id).filter(|id| *id != d.id).collect();
        if ids.len() >= most as usize {
            broken.push(format!(
                "{}: {} came to the group at {:?}, which had {} in flight and may have {most}",
                topic.name(),
                d.position,
                d.at,
                ids.len()
            ));
        }
    }
}

/// Until when a delivery was in flight for certain. One with a key may be taken back by another one.
fn held_until(seen: &Seen<'_>, d: &Delivered) -> Moment {
    if seen.key(d.id).is_some() {
        return d.at;
    }
    let settled = seen.history.settled.get(&(TUNED, d.id));
    let settles = settled.into_iter().flat_map(|s| s.acks.iter().chain(&s.nacks));
    let settles = settles.filter(|given| is_about(given, d)).map(|given| given.at);
    let again = seen.deliveries(TUNED, d.id).iter().filter(|next| next.at > d.at).map(|next| back(next.at, HELD_BACK));
    let gone = [&seen.history.breaks, &seen.history.left];
    let gone = gone.into_iter().filter_map(|times| times.get(&d.client)).flatten().copied().filter(|at| *at >= d.at);
    let ended = seen.history.disasters.iter().map(|ended| ended.at).filter(|at| *at >= d.at);
    let lease = d.at + ack_waits(TUNED).0.saturating_sub(HELD_BACK);
    settles.chain(again).chain(gone).chain(ended).min().map_or(lease, |at| at.min(lease))
}

fn rate(seen: &Seen<'_>, topic: Topic, all: &[&Delivered], broken: &mut Vec<String>) {
    let mut lives: BTreeMap<u32, Vec<Moment>> = BTreeMap::new();
    all.iter().for_each(|d| lives.entry(d.life).or_default().push(d.at));
    for times in lives.values() {
        for (n, from) in times.iter().enumerate() {
            let sent = back(*from, under_way(seen, *from));
            for (count, to) in (1_u32..).zip(times.iter().skip(n)) {
                let settings = seen.history.in_force(topic, sent, *to);
                let rates: Option<Vec<u32>> = settings.iter().map(|s| Settings::limit(s.max_rate)).collect();
                let Some(most) = rates.and_then(|rates| rates.into_iter().max()) else { break };
                let time = to.since(sent) + BURST;
                if f64::from(count) > f64::from(most) * time.as_secs_f64() + 1.0 {
                    broken.push(format!(
                        "{}: {count} came to the group from {from:?} to {to:?}, and {most} a second may",
                        topic.name()
                    ));
                    return;
                }
            }
        }
    }
}
