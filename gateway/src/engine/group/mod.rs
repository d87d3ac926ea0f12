//! A consumer group in cluster mode: every event goes to one member until it is
//! acked. Leases, redelivery and the order of keys.
//!
//! - [`window`]: what is known of each position between the lowest unsettled one
//!   and the next one never delivered;
//! - [`dispatch`]: which event goes to which member;
//! - [`settle`]: ack, nack, ended leases, lost members.

mod dispatch;
mod settle;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use meshwire_proto::Moment;

use super::keys::Keys;
use super::subscriber::Subscriber;
use super::{Credit, SubscriptionKey};
use crate::store::{GroupId, Outcome, Position, Ticket};
use window::Window;

/// What a group starts from after a restart.
#[derive(Clone, Debug, Default)]
pub struct GroupState {
    /// Everything below is settled.
    pub floor: Position,
    /// Settled above the floor, as `[first, next)`, rising.
    pub settled: Vec<(Position, Position)>,
    /// Failures of unsettled positions.
    pub failures: BTreeMap<Position, u32>,
}

pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) ack_wait: Duration,
    /// When the group itself is kept.
    pub(super) created: Ticket,
    pub(super) window: Window,
    pub(super) members: BTreeMap<SubscriptionKey, Subscriber>,
    keys: Keys,
    /// Below `window.next`, neither leased nor settled: they come (again).
    waiting: BTreeSet<Position>,
    /// Leases in the order they end; those settled meanwhile are skipped.
    leases: VecDeque<Lease>,
    /// Settlements that no commit carries yet.
    unlogged: Vec<(Position, u32, Outcome)>,
    /// The deadline the engine's timers know.
    pub(super) timer: Option<Moment>,
    turn: Option<Turn>,
    /// Nothing was delivered since it was created: what retention took is no gap.
    fresh: bool,
}

/// Who got the last event.
#[derive(Clone, Copy)]
struct Turn {
    member: SubscriptionKey,
    /// How many in a row.
    count: u32,
    /// Keys up to which it gets those that nobody has.
    keys: usize,
}

/// Consecutive deliveries of one member with one deadline.
struct Lease {
    ends: Moment,
    member: SubscriptionKey,
    first_delivery: u64,
    count: u32,
}

impl Group {
    pub(super) fn new(id: GroupId, ack_wait: Duration, state: GroupState, fresh: bool) -> Self {
        Self {
            id,
            ack_wait,
            created: Ticket::KEPT,
            window: Window::new(state),
            members: BTreeMap::new(),
            keys: Keys::default(),
            waiting: BTreeSet::new(),
            leases: VecDeque::new(),
            unlogged: Vec::new(),
            timer: None,
            turn: None,
            fresh,
        }
    }

    pub(super) fn join(&mut self, key: SubscriptionKey, credit: Credit) {
        self.members.insert(key, Subscriber::new(key, credit));
    }

    /// When the next lease ends.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.leases.front().map(|l| l.ends)
    }

    /// Settlements for the log.
    pub(super) fn take_unlogged(&mut self) -> Vec<(Position, u32, Outcome)> {
        std::mem::take(&mut self.unlogged)
    }

    pub(super) fn has_unlogged(&self) -> bool {
        !self.unlogged.is_empty()
    }

    /// Notes settlements for the log; neighbours become one range.
    fn log(&mut self, position: Position, count: u32, outcome: Outcome) {
        match self.unlogged.last_mut() {
            Some((first, n, last)) if *last == outcome && *first + u64::from(*n) == position => *n += count,
            _ => self.unlogged.push((position, count, outcome)),
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.members.values().map(|m| u64::from(m.deliveries.held())).sum()
    }
}
