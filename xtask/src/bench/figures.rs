//! What was measured, and what it is held to.

use std::fmt;

/// What a figure has to reach: the bar must be met, the goal should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) bar: f64,
    pub(crate) goal: f64,
    pub(crate) way: Way,
}

/// Which side of a bar is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    AtLeast,
    AtMost,
}

impl Bar {
    pub(crate) const fn at_least(bar: f64, goal: f64) -> Self {
        Self { bar, goal, way: Way::AtLeast }
    }

    pub(crate) const fn at_most(bar: f64, goal: f64) -> Self {
        Self { bar, goal, way: Way::AtMost }
    }

    fn holds(self, value: f64, limit: f64) -> bool {
        match self.way {
            Way::AtLeast => value >= limit,
            Way::AtMost => value <= limit,
        }
    }

    pub(crate) fn judge(self, value: f64) -> Verdict {
        match (self.holds(value, self.bar), self.holds(value, self.goal)) {
            (true, true) => Verdict::Goal,
            (true, false) => Verdict::Met,
            (false, _) => Verdict::NotMet,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Goal,
    Met,
    NotMet,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Goal => "met, goal too",
            Self::Met => "met",
            Self::NotMet => "NOT MET",
        })
    }
}

/// Median, smallest and largest of what the pairs gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) smallest: f64,
    pub(crate) largest: f64,
}

impl Spread {
    /// Of at least one value, none of which is no number.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let lower = values.get(values.len().checked_sub(1)? / 2)?;
        // Of an even number the mean of the two in the middle: the upper one would flatter.
        let median = lower.midpoint(*values.get(values.len() / 2)?);
        let (smallest, largest) = (*values.first()?, *values.last()?);
        (smallest.is_finite() && largest.is_finite()).then_some(Self { median, smallest, largest })
    }

    /// Of what `of` makes of both sides of each pair. Only pairs in which both were measured count.
    pub(crate) fn of_pairs(ours: &[f64], theirs: &[f64], of: impl Fn(f64, f64) -> f64) -> Option<Self> {
        let pairs: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| of(*ours, *theirs)).collect();
        Self::of(&pairs)
    }
}

/// The lines of a program: a name and a number each.
pub(crate) fn read(lines: &[String], name: &str) -> anyhow::Result<f64> {
    let found = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = found.and_then(|number| number.trim().parse::<f64>().ok()).filter(|number| number.is_finite());
    number.ok_or_else(|| anyhow::anyhow!("a program printed no `{name} NUMBER`, but:\n{}", lines.join("\n")))
}

/// How many events take about so many seconds to publish and as many to receive, by the rates of a run that does not count.
pub(crate) fn events_for(seconds: f64, publish: f64, receive: f64) -> u64 {
    let events = 2.0 * seconds / (publish.recip() + receive.recip());
    // Saturates, and what is no number is 0.
    (events as u64).clamp(FEWEST, MOST) / ROUND * ROUND
}

/// Fewer say nothing.
pub(crate) const FEWEST: u64 = 20_480;

/// More do not stay in the gateway's ring until they are received.
const MOST: u64 = 1_500_000;

/// As many as are in flight.
const ROUND: u64 = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_bar_is_met_on_its_good_side_and_the_goal_is_told_apart() {
        let rate = Bar::at_least(0.8, 0.9);
        assert_eq!(
            [0.79, 0.8, 0.89, 0.9].map(|v| rate.judge(v)),
            [Verdict::NotMet, Verdict::Met, Verdict::Met, Verdict::Goal]
        );
        let time = Bar::at_most(200.0, 100.0);
        assert_eq!(
            [201.0, 200.0, 100.0, -3.0].map(|v| time.judge(v)),
            [Verdict::NotMet, Verdict::Met, Verdict::Goal, Verdict::Goal]
        );
        assert_eq!(rate.judge(f64::NAN), Verdict::NotMet);
    }

    #[test]
    fn the_median_of_the_pairs_ratios_counts_not_the_ratio_of_medians() {
        let ratio = |ours: &[f64], theirs: &[f64]| Spread::of_pairs(ours, theirs, |a, b| a / b);
        let found = ratio(&[10.0, 40.0, 90.0], &[10.0, 20.0, 30.0]).unwrap();
        assert_eq!(found, Spread { median: 2.0, smallest: 1.0, largest: 3.0 });
        assert_eq!(ratio(&[1.0, 3.0], &[1.0, 1.0]).unwrap().median, 2.0, "neither of the two in the middle");
        assert_eq!(ratio(&[1.0, 9.0], &[2.0]).unwrap().median, 0.5, "half a pair is none");
        assert_eq!((ratio(&[], &[]), ratio(&[1.0], &[0.0])), (None, None));
    }

    #[test]
    fn numbers_are_read_by_their_name_and_what_is_none_is_told() {
        let lines = ["publish 1200".to_owned(), "receive 9.5".to_owned(), "slope NaN".to_owned()];
        assert_eq!((read(&lines, "publish").unwrap(), read(&lines, "receive").unwrap()), (1200.0, 9.5));
        assert!(read(&lines, "slope").is_err() && read(&lines, "pub").is_err());
        assert!(read(&lines, "round-trip").unwrap_err().to_string().contains("round-trip NUMBER"));
    }

    #[test]
    fn a_run_has_so_many_events_that_it_takes_its_time_and_no_more_than_stay() {
        assert_eq!(events_for(2.0, 100_000.0, 100_000.0), 200_000 / ROUND * ROUND);
        let slow = events_for(1.0, 300_000.0, 100_000.0);
        assert!((149_000..=150_000).contains(&slow), "{slow}");
        assert_eq!(events_for(1.0, 10.0, 10.0), FEWEST);
        assert!(events_for(60.0, 1e7, 1e7) <= MOST && events_for(1.0, 0.0, f64::NAN) == FEWEST);
    }
}
