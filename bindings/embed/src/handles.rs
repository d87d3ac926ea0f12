//! Numbers that stand for values, for hosts that cannot hold them: used twice, made up, or of another process, they are found out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use meshwire::{Error, ErrorKind, Result};

/// Bits of a number that say the place: half of them. The rest is how often the place was used, and which process made the table.
pub(crate) const PLACE_BITS: u32 = usize::BITS / 2;
const DEPTH_BITS: u32 = usize::BITS / 8;
const USE_BITS: u32 = usize::BITS - PLACE_BITS - DEPTH_BITS;

/// Places that rest before one of them is used again, so that a number stays wrong for long.
const RESTING: usize = 256;

const fn mask(bits: u32) -> usize {
    (1 << bits) - 1
}

/// A table of values of one process.
#[derive(Debug)]
pub struct Handles<T> {
    /// How many forks this process is away from the first one.
    depth: usize,
    /// Most places.
    most: usize,
    places: Mutex<Places<T>>,
}

#[derive(Debug)]
struct Places<T> {
    places: Vec<Place<T>>,
    /// Those without a value: the one that is free longest is used next.
    free: VecDeque<usize>,
}

#[derive(Debug)]
struct Place<T> {
    /// Odd while there is a value.
    used: usize,
    value: Option<T>,
}

impl<T> Handles<T> {
    /// An empty table of a process that is so many forks away from the first one, as [`PerProcess`](crate::PerProcess) says.
    #[must_use]
    pub const fn new(depth: u32) -> Self {
        Self::narrow(depth, PLACE_BITS)
    }

    /// One whose numbers have so few bits for the place, and zeros above them up to [`PLACE_BITS`].
    pub(crate) const fn narrow(depth: u32, place_bits: u32) -> Self {
        let places = Mutex::new(Places { places: Vec::new(), free: VecDeque::new() });
        Self { depth: depth as usize & mask(DEPTH_BITS), most: 1 << place_bits, places }
    }

    fn places(&self) -> MutexGuard<'_, Places<T>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps values, and calls `each` with their numbers, none of which is 0.
    ///
    /// # Errors
    /// `INTERNAL`: there are more values than numbers, of which a system of 64 bits has 2^32. What has no number is dropped.
    pub fn insert(&self, values: impl IntoIterator<Item = T>, mut each: impl FnMut(usize)) -> Result<()> {
        let mut places = self.places();
        for value in values {
            let may_grow = places.places.len() < self.most;
            let rested = places.free.len() > RESTING || !may_grow;
            let free = if rested { places.free.pop_front() } else { None };
            let at = match free {
                Some(at) => at,
                None if may_grow => {
                    places.places.push(Place { used: 0, value: None });
                    places.places.len() - 1
                }
                None => {
                    drop(places);
                    let text = "there are no more numbers for what this process holds: free what is not needed";
                    return Err(Error::of_host(ErrorKind::Internal, "handle", text));
                }
            };
            if let Some(place) = places.places.get_mut(at) {
                place.used = place.used.wrapping_add(1) & mask(USE_BITS);
                place.value = Some(value);
                each(at | place.used << PLACE_BITS | self.depth << (PLACE_BITS + USE_BITS));
            }
        }
        Ok(())
    }

    /// Calls `then` with the value of a number, under the lock of the table.
    ///
    /// # Errors
    /// `INVALID`: it stands for nothing, or for nothing any more; `CLOSED`: it was made before a fork.
    pub fn with<R>(&self, number: usize, operation: &'static str, then: impl FnOnce(&mut T) -> R) -> Result<R> {
        let mut places = self.places();
        let place = self.find(&mut places, number, operation)?;
        match &mut place.value {
            Some(value) => Ok(then(value)),
            None => Err(gone(operation)),
        }
    }

    /// Takes the values of numbers, under one lock: for each what `then` makes of it, or why there is none, as [`Handles::with`].
    pub fn remove<R>(
        &self,
        numbers: impl IntoIterator<Item = usize>,
        operation: &'static str,
        mut then: impl FnMut(Result<T>) -> R,
        mut each: impl FnMut(R),
    ) {
        let mut places = self.places();
        for number in numbers {
            each(then(self.take(&mut places, number, operation)));
        }
    }

    /// Calls `each` with the values of numbers, under one lock, or with why there is none. A value of which it says that it is over is taken;
    /// these are given, to be dropped under no lock.
    pub(crate) fn visit(
        &self,
        numbers: impl IntoIterator<Item = usize>,
        operation: &'static str,
        mut each: impl FnMut(usize, Result<&mut T>) -> bool,
    ) -> Vec<T> {
        let mut places = self.places();
        let mut over = Vec::new();
        for (at, number) in numbers.into_iter().enumerate() {
            let place = self.find(&mut places, number, operation);
            let value = place.and_then(|place| place.value.as_mut().ok_or_else(|| gone(operation)));
            if each(at, value) {
                over.extend(self.take(&mut places, number, operation).ok());
            }
        }
        over
    }

