//! When the next batch may be written: the gather rule of group commit.
//!
//! The sync in flight gathers. When it ends, its publishers are answered and
//! publish again; waiting a moment for them puts them all into one sync instead
//! of two half ones.

use std::time::Duration;

use meshwire_proto::Moment;

/// The wait is never longer, however slow the disk.
const MOST: Duration = Duration::from_millis(1);

/// About what it takes to answer a publisher and to get its next event.
const TURN: Duration = Duration::from_micros(16);

/// Decides how long a batch waits for company.
#[derive(Debug, Default)]
pub(super) struct Gather {
    until: Option<Moment>,
    wanted: u64,
    /// Moving average of how long a sync takes.
    sync_time: Option<Duration>,
    /// Events that the next sync covers.
    written: u64,
}

impl Gather {
    /// Events were written for the next sync.
    pub(super) fn wrote(&mut self, events: u64) {
        self.written += events;
    }

    /// A sync has ended, and so many events came meanwhile.
    ///
    /// If every publisher has one event in flight, they and those that are answered
    /// now are all there are. When a turn of them all takes longer than a sync, some
    /// are left out: their turn then falls into the time of the next sync, in which
    /// the processor would have nothing to do. Never more than a third of them, for
    /// a sync costs processor time too.
    pub(super) fn synced(&mut self, now: Moment, took: Duration, waiting: u64) {
        let average = self.sync_time.map_or(took, |t| (t * 7 + took) / 8);
        self.sync_time = Some(average);
        let all = waiting + std::mem::take(&mut self.written);
        let turns_of_a_sync = (average.as_micros() / TURN.as_micros()) as u64;
        let left_out = if turns_of_a_sync < all { turns_of_a_sync.min(all / 3) } else { 0 };
        self.wanted = all - left_out;
        let turns = TURN.saturating_mul(u32::try_from(self.wanted).unwrap_or(u32::MAX));
        self.until = (self.wanted > 0).then(|| now + turns.max(average / 4).min(MOST));
    }

    /// Whether a batch of so many events should still wait.
    pub(super) fn holds(&self, now: Moment, events: u64) -> bool {
        self.until.is_some_and(|until| now < until && events < self.wanted)
    }

    /// Whether only time can end the wait of a batch of so many events.
    pub(super) const fn waits(&self, events: u64) -> bool {
        self.until.is_some() && events < self.wanted
    }

    /// When the wait ends.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.until
    }

    /// Ends a wait whose time is up: from then on a commit is written at once.
    pub(super) fn let_pass(&mut self, now: Moment) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
    }

    /// The wait is over.
    pub(super) fn open(&mut self) {
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Moment {
        Moment(n * 1000)
    }

    /// After a sync of so many events that took so long, while others came.
    fn after(events: u64, took: Duration, waiting: u64) -> Gather {
        let mut gather = Gather::default();
        gather.wrote(events);
        gather.synced(ms(10), took, waiting);
        gather
    }

    #[test]
    fn a_wait_whose_time_is_up_holds_nobody_who_comes_later() {
        let mut gather = after(10, Duration::from_millis(2), 0);
        gather.let_pass(Moment(10_499));
        assert!(gather.waits(1));
        gather.let_pass(Moment(10_500));
        assert!(!gather.waits(1));
        assert_eq!(gather.deadline(), None);
    }

    #[test]
    fn nothing_waits_when_nothing_was_in_flight() {
        assert!(!Gather::default().holds(ms(5), 1));
    }

    #[test]
    fn the_wait_is_a_quarter_of_the_sync_time_or_a_turn_for_each_and_at_most_a_millisecond() {
        let gather = after(10, Duration::from_millis(2), 0);
        assert_eq!(gather.deadline(), Some(Moment(10_500)));
        assert!(gather.holds(Moment(10_499), 1) && !gather.holds(Moment(10_500), 1));
        assert_eq!(after(10, Duration::from_micros(400), 15).deadline(), Some(Moment(10_400)));
        assert_eq!(after(10, Duration::from_millis(500), 0).deadline(), Some(ms(11)));
        assert_eq!(after(u64::MAX / 2, Duration::from_millis(1), 0).deadline(), Some(ms(11)));
    }

    #[test]
    fn the_wait_ends_when_all_are_there_who_were_answered_or_came_meanwhile() {
        let gather = after(30, Duration::from_millis(4), 20);
        assert!(gather.holds(ms(10), 49) && !gather.holds(ms(10), 50));
    }

    #[test]
    fn with_fast_syncs_those_are_left_out_whose_turn_the_next_sync_covers() {
        let gather = after(30, Duration::from_micros(160), 20);
        assert!(gather.holds(ms(10), 39) && !gather.holds(ms(10), 40));
        let gather = after(30, Duration::from_micros(640), 20);
        assert!(gather.holds(ms(10), 33) && !gather.holds(ms(10), 34));
    }

    #[test]
    fn a_publisher_who_is_alone_never_waits() {
        assert!(!after(1, Duration::from_millis(4), 0).holds(ms(10), 1));
    }

    #[test]
    fn after_a_sync_without_events_nothing_waits() {
        assert!(!after(0, Duration::from_millis(4), 0).holds(ms(10), 0));
    }
}
