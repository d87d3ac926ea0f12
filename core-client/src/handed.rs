//! What a program was handed and has not settled, by its numbers: for languages in which nobody says that a delivery was let go of.

use crate::prefetched::Range;

/// The numbers of one generation. A program that settles in order costs one number; what it has forgotten leaves a gap.
#[derive(Debug)]
pub(crate) struct Unsettled {
    generation: Option<u32>,
    /// All below it are settled.
    from: u64,
    /// What is settled above it: first, and behind the last. Sorted, with gaps between them.
    settled: Vec<(u64, u64)>,
    /// The gateway has no more out than this: behind more gaps than that the first one has ended.
    most: usize,
}

impl Unsettled {
    pub(crate) const fn new(most: usize) -> Self {
        Self { generation: None, from: 0, settled: Vec::new(), most }
    }

    /// A run came that begins with this number.
    pub(crate) fn arrived(&mut self, generation: u32, first: u64) {
        if self.generation != Some(generation) {
            (self.generation, self.from) = (Some(generation), first);
            self.settled.clear();
        }
    }

    /// Nothing more is to be said of these.
    pub(crate) fn settled(&mut self, (generation, first, count): Range) {
        let end = first.saturating_add(count.into());
        if self.generation != Some(generation) || end <= self.from {
            return;
        }
        if first > self.from {
            self.join(first, end);
        } else {
            self.from = end;
        }
        let over = self.settled.len().saturating_sub(self.most);
        let from =
            |from: u64, (at, (first, end)): (usize, &(u64, u64))| (at < over || *first <= from).then(|| from.max(*end));
        let mut gone = 0;
        for run in self.settled.iter().enumerate() {
            let Some(further) = from(self.from, run) else { break };
            (self.from, gone) = (further, gone + 1);
        }
        self.settled.drain(..gone);
    }

    fn join(&mut self, first: u64, end: u64) {
        let at = self.settled.partition_point(|run| run.1 < first);
        let to = self.settled.partition_point(|run| run.0 <= end).max(at);
        let touched = self.settled.get(at..to).unwrap_or_default();
        let first = touched.first().map_or(first, |run| run.0.min(first));
        let end = touched.last().map_or(end, |run| run.1.max(end));
        self.settled.splice(at..to, [(first, end)]);
    }

    /// Those below `end` of which nothing was said; from here on something was.
    pub(crate) fn take(&mut self, end: u64) -> Vec<Range> {
        let Some(generation) = self.generation else { return Vec::new() };
        let mut left = Vec::new();
        for (first, last) in std::mem::take(&mut self.settled).into_iter().chain([(end, end)]) {
            let until = first.min(end);
            if let Some(count) = until.checked_sub(self.from).filter(|count| *count > 0) {
                left.push((generation, self.from, u32::try_from(count).unwrap_or(u32::MAX)));
            }
            self.from = self.from.max(last);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_was_said_of_is_left_in_whatever_order_the_rest_is_settled() {
        let mut unsettled = Unsettled::new(16);
        unsettled.arrived(3, 5);
        for (first, count) in [(5, 1), (9, 1), (7, 1), (8, 1), (12, 2), (14, 1), (11, 1)] {
            unsettled.settled((3, first, count));
        }
        unsettled.settled((2, 6, 1));
        assert_eq!(unsettled.settled, [(7, 10), (11, 15)], "runs are joined, and other generations are none of it");
        assert_eq!(unsettled.take(17), [(3, 6, 1), (3, 10, 1), (3, 15, 2)]);
        assert_eq!(unsettled.take(17), [], "it is said once");
    }

    #[test]
    fn what_was_not_handed_is_not_left_and_a_new_generation_begins_anew() {
        let mut unsettled = Unsettled::new(16);
        assert_eq!(unsettled.take(9), []);
        unsettled.arrived(0, 1);
        unsettled.settled((0, 8, 4));
        assert_eq!(unsettled.take(4), [(0, 1, 3)]);
        unsettled.arrived(1, 1);
        unsettled.settled((1, 1, 2));
        assert_eq!(unsettled.take(3), []);
    }

    #[test]
    fn a_program_that_forgets_costs_no_more_than_can_be_out() {
        let mut unsettled = Unsettled::new(4);
        unsettled.arrived(0, 1);
        for number in 1..1000 {
            unsettled.settled((0, 2 * number, 1));
            assert!(unsettled.settled.len() <= 4);
        }
        assert_eq!(unsettled.take(2000).len(), 5);
        for number in 2000..3000 {
            unsettled.settled((0, number, 1));
            assert!(unsettled.settled.is_empty());
        }
    }
}
