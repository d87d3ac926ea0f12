//! Leases of deliveries that the program has not been handed yet, or has in hand behind one that it is to settle first.
//!
//! While they wait they are extended: what a slow program has not begun with does not fail. A program that takes, settles and
//! extends nothing for a whole ack wait is stuck: then what waits is given back, so that others get it, and nothing more is sent until
//! the program takes a delivery again.
//!
//! Of what is handed out by the batch the first is claimed, and each of the others when the one before it is settled. Whoever settles the
//! last one first has claimed them all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Leases are looked at so often in an ack wait: at least seven eighths of it are left when a delivery is handed out.
const LOOKS: u32 = 8;

/// Generation, first number, how many.
pub(crate) type Range = (u32, u64, u32);

/// How many times what is given back is kept apart.
const TIMES: usize = 64;

/// Which numbers of a generation are handed out or given back.
#[derive(Debug)]
pub(crate) struct Claim {
    /// All below it are.
    next: AtomicU64,
    /// Those below it the program has in hand: the leases of those that are not claimed are kept.
    handed: AtomicU64,
    /// Behind the last one that was settled.
    settled: AtomicU64,
    /// What was given back: first, and behind the last.
    given_back: Mutex<VecDeque<(u64, u64)>>,
}

impl Claim {
    fn new(first: u64) -> Self {
        let at = || AtomicU64::new(first);
        Self { next: at(), handed: at(), settled: at(), given_back: Mutex::default() }
    }

    /// All below it are claimed or given back.
    fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// All below it are in the program's hands, claimed or not, or given back.
    fn handed(&self) -> u64 {
        self.handed.load(Ordering::SeqCst).max(self.next())
    }

    /// Hands a delivery to the program, behind those that it has: it is claimed when the one before it is settled, which may be by now; the
    /// first of a batch also when none before it waits for that. `false`: it was given back.
    pub(crate) fn hand(&self, number: u64, is_first: bool) -> bool {
        self.handed.fetch_max(number.saturating_add(1), Ordering::SeqCst);
        let next = self.next();
        // Not for one before it whose turn it is: that one is claimed by what settles the one before that.
        if next == number && (is_first || self.settled.load(Ordering::SeqCst) >= number) {
            return self.take(number);
        }
        // One that is settled or given back just now is claimed late, or found out late: neither does harm.
        next <= number || !self.has_given_back(number)
    }

    /// Something was settled, before `end`. The next one that the program has is claimed. Under the inbox's lock.
    fn settled(&self, end: u64) {
        if self.settled.load(Ordering::Relaxed) < end {
            self.settled.store(end, Ordering::SeqCst);
        }
        let handed = self.handed.load(Ordering::SeqCst);
        if handed > self.next() {
            self.next.fetch_max(end.saturating_add(1).min(handed), Ordering::AcqRel);
        }
    }

    /// Takes a delivery for the program, and all before it; `false`: it was given back. Again is nothing.
    pub(crate) fn take(&self, number: u64) -> bool {
        let take = |next| (next <= number).then_some(number.saturating_add(1));
        let taken = self.next.fetch_update(Ordering::SeqCst, Ordering::Acquire, take).is_ok();
        taken || !self.has_given_back(number)
    }

    /// How many of these were given back.
    fn count_given_back(&self, first: u64, end: u64) -> u64 {
        let given_back = self.given_back.lock().unwrap_or_else(PoisonError::into_inner);
        given_back.iter().map(|(from, to)| end.min(*to).saturating_sub(first.max(*from))).sum()
    }

    /// A later one may have been taken before it.
    fn has_given_back(&self, number: u64) -> bool {
        let given_back = self.given_back.lock().unwrap_or_else(PoisonError::into_inner);
        given_back.iter().any(|(first, end)| (*first..*end).contains(&number))
    }

