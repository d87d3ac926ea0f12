//! When the next batch may be written: the gather rule of group commit.
//!
//! The sync in flight gathers. When it ends, its publishers are answered and
//! publish again; waiting a moment for them puts them all into one sync instead
//! of two half ones.

use std::time::Duration;

use meshwire_proto::Moment;

/// The wait is never longer, however slow the disk.
const MOST: Duration = Duration::from_millis(1);

/// Decides how long a batch waits for company.
#[derive(Debug, Default)]
pub(super) struct Gather {
    until: Option<Moment>,
    wanted: u64,
    /// Moving average of how long a sync takes.
    sync_time: Option<Duration>,
    /// Events of the last group commit and of the one that is being written.
    last: u64,
    current: u64,
}

impl Gather {
    /// Events were written for the next sync.
    pub(super) fn wrote(&mut self, events: u64) {
        self.current += events;
    }

    /// A sync has ended.
    pub(super) fn synced(&mut self, now: Moment, took: Duration) {
        let average = self.sync_time.map_or(took, |t| (t * 7 + took) / 8);
        self.sync_time = Some(average);
        self.wanted = self.last + self.current;
        (self.last, self.current) = (self.current, 0);
        self.until = (self.wanted > 0).then(|| now + (average / 4).min(MOST));
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

    #[test]
    fn a_wait_whose_time_is_up_holds_nobody_who_comes_later() {
        let mut gather = Gather::default();
        gather.wrote(10);
        gather.synced(ms(10), Duration::from_millis(2));
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
    fn the_wait_is_a_quarter_of_the_sync_time_and_at_most_a_millisecond() {
        let mut gather = Gather::default();
        gather.wrote(10);
        gather.synced(ms(10), Duration::from_millis(2));
        assert_eq!(gather.deadline(), Some(Moment(10_500)));
        assert!(gather.holds(Moment(10_499), 1) && !gather.holds(Moment(10_500), 1));
        gather.wrote(10);
        gather.synced(ms(20), Duration::from_millis(500));
        assert_eq!(gather.deadline(), Some(ms(21)));
    }

    #[test]
    fn as_many_events_as_the_last_two_batches_held_end_the_wait() {
        let mut gather = Gather::default();
        gather.wrote(20);
        gather.synced(ms(10), Duration::from_millis(4));
        gather.wrote(30);
        gather.synced(ms(20), Duration::from_millis(4));
        assert!(gather.holds(ms(20), 49) && !gather.holds(ms(20), 50));
    }

    #[test]
    fn after_batches_without_events_nothing_waits() {
        let mut gather = Gather::default();
        gather.wrote(0);
        gather.synced(ms(10), Duration::from_millis(4));
        assert!(!gather.holds(ms(10), 0));
    }
}
