//! How a flood is judged that may have come more than once.

use std::time::Duration;

use super::{NORMAL_BAR, PART_BAR};

/// What was seen of a flood that came once.
pub(super) struct Struck {
    /// Of what was offered, the part that was answered.
    pub(super) part: f64,
    pub(super) p99: Duration,
    /// What it may be.
    pub(super) bar: Duration,
    pub(super) normal: Duration,
}

impl Struck {
    pub(super) fn is_in_time(&self) -> bool {
        self.p99 <= self.bar
    }
}

/// A bar: what, the value of each time, what it may be, and whether it is met.
pub(super) type Verdict = (&'static str, String, String, bool);

/// A part or a return that is bad once is bad, whatever comes later. Of the p99 one that is met is enough: it came again
/// because of that alone.
pub(super) fn judge(all: &[Struck]) -> [Verdict; 3] {
    let bar = all.last().map_or(Duration::ZERO, |last| last.bar);
    [
        (
            "of the offered",
            each(all, |one| format!("{:.2}", one.part)),
            format!(">= {PART_BAR}"),
            all.iter().all(|one| one.part >= PART_BAR),
        ),
        (
            "p99",
            each(all, |one| format!("{:.2?}", one.p99)),
            format!("<= {bar:.1?}"),
            all.iter().any(Struck::is_in_time),
        ),
        (
            "normal after",
            each(all, |one| format!("{:?}", one.normal)),
            format!("<= {NORMAL_BAR:?}"),
            all.iter().all(|one| one.normal <= NORMAL_BAR),
        ),
    ]
}

fn each(all: &[Struck], value: impl Fn(&Struck) -> String) -> String {
    all.iter().map(value).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(part: f64, p99: u64, normal: u64) -> Struck {
        let [p99, bar, normal] = [p99, 20, normal].map(Duration::from_millis);
        Struck { part, p99, bar, normal }
    }

    #[test]
    fn a_repeat_hides_a_p99_and_nothing_else() {
        let met = |all: &[Struck]| judge(all).map(|(.., met)| met);
        assert_eq!(met(&[struck(1.0, 5, 250)]), [true; 3]);
        assert_eq!(met(&[struck(1.0, 50, 250), struck(1.0, 5, 250)]), [true; 3]);
        assert_eq!(met(&[struck(0.5, 50, 250), struck(1.0, 5, 250)]), [false, true, true]);
        assert_eq!(met(&[struck(1.0, 50, 3000), struck(1.0, 5, 250)]), [true, true, false]);
        assert_eq!(met(&[struck(1.0, 50, 250), struck(1.0, 40, 250), struck(1.0, 30, 250)]), [true, false, true]);
    }

    #[test]
    fn every_figure_is_told() {
        let all = [struck(0.5, 50, 3000), struck(1.0, 5, 250)];
        assert_eq!(judge(&all).map(|(_, value, ..)| value), ["0.50, 1.00", "50.00ms, 5.00ms", "3s, 250ms"]);
    }
}