    /// Takes all below `end` that the program has not; the first of them.
    fn give_back(&self, end: u64) -> u64 {
        // Held meanwhile: whoever sees that they are taken waits to see by whom.
        let mut given_back = self.given_back.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.next.fetch_max(end, Ordering::AcqRel);
        match given_back.back_mut() {
            Some((_, last)) if *last == first => *last = end.max(first),
            _ if first < end => given_back.push_back((first, end)),
            _ => {}
        }
        if given_back.len() > TIMES {
            // Whoever still has one from between them has had it for long.
            let (first, _) = given_back.pop_front().unwrap_or_default();
            if let Some(next) = given_back.front_mut() {
                next.0 = first;
            }
        }
        first
    }
}

/// A run that came.
#[derive(Debug)]
struct Waiting {
    claim: Arc<Claim>,
    generation: u32,
    first: u64,
    end: u64,
    since: Instant,
}

impl Waiting {
    fn from(&self, first: u64) -> Option<Range> {
        let first = first.max(self.first);
        let count = u32::try_from(self.end.checked_sub(first)?).ok().filter(|count| *count > 0)?;
        Some((self.generation, first, count))
    }
}

/// What is to be done about leases.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Leases that begin anew.
    pub(crate) extend: Vec<Range>,
    /// What is given back.
    pub(crate) release: Vec<Range>,
    /// When to look again.
    pub(crate) again: Option<Instant>,
}

/// What waits for the program, and when the program was last seen.
#[derive(Debug, Default)]
pub(crate) struct Prefetched {
    claim: Option<(u32, Arc<Claim>)>,
    /// Whether something of its numbers was given back.
    gave_back: bool,
    waiting: VecDeque<Waiting>,
    /// What the program had done by then.
    seen: Option<(u64, u64, Instant)>,
}

/// How long until leases are looked at, of so long an ack wait.
fn pause(ack_wait: Duration) -> Duration {
    ack_wait / LOOKS
}

impl Prefetched {
    /// A run has come. Gives the claim on its numbers, and when to look.
    pub(crate) fn arrived(&mut self, (generation, first, count): Range, ack_wait: Duration) -> (Arc<Claim>, Instant) {
        let (_, claim) = match self.claim.take() {
            Some(claim) if claim.0 == generation => claim,
            _ => {
                self.gave_back = false;
                (generation, Arc::new(Claim::new(first)))
            }
        };
        self.claim = Some((generation, Arc::clone(&claim)));
        self.trim();
        let since = Instant::now();
        let end = first.saturating_add(count.into());
        self.waiting.push_back(Waiting { claim: Arc::clone(&claim), generation, first, end, since });
        (claim, since + pause(ack_wait))
    }

    /// Of the newest generation, below which number all are handed out or given back.
    pub(crate) fn handed(&self) -> u64 {
        self.claim.as_ref().map_or(0, |(_, claim)| claim.handed())
    }

    /// Nothing more is to be said of these: the one behind them has its turn.
    pub(crate) fn settled(&self, (generation, first, count): Range) {
        if let Some((_, claim)) = self.claim.as_ref().filter(|claim| claim.0 == generation) {
            claim.settled(first.saturating_add(count.into()));
        }
    }

    /// How many of these were given back.
    pub(crate) fn lost(&self, (generation, first, count): Range) -> u64 {
        let claim = self.claim.as_ref().filter(|claim| self.gave_back && claim.0 == generation);
        claim.map_or(0, |(_, claim)| claim.count_given_back(first, first.saturating_add(count.into())))
    }

