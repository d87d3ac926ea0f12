//! One subscriber's end of a topic: its numbers, its credit, and the runs that
//! are being put together for it.

use std::collections::VecDeque;
use std::time::Duration;

use meshwire_proto::{EventRun, Moment, UnixMillis};

use super::deliveries::{Credit, Deliveries};
use super::{Output, Room, Run, Source, SubscriptionKey};
use crate::store::{Block, Position, TopicId};

/// A run ends with the event that reaches this size, so that no frame grows past
/// what a peer accepts.
pub const MAX_RUN_BYTES: u64 = 256 * 1024;

/// So many told gaps are remembered until it is clear that they arrived. A guess: retention overtakes seldom.
const MAX_TOLD: usize = 64;

/// Consecutive positions of one block, consecutive numbers, one attempt, one expiry.
struct Open {
    block: Block,
    first_position: Position,
    first_delivery: u64,
    count: u32,
    attempt: u32,
    expires: Option<UnixMillis>,
    bytes: u64,
}

pub(super) struct Subscriber {
    pub(super) key: SubscriptionKey,
    pub(super) deliveries: Deliveries,
    /// The ack wait that it was told when it subscribed: it extends by that. Zero without a group.
    pub(super) ack_wait: Duration,
    /// When the last lease ends that it was given, unless that was extended.
    pub(super) lease_ends: Moment,
    /// A lease of it that ends was lost with it.
    pub(super) plain: bool,
    /// Such a lease has ended, and it has said nothing since: it may hang.
    pub(super) deaf: bool,
    /// Nothing is delivered: it has not begun yet, or it is away.
    pub(super) suspended: bool,
    /// Its connection is gone and may come back.
    pub(super) away: bool,
    /// Events that retention took, to be told with the next delivery.
    pub(super) gap: u64,
    /// Gaps that were told with deliveries of these numbers, which may not have arrived.
    told: VecDeque<(u64, u64)>,
    /// What it may still be handed in this pass; nobody has asked before it is its turn.
    room: Option<Room>,
    open: Option<Open>,
}

impl Subscriber {
    pub(super) const fn new(key: SubscriptionKey, credit: Credit, ack_wait: Duration) -> Self {
        Self {
            key,
            deliveries: Deliveries::new(credit),
            ack_wait,
            lease_ends: Moment(0),
            plain: false,
            deaf: false,
            suspended: false,
            away: false,
            gap: 0,
            told: VecDeque::new(),
            room: None,
            open: None,
        }
    }

    /// How long its leases last in a group of this ack wait: after a change to a shorter one no less than it was told.
    pub(super) fn lease_time(&self, ack_wait: Duration) -> Duration {
        self.ack_wait.max(ack_wait)
    }

    /// Whether its credit allows more. Who may hang has one at a time.
    pub(super) fn wants_more(&self) -> bool {
        !self.suspended && self.deliveries.has_room() && !(self.deaf && self.deliveries.held() > 0)
    }

    /// Whether it takes events, now or once it has settled some, and does not hang as far as is known. Between two fetches
    /// there is no credit, but what was fetched is held.
    pub(super) const fn listens(&self) -> bool {
        !self.suspended && !self.deaf && (self.deliveries.has_credit() || self.deliveries.held() > 0)
    }

    /// Asks what it may be handed in this pass.
    pub(super) fn ask_room(&mut self, source: &mut dyn Source) {
        self.room = Some(source.room(self.key));
    }

    /// The answer, if it was asked in this pass, less what it was given since.
    pub(super) const fn room(&self) -> Option<Room> {
        self.room
    }

    /// It was asked in another way.
    pub(super) const fn set_room(&mut self, room: Room) {
        self.room = Some(room);
    }

    /// A pass ends.
    pub(super) fn end_pass(&mut self, topic: TopicId, source: &mut dyn Source, out: &mut Vec<Output>) {
        self.flush(out);
        if self.room.take().is_some_and(Room::is_none) && self.wants_more() {
            source.starved(topic, self.key);
        }
    }

    /// Whether it may have one more, as far as is known.
    pub(super) fn is_available(&self) -> bool {
        !self.room.is_some_and(Room::is_none) && self.wants_more()
    }

    /// Delivers one event, the one at `position` of the block, held as `held`, with when it expires; runs
    /// go to `out` when they end. Gives the number and the event's bytes.
    pub(super) fn deliver(
        &mut self,
        block: &Block,
        (position, held): (Position, Position),
        (attempt, expires): (u32, Option<UnixMillis>),
        out: &mut Vec<Output>,
    ) -> (u64, u64) {
        let size = match (block.start_of(position), block.entry(position)) {
            (Some(start), Some(entry)) => entry.end - start as u32,
            _ => 0,
        };
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::DeliveryGap) && self.deliveries.next() % 40 == 39 {
            self.deliveries.hold(held, size);
        }
        let number = self.deliveries.hold(held, size);
        if let Some(room) = &mut self.room {
            room.take(size.into());
        }
        match &mut self.open {
            Some(open)
                if open.first_position + u64::from(open.count) == position
                    && open.attempt == attempt
                    && open.expires == expires
                    && position == held
                    && position < open.block.next()
                    && open.bytes < MAX_RUN_BYTES =>
            {
                open.count += 1;
                open.bytes += u64::from(size);
            }
            _ => {
                self.flush(out);
                self.open = Some(Open {
                    block: block.clone(),
                    first_position: position,
                    first_delivery: number,
                    count: 1,
                    attempt,
                    expires,
                    bytes: u64::from(size),
                });
            }
        }
        (number, size.into())
    }

    /// It has seen the delivery of this number, and so all before.
    pub(super) fn arrived(&mut self, number: u64) {
        while self.told.front().is_some_and(|(told, _)| *told <= number) {
            self.told.pop_front();
        }
    }

    /// The gap that was told with the delivery of this number.
    pub(super) fn told_with(&self, number: u64) -> u64 {
        self.told.iter().find(|(told, _)| *told == number).map_or(0, |(_, gap)| *gap)
    }

    /// Undoes deliveries from `next` on, as [`Deliveries::rewind`]; gaps that were told with them will be told again.
    pub(super) fn rewind(&mut self, next: u64) -> Option<Vec<(u64, Position)>> {
        let undone = self.deliveries.rewind(next)?;
        while let Some((_, gap)) = self.told.pop_back_if(|(number, _)| *number >= next) {
            self.gap += gap;
        }
        self.told.clear();
        Some(undone)
    }

    /// What is told with the run that begins with this number.
    fn tell(&mut self, number: u64) -> u64 {
        let gap = std::mem::take(&mut self.gap);
        #[cfg(feature = "testing")]
        let gap = if super::planted::is(super::planted::Defect::GapUntold) { 0 } else { gap };
        if gap > 0 {
            if self.told.len() == MAX_TOLD {
                self.told.pop_front();
            }
            self.told.push_back((number, gap));
        }
        gap
    }

    /// Ends the open run.
    pub(super) fn flush(&mut self, out: &mut Vec<Output>) {
        let Some(open) = self.open.take() else { return };
        let events = open.block.run(open.first_position, open.count).unwrap_or_else(EventRun::default);
        let run = Run {
            first_delivery: open.first_delivery,
            attempt: open.attempt,
            first_position: open.first_position,
            gap: self.tell(open.first_delivery),
            stored: open.block.stored,
            expires: open.expires,
            events,
        };
        out.push(Output::Deliver { subscription: self.key, run });
    }
}
