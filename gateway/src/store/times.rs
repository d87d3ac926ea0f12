//! When events are delivered, and until when: said by their publisher, kept
//! beside the events, so that those without cost nothing.

use std::collections::BTreeMap;

use meshwire_proto::UnixMillis;

use super::{Position, TopicId};

/// An event that waits for its time in a topic of the gateway's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// When it is to be delivered.
    pub due: UnixMillis,
    /// How long that was when it came, in milliseconds: it never waits longer after a restart, wherever the clock went.
    pub delay_ms: u64,
    /// How long it is delivered from then on, in milliseconds; 0: for ever.
    pub expires_in_ms: u64,
    /// Bytes of the event as it is framed.
    pub len: u32,
}

/// What happened to an event that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayChange {
    /// It begins to.
    Waits(Delay),
    /// It is in its topic now.
    Released,
}

/// Says when events are delivered, or until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Times {
    /// Of events that wait.
    Delays {
        /// The topic they wait in: [`TopicId::delayed`].
        topic: TopicId,
        /// In order.
        changes: Vec<(Position, DelayChange)>,
    },
    /// Of events that expire.
    Expires {
        /// Their topic.
        topic: TopicId,
        /// The first of them.
        first: Position,
        /// How many.
        count: u32,
        /// From then on nobody gets them any more.
        at: UnixMillis,
    },
}

impl Times {
    /// The topic it is about.
    #[must_use]
    pub const fn topic(&self) -> TopicId {
        match self {
            Self::Delays { topic, .. } | Self::Expires { topic, .. } => *topic,
        }
    }
}

/// Positions from a first one to before `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    next: Position,
    at: UnixMillis,
}

/// Until when events of a topic are delivered. Neighbours that expire together are
/// one range, and so are neighbours that have expired.
#[derive(Clone, Debug, Default)]
pub struct Expiries {
    ranges: BTreeMap<Position, Range>,
    /// How many were left when those that had expired were last joined.
    joined: usize,
}

/// Ranges that may come before it is looked which have expired. A guess.
const JOIN_AFTER: usize = 64;

impl PartialEq for Expiries {
    fn eq(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

impl Eq for Expiries {}

impl Expiries {
    /// When an event expires that is stored now and delivered for so long: early by at most a thousandth, so that
    /// those that come one after the other share a time and so a range.
    #[must_use]
    pub fn end(stored: UnixMillis, expires_in_ms: u64) -> UnixMillis {
        let long = i64::try_from(expires_in_ms).unwrap_or(i64::MAX);
        let end = stored.0.saturating_add(long);
        UnixMillis(end - end.rem_euclid((long >> 10).max(1)))
    }

    /// None of the events of the topic expires.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// So many have come since it was last looked what can go that it is time to: [`Expiries::forget_below`].
    #[must_use]
    pub fn is_crowding(&self) -> bool {
        self.ranges.len() >= 2 * self.joined + JOIN_AFTER
    }

    /// Events expire; positions come in rising order. `now`: the topic's time.
    pub fn add(&mut self, first: Position, count: u32, at: UnixMillis, now: UnixMillis) {
        let next = first + u64::from(count);
        match self.ranges.last_entry() {
            Some(mut last) if last.get().next == first && last.get().at == at => last.get_mut().next = next,
            _ => drop(self.ranges.insert(first, Range { next, at })),
        }
        if self.ranges.len() > 2 * self.joined + JOIN_AFTER {
            self.join(now);
        }
    }

    /// Neighbours that have expired become one range.
    fn join(&mut self, now: UnixMillis) {
        let mut joined: Option<(Position, Range)> = None;
        for (first, range) in std::mem::take(&mut self.ranges) {
            match &mut joined {
                Some((_, last)) if last.next == first && last.at <= now && range.at <= now => {
                    *last = Range { next: range.next, at: last.at.min(range.at) };
                }
                _ => self.ranges.extend(joined.replace((first, range))),
            }
        }
        self.ranges.extend(joined);
        self.joined = self.ranges.len();
    }

    /// When the event of a position expires.
    #[must_use]
    pub fn at(&self, position: Position) -> Option<UnixMillis> {
        let (_, range) = self.ranges.range(..=position).next_back()?;
        (range.next > position).then_some(range.at)
    }

    /// If the event of a position has expired: the next position behind all that have expired with it, as far as one
    /// range says.
    #[must_use]
    pub fn expired_before(&self, position: Position, now: UnixMillis) -> Option<Position> {
        let (_, range) = self.ranges.range(..=position).next_back()?;
        (range.next > position && range.at <= now).then_some(range.next)
    }

    /// Positions below `first` are gone.
    pub fn forget_below(&mut self, first: Position) {
        while self.ranges.first_key_value().is_some_and(|(_, range)| range.next <= first) {
            self.ranges.pop_first();
        }
        self.joined = self.joined.min(self.ranges.len());
    }

    /// Every range: first position, how many, when.
    pub fn iter(&self) -> impl Iterator<Item = (Position, u64, UnixMillis)> {
        self.ranges.iter().map(|(first, range)| (*first, range.next - first, range.at))
    }

    /// A range as [`Expiries::iter`] gave it.
    pub fn restore(&mut self, first: Position, count: u64, at: UnixMillis) {
        self.ranges.insert(first, Range { next: first.saturating_add(count), at });
        self.joined = self.ranges.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_expire_at_nearly_one_time_are_one_range_and_never_expire_late() {
        let mut expiries = Expiries::default();
        let hour = 3_600_000;
        for stored in 0..1000 {
            let end = Expiries::end(UnixMillis(stored), hour);
            let late = i64::try_from(hour).unwrap_or(0) + stored - end.0;
            assert!((0..=3600).contains(&late), "{late}");
            expiries.add(1 + stored.unsigned_abs(), 1, end, UnixMillis(stored));
        }
        assert!(expiries.len() <= 2, "{}", expiries.len());
        assert_eq!(Expiries::end(UnixMillis(7), 1), UnixMillis(8));
        assert!(Expiries::end(UnixMillis(7), u64::MAX).0 > 0);
    }

    #[test]
    fn what_has_expired_is_joined_and_stays_expired_and_what_lies_between_does_not_expire() {
        let mut expiries = Expiries::default();
        for n in 0..10_000 {
            let now = UnixMillis(n as i64);
            expiries.add(1 + n + u64::from(n >= 5000), 1, UnixMillis(now.0 + 1), now);
            assert!(expiries.len() <= 2 * JOIN_AFTER + 8, "{} at {n}", expiries.len());
        }
        assert_eq!(expiries.at(5001), None);
        assert!(expiries.at(5000).is_some_and(|at| at.0 <= 5000));
        assert!(expiries.at(5002).is_some_and(|at| at.0 <= 5001));
        assert_eq!((expiries.at(0), expiries.at(10_002)), (None, None));
        let mut again = Expiries::default();
        expiries.iter().for_each(|(first, count, at)| again.restore(first, count, at));
        assert_eq!(again, expiries);
        expiries.forget_below(20_000);
        assert!(expiries.is_empty());
    }
}
