//! A consumer group in cluster mode: every event goes to one member until it is
//! acked. Leases, redelivery and the order of keys.
//!
//! A durable member of a broadcast group is such a group with at most one member. The broadcast group itself has none:
//! it carries the settings.
//!
//! - [`window`]: what is known of each position between the lowest unsettled one
//!   and the next one never delivered; [`slot`]: of one;
//! - [`waiting`]: which of them are to be delivered, and which of these may go;
//! - [`dispatch`]: which event goes to which member; [`choose`]: the member;
//! - [`settle`]: ack, nack, extend, ended leases, lost members; [`extended`]: leases that were;
//! - [`retry`]: delays, and when an event is given up;
//! - [`bury`]: dead letters, and their way back; [`owed`]: those that wait for room;
//! - [`expired`]: events that nobody gets any more.

mod bury;
mod choose;
mod dispatch;
mod expired;
mod extended;
mod owed;
mod retry;
mod settle;
mod slot;
mod waiting;
mod window;

use std::collections::{BTreeMap, VecDeque};

use meshwire_proto::wire::admin::DeathReason;
use meshwire_proto::{GroupKey, Moment};

use super::keys::Keys;
use super::subscriber::Subscriber;
use super::{Credit, Now, SubscriptionKey};
use crate::store::{DEAD, Failure, GroupId, GroupSettings, Outcome, Position, Ticket};
pub(crate) use bury::letter;
pub(super) use bury::{Dying, key_of};
use choose::{Rate, Turn};
pub(super) use dispatch::Pass;
use extended::Extended;
use owed::Owed;
use retry::Scheduled;
use waiting::Waiting;
use window::Window;

/// What a range of settlements takes in the log, at most, and in memory.
const RANGE_BYTES: u64 = 32;

/// Memory of settlements that wait: with so many a group is delivered nothing, as each delivery may be settled. Only where the disk has no
/// room for them.
const MOST_UNLOGGED: u64 = 4 << 20;

/// What a group starts from after a restart.
#[derive(Clone, Debug, Default)]
pub struct GroupState {
    /// Everything below is settled.
    pub floor: Position,
    /// Settled above the floor, as `[first, next)`, rising.
    pub settled: Vec<(Position, Position)>,
    /// Failures of unsettled positions.
    pub failures: BTreeMap<Position, Failure>,
}

pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) name: GroupKey,
    pub(super) settings: GroupSettings,
    /// When the group itself is kept.
    pub(super) created: Ticket,
    pub(super) window: Window,
    pub(super) members: BTreeMap<SubscriptionKey, Subscriber>,
    keys: Keys,
    /// Below `window.next`, neither leased nor settled: they come (again).
    waiting: Waiting,
    /// The same, but not yet.
    scheduled: Scheduled,
    /// To be dead letters as soon as their bytes are there; with the hash of the key that waits for each, or 0, and why.
    dying: BTreeMap<Position, (u64, DeathReason)>,
    /// What else is known of dead letters that are not there yet.
    owed: Owed,
    /// When there may be room for them again.
    bury_at: Option<Moment>,
    /// Keys that wait for dead letters, and for how many.
    held: BTreeMap<u64, u32>,
    /// Dead letters that are settled, which their topic does not know yet.
    gone: Vec<Position>,
    /// Leases as they began, in the order they end; those settled or extended meanwhile are skipped.
    leases: VecDeque<Lease>,
    /// How many were left when it was last looked which are held.
    leases_left: usize,
    extended: Extended,
    /// A member that gets this position and nothing else, because members were lost with it.
    isolated: Option<(SubscriptionKey, Position)>,
    rate: Rate,
    /// Settlements that no commit carries yet.
    unlogged: Vec<(Position, u32, Outcome)>,
    /// The deadline the engine's timers know.
    pub(super) timer: Option<Moment>,
    turn: Option<Turn>,
    /// Events that retention took before it had them, since the start.
    pub(super) overtaken: u64,
    /// Events that expired before it was done with them.
    pub(super) expired: u64,
}

/// Consecutive deliveries of one member with one deadline.
struct Lease {
    ends: Moment,
    member: SubscriptionKey,
    first_delivery: u64,
    count: u32,
}

