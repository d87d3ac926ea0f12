//! Failures as they are told to people: consecutive ones that are alike in one line.

use std::time::Duration;

use meshwire::ErrorKind;
use tokio::time::Instant;

use crate::events::Place;

/// How long a line waits for more that are alike. A guess: a person who types events waits no longer, and of thousands that
/// fail together hardly any comes later.
const GATHERED_FOR: Duration = Duration::from_secs(2);

/// Consecutive events that failed alike.
#[derive(Debug, PartialEq)]
pub(super) struct Alike {
    first: Place,
    last: Place,
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Alike {
    pub(super) fn places(&self) -> String {
        self.first.through(&self.last)
    }

    pub(super) const fn count(&self) -> u64 {
        self.last.number + 1 - self.first.number
    }
}

/// The last failures, which are not told yet.
#[derive(Default)]
pub(super) struct Failures {
    alike: Option<Alike>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Failures {
    /// One more; gives those before it that are another line.
    pub(super) fn add(&mut self, place: Place, kind: ErrorKind, message: &str) -> Option<Alike> {
        let goes_on =
            |last: &&mut Alike| place.number == last.last.number + 1 && kind == last.kind && message == last.message;
        if let Some(alike) = self.alike.as_mut().filter(goes_on) {
            alike.last = place;
            return None;
        }
        let before = self.take();
        self.alike = Some(Alike { first: place, last: place, kind, message: message.to_owned() });
        self.since = Some(Instant::now());
        before
    }

    /// When they are to be told, though more that are alike may come.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + GATHERED_FOR)
    }

    /// Those that are due.
    pub(super) fn take_due(&mut self) -> Option<Alike> {
        self.due().filter(|due| *due <= Instant::now()).and_then(|_| self.take())
    }

    pub(super) fn take(&mut self) -> Option<Alike> {
        self.since = None;
        self.alike.take()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn place(number: u64) -> Place {
        Place { number, line: Some(number), by_line: true }
    }

    fn told(alike: Option<Alike>) -> Option<(String, u64)> {
        alike.map(|alike| (alike.places(), alike.count()))
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_one_line_until_another_cause_a_gap_or_two_seconds() {
        let mut failures = Failures::default();
        let mut add = |number, kind, message| told(failures.add(place(number), kind, message));
        for number in 1..=300 {
            assert_eq!(add(number, ErrorKind::Busy, "a"), None);
        }
        assert_eq!(add(301, ErrorKind::Busy, "b"), Some(("lines 1 to 300".to_owned(), 300)));
        assert_eq!(add(302, ErrorKind::Invalid, "b"), Some(("line 301".to_owned(), 1)));
        assert_eq!(add(304, ErrorKind::Invalid, "b"), Some(("line 302".to_owned(), 1)));
        advance(GATHERED_FOR - Duration::from_millis(1)).await;
        assert_eq!((add(305, ErrorKind::Invalid, "b"), told(failures.take_due())), (None, None));
        assert_eq!(failures.due(), Some(Instant::now() + Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(told(failures.take_due()), Some(("lines 304 to 305".to_owned(), 2)));
        assert_eq!((failures.due(), failures.take()), (None, None));
    }
}
