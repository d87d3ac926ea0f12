//! What a flood did to those who were there before, from when each of their events was due and answered.

use std::time::Duration;

use tokio::time::Instant;

use super::good::Seen;

/// What is looked at on its own when it is asked whether all is as before.
const SLICE: Duration = Duration::from_millis(250);

/// Of the events that were due in a span, the part that was answered in it: those that came late from before are not more than all.
pub(super) fn part(seen: &[Seen], (from, to): (Instant, Instant)) -> f64 {
    let due = seen.iter().filter(|one| (from..to).contains(&one.due)).count();
    let answered = seen.iter().filter(|one| (from..to).contains(&(one.due + one.took))).count();
    answered.min(due) as f64 / due.max(1) as f64
}

/// The 99th of a hundred of the times of what was due in a span.
pub(super) fn p99(seen: &[Seen], (from, to): (Instant, Instant)) -> Option<Duration> {
    let mut times: Vec<_> = seen.iter().filter(|one| (from..to).contains(&one.due)).map(|one| one.took).collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied()
}

/// How long after `end` the last slice ends in which an event in a hundred took longer than `most`.
pub(super) fn normal_after(seen: &[Seen], (end, last): (Instant, Instant), most: Duration) -> Duration {
    let slices = (last - end).as_millis() / SLICE.as_millis();
    let slices = u32::try_from(slices).unwrap_or(u32::MAX);
    let is_slow = |n: &u32| {
        let from = end + SLICE * *n;
        p99(seen, (from, from + SLICE)).is_none_or(|p99| p99 > most)
    };
    (0..slices).rev().find(is_slow).map_or(Duration::ZERO, |n| SLICE * (n + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One event each millisecond, of which those of the second quarter second take 100 ms.
    fn seen(began: Instant) -> Vec<Seen> {
        let took = |n| Duration::from_millis(if (250..500).contains(&n) { 100 } else { 1 });
        (0..1000).map(|n| Seen { due: began + Duration::from_millis(n), took: took(n) }).collect()
    }

    #[test]
    fn part_and_p99_are_those_of_what_was_due_in_the_span() {
        let began = Instant::now();
        let seen = seen(began);
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(p99(&seen, (at(0), at(250))), Some(Duration::from_millis(1)));
        assert_eq!(p99(&seen, (at(0), at(500))), Some(Duration::from_millis(100)));
        assert_eq!(p99(&seen, (at(2000), at(3000))), None);
        assert!((part(&seen, (at(250), at(500))) - 0.604).abs() < 0.01, "{}", part(&seen, (at(250), at(500))));
    }

    #[test]
    fn it_is_normal_after_the_last_slice_that_is_not() {
        let began = Instant::now();
        let (seen, last) = (seen(began), began + Duration::from_secs(1));
        assert_eq!(normal_after(&seen, (began, last), Duration::from_millis(20)), SLICE * 2);
        assert_eq!(normal_after(&seen, (began, last), Duration::from_millis(200)), Duration::ZERO);
        let gone = normal_after(&seen, (began, last + SLICE), Duration::from_millis(200));
        assert_eq!(gone, SLICE * 5, "no event is not normal");
    }
}
