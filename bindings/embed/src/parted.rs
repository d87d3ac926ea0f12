//! Numbers for the parts of values: a batch is kept as one, and each delivery in it has a number.

use meshwire::{Error, Result};

use crate::handles::{Handles, PLACE_BITS};

/// Bits of a number that say the part, out of those that say the place.
const PART_BITS: u32 = if usize::BITS >= 64 { 12 } else { 6 };

/// Where they are: above those of the place.
const PART_AT: u32 = PLACE_BITS - PART_BITS;

const PART_MASK: usize = ((1 << PART_BITS) - 1) << PART_AT;

/// A table of values of one process, each of which has parts. What is said of [`Handles`] holds for the numbers of parts.
#[derive(Debug)]
pub struct Parted<T>(Handles<T>);

impl<T> Parted<T> {
    /// Most parts that a value has.
    pub const PARTS: usize = 1 << PART_BITS;

    /// An empty table, as [`Handles::new`].
    #[must_use]
    pub const fn new(depth: u32) -> Self {
        Self(Handles::narrow(depth, PART_AT))
    }

    /// Keeps a value of so many parts, [`Parted::PARTS`] at most, and calls `each` with their numbers, in order. One without parts is dropped:
    /// nothing could end it.
    ///
    /// # Errors
    /// As [`Handles::insert`].
    pub fn insert(&self, value: T, parts: usize, each: impl FnMut(usize)) -> Result<()> {
        if parts == 0 {
            return Ok(());
        }
        let mut number = 0;
        self.0.insert([value], |made| number = made)?;
        (0..parts.min(Self::PARTS)).map(|part| number | part << PART_AT).for_each(each);
        Ok(())
    }

    /// Calls `then` with the value of a number and the part that it stands for, under the lock of the table. `then` says, too, whether the
    /// value is over: then it is taken.
    ///
    /// # Errors
    /// As [`Handles::with`]; whatever `then` fails with.
    pub fn with<R>(
        &self,
        number: usize,
        operation: &'static str,
        then: impl FnOnce(&mut T, usize) -> (Result<R>, bool),
    ) -> Result<R> {
        let (mut then, mut found) = (Some(then), Err(crate::handles::gone(operation)));
        self.visit([number], operation, |value| match (value, then.take()) {
            (Ok((value, part)), Some(then)) => {
                let (result, over) = then(value, part);
                found = result;
                over
            }
            (Err(error), _) => {
                found = Err(error);
                false
            }
            (Ok(_), None) => false,
        });
        found
    }

    /// Calls `each` with the values and parts of numbers, under one lock; for each what [`Handles::with`] fails with, if it does. `each` says
    /// whether the value is over: then it is taken, and dropped under no lock.
    pub fn visit(
        &self,
        numbers: impl IntoIterator<Item = usize, IntoIter: Clone>,
        operation: &'static str,
        mut each: impl FnMut(Result<(&mut T, usize), Error>) -> bool,
    ) {
        let numbers = numbers.into_iter();
        let mut parts = numbers.clone();
        let values = numbers.map(|number| number & !PART_MASK);
        let over = self.0.visit(values, operation, |_, value| {
            let part = parts.next().map_or(0, |number| (number & PART_MASK) >> PART_AT);
            each(value.map(|value| (value, part)))
        });
        drop(over);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unreachable, reason = "tests fail by panicking")]
    use meshwire::ErrorKind;

    use super::*;

    #[test]
    fn each_part_has_a_number_that_stands_for_it_until_its_value_is_over() {
        let table = Parted::new(0);
        let mut numbers = Vec::new();
        for value in ["one", "two"] {
            table.insert(value, 3, |number| numbers.push(number)).unwrap();
        }
        let mut found = Vec::new();
        table.visit(numbers.iter().copied(), "read", |value| {
            let (value, part) = value.unwrap();
            found.push((*value, part));
            (*value, part) == ("one", 2)
        });
        assert_eq!(found, [("one", 0), ("one", 1), ("one", 2), ("two", 0), ("two", 1), ("two", 2)]);
        for number in numbers.iter().take(3) {
            let error = table.with(*number, "settle", |_, _| (Ok(()), false)).unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "settle"));
        }
        let two = numbers.get(4).copied().unwrap();
        assert_eq!(table.with(two, "read", |value, part| (Ok((*value, part)), true)).unwrap(), ("two", 1));
        assert!(table.with(two, "read", |_, _| (Ok(()), false)).is_err());
        assert!(table.with(0, "read", |_, _| (Ok(()), false)).is_err());
    }

    #[test]
    fn a_value_without_parts_is_not_kept() {
        let table = Parted::new(0);
        let value = std::sync::Arc::new(());
        table.insert(std::sync::Arc::clone(&value), 0, |_| unreachable!()).unwrap();
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_value_has_at_most_so_many_parts_and_all_of_their_numbers_differ() {
        let table = Parted::new(0);
        let mut numbers = std::collections::BTreeSet::new();
        for _ in 0..2 {
            table.insert((), Parted::<()>::PARTS + 1, |number| assert!(numbers.insert(number))).unwrap();
        }
        assert_eq!(numbers.len(), 2 * Parted::<()>::PARTS);
    }
}
