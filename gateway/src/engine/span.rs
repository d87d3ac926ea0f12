//! Values of consecutive numbers, from the first that is not done to the last one added.
//!
//! New ones stand side by side. What stays open while most of what follows is done is left behind, each with its
//! number: one that stays open for ever costs one place, and what is done behind it costs none.

use std::collections::VecDeque;
use std::ops::Range;

use super::bounds::bounds;

/// A value that comes to an end.
pub(super) trait Step {
    /// It has.
    fn is_done(&self) -> bool;
}

/// Formula: `near[n]` has number `start + n`; `next = start + near.len()`; the numbers of `far` rise, below `start`.
/// What is below `start` and not in `far` is done.
#[derive(Debug)]
pub(super) struct Span<T> {
    start: u64,
    near: VecDeque<T>,
    /// How many of them are done.
    near_done: usize,
    far: VecDeque<(u64, T)>,
    far_done: usize,
    /// Most places.
    most: usize,
}

impl<T: Step> Span<T> {
    /// Nothing, with places for so many. At least three quarters of them can be open at once.
    pub(super) const fn new(start: u64, most: usize) -> Self {
        Self { start, near: VecDeque::new(), near_done: 0, far: VecDeque::new(), far_done: 0, most }
    }

    /// The first that is not done; the next one if all are.
    pub(super) fn first(&self) -> u64 {
        self.far.front().map_or(self.start, |(number, _)| *number)
    }

    /// The first of those that stand side by side.
    pub(super) const fn near(&self) -> u64 {
        self.start
    }

    /// The number of the next one.
    pub(super) fn next(&self) -> u64 {
        self.start + self.near.len() as u64
    }

    /// How many are not done.
    pub(super) fn open(&self) -> usize {
        self.places().saturating_sub(self.near_done + self.far_done)
    }

    /// Whether none stand side by side.
    pub(super) fn is_level(&self) -> bool {
        self.near.is_empty()
    }

    /// Places that are used.
    pub(super) fn places(&self) -> usize {
        self.near.len() + self.far.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.places() >= self.most
    }

    fn far_at(&self, number: u64) -> Result<usize, usize> {
        self.far.binary_search_by_key(&number, |(number, _)| *number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        match number.checked_sub(self.start) {
            Some(at) => self.near.get(usize::try_from(at).ok()?),
            None => self.far.get(self.far_at(number).ok()?).map(|(_, value)| value),
        }
    }

    /// Changes a value.
    pub(super) fn update<R>(&mut self, number: u64, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let (value, done) = match number.checked_sub(self.start) {
            Some(at) => (self.near.get_mut(usize::try_from(at).ok()?)?, &mut self.near_done),
            None => {
                let at = self.far_at(number).ok()?;
                (&mut self.far.get_mut(at)?.1, &mut self.far_done)
            }
        };
        let before = value.is_done();
        let answer = change(value);
        match (before, value.is_done()) {
            (false, true) => *done += 1,
            (true, false) => *done = done.saturating_sub(1),
            _ => {}
        }
        Some(answer)
    }

    /// Adds the next one.
    pub(super) fn push(&mut self, value: T) {
        self.near_done += usize::from(value.is_done());
        self.near.push_back(value);
    }

    /// Takes away the first ones, as long as `take` says so; none where some are left behind.
    pub(super) fn take_first(&mut self, mut take: impl FnMut(u64, &T) -> bool) {
        while self.far.is_empty()
            && let Some(value) = self.near.front().filter(|value| take(self.start, value))
        {
            self.near_done -= usize::from(value.is_done());
            self.near.pop_front();
            self.start += 1;
        }
    }

    /// Lets go of what is done, as far as that is due; `dropped` gets each.
    pub(super) fn trim(&mut self, mut dropped: impl FnMut(u64, T)) {
        self.trim_front(&mut dropped);
        let bounds = bounds();
        if self.near.len() >= bounds.near && self.near_done * 2 >= self.near.len() {
            self.leave_behind(self.near.len() / 2, &mut dropped);
        }
        if self.is_full() && (self.near_done + self.far_done) * 4 >= self.places() {
            self.leave_behind(0, &mut dropped);
            self.sweep(&mut dropped);
        }
        if self.far.len() >= bounds.far && self.far_done * 2 >= self.far.len() {
            self.sweep(&mut dropped);
        }
        self.trim_front(&mut dropped);
    }

    fn trim_front(&mut self, dropped: &mut impl FnMut(u64, T)) {
        while let Some((number, value)) = self.far.pop_front_if(|(_, value)| value.is_done()) {
            self.far_done = self.far_done.saturating_sub(1);
            dropped(number, value);
        }
        while let Some(value) = self.near.pop_front_if(|value| value.is_done()) {
            self.near_done = self.near_done.saturating_sub(1);
            dropped(self.start, value);
            self.start += 1;
        }
    }

    /// Leaves so many side by side.
    fn leave_behind(&mut self, left: usize, dropped: &mut impl FnMut(u64, T)) {
        while self.near.len() > left
            && let Some(value) = self.near.pop_front()
        {
            if value.is_done() {
                self.near_done = self.near_done.saturating_sub(1);
                dropped(self.start, value);
            } else {
                self.far.push_back((self.start, value));
            }
            self.start += 1;
        }
        let least = left.max(bounds().near);
        if self.near.capacity() > 4 * least {
            self.near.shrink_to(2 * least);
        }
    }

    /// Takes what is done out of those left behind.
    fn sweep(&mut self, dropped: &mut impl FnMut(u64, T)) {
        let far = std::mem::take(&mut self.far);
        let mut open = VecDeque::with_capacity(far.len().saturating_sub(self.far_done));
        for (number, value) in far {
            if value.is_done() {
                dropped(number, value);
            } else {
                open.push_back((number, value));
            }
        }
        (self.far, self.far_done) = (open, 0);
    }

    /// Goes on at `to`: what was not added before it is done.
    pub(super) fn jump(&mut self, to: u64, mut dropped: impl FnMut(u64, T)) {
        self.leave_behind(0, &mut dropped);
        self.start = self.start.max(to);
        self.trim_front(&mut dropped);
    }

    /// Takes away all from `next` on, the last one first.
    pub(super) fn cut(&mut self, next: u64, mut cut: impl FnMut(u64, T)) {
        while self.next() > next
            && let Some(value) = self.near.pop_back()
        {
            self.near_done -= usize::from(value.is_done());
            cut(self.next(), value);
        }
        while let Some((number, value)) = self.far.pop_back_if(|(number, _)| *number >= next) {
            self.far_done -= usize::from(value.is_done());
            cut(number, value);
        }
        self.start = self.start.min(next);
    }

    /// Forgets everything and begins again.
    pub(super) fn restart(&mut self, at: u64) {
        *self = Self::new(at, self.most);
    }

    /// All, with their numbers, rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let far = self.far.iter().map(|(number, value)| (*number, value));
        far.chain((self.start..).zip(&self.near))
    }

