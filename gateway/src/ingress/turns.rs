//! Connections that come or go all at once do so in turns: accepting or ending thousands takes the processors for a fifth of a second, and
//! who is there is served meanwhile.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::time::Instant;

/// Turns a second for each processor, if nothing else is asked for. One takes 50 to 100 us: all of them a tenth of the time at most.
const EACH: u32 = 1000;

/// After a pause so many need not wait: no wait is shorter than the two milliseconds of a timer.
const BURST: u32 = 64;

/// Nobody waits for longer: beyond that turns are not waited for. A session that was lost is to be put aside well within its resume window.
const MOST: Duration = Duration::from_secs(3);

/// Option `accept_rate`: how many a second.
pub(crate) fn accept_rate(asked: u32) -> u32 {
    let processors = available_parallelism().map_or(1, NonZero::get);
    if asked > 0 { asked } else { EACH.saturating_mul(u32::try_from(processors).unwrap_or(u32::MAX)) }
}

/// Turns at a rate, in the order in which they are taken.
#[derive(Debug)]
pub(super) struct Turns {
    every: Duration,
    /// When all that were taken would be over, had they come one by one.
    due: Mutex<Instant>,
}

impl Turns {
    /// So many a second.
    pub(super) fn new(rate: u32) -> Self {
        Self { every: Duration::from_secs(1) / rate.max(1), due: Mutex::new(Instant::now()) }
    }

    /// Takes one; gives when it is, if not now.
    pub(super) fn take(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.every * BURST;
        if due.saturating_duration_since(now) >= free + MOST {
            return None;
        }
        *due = (*due).max(now) + self.every;
        let waits = due.saturating_duration_since(now).saturating_sub(free);
        (!waits.is_zero()).then_some(now + waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_turns_come_at_their_rate_and_a_pause_earns_a_burst_and_no_more() {
        let turns = Turns::new(1000);
        for (pause, more) in [(0, 0), (60, 0), (3600, 500)] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            let began = Instant::now();
            for _ in 0..BURST + more {
                if let Some(turn) = turns.take() {
                    tokio::time::sleep_until(turn).await;
                }
            }
            let took = began.elapsed().as_millis();
            assert!((u128::from(more)..=u128::from(more) + 2).contains(&took), "{more} beyond a burst took {took} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_to_wait_for_long_however_many_come() {
        let turns = Turns::new(10);
        let now = Instant::now();
        let waits: Vec<_> = (0..1000).map(|_| turns.take().map_or(Duration::ZERO, |turn| turn - now)).collect();
        assert!(waits.iter().all(|wait| *wait <= MOST + turns.every) && waits.contains(&MOST), "{waits:?}");
        assert_eq!(waits.last(), Some(&Duration::ZERO), "beyond that nobody waits");
    }

    #[test]
    fn without_an_option_the_rate_goes_with_the_processors() {
        assert!(accept_rate(7) == 7 && accept_rate(0) >= EACH && accept_rate(0).is_multiple_of(EACH));
    }
}
