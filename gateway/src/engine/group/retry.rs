//! What becomes of an event that failed: when it comes again, and when it is
//! given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwire_proto::{Moment, UnixMillis};

use super::Group;
use super::window::{NACKED, Why};
use crate::engine::{Now, SubscriptionKey};
use crate::store::{DEAD, GroupSettings, Outcome, Position};

/// How often a member may be lost with an event until it is delivered alone.
const LOST_TOGETHER: u32 = 2;

/// Positions that wait for their time.
#[derive(Default)]
pub(super) struct Scheduled {
    by_time: BTreeSet<(Moment, Position)>,
    /// When each is due, by the hash of its key, 0 for none: what follows in a key waits behind it.
    by_key: BTreeMap<(u64, Position), Moment>,
}

impl Scheduled {
    fn add(&mut self, due: Moment, position: Position, key: u64) {
        if let Some(before) = self.by_key.insert((key, position), due) {
            self.by_time.remove(&(before, position));
        }
        self.by_time.insert((due, position));
    }

    /// The next position whose time has come.
    fn pop(&mut self, now: Moment) -> Option<Position> {
        let (due, position) = *self.by_time.first()?;
        if due > now {
            return None;
        }
        self.by_time.pop_first();
        Some(position)
    }

    fn positions(&self) -> impl Iterator<Item = Position> {
        self.by_time.iter().map(|(_, position)| *position)
    }

    /// How many are below a position.
    pub(super) fn below(&self, end: Position) -> usize {
        self.positions().filter(|position| *position < end).count()
    }

    /// A position waits no more.
    pub(super) fn remove(&mut self, position: Position, key: u64) {
        if let Some(due) = self.by_key.remove(&(key, position)) {
            self.by_time.remove(&(due, position));
        }
    }

    /// Leaves only dead letters.
    pub(super) fn forget_events(&mut self) {
        self.by_time.retain(|(_, position)| position & DEAD != 0);
        self.by_key.retain(|(_, position), _| position & DEAD != 0);
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    pub(super) fn first(&self) -> Option<Moment> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Whether a position must wait behind an earlier one of its key.
    pub(super) fn holds(&self, key: u64, position: Position) -> bool {
        key != 0 && !self.by_key.is_empty() && self.by_key.range((key, 0)..(key, position)).next().is_some()
    }
}

/// What a nack asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Again {
    /// When the group's settings say.
    Backoff,
    After(Duration),
}

/// Spreads events that failed together; the same in every run.
const fn chance(position: Position, failures: u32) -> u64 {
    let mixed = (position ^ (failures as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

fn millis(delay: Duration) -> u32 {
    u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)
}

impl Group {
    /// Other settings, from now on.
    pub(in crate::engine) fn change(&mut self, settings: GroupSettings) {
        self.settings = settings;
        if !settings.hold_key {
            self.release_all();
        }
        // What failed too often by the new ones is given up now.
        let not_out = self.waiting.positions().chain(self.scheduled.positions());
        let exhausted: Vec<Position> = not_out.filter(|p| self.is_exhausted(*p)).collect();
        for position in exhausted {
            self.scheduled.remove(position, self.window.key(position).unwrap_or(0));
            self.give_up(position);
        }
        // Order may be less strict now.
        self.wake_all();
    }

    /// A nack: one more failure, and when it comes again.
    pub(super) fn nacked(&mut self, now: Now, position: Position, again: Again, said: &str) {
        let delay = match again {
            Again::After(delay) => delay,
            #[cfg(feature = "testing")]
            Again::Backoff if crate::engine::planted::is(crate::engine::planted::Defect::DelayIgnored) => {
                Duration::ZERO
            }
            Again::Backoff => {
                let failures = self.window.trouble(position).map_or(0, |t| t.failure.count) + 1;
                self.settings.backoff(failures, chance(position, failures))
            }
        };
        let delay_ms = millis(delay);
        self.fail(now, position, Outcome::Failed { at: now.wall, delay_ms }, Why { said, what: NACKED });
    }

    /// One more failure: the event comes again, and every later one of its key with it; or it was rejected, and goes alone.
    pub(super) fn fail(&mut self, now: Now, position: Position, outcome: Outcome, why: Why<'_>) {
        self.log(position, 1, outcome);
        self.window.fail(position, outcome, why);
        match outcome {
            Outcome::Rejected { .. } => self.take_rejected(position),
            _ => self.take_back(position),
        }
        if self.is_exhausted(position) {
            self.give_up(position);
        } else if let Outcome::Failed { delay_ms: delay @ 1.., .. } = outcome {
            self.schedule(now.mono + Duration::from_millis(delay.into()), position);
        }
    }

    /// A position that waits does so until then.
    pub(super) fn schedule(&mut self, due: Moment, position: Position) {
        if let Some(key) = self.window.slot(position).map(|s| s.key) {
            self.unwait(position);
            self.scheduled.add(due, position, key);
        }
    }

    /// Positions whose time has come; `true` if there was one.
    pub(super) fn wake_scheduled(&mut self, now: Moment) -> bool {
        let mut any = false;
        while let Some(position) = self.scheduled.pop(now) {
            if let Some(key) = self.window.slot(position).map(|s| s.key) {
                self.scheduled.by_key.remove(&(key, position));
                self.wait(position, key);
            }
            any = true;
        }
        any
    }

    /// Whether it failed so often that it is given up, or was rejected.
    pub(super) fn is_exhausted(&self, position: Position) -> bool {
        let most = self.settings.max_failures;
        self.window.trouble(position).is_some_and(|t| t.failure.is_final(most))
    }

    /// Whether it has failed and is too old to be tried again.
    pub(super) fn is_too_old(&self, now: Now, position: Position, stored: UnixMillis) -> bool {
        let age = self.settings.max_age;
        !age.is_zero()
            && self.window.trouble(position).is_some()
            && position & DEAD == 0
            && now.wall.0.saturating_sub(stored.0) >= i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether members were lost with it so often that it is delivered alone.
    pub(super) fn is_poison(&self, position: Position) -> bool {
        self.window.trouble(position).is_some_and(|t| t.failure.lost >= LOST_TOGETHER)
    }

    /// Whether a member is kept free for a position that is delivered alone, or has it.
    pub(super) fn is_set_apart(&self, member: SubscriptionKey) -> bool {
        self.isolated.is_some_and(|(apart, _)| apart == member)
    }
}
