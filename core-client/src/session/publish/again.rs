//! Publishes that outlive a connection, or a process: given up in time, sent again, restored.

use std::ops::Range;

use meshwire_proto::frame::Receipt;
use meshwire_proto::{EventRun, Moment};

use super::{Publishes, Run, Window};
use crate::session::runs::{RUN_BYTES, To};

impl Publishes {
    /// Events of an earlier life, from `first` on, of which `open` have no answer. They may have been sent.
    pub(in crate::session) fn restore(
        &mut self,
        to: To,
        first: u64,
        (events, open): (EventRun, Vec<Range<u64>>),
        until: Option<Moment>,
    ) {
        self.settle_tail();
        if first < self.next_sequence || open.is_empty() {
            return;
        }
        let run = Run { to, first, events, open, until };
        self.events += run.open_events();
        self.bytes += run.len();
        self.next_sequence = run.last();
        self.tail_sequence = self.next_sequence;
        self.sent_before = self.next_sequence;
        self.runs.push_back(run);
    }

    /// The next sequence is at least this one.
    pub(in crate::session) fn skip_to(&mut self, sequence: u64) {
        self.settle_tail();
        self.next_sequence = self.next_sequence.max(sequence);
        self.tail_sequence = self.next_sequence;
    }

    pub(in crate::session) const fn set_forgettable(&mut self, through: u64) {
        self.forgettable = through;
    }

    pub(in crate::session) const fn in_flight(&self) -> Window {
        self.in_flight
    }

    /// When the first run is given up that is not on its way.
    pub(in crate::session) fn gives_up_at(&self, is_up: bool) -> Option<Moment> {
        self.waiting(is_up).find(|run| !run.open.is_empty()).and_then(|run| run.until)
    }

    fn waiting(&self, is_up: bool) -> impl Iterator<Item = &Run> {
        self.runs.iter().skip(if is_up { self.unsent } else { 0 })
    }

    /// Gives up what has waited until `now`; says of each range whether it was ever sent.
    pub(in crate::session) fn give_up(&mut self, now: Moment, is_up: bool) -> Vec<(Range<u64>, bool)> {
        let late = self.waiting(is_up).take_while(|run| run.until.is_some_and(|until| until <= now));
        let open: Vec<Range<u64>> = late.flat_map(|run| run.open.iter().cloned()).collect();
        self.answer_all(open)
    }

    /// Answers what is open of these; says of each range whether it was ever sent.
    fn answer_all(&mut self, ranges: Vec<Range<u64>>) -> Vec<(Range<u64>, bool)> {
        let sent = self.sent_before;
        let answered = ranges.into_iter().flat_map(|range| self.answer(range));
        let parts = answered
            .flat_map(|range| [(range.start..range.end.min(sent), true), (range.start.max(sent)..range.end, false)]);
        parts.filter(|(part, _)| !part.is_empty()).collect()
    }

    /// Everything from `first` on that has no answer is sent once more over this connection.
    pub(in crate::session) fn send_again(&mut self, first: u64) {
        let from = self.runs.partition_point(|run| run.last() <= first);
        self.unsent = self.unsent.min(from);
        let away = self.runs.iter().take(self.unsent).filter(|run| !run.open.is_empty());
        self.in_flight = away.fold(Window { events: 0, bytes: 0 }, |sum, run| Window {
            events: sum.events + run.open_events(),
            bytes: sum.bytes + run.len(),
        });
    }

    /// Whether all that a receipt answers was sent.
    pub(in crate::session) const fn was_sent(&self, receipt: &Receipt) -> bool {
        let end = receipt.first_sequence.saturating_add(receipt.count as u64);
        receipt.first_sequence > 0 && receipt.count > 0 && end <= self.sent_before
    }

    /// Answers what has no answer and is larger than a frame may be; says of each range whether it was ever sent.
    pub(in crate::session) fn larger_than(&mut self, limit: u64) -> Vec<(Range<u64>, bool)> {
        self.settle_tail();
        // Only an event of its own makes a run larger than this, and a frame's head has room in the difference.
        let large = self.runs.iter().filter(|run| run.len() + 512 > limit && run.len() > RUN_BYTES as u64);
        let open: Vec<Range<u64>> = large.flat_map(|run| run.open.iter().cloned()).collect();
        self.answer_all(open)
    }
}