impl Group {
    pub(super) fn new((id, name): (GroupId, GroupKey), settings: GroupSettings, now: Now, state: GroupState) -> Self {
        let owed = Owed::of(state.failures.range(..DEAD), settings.max_failures);
        Self {
            id,
            name,
            settings,
            created: Ticket::KEPT,
            window: Window::new(now, state),
            members: BTreeMap::new(),
            keys: Keys::default(),
            waiting: Waiting::default(),
            scheduled: Scheduled::default(),
            dying: BTreeMap::new(),
            bury_at: (!owed.is_empty()).then_some(Moment(0)),
            owed,
            held: BTreeMap::new(),
            gone: Vec::new(),
            leases: VecDeque::new(),
            leases_left: 0,
            extended: Extended::default(),
            isolated: None,
            rate: Rate::default(),
            unlogged: Vec::new(),
            timer: None,
            turn: None,
            overtaken: 0,
            expired: 0,
        }
    }

    /// Whether it is a broadcast group, and not a durable member of one.
    pub(super) const fn is_broadcast(&self) -> bool {
        self.settings.broadcast && self.name.member.is_none()
    }

    pub(super) fn join(&mut self, key: SubscriptionKey, credit: Credit) {
        self.members.insert(key, Subscriber::new(key, credit, self.settings.ack_wait));
    }

    /// When the next lease ends, the next delay is over, the rate allows more, or
    /// there may be room for dead letters.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let lease = self.next_end().map(|(ends, _)| ends);
        [lease, self.scheduled.first(), self.rate.waits_until(), self.bury_at].into_iter().flatten().min()
    }

    /// Settlements for the log, of at most so many bytes, about.
    pub(super) fn take_unlogged(&mut self, most: u64) -> Vec<(Position, u32, Outcome)> {
        let most = usize::try_from(most / RANGE_BYTES).unwrap_or(usize::MAX);
        if most >= self.unlogged.len() {
            return std::mem::take(&mut self.unlogged);
        }
        self.unlogged.drain(..most).collect()
    }

    /// Whether so many settlements wait for room in the log that there are to be no more.
    pub(super) fn is_clogged(&self) -> bool {
        self.unlogged_bytes() >= MOST_UNLOGGED
    }

    /// Bytes of these in a commit, about.
    pub(super) fn unlogged_bytes(&self) -> u64 {
        RANGE_BYTES * self.unlogged.len() as u64
    }

    pub(super) fn has_unlogged(&self) -> bool {
        !self.unlogged.is_empty() || self.has_reasons()
    }

    /// Notes settlements for the log; neighbours become one range.
    fn log(&mut self, position: Position, count: u32, outcome: Outcome) {
        match self.unlogged.last_mut() {
            Some((first, n, last))
                if *last == outcome && *first + u64::from(*n) == position && count <= u32::MAX - *n =>
            {
                *n += count;
            }
            _ => self.unlogged.push((position, count, outcome)),
        }
    }

    /// Events from `first` on that wait for a delay to pass.
    pub(super) fn delayed(&self, first: Position) -> u64 {
        (self.scheduled.len() - self.scheduled_below(first)) as u64
    }

    fn scheduled_below(&self, first: Position) -> usize {
        if self.window.floor() < first { self.scheduled.below(first) } else { 0 }
    }

    /// How many events of `first..end` it has yet to settle. What members hold may be below `first`, which is the first
    /// that can be read: it can still be settled.
    pub(super) fn behind(&self, (first, end): (Position, Position)) -> u64 {
        self.window.unsettled((first, end)).saturating_sub(self.lost(first))
    }

    /// Dead letters that were given back and are owed to its members, and the first of them.
    pub(super) fn given_back(&self) -> (u64, Option<Position>) {
        self.window.given_back()
    }

    /// How many events below `first` it will be told are missing.
    pub(super) fn untold(&self, first: Position) -> u64 {
        if self.is_broadcast() || self.window.floor() >= first {
            return 0;
        }
        self.lost(first) + self.window.ahead((0, first))
    }

    /// How many positions below `first` were to come again, or to become dead letters.
    fn lost(&self, first: Position) -> u64 {
        if self.window.floor() >= first {
            return 0;
        }
        let given_up = self.dying.range(..first.min(DEAD)).count();
        (self.waiting.below(first) + self.scheduled_below(first) + given_up) as u64
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.members.values().map(|m| u64::from(m.deliveries.held())).sum()
    }
}