    /// Takes the value of a number, which stands for nothing from then on.
    ///
    /// # Errors
    /// As [`Handles::with`].
    pub fn remove_one(&self, number: usize, operation: &'static str) -> Result<T> {
        self.take(&mut self.places(), number, operation)
    }

    fn take(&self, places: &mut Places<T>, number: usize, operation: &'static str) -> Result<T> {
        let place = self.find(places, number, operation)?;
        let value = place.value.take().ok_or_else(|| gone(operation))?;
        place.used = place.used.wrapping_add(1) & mask(USE_BITS);
        places.free.push_back(number & mask(PLACE_BITS));
        Ok(value)
    }

    fn find<'a>(&self, places: &'a mut Places<T>, number: usize, operation: &'static str) -> Result<&'a mut Place<T>> {
        if number != 0 && number >> (PLACE_BITS + USE_BITS) != self.depth {
            let text = "this was made before a fork of this process, or is no handle: connect a new client here";
            return Err(Error::of_host(ErrorKind::Closed, operation, text));
        }
        let used = number >> PLACE_BITS & mask(USE_BITS);
        let place = places.places.get_mut(number & mask(PLACE_BITS)).filter(|place| place.used == used);
        place.ok_or_else(|| gone(operation))
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let places = self.places();
        places.places.len() - places.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

pub(crate) fn gone(operation: &'static str) -> Error {
    let text = "this handle stands for nothing: it was settled, closed or freed before, or never made";
    Error::of_host(ErrorKind::Invalid, operation, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn insert<T>(handles: &Handles<T>, value: T) -> usize {
        let mut number = 0;
        handles.insert([value], |made| number = made).unwrap();
        number
    }

    #[test]
    fn a_number_stands_for_its_value_until_that_is_taken_and_never_again() {
        let handles = Handles::new(0);
        let (one, two) = (insert(&handles, "one".to_owned()), insert(&handles, "two".to_owned()));
        assert!(one != 0 && two != 0 && one != two);
        assert_eq!(handles.with(one, "read", |value| value.clone()).unwrap(), "one");
        assert_eq!(handles.remove_one(one, "free").unwrap(), "one");
        let again = insert(&handles, "three".to_owned());
        for wrong in [one, 0, 7, usize::MAX >> DEPTH_BITS, two ^ 1] {
            let error = handles.with(wrong, "read", |_| ()).unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "read"), "{wrong:#x}");
            assert!(handles.remove_one(wrong, "free").is_err());
        }
        assert_eq!(handles.remove_one(again, "free").unwrap(), "three");
        assert_eq!((handles.len(), handles.is_empty()), (1, false));
    }

    #[test]
    fn many_are_kept_and_taken_under_one_lock_and_a_wrong_one_among_them_fails_alone() {
        let handles = Handles::new(0);
        let mut numbers = Vec::new();
        handles.insert(0..5, |number| numbers.push(number)).unwrap();
        numbers.insert(2, usize::MAX >> DEPTH_BITS);
        let mut taken = Vec::new();
        handles.remove(numbers, "settle", |value| value.ok(), |value| taken.push(value));
        assert_eq!(taken, [Some(0), Some(1), None, Some(2), Some(3), Some(4)]);
        assert!(handles.is_empty());
    }

    #[test]
    fn the_numbers_of_a_parent_stand_for_nothing_in_a_child_and_say_why() {
        let (parent, child) = (Handles::new(0), Handles::new(1));
        let (ours, theirs) = (insert(&child, 1), insert(&parent, 1));
        assert_ne!(ours, theirs);
        assert_eq!(child.with(theirs, "publish", |_| ()).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(child.remove_one(ours, "free").unwrap(), 1);
    }

    #[test]
    fn a_place_that_was_used_as_often_as_can_be_counted_goes_on() {
        let handles = Handles::new(0);
        let first = insert(&handles, 0);
        if let Some(place) = handles.places().places.get_mut(0) {
            place.used = mask(USE_BITS);
        }
        let last = first & mask(PLACE_BITS) | mask(USE_BITS) << PLACE_BITS;
        assert_eq!(handles.remove_one(last, "free").unwrap(), 0);
        let (mut next, mut place) = (0, usize::MAX);
        while place != 0 {
            next = insert(&handles, 1);
            place = next & mask(PLACE_BITS);
            handles.remove_one(next, "free").unwrap();
        }
        let again = insert(&handles, 2);
        assert!(next != 0 && next != last && handles.with(again, "read", |_| ()).is_ok());
        assert!(handles.places().places.len() <= RESTING + 2, "places are used again");
        assert!(handles.with(last, "read", |_| ()).is_err());
    }
}
