//! A set of numbers as ranges.

use std::collections::BTreeMap;

/// Numbers as `[first, next)` ranges. Formula: ranges are not empty and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// The ranges, rising.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(first, next)| (*first, *next))
    }

    /// How many ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no number in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, next)| *next > number)
    }

    /// Adds `[first, next)`.
    pub(super) fn insert(&mut self, mut first: u64, mut next: u64) {
        if first >= next {
            return;
        }
        while let Some((f, n)) =
            self.ranges.range(..=next).next_back().map(|(f, n)| (*f, *n)).filter(|(_, n)| *n >= first)
        {
            first = first.min(f);
            next = next.max(n);
            self.ranges.remove(&f);
        }
        self.ranges.insert(first, next);
    }

    /// Takes out everything below `floor`.
    pub(super) fn remove_below(&mut self, floor: u64) {
        while let Some(entry) = self.ranges.first_entry().filter(|e| *e.key() < floor) {
            let next = entry.remove();
            if next > floor {
                self.ranges.insert(floor, next);
            }
        }
    }

    /// If a range holds `floor`, takes it out and gives its end; else `floor`.
    pub(super) fn advance(&mut self, floor: u64) -> u64 {
        self.remove_below(floor);
        match self.ranges.first_entry().filter(|e| *e.key() == floor) {
            Some(entry) => entry.remove(),
            None => floor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        let mut set = RangeSet::default();
        for (first, next) in [(10, 12), (20, 22), (12, 14), (5, 6), (13, 21), (7, 7)] {
            set.insert(first, next);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [(5, 6), (10, 22)]);
        assert!(set.contains(5) && !set.contains(6) && set.contains(21) && !set.contains(22));
    }

    #[test]
    fn the_floor_moves_over_what_is_in_the_set() {
        let mut set = RangeSet::default();
        set.insert(3, 5);
        set.insert(8, 9);
        assert_eq!(set.advance(2), 2);
        assert_eq!(set.advance(3), 5);
        assert_eq!(set.advance(7), 7);
        assert_eq!(set.advance(8), 9);
        assert!(set.is_empty());
    }

    #[test]
    fn it_agrees_with_a_set_of_single_numbers() {
        let (mut set, mut plain) = (RangeSet::default(), std::collections::BTreeSet::new());
        let mut state = 1u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (first, len) = (state >> 40 & 0xFF, state >> 50 & 7);
            set.insert(first, first + len);
            plain.extend(first..first + len);
            if state >> 60 == 0 {
                set.remove_below(first);
                plain = plain.split_off(&first);
            }
        }
        for number in 0..300 {
            assert_eq!(set.contains(number), plain.contains(&number));
        }
    }
}
