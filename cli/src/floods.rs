//! Memory that floods of connections leave behind, of which the allocator would keep all.

use std::time::Duration;

use crate::allocator;

/// How often it is looked whether a flood is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// That are gone when it was one.
const MANY: usize = 1000;

/// Gives memory back each time a flood is over. `crowd` tells how many sessions wait without a connection, and the most connections
/// at once since it was asked before.
pub(crate) async fn give_back_memory(crowd: impl Fn() -> (usize, usize)) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let mut ebb = Ebb::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (suspended, peak) = crowd();
        // A connection is a task, and so is each of its streams.
        let there = metrics.num_alive_tasks() + suspended;
        if ebb.look(there, peak) {
            // Nothing depends on it.
            let _ = tokio::task::spawn_blocking(allocator::trim).await;
        }
    }
}

/// When tasks and suspended sessions of a flood are gone, and no others come.
#[derive(Debug, Default)]
struct Ebb {
    most: usize,
    were_gone: bool,
}

impl Ebb {
    /// Whether a flood is over, of which many were seen, at a look or between two, and were gone at the look before too.
    fn look(&mut self, there: usize, peak: usize) -> bool {
        self.most = self.most.max(there).max(peak);
        let are_gone = self.most - there >= MANY;
        if are_gone && self.were_gone {
            *self = Self { most: there, were_gone: false };
            return true;
        }
        self.were_gone = are_gone;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_over_once_it_is_gone_at_two_looks_also_when_it_came_and_went_between_two() {
        let mut ebb = Ebb::default();
        let looks = [(10, 10, false), (5000, 5000, false), (10, 5000, false), (10, 10, true), (10, 10, false)];
        for (there, peak, over) in looks {
            assert_eq!(ebb.look(there, peak), over, "{there} {peak}");
        }
        assert!(!ebb.look(10, 4000) && ebb.look(10, 10), "nobody saw it but for its peak");
        assert!(
            !ebb.look(10, 4000) && !ebb.look(4000, 4000) && !ebb.look(10, 4000) && ebb.look(20, 20),
            "it came again"
        );
        assert!(!ebb.look(900, 900) && !ebb.look(10, 900) && !ebb.look(10, 10), "these were not many");
    }
}
