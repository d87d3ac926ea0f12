//! Rates of the whole gateway that are changed while it runs: no more is published and delivered a second.

use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::wire::admin;

use crate::history::{History, Published};
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};

/// After a pause so much time may be made up for.
const BURST: Duration = Duration::from_millis(100);

/// Who is held back for so long is refused, at the latest.
const REFUSED_WITHIN: Duration = Duration::from_secs(6);

/// From when an event is taken until its receipt comes: some disk operations and a wire.
const TO_RECEIPT: Duration = Duration::from_millis(300);

/// Events of one frame, which are taken together: a burst with what goes to other topics.
const FRAME: f64 = 40.0;

/// Somebody set the rates; they hold until the next one, or the end of the gateway. 0: no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited {
    pub(crate) at: Moment,
    pub(crate) publish: u64,
    pub(crate) deliver: u64,
}

impl Limited {
    pub(crate) fn asked(self) -> admin::SetLimits {
        let limits = admin::Limits {
            publish_rate: Some(self.publish),
            deliver_rate: Some(self.deliver),
            ..admin::Limits::default()
        };
        admin::SetLimits { limits: Some(limits) }
    }
}

impl History {
    /// What was in force, and until when.
    fn limits(&self) -> impl Iterator<Item = (Limited, Moment)> {
        self.limited.iter().enumerate().map(|(n, limited)| {
            let next = self.limited.get(n + 1).map(|next| next.at);
            let died = self.disasters.iter().map(|ended| ended.at).find(|at| *at >= limited.at);
            (*limited, next.into_iter().chain(died).min().unwrap_or(self.ended))
        })
    }

    /// Whether an event may have been refused because too many were published, and its publisher not have heard of it.
    pub(crate) fn may_be_held_back(&self, event: &Published) -> bool {
        let mut limits = self.limits().filter(|(limited, _)| limited.publish > 0);
        limits.any(|(limited, end)| {
            event.at <= end + REFUSED_WITHIN && event.acked.is_none_or(|acked| acked >= limited.at)
        })
    }
}

/// So many events come to all programs together, and so many are taken from all publishers together, as may.
pub(crate) fn rates_hold_as_they_are_changed(seen: &Seen<'_>, broken: &mut Vec<String>) {
    let history = seen.history;
    let broke = |from, to| history.breaks.values().flatten().any(|at| *at >= from && *at <= to);
    for (limited, end) in history.limits() {
        // What comes at once after a pause is of a tenth of a second, and so is what one pass hands out too many.
        let delivered =
            Rate { name: "delivered", a_second: limited.deliver as f64, more: limited.deliver as f64 / 5.0 + 3.0 };
        let slack = |at| if seen.stalled(limited.at, at) { HELD_BACK } else { UNDER_WAY };
        delivered.check((limited.at, end), &history.handed, slack, |_| true, broken);
        let taken = Rate { name: "published", a_second: limited.publish as f64, more: FRAME };
        // What is replayed comes in larger frames.
        let whole = |at| !seen.stalled(limited.at, at) && !broke(limited.at, at);
        taken.check((limited.at, end), &history.receipts, |_| TO_RECEIPT, whole, broken);
    }
}

struct Rate {
    name: &'static str,
    a_second: f64,
    /// So many more than the rate says.
    more: f64,
}

impl Rate {
    fn check(
        &self,
        (from, to): (Moment, Moment),
        times: &[Moment],
        slack: impl Fn(Moment) -> Duration,
        counts: impl Fn(Moment) -> bool,
        broken: &mut Vec<String>,
    ) {
        if self.a_second == 0.0 {
            return;
        }
        // It was sent after the rate was set.
        let within = times.iter().filter(|at| **at >= from + slack(**at) && **at <= to && counts(**at));
        let within: Vec<Moment> = within.copied().collect();
        for (n, first) in within.iter().enumerate() {
            let most =
                |at: &Moment| self.a_second * (at.since(*first) + slack(*first) + BURST).as_secs_f64() + self.more;
            let mut behind = (1_u32..).zip(within.iter().skip(n));
            if let Some((count, at)) = behind.find(|(count, at)| f64::from(*count) > most(at)) {
                let Self { name, a_second, .. } = self;
                return broken
                    .push(format!("{count} were {name} from {first:?} to {at:?}, and {a_second} a second may be"));
            }
        }
    }
}
