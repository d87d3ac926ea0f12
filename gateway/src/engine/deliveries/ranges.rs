//! What is remembered of past numbers: ranges of those of which the same is true.

use std::collections::VecDeque;
use std::ops::Range;

/// Rising, without overlap; over its bound the lowest is forgotten.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    ranges: VecDeque<(u64, u64, T)>,
    most: usize,
}

impl<T: Copy + PartialEq> Ranges<T> {
    pub(super) const fn new(most: usize) -> Self {
        Self { ranges: VecDeque::new(), most }
    }

    /// Notes what is true of a number that is not here yet.
    pub(super) fn remember(&mut self, number: u64, what: T) {
        let ranges = &mut self.ranges;
        // As a rule it is the highest so far.
        let at = if ranges.back().is_none_or(|(first, ..)| *first < number) {
            ranges.len()
        } else {
            ranges.partition_point(|(first, ..)| *first < number)
        };
        let joins = |range: Option<&(u64, u64, T)>, edge: fn(&(u64, u64, T)) -> u64, at: u64| {
            range.is_some_and(|range| range.2 == what && edge(range) == at)
        };
        let before = at.checked_sub(1).filter(|before| joins(ranges.get(*before), |range| range.1, number));
        let behind = joins(ranges.get(at), |range| range.0, number + 1);
        match (before.and_then(|before| ranges.get_mut(before)), behind) {
            (Some(range), false) => range.1 = number + 1,
            (Some(range), true) => {
                range.1 = number + 1;
                if let Some((_, end, _)) = ranges.remove(at)
                    && let Some(range) = before.and_then(|before| ranges.get_mut(before))
                {
                    range.1 = end;
                }
            }
            (None, true) => {
                if let Some(range) = ranges.get_mut(at) {
                    range.0 = number;
                }
            }
            (None, false) => {
                ranges.insert(at, (number, number + 1, what));
                if ranges.len() > self.most {
                    ranges.pop_front();
                }
            }
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<T> {
        let found = self.ranges.iter().rev().find(|(first, next, _)| (*first..*next).contains(&number));
        found.map(|(_, _, what)| *what)
    }

    /// What is known of these numbers, in their order.
    pub(super) fn within(&self, numbers: Range<u64>) -> impl Iterator<Item = (Range<u64>, T)> {
        let cut = move |&(first, next, what): &(u64, u64, T)| (first.max(numbers.start)..next.min(numbers.end), what);
        self.ranges.iter().map(cut).filter(|(numbers, _)| !numbers.is_empty())
    }

    /// Numbers from `next` on go to others.
    pub(super) fn cut(&mut self, next: u64) {
        self.ranges.retain(|(first, ..)| *first < next);
        if let Some((_, end, _)) = self.ranges.back_mut() {
            *end = (*end).min(next);
        }
    }

    pub(super) fn change(&mut self, change: impl Fn(T) -> T) {
        self.ranges.iter_mut().for_each(|(_, _, what)| *what = change(*what));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }
}
