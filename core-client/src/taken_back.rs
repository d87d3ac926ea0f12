//! Deliveries that come again because an earlier one of their key was nacked: the gateway takes them back when it hears of that. To handle
//! them all the same would be out of order, and for nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

/// Those of one generation.
#[derive(Debug, Default)]
pub(crate) struct TakenBack {
    generation: u32,
    /// By the hash of a key: those behind the first number and before the second. Two keys of one hash cost no more than a delivery that
    /// comes once more.
    keys: HashMap<u64, (u64, u64)>,
    hash: RandomState,
}

impl TakenBack {
    /// A delivery was nacked when all before `come` had come.
    pub(crate) fn nacked(&mut self, (generation, number): (u32, u64), key: &str, come: u64) {
        if self.generation != generation {
            self.keys.clear();
            self.generation = generation;
        }
        let span = self.keys.entry(self.hash.hash_one(key)).or_insert((number, come));
        let behind = if number < span.1 { span.0.min(number) } else { number };
        *span = (behind, come);
    }

    pub(crate) fn has(&self, (generation, number): (u32, u64), key: &str) -> bool {
        let span = self.keys.get(&self.hash.hash_one(key)).filter(|_| self.generation == generation);
        span.is_some_and(|(behind, come)| (behind + 1..*come).contains(&number))
    }

    /// Nothing before this one is asked for any more. Gives whether there is anything left to ask for.
    pub(crate) fn passed(&mut self, (generation, number): (u32, u64)) -> bool {
        if self.generation <= generation {
            self.keys.retain(|_, (_, come)| self.generation == generation && *come > number);
        }
        !self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_of_a_key_had_come_behind_a_nacked_one_comes_again_until_that_is_past() {
        let mut taken_back = TakenBack::default();
        taken_back.nacked((0, 3), "k", 10);
        let has = |all: &TakenBack, number| all.has((0, number), "k");
        assert_eq!([2, 3, 4, 9, 10].map(|number| has(&taken_back, number)), [false, false, true, true, false]);
        assert!(!taken_back.has((0, 4), "other") && !taken_back.has((1, 4), "k"));
        taken_back.nacked((0, 2), "k", 12);
        assert_eq!(
            [2, 3, 11, 12].map(|number| has(&taken_back, number)),
            [false, true, true, false],
            "two that were in hand"
        );
        assert!(taken_back.passed((0, 11)) && has(&taken_back, 11));
        taken_back.nacked((0, 12), "k", 14);
        assert_eq!(
            [11, 12, 13].map(|number| has(&taken_back, number)),
            [false, false, true],
            "it came again, and failed again"
        );
        assert!(!taken_back.passed((0, 14)));
        taken_back.nacked((0, 20), "k", 30);
        assert!(!taken_back.passed((1, 1)), "numbers of another session begin anew");
    }
}