    pub(crate) fn is_of(&self, generation: u32) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.0 == generation)
    }

    /// Forgets what was handed out.
    fn trim(&mut self) {
        while self.waiting.pop_front_if(|run| run.claim.next() >= run.end).is_some() {}
    }

    /// What came in earlier generations comes again.
    pub(crate) fn reset(&mut self, generation: u32) {
        self.waiting.retain(|run| run.generation >= generation);
    }

    /// Looks after leases. `done` rises with whatever the program does.
    pub(crate) fn look(&mut self, ack_wait: Duration, done: u64) -> Look {
        self.trim();
        let Some(first) = self.waiting.front() else {
            self.seen = None;
            return Look::default();
        };
        if ack_wait.is_zero() {
            return Look::default();
        }
        let now = Instant::now();
        let taken = first.claim.next().saturating_add(first.claim.handed());
        let since = match self.seen {
            Some((d, t, since)) if (d, t) == (done, taken) => since,
            _ => now,
        };
        self.seen = Some((done, taken, since));
        if now.duration_since(since) >= ack_wait {
            return Look { release: self.give_back(), ..Look::default() };
        }
        let old = |run: &&Waiting| now.duration_since(run.since) >= pause(ack_wait);
        let extend = self.waiting.iter().filter(old).filter_map(|run| run.from(run.claim.next())).collect();
        Look { extend, release: Vec::new(), again: Some(now + pause(ack_wait)) }
    }

    fn give_back(&mut self) -> Vec<Range> {
        self.seen = None;
        self.gave_back = true;
        self.waiting.drain(..).filter_map(|run| run.from(run.claim.give_back(run.end))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(8);

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_extended_while_the_program_goes_on_and_given_back_when_it_is_stuck() {
        let mut prefetched = Prefetched::default();
        let (claim, at) = prefetched.arrived((0, 1, 10), WAIT);
        assert!(claim.take(1));
        tokio::time::sleep_until(at).await;
        let look = prefetched.look(WAIT, 0);
        assert_eq!((look.extend, look.release), (vec![(0, 2, 9)], vec![]));
        // Slow, and alive: it takes one now, settles one then.
        for done in 1..20 {
            tokio::time::sleep(WAIT - Duration::from_millis(1)).await;
            assert!(done > 3 || claim.take(1 + done));
            let look = prefetched.look(WAIT, done);
            assert!(look.release.is_empty() && look.extend == [(0, 2 + done.min(3), 9 - done.min(3) as u32)]);
        }
        tokio::time::sleep(WAIT).await;
        let look = prefetched.look(WAIT, 19);
        assert_eq!((look.extend, look.release, look.again), (vec![], vec![(0, 5, 6)], None));
        assert!(!claim.take(5) && !claim.take(10), "they are others'");
        let (_, _) = prefetched.arrived((0, 11, 1), WAIT);
        assert!(claim.take(11), "what comes later is not");
        assert_eq!(prefetched.look(WAIT, 19), Look::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_binding_has_ahead_is_extended_until_the_program_has_it_however_slow_that_is() {
        let mut prefetched = Prefetched::default();
        let (claim, at) = prefetched.arrived((0, 1, 10), WAIT);
        tokio::time::sleep_until(at).await;
        for number in 1..10 {
            assert!(claim.take(number));
            tokio::time::sleep(WAIT - Duration::from_millis(1)).await;
            let look = prefetched.look(WAIT, 0);
            assert_eq!((look.extend, look.release), (vec![(0, number + 1, 10 - number as u32)], vec![]));
        }
        assert!(claim.take(10) && prefetched.look(WAIT, 0) == Look::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_claimed_out_of_order_was_not_given_back_and_what_was_given_back_is_never_claimed() {
        let mut prefetched = Prefetched::default();
        let (claim, _) = prefetched.arrived((0, 1, 10), WAIT);
        assert!(claim.take(4) && claim.take(2) && claim.take(4), "a later one first, and again");
        prefetched.look(WAIT, 0);
        tokio::time::sleep(WAIT).await;
        assert_eq!(prefetched.look(WAIT, 0).release, [(0, 5, 6)]);
        for number in 1..=10 {
            assert_eq!(claim.take(number), number < 5, "{number}");
        }
        for n in 0..200 {
            let (claim, _) = prefetched.arrived((0, 11 + 2 * n, 2), WAIT);
            assert!(claim.take(11 + 2 * n));
            assert_eq!(claim.give_back(13 + 2 * n), 12 + 2 * n);
            assert!(!claim.take(12 + 2 * n) && claim.take(11 + 2 * n));
        }
        assert!(claim.given_back.lock().is_ok_and(|kept| kept.len() <= TIMES));
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_batch_in_hand_each_is_claimed_when_the_one_before_it_is_settled_and_the_others_are_extended() {
        let mut prefetched = Prefetched::default();
        let (claim, at) = prefetched.arrived((0, 1, 5), WAIT);
        assert!((1..=5).all(|number| claim.hand(number, number == 1)) && prefetched.handed() == 6);
        tokio::time::sleep_until(at).await;
        assert_eq!(prefetched.look(WAIT, 0).extend, [(0, 2, 4)]);
        for number in 1..4 {
            tokio::time::sleep(WAIT - Duration::from_millis(1)).await;
            prefetched.settled((0, number, 1));
            let look = prefetched.look(WAIT, number);
            assert_eq!((look.extend, look.release), (vec![(0, number + 2, 4 - number as u32)], vec![]));
        }
        prefetched.settled((0, 4, 1));
        assert_eq!(prefetched.look(WAIT, 4), Look::default(), "the last has its turn");
        prefetched.settled((0, 5, 1));
        let (claim, _) = prefetched.arrived((0, 6, 3), WAIT);
        assert!(claim.hand(6, false) && claim.next() == 7, "nothing is before it");
        assert!(claim.hand(7, false) && claim.next() == 7);
        prefetched.settled((0, 6, 1));
        assert!(claim.next() == 8 && claim.hand(8, false) && claim.next() == 8);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_of_a_batch_is_claimed_unless_one_before_it_waits_for_its_turn() {
        let mut prefetched = Prefetched::default();
        let (claim, _) = prefetched.arrived((0, 1, 9), WAIT);
        assert!(claim.hand(1, true) && claim.hand(2, true) && claim.next() == 3, "a batch of one that is not settled");
        assert!(claim.hand(3, false) && claim.hand(4, true) && claim.hand(5, false) && claim.next() == 3);
        prefetched.settled((0, 2, 1));
        assert_eq!(claim.next(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_settles_the_last_of_a_batch_first_has_begun_with_all_and_never_with_what_it_was_not_handed() {
        let mut prefetched = Prefetched::default();
        let (claim, _) = prefetched.arrived((0, 1, 10), WAIT);
        assert!((1..=5).all(|number| claim.hand(number, number == 1)));
        prefetched.settled((0, 5, 1));
        assert_eq!((claim.next(), prefetched.handed()), (6, 6));
        assert!(claim.take(6), "one that is handed by itself is begun with");
        prefetched.settled((1, 7, 1));
        assert_eq!(claim.next(), 7, "numbers of another session say nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_in_the_hands_of_a_program_that_is_stuck_is_given_back_but_for_the_first_and_that_is_known() {
        let mut prefetched = Prefetched::default();
        let (claim, _) = prefetched.arrived((0, 1, 10), WAIT);
        assert!((1..=5).all(|number| claim.hand(number, number == 1)));
        prefetched.look(WAIT, 0);
        tokio::time::sleep(WAIT).await;
        assert_eq!(prefetched.look(WAIT, 0).release, [(0, 2, 9)]);
        assert_eq!([(0, 1, 1), (0, 1, 3), (0, 10, 5), (1, 2, 1)].map(|range| prefetched.lost(range)), [0, 2, 1, 0]);
        assert!(!claim.hand(6, true) && !claim.hand(5, false) && claim.hand(1, false));
        let (claim, _) = prefetched.arrived((0, 11, 1), WAIT);
        assert!(claim.hand(11, true), "what comes later is not");
        let (_, _) = prefetched.arrived((1, 1, 3), WAIT);
        assert_eq!(prefetched.lost((1, 1, 3)), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_fast_costs_no_memory_however_long_the_ack_wait_is() {
        let mut prefetched = Prefetched::default();
        for number in 1..10_000 {
            let (claim, _) = prefetched.arrived((0, number, 1), Duration::from_secs(43_200));
            assert!(claim.take(number) && prefetched.waiting.len() <= 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_fresh_is_not_extended_and_a_new_generation_begins_anew() {
        let mut prefetched = Prefetched::default();
        let (old, _) = prefetched.arrived((0, 1, 10), WAIT);
        let look = prefetched.look(WAIT, 0);
        assert!(look.extend.is_empty() && look.release.is_empty() && look.again.is_some());
        prefetched.reset(1);
        let (new, at) = prefetched.arrived((1, 1, 1), WAIT);
        assert!(old.take(7) && new.take(1));
        tokio::time::sleep_until(at).await;
        assert_eq!(prefetched.look(WAIT, 0), Look::default());
    }
}