    /// Numbers of those left behind, within a range.
    pub(super) fn left_behind(&self, within: Range<u64>) -> impl Iterator<Item = u64> {
        let from = self.far.partition_point(|(number, _)| *number < within.start);
        let behind = self.far.range(from..).map(|(number, _)| *number);
        behind.take_while(move |number| *number < within.end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use super::*;

    impl Step for bool {
        fn is_done(&self) -> bool {
            *self
        }
    }

    #[test]
    fn one_that_stays_open_costs_one_place_however_many_follow() {
        let mut span = Span::new(1, 10_000);
        let mut most = 0;
        for number in 1..=1_000_000 {
            span.push(false);
            span.update(number, |done| *done = number != 7);
            span.trim(|_, _| {});
            most = most.max(span.places());
        }
        assert!(most <= 4097 && span.near.capacity() <= 4 * 4096, "{most} {}", span.near.capacity());
        assert_eq!((span.first(), span.open(), span.next()), (7, 1, 1_000_001));
        span.update(7, |done| *done = true);
        span.trim(|_, _| {});
        assert_eq!((span.first(), span.places()), (1_000_001, 0));
    }

    #[test]
    fn three_quarters_of_its_places_can_be_open_before_it_is_full() {
        let mut span = Span::new(1, 10_000);
        let mut number = 0;
        while !span.is_full() {
            number += 1;
            span.push(false);
            span.update(number, |done| *done = number.is_multiple_of(4));
            span.trim(|_, _| {});
        }
        assert!(span.open() >= 7500 && span.places() <= 10_000, "{} {}", span.open(), span.places());
        // Room comes with what is done, wherever it stands.
        for done in (1..number).filter(|n| n % 4 == 1) {
            span.update(done, |d| *d = true);
            span.trim(|_, _| {});
        }
        assert!(!span.is_full());
    }

    #[test]
    fn it_says_what_a_table_of_all_numbers_says() {
        let mut state = 3u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let (mut span, mut all) = (Span::new(1, 20_000), BTreeMap::new());
        for round in 0..60_000u64 {
            let number = span.next();
            span.push(false);
            all.insert(number, false);
            let back = if random(50) == 0 { random(number) } else { random(5000.min(number)) };
            let known = span.update(number - back, |done| *done = true);
            if let Some(done) = all.get_mut(&(number - back)) {
                assert!(known.is_some() || *done);
                *done = true;
            }
            let mut gone = Vec::new();
            let first = if random(100) == 0 { random(4) } else { 0 };
            match random(8000) {
                0 => span.jump(number + 1 + random(100), |n, done| gone.extend(done.then_some(n))),
                1 => {
                    let cut = number - random(3000.min(number));
                    span.cut(cut, |n, _| assert!(n >= cut));
                    all.retain(|n, _| *n < cut);
                }
                _ => span.trim(|n, done| gone.extend(done.then_some(n))),
            }
            let mut left = first;
            span.take_first(|n, _| {
                let takes = left > 0;
                left = left.saturating_sub(1);
                takes.then(|| all.insert(n, true)).is_some()
            });
            assert!(gone.iter().all(|n| all.get(n) == Some(&true)), "round {round}");
            if random(500) == 0 {
                let open: Vec<u64> = all.iter().filter(|(_, done)| !**done).map(|(n, _)| *n).collect();
                let said: Vec<u64> = span.iter().filter(|(_, done)| !**done).map(|(n, _)| n).collect();
                assert_eq!((said.len(), said), (span.open(), open), "round {round}");
            }
        }
    }
}
